//! Random numbers under `vmap`: each call of a random op draws for all samples at once, as in torch, though samples come one
//! after the other. The first sample that comes to a call draws, the others find there what is theirs.
//!
//! Limits: a sample that draws something else at a call than the first did draws for itself, and so does each in ops that draw
//! more or less often depending on values (`poisson`), where samples have "different" numbers. A batch along another dim than the
//! first is drawn for as if it were along the first.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::kernel::strides_like;
use super::random::Source;
use crate::dtype::DType;
use crate::error::Result;
use crate::layout::{Layout, Shape, Strides};
use crate::random::Generator;
use crate::runtime_error;
use crate::tape::mode;
use crate::tensor::Tensor;

/// What random ops do in the function of a `vmap`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Randomness {
    /// They fail.
    Error,
    /// They draw the same numbers for all samples.
    Same,
    /// They draw numbers for each.
    Different,
}

/// How a call draws for several samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// As it does for a tensor of them all.
    Together,
    /// By a call for each. (In maps within maps that makes a difference: the inner one's samples are the outer ones' calls.)
    Apart,
    /// More or less often depending on values, which only the sample knows.
    Unforeseen,
}

/// What a call draws but for the sample: which numbers, where to.
#[derive(Clone, PartialEq)]
struct Kind {
    what: &'static str,
    order: Order,
    parameters: [u64; 2],
    dtype: DType,
    layout: (Shape, Strides),
}

impl Kind {
    fn of(what: &'static str, order: Order, parameters: [u64; 2], x: &Tensor) -> Kind {
        Kind { what, order, parameters, dtype: x.dtype(), layout: (x.shape().into(), x.strides().into()) }
    }
}

/// What a call has drawn, for so many samples.
#[derive(Clone)]
enum Drawn {
    /// The numbers, with samples along the first dim.
    Numbers(Tensor),
    /// Where the generator was before each sample.
    States(Arc<[Generator]>, Range<usize>),
}

impl Drawn {
    /// The states of several calls.
    fn joined(calls: Vec<Drawn>) -> Drawn {
        let states = calls.iter().filter_map(|call| match call {
            Drawn::States(all, range) => all.get(range.clone()),
            Drawn::Numbers(_) => None,
        });
        let states: Arc<[Generator]> = states.flatten().cloned().collect();
        Drawn::States(states.clone(), 0..states.len())
    }

    /// A run of samples.
    fn part(&self, start: usize, count: usize) -> Drawn {
        match self {
            Drawn::Numbers(x) => {
                let Layout { shape, strides, offset } = x.layout();
                let (mut shape, offset) = (shape.clone(), offset.wrapping_add_signed(start as isize * strides[0]));
                shape[0] = count;
                Drawn::Numbers(x.with_layout(Layout { shape, strides: strides.clone(), offset }))
            }
            Drawn::States(all, range) => Drawn::States(all.clone(), range.start + start..range.start + start + count),
        }
    }
}

/// A `vmap` whose function is being called.
struct Map {
    /// The number of the transform.
    number: u64,
    randomness: Randomness,
    size: usize,
    /// The sample at hand, and how many calls it has come to.
    sample: usize,
    calls: usize,
    /// What has been drawn at each call.
    drawn: Vec<(Kind, Drawn)>,
}

thread_local! {
    static MAPS: RefCell<Vec<Map>> = const { RefCell::new(Vec::new()) };
}

/// Begins to map over so many samples, by the transform of this number.
pub fn enter(randomness: Randomness, size: usize, number: u64) {
    // A function is called once for no samples, too.
    let map = Map { number, randomness, size: size.max(1), sample: 0, calls: 0, drawn: Vec::new() };
    MAPS.with_borrow_mut(|maps| maps.push(map));
}

/// Goes on to the next sample of the innermost map.
pub fn next() {
    MAPS.with_borrow_mut(|maps| {
        if let Some(map) = maps.last_mut() {
            (map.sample, map.calls) = (map.sample + 1, 0);
        }
    });
}

/// Ends the innermost map.
pub fn leave() {
    let _ended = MAPS.with_borrow_mut(Vec::pop);
}

