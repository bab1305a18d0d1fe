//! What a tensor has to do with the samples of functions that are being mapped (`vmap`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::mode::{self, ModeGuard};
use crate::tensor::Tensor;

/// A transform that maps, by its number, and how far apart its samples lie in memory, in elements. Dims of a sample with a smaller
/// stride lie within the sample; of the others, each step passes by all samples.
pub type BatchStride = (u64, usize);

/// How the samples lie of which a tensor is one.
pub struct BatchStrides {
    /// By map; where strides are the same, those come first that lie around the others.
    pub by_map: Vec<BatchStride>,
    /// Whether torch has put the dims of the maps in front of all others meanwhile, as it does for views and for ops on several
    /// tensors: they are the first in what is made contiguous.
    pub in_front: bool,
    /// Whether these, and the sample's own, are strides of the batch: it is shown by a view. In memory of a sample alone its own are
    /// those of a sample.
    pub of_batch: bool,
}

/// The maps that something depends on, of those that a thread is in: the number of the innermost, and a bit for each, by its depth (the
/// last bit for all that are deeper).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Maps(u64);

const BITS: u32 = 16;

impl Maps {
    /// On none.
    pub const NONE: Maps = Maps(0);

    /// On the one of this number that lies within so many others.
    pub fn one(number: u64, depth: usize) -> Maps {
        Maps(number << BITS | Maps::bit(depth))
    }

    fn bit(depth: usize) -> u64 {
        1 << depth.min(BITS as usize - 1)
    }

    /// Whether there is one.
    #[inline]
    pub fn is_some(self) -> bool {
        self.0 != 0
    }

    /// The number of the innermost; 0 if there is none.
    pub fn innermost(self) -> u64 {
        self.0 >> BITS
    }

    /// Whether the map of this number that lies within so many others is one of them.
    pub fn has(self, number: u64, depth: usize) -> bool {
        // A greater number is that of a map that has taken the place of an earlier one.
        self.0 & Maps::bit(depth) != 0 && number <= self.innermost()
    }

    /// Those that lie within fewer than `depth` others.
    #[must_use]
    pub fn outside(self, depth: usize) -> Maps {
        let bits = self.0 & (Maps::bit(depth) - 1);
        if bits == 0 { Maps::NONE } else { Maps(self.innermost() << BITS | bits) }
    }

    /// These and the others.
    #[must_use]
    pub fn and(self, other: Maps) -> Maps {
        let bits = (self.0 | other.0) & ((1 << BITS) - 1);
        Maps(self.innermost().max(other.innermost()) << BITS | bits)
    }
}

/// Kept by each tensor.
#[derive(Default)]
pub struct Samples {
    /// The maps whose samples it depends on, as bits.
    of: AtomicU64,
    strides: OnceLock<Arc<BatchStrides>>,
}

/// Until the guard is dropped, all tensors that are made depend on the samples that these operands depend on. For ops that read
/// operands as numbers (places, classes, counts), where nothing else tells what is made of them.
#[must_use]
#[inline]
pub fn made_of<'a>(operands: impl IntoIterator<Item = &'a Tensor>) -> Option<ModeGuard> {
    let mode = mode::mode();
    if mode.level.maps == 0 {
        return None;
    }
    let maps = operands.into_iter().map(Tensor::sample_of).fold(mode.made_of, Maps::and);
    (maps != mode.made_of).then(|| ModeGuard::made_of(maps))
}

impl Samples {
    /// Of a tensor that depends on samples of these.
    #[inline(always)]
    pub fn of_maps(maps: Maps) -> Samples {
        Samples { of: AtomicU64::new(maps.0), strides: OnceLock::new() }
    }

    /// The maps whose samples the tensor depends on.
    #[inline]
    pub fn of(&self) -> Maps {
        Maps(self.of.load(Ordering::Relaxed))
    }

    /// Notes that it depends on samples of these.
    #[inline]
    pub fn note(&self, maps: Maps) {
        let _before = self.of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |of| Some(Maps(of).and(maps).0));
    }

    /// How samples lie in memory, by map; empty if they lie one after the other.
    pub fn strides(&self) -> &[BatchStride] {
        self.strides.get().map_or(&[], |strides| &strides.by_map)
    }

    /// See [`BatchStrides::in_front`].
    pub fn in_front(&self) -> bool {
        self.strides.get().is_none_or(|strides| strides.in_front)
    }

    /// See [`BatchStrides::of_batch`].
    pub fn of_batch(&self) -> bool {
        self.strides.get().is_none_or(|strides| strides.of_batch)
    }

    /// Notes how samples lie in memory of a sample alone, once.
    pub fn note_strides(&self, by_map: Vec<BatchStride>, in_front: bool) {
        let _known = self.strides.set(Arc::new(BatchStrides { by_map, in_front, of_batch: false }));
    }

    /// What a view has to do with them that shows other dims.
    #[cold]
    pub fn of_view(&self) -> Samples {
        self.with_strides(self.strides().to_vec(), true)
    }

    /// The same, but for how samples lie.
    pub fn with_strides(&self, by_map: Vec<BatchStride>, in_front: bool) -> Samples {
        let strides = BatchStrides { by_map, in_front, of_batch: self.of_batch() };
        Samples { of: AtomicU64::new(self.of().0), strides: OnceLock::from(Arc::new(strides)) }
    }
}

impl Clone for Samples {
    fn clone(&self) -> Samples {
        Samples { of: AtomicU64::new(self.of().0), strides: self.strides.clone() }
    }
}
