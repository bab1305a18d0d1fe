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
}

/// Kept by each tensor.
#[derive(Default)]
pub struct Samples {
    /// The innermost transform that maps whose samples it is known to depend on.
    of: AtomicU64,
    strides: OnceLock<Arc<BatchStrides>>,
}

/// Not known to depend on samples. The numbers of transforms are greater than both.
const UNKNOWN: u64 = 0;
/// Known to depend on none.
const NONE: u64 = 1;

/// Until the guard is dropped, all tensors that are made depend on the samples that these operands depend on. For ops that read
/// operands as numbers (places, classes, counts), where nothing else tells what is made of them.
#[must_use]
#[inline]
pub fn made_of<'a>(operands: impl IntoIterator<Item = &'a Tensor>) -> Option<ModeGuard> {
    let mode = mode::mode();
    if mode.level.maps == 0 {
        return None;
    }
    let map = operands.into_iter().map(Tensor::sample_of).fold(mode.made_of, u64::max);
    (map > mode.made_of).then(|| ModeGuard::made_of(map))
}

impl Samples {
    /// Of a tensor that depends on samples of this transform; 0 is none.
    #[inline(always)]
    pub fn of_map(map: u64) -> Samples {
        Samples { of: AtomicU64::new(map), strides: OnceLock::new() }
    }

    /// The innermost transform that maps whose samples the tensor is known to depend on; 0 is none.
    #[inline]
    pub fn of(&self) -> u64 {
        match self.of.load(Ordering::Relaxed) {
            NONE => UNKNOWN,
            map => map,
        }
    }

    /// Whether it is known to depend on none.
    pub fn is_none(&self) -> bool {
        self.of.load(Ordering::Relaxed) == NONE
    }

    /// Notes that it depends on samples of this transform.
    #[inline]
    pub fn note(&self, map: u64) {
        self.of.fetch_max(map, Ordering::Relaxed);
    }

    /// Notes that it depends on none, if nothing else is known.
    pub fn note_none(&self) {
        self.note(NONE);
    }

    /// How samples lie in memory, by map; empty if they lie one after the other.
    pub fn strides(&self) -> &[BatchStride] {
        self.strides.get().map_or(&[], |strides| &strides.by_map)
    }

    /// See [`BatchStrides::in_front`].
    pub fn in_front(&self) -> bool {
        self.strides.get().is_none_or(|strides| strides.in_front)
    }

    /// Notes how samples lie in memory, once.
    pub fn note_strides(&self, by_map: Vec<BatchStride>, in_front: bool) {
        let _known = self.strides.set(Arc::new(BatchStrides { by_map, in_front }));
    }

    /// What a view has to do with them that shows other dims.
    #[cold]
    pub fn of_view(&self) -> Samples {
        self.with_strides(self.strides().to_vec(), true)
    }

    /// The same, but for how samples lie.
    pub fn with_strides(&self, by_map: Vec<BatchStride>, in_front: bool) -> Samples {
        let of = AtomicU64::new(self.of.load(Ordering::Relaxed));
        Samples { of, strides: OnceLock::from(Arc::new(BatchStrides { by_map, in_front })) }
    }
}

impl Clone for Samples {
    fn clone(&self) -> Samples {
        Samples { of: AtomicU64::new(self.of.load(Ordering::Relaxed)), strides: self.strides.clone() }
    }
}
