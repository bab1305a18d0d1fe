//! The transforms of functions that a thread is in the middle of (`func.grad`, `vmap`, …), and writes to what their functions have
//! captured.
//!
//! A tensor remembers the innermost transform that it was made in, and a view that of what it shows. The numbers of transforms
//! grow, so what has a smaller number than a transform was there before it. Under one that differentiates it may not be written to.
//! Under one that maps, each sample finds it as the first did, and must leave it as the first did: it is written to once for all.
//! What depends on a sample (see `Tensor::sample_of`) is only written to what does.

use std::cell::RefCell;
use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::former;
use super::meta::Meta;
use super::mode::{self, Mode};
use super::node::Node;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::Layout;
use crate::runtime_error;
use crate::tensor::Tensor;

/// The transforms that a thread is in, by their numbers; 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Level {
    /// The innermost.
    pub number: u64,
    /// The innermost that differentiates.
    pub differentiates: u64,
    /// The innermost that maps.
    pub maps: u64,
}

/// What a transform does with its function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transform {
    /// It takes derivatives.
    Differentiates,
    /// It calls it for each sample.
    Maps,
}

/// A tensor from outside of a transform that was written to, as it was before.
struct Written {
    op: String,
    x: Tensor,
    before: Tensor,
    version: u32,
    /// Where it, or its base, was on the tape.
    place: (Arc<Meta>, Option<(Arc<Node>, usize)>),
}

impl Written {
    /// A tensor as it is; of its memory, what `x`, which may be a part, shows.
    fn now(op: &str, whole: &Tensor, x: &Tensor) -> Result<Written> {
        let meta = whole.meta_or_new();
        let meta = meta.lock().base.as_ref().map_or_else(|| meta.clone(), |base| base.meta.clone());
        let place = (meta.clone(), meta.node());
        Ok(Written { op: op.to_string(), x: x.clone(), before: x.detached(false).copied()?, version: x.version(), place })
    }

    fn undo(&self) -> Result<()> {
        self.x.detached(false).write(&self.before)?;
        self.x.set_version(self.version);
        let (meta, node) = &self.place;
        let _later = std::mem::replace(&mut meta.lock().node, node.clone());
        Ok(())
    }
}

/// Makes a tensor show again what it showed before.
type Restore = Rc<dyn Fn() -> Result<()>>;

/// A transform that maps: what the sample at hand has done to tensors from outside.
struct Map {
    number: u64,
    written: Vec<Written>,
    shown: Vec<Restore>,
    /// What samples are parts of, as it was before the first.
    batches: Vec<Written>,
    /// Tensors that the first sample has written to, and what it has left there.
    first: Option<Vec<(Tensor, Tensor)>>,
}

thread_local! {
    static MAPS: RefCell<Vec<Map>> = const { RefCell::new(Vec::new()) };
    /// Where the thread was that has stepped out, and the maps there.
    static WITHIN: RefCell<Vec<(Level, Vec<Map>)>> = const { RefCell::new(Vec::new()) };
}

/// Begins a transform on this thread; answers what `leave` needs to end it.
pub fn enter(transform: Transform) -> Level {
    // 0 is none.
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let before = mode::mode();
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
    let level = match transform {
        Transform::Differentiates => Level { number, differentiates: number, ..before.level },
        Transform::Maps => {
            MAPS.with_borrow_mut(|maps| {
                maps.push(Map { number, written: Vec::new(), shown: Vec::new(), batches: Vec::new(), first: None })
            });
            Level { number, maps: number, ..before.level }
        }
    };
    mode::set_mode(Mode { level, ..before });
    before.level
}

/// Ends a transform; answers what it did.
pub fn leave(before: Level) -> Transform {
    let mode = mode::mode();
    mode::set_mode(Mode { level: before, ..mode });
    if mode.level.maps == before.maps {
        return Transform::Differentiates;
    }
    let _ended = MAPS.with_borrow_mut(Vec::pop);
    Transform::Maps
}

