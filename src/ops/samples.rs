//! Random numbers under `vmap`: each call of a random op draws for all samples at once, as in torch, though samples come one
//! after the other. The first sample that comes to a call draws, the others find there what is theirs.
//!
//! What draws more or less often depending on values needs those of all samples: the samples that come to it first are broken off
//! (`Error::OtherSamples`), and all are gone through once more when the last has come. A sample that draws something else at a call
//! than the first did draws for itself.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::batch_order;
use super::join::check_to_stack;
use super::kernel::strides_like;
use super::random::Source;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Layout, Shape, Strides};
use crate::random::Generator;
use crate::runtime_error;
use crate::storage::Storage;
use crate::tape::mode::ModeGuard;
use crate::tape::sample::{BatchStride, Maps, Samples};
use crate::tape::{level, mode};
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
    /// The numbers, with the samples of each map along a dim in front.
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

    /// What is for one of `size` samples.
    fn part(&self, sample: usize, size: usize) -> Drawn {
        match self {
            Drawn::Numbers(x) => Drawn::Numbers(x.sample(sample)),
            Drawn::States(all, range) => {
                let count = range.len() / size;
                let start = range.start + sample * count;
                Drawn::States(all.clone(), start..start + count)
            }
        }
    }
}

impl Tensor {
    /// What lies at this place of the first dim. Not recorded.
    fn sample(&self, place: usize) -> Tensor {
        let Layout { shape, strides, offset } = self.layout();
        let offset = if self.numel() == 0 { *offset } else { offset.wrapping_add_signed(place as isize * strides[0]) };
        self.with_layout(Layout { shape: shape[1..].into(), strides: strides[1..].into(), offset })
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
    /// The memory of the batches that it maps over, and how far apart their samples lie.
    batches: Vec<(Storage, usize)>,
    /// The in-place views by the first sample: of which object, by which method, along which dims.
    views: Vec<(usize, &'static str, Vec<usize>)>,
    /// The values that are known of the samples that have come to a call that needs those of all.
    values: Vec<Option<Tensor>>,
    /// How much had been drawn when the samples were last gone through from the first one on.
    before: usize,
}

thread_local! {
    static MAPS: RefCell<Vec<Map>> = const { RefCell::new(Vec::new()) };
    /// Those that the thread has stepped out of.
    static WITHIN: RefCell<Vec<Vec<Map>>> = const { RefCell::new(Vec::new()) };
}

/// Begins to map over so many samples, by the transform of this number.
pub fn enter(randomness: Randomness, size: usize, number: u64) {
    // A function is called once for no samples, too.
    let map = Map {
        number,
        randomness,
        size: size.max(1),
        sample: 0,
        calls: 0,
        drawn: Vec::new(),
        batches: Vec::new(),
        views: Vec::new(),
        values: Vec::new(),
        before: 0,
    };
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

/// Goes back to the first sample of the innermost map. Answers whether more has been drawn than when they were last gone through.
pub fn again() -> bool {
    MAPS.with_borrow_mut(|maps| {
        maps.last_mut().is_none_or(|map| {
            (map.sample, map.calls) = (0, 0);
            map.views.clear();
            let drawn = map.drawn.len();
            std::mem::replace(&mut map.before, drawn) < drawn
        })
    })
}

/// Goes out of the maps for a while that lie within the one of this number.
pub fn step_out(outside: u64) {
    let inner = MAPS.with_borrow_mut(|maps| maps.split_off(maps.partition_point(|map| map.number <= outside)));
    WITHIN.with_borrow_mut(|within| within.push(inner));
}

/// Goes back in.
pub fn step_in() {
    if let Some(mut inner) = WITHIN.with_borrow_mut(Vec::pop) {
        MAPS.with_borrow_mut(|maps| maps.append(&mut inner));
    }
}

/// What a tensor that is made up of all samples has to do with the maps outside.
pub fn of_all_samples(x: &Tensor) -> Samples {
    Samples::of_maps(x.sample_of().outside(depth()))
}

/// Ends the innermost map.
pub fn leave() {
    let _ended = MAPS.with_borrow_mut(Vec::pop);
}

/// A call of a random op by a sample: what is known of its map, and of what has been drawn at this call.
struct Call {
    map: u64,
    randomness: Randomness,
    size: usize,
    sample: usize,
    known: Option<(Kind, Drawn)>,
}

impl Call {
    /// The call in the map at this depth, counted from 1, the outermost; none at depth 0.
    fn at(depth: usize) -> Result<Option<Call>> {
        let call = Call::next(depth);
        if call.as_ref().is_some_and(|call| call.randomness == Randomness::Error) {
            return no_randomness();
        }
        Ok(call)
    }

    /// The same for an op that is not random.
    fn next(depth: usize) -> Option<Call> {
        MAPS.with_borrow_mut(|maps| {
            let map = depth.checked_sub(1).and_then(|i| maps.get_mut(i))?;
            map.calls += 1;
            let (randomness, known) = (map.randomness, map.drawn.get(map.calls - 1).cloned());
            Some(Call { map: map.number, randomness, size: map.size, sample: map.sample, known })
        })
    }

    fn is_different(&self) -> bool {
        self.randomness == Randomness::Different
    }

    /// What is for this sample of what has been drawn for all.
    fn own(&self, all: Drawn) -> Drawn {
        if self.is_different() { all.part(self.sample, self.size) } else { all }
    }
}

/// Keeps what has been drawn at the call at hand of the map at this depth.
fn keep(depth: usize, kind: &Kind, drawn: &Drawn) {
    MAPS.with_borrow_mut(|maps| maps[depth - 1].drawn.push((kind.clone(), drawn.clone())));
}

/// What a call draws for the samples of the maps from `depth` on; `within` are the maps further in, by number and size.
fn spread(
    depth: usize,
    within: &[BatchStride],
    kind: &Kind,
    draw: &mut dyn FnMut(&[BatchStride]) -> Result<Drawn>,
) -> Result<Drawn> {
    let Some(call) = Call::at(depth)? else { return draw(within) };
    let all = match &call.known {
        Some((other, drawn)) if other == kind => drawn.clone(),
        Some(_) => return spread(depth - 1, within, kind, draw),
        None => {
            let drawn = match (call.is_different(), kind.order) {
                (true, Order::Apart) => {
                    Drawn::joined((0..call.size).map(|_| spread(depth - 1, within, kind, draw)).collect::<Result<_>>()?)
                }
                (true, Order::Together) => {
                    let maps: Vec<BatchStride> = std::iter::once((call.map, call.size)).chain(within.iter().copied()).collect();
                    spread(depth - 1, &maps, kind, draw)?
                }
                (false, _) => spread(depth - 1, within, kind, draw)?,
            };
            keep(depth, kind, &drawn);
            drawn
        }
    };
    Ok(call.own(all))
}

/// The maps that this thread is in, from the innermost out: its depth, number, and what random ops do.
fn inside_out() -> Vec<(usize, u64, Randomness)> {
    if depth() == 0 {
        return Vec::new();
    }
    MAPS.with_borrow(|maps| maps.iter().enumerate().rev().map(|(i, map)| (i, map.number, map.randomness)).collect())
}

/// Whether `x` depends on samples that are to find the same random numbers.
pub fn is_of_same(x: &Tensor) -> bool {
    inside_out().iter().any(|&(depth, number, randomness)| randomness == Randomness::Same && x.sample_of().has(number, depth))
}

/// Before `op` draws by parameters of a distribution: fails if one depends on samples that are to find the same random numbers.
pub fn check_parameters(parameters: &[&Tensor]) -> Result<()> {
    for (depth, number, randomness) in inside_out() {
        match randomness {
            Randomness::Error => return no_randomness(),
            Randomness::Same if parameters.iter().any(|x| x.sample_of().has(number, depth)) => return no_same_parameter(),
            _ => {}
        }
    }
    Ok(())
}

fn no_randomness<T>() -> Result<T> {
    runtime_error!(
        "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags \
         on vmap or perform the randomness operation out of vmap"
    )
}

fn no_same_parameter<T>() -> Result<T> {
    runtime_error!(
        "Vmap does not currently support same randomness with a batched tensor input. Please use the 'different' randomness flag on \
         vmap: a parameter of the distribution depends on the sample"
    )
}

fn no_room<T>() -> Result<T> {
    runtime_error!(
        "vmap: Cannot ask for different inplace randomness on an unbatched tensor: it has room for the numbers of one sample only. \
         Draw into a tensor that depends on the sample, or out of place"
    )
}

/// Whether some samples find "different" numbers.
fn differ(maps: &[Map]) -> bool {
    maps.iter().any(|map| map.randomness == Randomness::Different)
}

/// Whether what is drawn for `x` lies in memory in the order of its dims without gaps, with all samples that find "different" numbers.
pub fn is_contiguous(x: &Tensor) -> bool {
    let differ: Vec<u64> = inside_out().into_iter().filter(|map| map.2 == Randomness::Different).map(|map| map.1).collect();
    batch_order::is_contiguous(x, |map| differ.contains(&map))
}

/// How many samples the map of this number has.
pub fn size_of(number: u64) -> usize {
    MAPS.with_borrow(|maps| maps.iter().find(|map| map.number == number).map_or(2, |map| map.size))
}

/// Whether a function is being mapped.
pub fn is_mapped() -> bool {
    depth() > 0
}

/// The maps that a tensor depends on a sample of, the outermost first.
pub fn maps_of(x: &Tensor) -> Vec<u64> {
    let maps = inside_out().into_iter().rev();
    maps.filter(|&(depth, number, _)| x.sample_of().has(number, depth)).map(|(_, number, _)| number).collect()
}

/// Whether one of them depends on a sample of a function that is being mapped.
pub fn are_any_mapped<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> bool {
    let maps = inside_out();
    !maps.is_empty() && tensors.into_iter().any(|x| maps.iter().any(|&(depth, number, _)| x.sample_of().has(number, depth)))
}

/// Before a random op draws by `number`: fails if that is a tensor that depends on a sample, as all samples draw by one number.
pub fn check_number(number: &Tensor) -> Result<()> {
    if !are_any_mapped([number]) {
        return Ok(());
    }
    runtime_error!(
        "vmap: a random op draws for all samples at once, by numbers that are the same for all, but one depends on the sample. Please \
         draw standard numbers, and scale and shift them (std * torch.randn_like(x) + mean)"
    )
}

fn depth() -> usize {
    if mode::mode().level.maps == 0 { 0 } else { MAPS.with_borrow(Vec::len) }
}

/// What a sample of the innermost map has to do with it, a part of a batch whose samples lie `stride` elements apart.
pub fn of_sample(sample: &Tensor, stride: usize) -> Samples {
    let of = sample.samples().clone();
    of.note(Maps::one(mode::mode().level.maps, depth() - 1));
    MAPS.with_borrow_mut(|maps| {
        if let Some(map) = maps.last_mut()
            && !map.batches.iter().any(|(memory, _)| memory.same(sample.storage()))
        {
            map.batches.push((sample.storage().clone(), stride));
        }
    });
    let lies_within = |(size, step): (&usize, &isize)| *size > 1 && *step > stride as isize;
    let map = MAPS.with_borrow(|maps| {
        let is_noted = differ(maps) || !of.strides().is_empty() || sample.shape().iter().zip(sample.strides()).any(lies_within);
        maps.last().filter(|_| is_noted).map(|map| map.number)
    });
    match map {
        Some(map) => of.with_strides(of.strides().iter().copied().chain([(map, stride)]).collect(), false),
        None => of,
    }
}

/// What the samples of the map of this number have answered, along this dim, in memory as torch has it.
pub fn joined(parts: &[Tensor], map: u64, dim: usize) -> Result<Tensor> {
    let Some(first) = parts.first() else { return Tensor::stacked(parts, dim) };
    check_to_stack(parts)?;
    let (order, batches) = batch_order::joined(first, map, parts.len());
    // Nobody has seen what it is a view of.
    let _no_view = ModeGuard::without_views();
    let own: Vec<usize> = order.iter().filter(|&&d| d > 0).map(|d| d - 1).collect();
    let parts = parts.iter().map(|part| if own.is_sorted() { Ok(part.clone()) } else { part.permuted(&own) });
    let place = |d: usize| order.iter().position(|&other| other == d);
    let mut y = Tensor::stacked(&parts.collect::<Result<Vec<_>>>()?, place(0).unwrap_or(0))?;
    let dims = (1..=dim).chain([0]).chain(dim + 1..order.len());
    let dims: Vec<usize> = dims.filter_map(place).collect();
    if !dims.is_sorted() {
        y = y.permuted(&dims)?;
    }
    batch_order::note_batches(&y, batches, true);
    Ok(y)
}

/// Whether the rows of the batch of all samples that find "different" numbers have to be copied to be shown as a matrix.
pub fn are_rows_apart(x: &Tensor) -> bool {
    let different = inside_out().into_iter().rev().filter(|(.., randomness)| *randomness == Randomness::Different);
    let maps: Vec<u64> = different.map(|(_, number, _)| number).filter(|&number| size_of(number) != 1).collect();
    !maps.is_empty() && batch_order::are_rows_apart(x, &maps)
}

/// Where in the memory of its batch the sample begins that `x` shows, counted from where the first one does.
pub fn start_of(x: &Tensor) -> usize {
    if !is_mapped() {
        return 0;
    }
    let start = |(depth, map): (usize, &Map)| {
        let is_batch = |(memory, _): &&(Storage, usize)| memory.same(x.storage()) && x.sample_of().has(map.number, depth);
        map.batches.iter().find(is_batch).map_or(0, |(_, stride)| map.sample * stride)
    };
    MAPS.with_borrow(|maps| maps.iter().enumerate().map(start).sum())
}

/// Notes that a method has changed in place how the tensor with its object at this address shows its memory.
pub fn note_view(object: usize, (method, dims): (&'static str, Vec<usize>)) {
    if is_mapped() && !dims.is_empty() {
        MAPS.with_borrow_mut(|maps| {
            if let Some(map) = maps.last_mut()
                && map.sample == 0
            {
                map.views.push((object, method, dims));
            }
        });
    }
}

/// What is noted of the object at this address.
pub fn views_of(object: usize) -> Vec<(&'static str, Vec<usize>)> {
    let views = |map: &Map| map.views.iter().filter(|view| view.0 == object).map(|(_, op, dims)| (*op, dims.clone())).collect();
    MAPS.with_borrow(|maps| maps.last().map_or_else(Vec::new, views))
}

/// Notes that `x` has been drawn, and is not the same for all samples that find "different" numbers.
pub fn note_drawn(x: &Tensor) {
    for (depth, number, randomness) in inside_out() {
        if randomness == Randomness::Different {
            x.note_sample_of(Maps::one(number, depth));
        }
    }
}

/// What has been drawn for a tensor like a sample, which depends on the samples alone that find "different" numbers.
pub fn drawn_like(y: &Tensor) -> Tensor {
    let differ: Vec<(usize, u64)> =
        inside_out().into_iter().filter(|map| map.2 == Randomness::Different).map(|(depth, number, _)| (depth, number)).collect();
    if differ.len() == depth() {
        return y.clone();
    }
    let of = differ.iter().filter(|&&(depth, number)| y.sample_of().has(number, depth));
    let of = of.fold(Maps::NONE, |of, &(depth, number)| of.and(Maps::one(number, depth)));
    let strides = y.samples().strides().iter().filter(|(map, _)| differ.iter().any(|(_, number)| number == map));
    let own = Samples::of_maps(of);
    own.note_strides(strides.copied().collect(), y.samples().in_front());
    y.at_this_level(own)
}

/// Before `op` draws in place, with a tensor of parameters or without: fails if samples are to find different numbers in a tensor that
/// is the same for all. In one that differs, those that find the same numbers draw into memory that is the same for all.
pub fn check_in_place(op: &str, x: &Tensor, parameter: Option<&Tensor>) -> Result<()> {
    let mut of = x.sample_of();
    let maps = inside_out();
    for (i, &(depth, number, randomness)) in maps.iter().enumerate() {
        let of_parameter = parameter.is_some_and(|p| p.sample_of().has(number, depth));
        let of_outer = || maps[i + 1..].iter().any(|&(depth, number, _)| of.has(number, depth));
        match (randomness, of.has(number, depth)) {
            (Randomness::Error, _) => return no_randomness(),
            (Randomness::Same, _) if of_parameter => return no_same_parameter(),
            (_, false) if of_parameter => return level::differs_by_sample(op),
            (Randomness::Different, false) => return no_room(),
            // Torch's `bernoulli_` by a number comes to the map once more, then as a tensor of the outer ones alone.
            (Randomness::Different, true) if op == "bernoulli_" && parameter.is_none() && of_outer() => return no_room(),
            (Randomness::Same, true) => of = Maps::NONE,
            (Randomness::Same, false) | (Randomness::Different, true) => {}
        }
    }
    Ok(())
}

/// Before `op` draws factors for `x` in place: fails if they differ by samples that `x` does not depend on.
pub fn check_factors(op: &str, x: &Tensor) -> Result<()> {
    let maps = inside_out();
    if maps.iter().any(|(.., randomness)| *randomness == Randomness::Error) {
        return no_randomness();
    }
    let differs = |&(depth, number, randomness): &(usize, u64, Randomness)| {
        randomness == Randomness::Different && !x.sample_of().has(number, depth)
    };
    if maps.iter().any(differs) { level::differs_by_sample(op) } else { Ok(()) }
}

/// Before a mask like `x` is drawn: where samples that `x` depends on are to find the same, torch draws in place into a tensor that is
/// the same for all outer ones, too.
pub fn check_mask(x: &Tensor) -> Result<()> {
    let mut same = false;
    for (depth, number, randomness) in inside_out() {
        match randomness {
            Randomness::Error => return no_randomness(),
            Randomness::Different if same => return no_room(),
            Randomness::Different => {}
            Randomness::Same => same |= x.sample_of().has(number, depth),
        }
    }
    Ok(())
}

/// Fills `x` by `fill`, which `what` and the parameters say all of.
pub fn fill(what: &'static str, parameters: [u64; 2], x: &Tensor, fill: &mut dyn FnMut(&Tensor) -> Result<()>) -> Result<()> {
    let depth = depth();
    if depth == 0 {
        return fill(x);
    }
    let drawn = spread(depth, &[], &Kind::of(what, Order::Together, parameters, x), &mut |maps| {
        let dense = if x.layout().is_dense() { x.strides().into() } else { strides_like(x.shape(), &[x]) };
        let shape: Shape = maps.iter().map(|&(_, size)| size).chain(x.shape().iter().copied()).collect();
        let strides = if maps.is_empty() { dense } else { batch_order::strides(x, maps, &dense) };
        let all = Tensor::uninitialized_strided("vmap", &shape, strides, x.dtype())?;
        fill(&all)?;
        Ok(Drawn::Numbers(all))
    })?;
    note_drawn(x);
    match drawn {
        Drawn::Numbers(numbers) => x.write(&numbers),
        Drawn::States(..) => fill(x),
    }
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
    if depth == 0 {
        return source.with(draw);
    }
    let drawn = spread(depth, &[], &Kind::of(what, order, [0; 2], x), &mut |maps| {
        let state = |_| {
            source.with(|rng| {
                let before = rng.clone();
                draw(rng).map(|_| before)
            })
        };
        let count = maps.iter().map(|(_, size)| size).product();
        Ok(Drawn::States((0..count).map(state).collect::<Result<_>>()?, 0..count))
    })?;
    match drawn {
        Drawn::States(states, range) => draw(&mut states[range.start].clone()),
        Drawn::Numbers(_) => source.with(draw),
    }
}

/// What `draw` makes of the values of `x`, where it depends on them how much is drawn: of those of all samples in one call.
pub fn with_values(what: &'static str, x: &Tensor, draw: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let depth = depth();
    if depth == 0 {
        return draw(x);
    }
    let y = of_all(depth, what, x, draw)?;
    // What is kept for other samples is not to be written to.
    let own = y.copied()?;
    note_drawn(&own);
    Ok(own)
}

fn of_all(depth: usize, what: &'static str, x: &Tensor, draw: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let Some(call) = Call::at(depth)? else { return draw(x) };
    let kind = Kind::of(what, Order::Together, [0; 2], x);
    let all = match &call.known {
        Some((other, Drawn::Numbers(all))) if *other == kind => all.clone(),
        Some(_) => return of_all(depth - 1, what, x, draw),
        None => {
            let values =
                if call.is_different() { Tensor::stacked(&values_of_all(depth, &call, what, x)?, 0)? } else { x.clone() };
            let all = of_all(depth - 1, what, &values, draw)?;
            keep(depth, &kind, &Drawn::Numbers(all.clone()));
            all
        }
    };
    Ok(if call.is_different() { all.sample(call.sample) } else { all })
}

/// What is for this sample of what `resize` makes of the memory of the whole batch that `x` is a sample of: the samples lie there one
/// after the other, also in the new shape.
pub fn resized(x: &Tensor, shape: &[usize], resize: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let size = [shape.iter().product::<usize>() as u64, shape.len() as u64];
    // Samples write to what is theirs.
    resized_at(depth(), x, x.sample_of(), size, resize)?.copied()
}

fn resized_at(
    depth: usize,
    x: &Tensor,
    of: Maps,
    size: [u64; 2],
    resize: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let Some(call) = Call::next(depth) else { return resize(x) };
    let kind = Kind::of("resize_", Order::Together, size, x);
    let is_mapped = of.has(call.map, depth - 1);
    let all = match &call.known {
        Some((other, Drawn::Numbers(all))) if *other == kind => all.clone(),
        Some(_) => return runtime_error!("resize_: expected all samples to be given the same shape"),
        None => {
            let values = if is_mapped { joined(&values_of_all(depth, &call, "resize_", x)?, call.map, 0)? } else { x.clone() };
            let all = resized_at(depth - 1, &values, of, size, resize)?;
            keep(depth, &kind, &Drawn::Numbers(all.clone()));
            all
        }
    };
    Ok(if is_mapped { all.sample(call.sample) } else { all })
}

/// The values of all samples. Fails if not all have come to this call.
fn values_of_all(depth: usize, call: &Call, what: &str, x: &Tensor) -> Result<Vec<Tensor>> {
    let mut values = MAPS.with_borrow_mut(|maps| std::mem::take(&mut maps[depth - 1].values));
    if let Some(other) = values.iter().flatten().find(|y| y.shape() != x.shape() || y.dtype() != x.dtype()) {
        return runtime_error!(
            "vmap: {what}: expected the same of all samples, but one comes with shape {:?} and dtype {}, another with shape {:?} and \
             dtype {}",
            other.shape(),
            other.dtype(),
            x.shape(),
            x.dtype()
        );
    }
    values.resize_with(call.size, || None);
    values[call.sample] = Some(x.copied()?);
    if let Some(all) = values.iter().cloned().collect::<Option<Vec<Tensor>>>() {
        return Ok(all);
    }
    MAPS.with_borrow_mut(|maps| maps[depth - 1].values = values);
    Err(Error::OtherSamples(call.map))
}