/// What a call draws for `count` samples of the maps from `depth` on, counted from the outermost.
fn spread(depth: usize, count: usize, kind: &Kind, draw: &mut dyn FnMut(usize) -> Result<Drawn>) -> Result<Drawn> {
    let map = MAPS.with_borrow_mut(|maps| {
        let map = depth.checked_sub(1).and_then(|i| maps.get_mut(i))?;
        map.calls += 1;
        Some((map.randomness, map.size, map.sample, map.drawn.get(map.calls - 1).cloned()))
    });
    let Some((randomness, size, sample, known)) = map else { return draw(count) };
    let different = match randomness {
        Randomness::Different => true,
        Randomness::Same => false,
        Randomness::Error => {
            return runtime_error!(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' \
                 randomness flags on vmap or perform the randomness operation out of vmap"
            );
        }
    };
    let all = match known {
        Some((other, drawn)) if other == *kind => drawn,
        Some(_) => return spread(depth - 1, count, kind, draw),
        None => {
            let drawn = match (different, kind.order) {
                (true, Order::Apart) => {
                    Drawn::joined((0..size).map(|_| spread(depth - 1, count, kind, draw)).collect::<Result<_>>()?)
                }
                (true, _) => spread(depth - 1, count * size, kind, draw)?,
                (false, _) => spread(depth - 1, count, kind, draw)?,
            };
            MAPS.with_borrow_mut(|maps| maps[depth - 1].drawn.push((kind.clone(), drawn.clone())));
            drawn
        }
    };
    Ok(if different { all.part(sample * count, count) } else { all })
}

/// Whether `x` depends on samples that are to find the same random numbers.
pub fn is_of_same(x: &Tensor) -> bool {
    let number = x.sample_of();
    number != 0 && MAPS.with_borrow(|maps| maps.iter().any(|map| map.number == number && map.randomness == Randomness::Same))
}

/// Fails if a parameter of a distribution depends on samples that are to find the same random numbers.
pub fn check_parameter(x: &Tensor) -> Result<()> {
    if is_of_same(x) {
        return runtime_error!("vmap: same randomness is not supported with a batched tensor as parameter of the distribution");
    }
    Ok(())
}

fn depth() -> usize {
    if mode::mode().level.maps == 0 { 0 } else { MAPS.with_borrow(Vec::len) }
}

/// Fills `x` by `fill`, which `what` and the parameters say all of.
pub fn fill(what: &'static str, parameters: [u64; 2], x: &Tensor, mut fill: impl FnMut(&Tensor) -> Result<()>) -> Result<()> {
    let depth = depth();
    if depth == 0 {
        return fill(x);
    }
    let drawn = spread(depth, 1, &Kind::of(what, Order::Together, parameters, x), &mut |count| {
        let shape: Shape = [count].iter().chain(x.shape()).copied().collect();
        let strides = if x.layout().is_dense() { x.strides().into() } else { strides_like(x.shape(), &[x]) };
        let strides: Strides = [x.numel() as isize].into_iter().chain(strides).collect();
        let all = Tensor::uninitialized_strided("vmap", &shape, strides, x.dtype())?;
        fill(&all)?;
        Ok(Drawn::Numbers(all))
    })?;
    let Drawn::Numbers(rows) = drawn else { return fill(x) };
    let Layout { shape, strides, offset } = rows.layout();
    x.write(&rows.with_layout(Layout { shape: shape[1..].into(), strides: strides[1..].into(), offset: *offset }))
}

/// Runs `draw` with the generator, for values like those of `x`.
pub fn with<R>(
    what: &'static str,
    order: Order,
    x: &Tensor,
    source: &Source,
    mut draw: impl FnMut(&mut Generator) -> Result<R>,
) -> Result<R> {
    let depth = depth();
    let apart =
        order == Order::Unforeseen && MAPS.with_borrow(|maps| maps.iter().all(|map| map.randomness == Randomness::Different));
    if depth == 0 || apart {
        return source.with(draw);
    }
    let drawn = spread(depth, 1, &Kind::of(what, order, [0; 2], x), &mut |count| {
        let state = |_| {
            source.with(|rng| {
                let before = rng.clone();
                draw(rng).map(|_| before)
            })
        };
        let states = (0..count).map(state).collect::<Result<Arc<[Generator]>>>()?;
        Ok(Drawn::States(states, 0..count))
    })?;
    match drawn {
        Drawn::States(states, range) => draw(&mut states[range.start].clone()),
        Drawn::Numbers(_) => source.with(draw),
    }
}