/// Goes out of transforms for a while, to where `outside` was found.
pub fn step_out(outside: Level) {
    let mode = mode::mode();
    let maps = MAPS.with_borrow_mut(|maps| maps.split_off(maps.partition_point(|map| map.number <= outside.maps)));
    WITHIN.with_borrow_mut(|within| within.push((mode.level, maps)));
    mode::set_mode(Mode { level: outside, ..mode });
}

/// Goes back in.
pub fn step_in() {
    if let Some((level, mut inner)) = WITHIN.with_borrow_mut(Vec::pop) {
        MAPS.with_borrow_mut(|maps| maps.append(&mut inner));
        mode::set_mode(Mode { level, ..mode::mode() });
    }
}

/// Fails inside of a transform.
pub fn check_outside(what: &str) -> Result<()> {
    if mode::mode().level.number == 0 {
        return Ok(());
    }
    runtime_error!("{what}")
}

/// Before a write to `x`: fails if a function that is being differentiated has captured it.
#[inline]
pub fn before_write(op: &str, x: &Tensor) -> Result<()> {
    former::before_write(x)?;
    let level = mode::mode().level;
    if x.level() < level.number { before_captured_write(op, x, level) } else { Ok(()) }
}

#[cold]
fn before_captured_write(op: &str, x: &Tensor, level: Level) -> Result<()> {
    if x.level() < level.differentiates {
        return runtime_error!(
            "During a grad (vjp, jvp, grad, etc) transform, the function provided attempted to call in-place operation ({op}) that \
             would mutate a captured Tensor. This is not supported; please rewrite the function being transformed to explicitly \
             accept the mutated Tensor(s) as inputs."
        );
    }
    before_output(op, x)
}

/// Before `value` is written to `x`: fails if it depends on a sample of a map and `x` does not, also where `x` was made within the
/// map: there it is one tensor for all samples, in torch.
#[inline]
pub fn before_value(op: &str, x: &Tensor, value: &Tensor) -> Result<()> {
    let (of, own) = (value.sample_of(), x.sample_of());
    if !of.is_some() {
        return Ok(());
    }
    let differs = |(depth, map): (usize, &Map)| of.has(map.number, depth) && !own.has(map.number, depth);
    if MAPS.with_borrow(|maps| maps.iter().enumerate().any(differs)) {
        return differs_by_sample(op);
    }
    x.note_sample_of(of);
    Ok(())
}

/// Whether `x` depends on a sample of the map of this number, which this thread is in.
pub fn depends_on(x: &Tensor, number: u64) -> bool {
    let has = |(depth, map): (usize, &Map)| map.number == number && x.sample_of().has(number, depth);
    MAPS.with_borrow(|maps| maps.iter().enumerate().any(has))
}

/// The error, torch's, of a write of what depends on a sample to what does not.
pub fn differs_by_sample<T>(op: &str) -> Result<T> {
    runtime_error!(
        "vmap: {op}(self, *extra_args) is not possible because there exists a Tensor `other` in extra_args that has more elements than \
         `self`, by `other` being vmapped over but `self` not being vmapped over. Use an op that is not in place, or vmap over `self`, \
         too."
    )
}

/// Whether the function of the innermost transform has captured `x`.
pub fn is_captured(x: &Tensor) -> bool {
    x.level() < mode::mode().level.number
}

/// Whether a function that is being mapped has captured `x`.
pub fn is_captured_by_map(x: &Tensor) -> bool {
    x.level() < mode::mode().level.maps
}

/// Before a write to `x` that differentiating does not forbid, as to an `out=`.
pub fn before_output(op: &str, x: &Tensor) -> Result<()> {
    former::before_write(x)?;
    if x.level() >= mode::mode().level.maps {
        return Ok(());
    }
    let is_new = |map: &Map| map.number > x.level() && !map.written.iter().any(|w| is_same(&w.x, x));
    let count = MAPS.with_borrow(|maps| maps.iter().filter(|map| is_new(map)).count());
    let mut written = Vec::with_capacity(count);
    for _ in 0..count {
        written.push(Written::now(op, x, x)?);
    }
    MAPS.with_borrow_mut(|maps| {
        for (map, written) in maps.iter_mut().filter(|map| is_new(map)).zip(written) {
            map.written.push(written);
        }
    });
    Ok(())
}

