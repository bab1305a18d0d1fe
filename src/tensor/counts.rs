//! What counts the writes to a tensor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::storage::{Count, Storage, Watch};

/// What counts the writes to a tensor.
#[derive(Clone)]
pub(super) enum Counts {
    /// Its memory.
    Memory,
    /// A counter of its own: that of `x.data`, and of an `x` that has been given other data.
    Own(Arc<AtomicU32>),
    /// The memory of the operand that it is the conversion of: written to is that.
    OfOperand(Storage),
    /// As other samples of the batch are not written to with it.
    OfSample(Arc<SampleCount>),
}

impl Counts {
    /// A counter of its own.
    pub fn own(version: u32) -> Counts {
        Counts::Own(Arc::new(AtomicU32::new(version)))
    }

    /// That of a sample of a batch, which begins with `version`.
    pub fn of_sample(batch: &Arc<BatchCount>, version: u32) -> Counts {
        let before = version.wrapping_sub(batch.of_whole());
        Counts::OfSample(Arc::new(SampleCount { before: AtomicU32::new(before), own: AtomicU32::new(0), batch: batch.clone() }))
    }

    /// How many there have been to a tensor with this memory.
    pub fn version(&self, storage: &Storage) -> u32 {
        match self {
            Counts::Memory => storage.version(),
            Counts::Own(own) => own.version(),
            Counts::OfOperand(memory) => memory.version(),
            Counts::OfSample(sample) => sample.version(),
        }
    }

    /// Counts one.
    pub fn bump(&self, storage: &Storage) {
        match self {
            Counts::Own(own) => {
                own.fetch_add(1, Ordering::AcqRel);
            }
            Counts::OfSample(sample) => sample.bump(),
            Counts::Memory | Counts::OfOperand(_) => storage.bump_version(),
        }
    }

    /// Sets the count.
    pub fn set(&self, storage: &Storage, version: u32) {
        match self {
            Counts::Own(own) => own.store(version, Ordering::Release),
            Counts::OfSample(sample) => {
                sample.before.fetch_add(version.wrapping_sub(sample.version()), Ordering::AcqRel);
            }
            Counts::Memory | Counts::OfOperand(_) => storage.set_version(version),
        }
    }

    /// To find out later whether there have been others.
    pub fn watch(&self, storage: &Storage) -> Watch {
        match self {
            Counts::Memory => storage.watch(),
            Counts::Own(own) => Watch::of(own.clone()),
            Counts::OfOperand(memory) => memory.watch(),
            Counts::OfSample(sample) => Watch::of(sample.clone()),
        }
    }
}

/// The writes to a batch whose samples are written to one by one. What all of them write counts once for the batch, as in torch.
pub struct BatchCount {
    counts: Counts,
    storage: Storage,
    /// The most that one of its samples has counted.
    by_samples: AtomicU32,
}

impl BatchCount {
    pub(super) fn new(counts: &Counts, storage: &Storage) -> BatchCount {
        BatchCount { counts: counts.clone(), storage: storage.clone(), by_samples: AtomicU32::new(0) }
    }

    /// The writes that were not to a sample.
    fn of_whole(&self) -> u32 {
        self.counts.version(&self.storage).wrapping_sub(self.by_samples.load(Ordering::Acquire))
    }
}

/// The writes to a sample: its own, and those to the batch as a whole.
pub(super) struct SampleCount {
    /// What it is counted from, so that it begins with the version of what it was taken from.
    before: AtomicU32,
    own: AtomicU32,
    batch: Arc<BatchCount>,
}

impl SampleCount {
    fn bump(&self) {
        let writes = self.own.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        if self.batch.by_samples.fetch_max(writes, Ordering::AcqRel) < writes {
            self.batch.counts.bump(&self.batch.storage);
        }
    }
}

impl Count for SampleCount {
    fn version(&self) -> u32 {
        let own = self.before.load(Ordering::Acquire).wrapping_add(self.own.load(Ordering::Acquire));
        own.wrapping_add(self.batch.of_whole())
    }
}