/// Whether two handles show the same elements.
fn is_same(x: &Tensor, y: &Tensor) -> bool {
    x.storage().same(y.storage()) && x.layout() == y.layout() && x.dtype() == y.dtype()
}

/// Before a tensor shows other memory, or its memory in another way; `restore` undoes it.
pub fn before_show(x: &Tensor, restore: impl FnOnce() -> Restore) -> Result<()> {
    former::before_write(x)?;
    if x.level() < mode::mode().level.maps {
        let restore = restore();
        MAPS.with_borrow_mut(|maps| {
            maps.iter_mut().filter(|map| map.number > x.level()).for_each(|map| map.shown.push(restore.clone()));
        });
    }
    Ok(())
}

/// After a sample of the innermost transform that maps: fails if it has not left what it has captured as the first sample did, and
/// makes that ready for the next one, if there is one.
pub fn end_of_sample(last: bool) -> Result<()> {
    let state =
        MAPS.with_borrow_mut(|maps| maps.last_mut().map(|map| (take(&mut map.written), take(&mut map.shown), map.first.take())));
    let Some((written, shown, first)) = state else { return Ok(()) };
    let left = |w: &Written| Ok((w.x.clone(), w.x.detached(false).copied()?));
    let left = written.iter().map(left).collect::<Result<Vec<_>>>()?;
    let different = match &first {
        Some(first) => first_difference(first, &left)?,
        None => None,
    };
    let op = different.map(|i| written.get(i).map_or_else(|| "an in-place op".to_string(), |w| w.op.clone()));
    if op.is_some() || !last {
        undo(&written, &shown)?;
    }
    if let Some(op) = op {
        return differs_by_sample(&op);
    }
    let _before = MAPS.with_borrow_mut(|maps| maps.last_mut().and_then(|map| map.first.replace(first.unwrap_or(left))));
    Ok(())
}

fn undo(written: &[Written], shown: &[Restore]) -> Result<()> {
    written.iter().rev().try_for_each(Written::undo)?;
    shown.iter().rev().try_for_each(|restore| restore())
}

/// Before the first sample of the innermost transform that maps: keeps `part` of a batch, for [`again`].
pub fn keep_batch(batch: &Tensor, part: &Tensor) -> Result<()> {
    let kept = Written::now("", batch, part)?;
    MAPS.with_borrow_mut(|maps| {
        if let Some(map) = maps.last_mut() {
            map.batches.push(kept);
        }
    });
    Ok(())
}

/// After a sample of the innermost transform that maps that was broken off, or comes to be again: makes all ready for the next one.
pub fn forget_sample() -> Result<()> {
    let state = MAPS.with_borrow_mut(|maps| maps.last_mut().map(|map| (take(&mut map.written), take(&mut map.shown))));
    state.map_or(Ok(()), |(written, shown)| undo(&written, &shown))
}

/// Before all samples of the innermost transform that maps are gone through once more.
pub fn again() -> Result<()> {
    let state = MAPS.with_borrow_mut(|maps| maps.last_mut().map(|map| (take(&mut map.batches), map.first.take())));
    let Some((batches, _first)) = state else { return Ok(()) };
    batches.iter().filter(|batch| batch.x.version() != batch.version).try_for_each(Written::undo)?;
    MAPS.with_borrow_mut(|maps| {
        if let Some(map) = maps.last_mut() {
            map.batches = batches;
        }
    });
    Ok(())
}

/// Where two samples have not written to the same places, or not the same bits.
fn first_difference(first: &[(Tensor, Tensor)], other: &[(Tensor, Tensor)]) -> Result<Option<usize>> {
    for (i, ((x, a), (y, b))) in first.iter().zip(other).enumerate() {
        if !is_same(x, y) || !bytes_of(a).equals_throughout(&bytes_of(b))? {
            return Ok(Some(i));
        }
    }
    Ok(if first.len() == other.len() { None } else { Some(first.len().min(other.len())) })
}

/// The memory of a tensor without gaps that begins where its storage does.
fn bytes_of(x: &Tensor) -> Tensor {
    x.reinterpreted(Layout::contiguous(&[x.numel() * x.dtype().size()]), DType::U8)
}
