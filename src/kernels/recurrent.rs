//! The loop over time of a layer of a recurrent network, there and back.
//!
//! Rows of all steps lie one step after the other. A step has a row for each sequence that is as long, the longest first. The
//! inputs' part of the gates has been computed for all steps at once; a step adds what the states before it make of them.

use super::math::{Real, sigmoid, tanh};
use super::matmul::{Gemm, MatMut, MatRef, Number, Product, gemm};
use super::par;
use super::vector::vectorize;

/// Elements that are worth a thread.
const GRAIN: usize = 4096;
/// Elements side by side.
const LANES: usize = 16;

/// What a step makes of its gates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// c' = f c + i g and h' = o tanh(c'), with gates i, f, g, o of which g is a tanh, the others sigmoids.
    Lstm,
    /// h' = n + z (h - n), with sigmoids r and z and the candidate n = tanh(x + r m), m the states' part of it.
    Gru,
    /// The tanh of the only gate.
    Tanh,
    /// The positive part of the only gate.
    Relu,
}

impl Cell {
    /// How many gates there are.
    pub fn gates(self) -> usize {
        match self {
            Cell::Lstm => 4,
            Cell::Gru => 3,
            Cell::Tanh | Cell::Relu => 1,
        }
    }
}

/// The steps of a layer.
pub struct Steps {
    /// How many sequences are as long as that; never more than before.
    pub sizes: Vec<usize>,
    /// The first row of each.
    pub firsts: Vec<usize>,
    /// Whether the last comes first.
    pub reverse: bool,
}

impl Steps {
    /// The steps in the order of time, or against it.
    pub fn order(&self, backwards: bool) -> impl Iterator<Item = usize> {
        let (count, down) = (self.sizes.len(), self.reverse != backwards);
        (0..count).map(move |i| if down { count - 1 - i } else { i })
    }

    /// The first row of the step before this one, and how many sequences were there then; the others begin.
    fn before(&self, step: usize) -> (usize, usize) {
        let before = if self.reverse { Some(step + 1) } else { step.checked_sub(1) };
        match before.and_then(|before| Some((*self.firsts.get(before)?, *self.sizes.get(before)?))) {
            Some((first, size)) => (first, size.min(self.sizes[step])),
            None => (0, 0),
        }
    }
}

/// What both passes read. H is the size of a state before its projection, P that of one after it.
pub struct Layer<'a> {
    /// The kind.
    pub cell: Cell,
    /// The loop.
    pub steps: &'a Steps,
    /// H.
    pub size: usize,
    /// P; the same as H without a projection.
    pub projected: usize,
    /// Whether there is one.
    pub projects: bool,
}

/// What `forward` reads and writes.
pub struct Forward<T> {
    /// Rows of all gates: the inputs' part of them, then the gates.
    pub gates: *mut T,
    /// LSTM: rows of the cells' states. GRU: m, of which there is the bias, if there is any, else zeros.
    pub cells: *mut T,
    /// What states are multiplied by: a row for each of P.
    pub weight: MatRef<T>,
    /// What they are projected by: a row for each of H.
    pub projection: MatRef<T>,
    /// The state of each sequence: the first, then the last.
    pub h: *mut T,
    /// The same of the cells.
    pub c: *mut T,
    /// With a projection: rows of states before it.
    pub hidden: *mut T,
    /// Rows of states.
    pub states: *mut T,
}

/// What `backward` reads and writes.
pub struct Backward<T> {
    /// As `forward` has left them.
    pub gates: *const T,
    /// As `forward` has left them.
    pub cells: *const T,
    /// As `forward` has left them.
    pub states: *const T,
    /// The first states.
    pub h: *const T,
    /// The first states of the cells.
    pub c: *const T,
    /// What states are multiplied by: a column for each of P.
    pub weight: MatRef<T>,
    /// What they are projected by: a column for each of H.
    pub projection: MatRef<T>,
    /// The gradient of the rows of states; null if there is none.
    pub g: *const T,
    /// The gradients of the last states, then of the first.
    pub gh: *mut T,
    /// The same of the cells.
    pub gc: *mut T,
    /// Gradients of the inputs' part of the gates.
    pub g_gates: *mut T,
    /// GRU: gradients of m.
    pub g_cells: *mut T,
    /// With a projection: the whole gradients of the rows of states.
    pub g_states: *mut T,
    /// With a projection: room for a step's gradients of the states before it.
    pub g_hidden: *mut T,
    /// The states before each row.
    pub before: *mut T,
}

// SAFETY: each row is used by one thread.
unsafe impl<T> Sync for Forward<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Backward<T> {}

#[inline(always)]
unsafe fn load<T: Real>(from: *const T, n: usize) -> [T; LANES] {
    let mut values = [T::ZERO; LANES];
    // SAFETY: the caller answers for n elements, which are no more than the lanes. Memory that was lent may be unaligned.
    unsafe {
        if n == LANES {
            values = from.cast::<[T; LANES]>().read_unaligned();
        } else {
            for (i, value) in values.iter_mut().enumerate().take(n) {
                *value = from.add(i).read_unaligned();
            }
        }
    }
    values
}

#[inline(always)]
unsafe fn store<T: Real>(to: *mut T, values: [T; LANES], n: usize) {
    // SAFETY: as for `load`.
    unsafe {
        if n == LANES {
            to.cast::<[T; LANES]>().write_unaligned(values);
        } else {
            for (i, &value) in values.iter().enumerate().take(n) {
                to.add(i).write_unaligned(value);
            }
        }
    }
}

#[inline(always)]
fn each<T: Real>(f: impl Fn(usize) -> T) -> [T; LANES] {
    let mut values = [T::ZERO; LANES];
    for (i, value) in values.iter_mut().enumerate() {
        *value = f(i);
    }
    values
}

/// Some rows of a contiguous matrix: the address of the first, and how far apart they are.
struct Rows<T>(*mut T, usize);

/// C = A B, or C + A B, of sizes (m, k) and (k, n).
unsafe fn multiply<T: Gemm>(a: Rows<T>, b: MatRef<T>, c: Rows<T>, [m, k, n]: [usize; 3], adds: bool) {
    let a = MatRef { ptr: a.0.cast_const(), row_stride: a.1 as isize, col_stride: 1 };
    let c = MatMut { ptr: c.0, row_stride: c.1 as isize, col_stride: 1 };
    let (alpha, beta) = (<T as Number>::ONE, if adds { <T as Number>::ONE } else { <T as Number>::ZERO });
    // SAFETY: the caller answers for all three.
    unsafe { gemm(Product { m, k, n, alpha, a, b, beta, c }) }
}

/// `work(row)` for so many rows of so many elements, in parallel if that pays.
fn for_rows(count: usize, size: usize, work: impl Fn(usize) + Sync) {
    par::for_ranges(count, (GRAIN / size.max(1)).max(1), &|rows| {
        vectorize(
            #[inline(always)]
            || {
                rows.for_each(
                    #[inline(always)]
                    |row| work(row),
                )
            },
        )
    });
}

/// Computes all states.
///
/// # Safety
/// All must be valid, as large as the layer says, and nobody else's; what is only read may be others', too.
pub unsafe fn forward<T: Real + Gemm>(layer: &Layer<'_>, a: &Forward<T>) {
    let &Layer { cell, steps, size, projected, projects } = layer;
    let width = cell.gates() * size;
    for step in steps.order(false) {
        let (first, count) = (steps.firsts[step], steps.sizes[step]);
        let gates = a.gates.wrapping_add(first * width);
        let cells = a.cells.wrapping_add(first * size);
        let states = a.states.wrapping_add(first * projected);
        let out = if projects { a.hidden.wrapping_add(first * size) } else { states };
        // SAFETY: the rows of the step are among all, its sequences are among all, and a row is used by one thread.
        unsafe {
            let inner = if cell == Cell::Gru { 2 * size } else { width };
            multiply(Rows(a.h, projected), a.weight, Rows(gates, width), [count, projected, inner], true);
            if cell == Cell::Gru {
                let weight = MatRef { ptr: a.weight.ptr.wrapping_offset(inner as isize * a.weight.col_stride), ..a.weight };
                multiply(Rows(a.h, projected), weight, Rows(cells, size), [count, projected, size], true);
            }
            let addresses = [gates, cells, a.c, a.h, out].map(|x| x as usize);
            for_rows(
                count,
                size,
                #[inline(always)]
                |row| {
                    let [gates, cells, c, h, out] = addresses.map(|x| x as *mut T);
                    let at = |x: *mut T| x.wrapping_add(row * size);
                    forward_row(cell, size, gates.wrapping_add(row * width), [at(cells), at(c)], at(h), at(out));
                },
            );
            if projects {
                multiply(Rows(out, size), a.projection, Rows(states, projected), [count, size, projected], false);
            }
            std::ptr::copy_nonoverlapping(states, a.h, count * projected);
        }
    }
}

#[inline(always)]
unsafe fn forward_row<T: Real>(cell: Cell, size: usize, gates: *mut T, [cells, c]: [*mut T; 2], h: *const T, out: *mut T) {
    for first in (0..size).step_by(LANES) {
        let n = LANES.min(size - first);
        let gate = |k: usize| gates.wrapping_add(k * size + first);
        // SAFETY: the caller answers for the rows.
        unsafe {
            let sigmoid_of = |k: usize| {
                let x = load(gate(k), n);
                let y = each(
                    #[inline(always)]
                    |i| sigmoid(x[i]),
                );
                store(gate(k), y, n);
                y
            };
            let y = match cell {
                Cell::Lstm => {
                    let (i, f, o) = (sigmoid_of(0), sigmoid_of(1), sigmoid_of(3));
                    let (x, before) = (load(gate(2), n), load(c.add(first), n));
                    let g = each(
                        #[inline(always)]
                        |k| tanh(x[k]),
                    );
                    store(gate(2), g, n);
                    let state = each(
                        #[inline(always)]
                        |k| f[k] * before[k] + i[k] * g[k],
                    );
                    store(c.add(first), state, n);
                    store(cells.add(first), state, n);
                    each(
                        #[inline(always)]
                        |k| o[k] * tanh(state[k]),
                    )
                }
                Cell::Gru => {
                    let (r, z) = (sigmoid_of(0), sigmoid_of(1));
                    let (x, m, before) = (load(gate(2), n), load(cells.add(first), n), load(h.add(first), n));
                    let candidate = each(
                        #[inline(always)]
                        |k| tanh(x[k] + r[k] * m[k]),
                    );
                    store(gate(2), candidate, n);
                    each(
                        #[inline(always)]
                        |k| candidate[k] + z[k] * (before[k] - candidate[k]),
                    )
                }
                Cell::Tanh => {
                    let x = load(gate(0), n);
                    each(
                        #[inline(always)]
                        |k| tanh(x[k]),
                    )
                }
                Cell::Relu => {
                    let x = load(gate(0), n);
                    each(
                        #[inline(always)]
                        |k| if x[k] < T::ZERO { T::ZERO } else { x[k] },
                    )
                }
            };
            store(out.add(first), y, n);
        }
    }
}

/// Computes the gradients of the inputs' part of the gates, and of the first states.
///
/// # Safety
/// As for [`forward`].
pub unsafe fn backward<T: Real + Gemm>(layer: &Layer<'_>, a: &Backward<T>) {
    let &Layer { cell, steps, size, projected, projects } = layer;
    let width = cell.gates() * size;
    for step in steps.order(true) {
        let (first, count) = (steps.firsts[step], steps.sizes[step]);
        let (from, known) = steps.before(step);
        let rows = |x: *const T, width: usize| x.wrapping_add(first * width);
        let (g_gates, g_cells) = (a.g_gates.wrapping_add(first * width), a.g_cells.wrapping_add(first * size));
        // SAFETY: the rows of the step and of the one before are among all, its sequences are among all, and a row is used by one
        // thread.
        unsafe {
            let before = a.before.add(first * projected);
            std::ptr::copy_nonoverlapping(a.states.add(from * projected), before, known * projected);
            let rest = known * projected;
            std::ptr::copy_nonoverlapping(a.h.add(rest), before.add(rest), count * projected - rest);
            if !a.g.is_null() {
                let g = rows(a.g, projected);
                for i in 0..count * projected {
                    *a.gh.add(i) = *a.gh.add(i) + g.add(i).read_unaligned();
                }
            }
            if projects {
                std::ptr::copy_nonoverlapping(a.gh, a.g_states.add(first * projected), count * projected);
                multiply(Rows(a.gh, projected), a.projection, Rows(a.g_hidden, size), [count, projected, size], false);
            }
            let gh = if projects { a.g_hidden } else { a.gh };
            let read = [rows(a.gates, width), rows(a.cells, size), rows(a.states, size), before, a.c].map(|x| x as usize);
            let cells_before = a.cells.wrapping_add(from * size) as usize;
            let written = [g_gates, g_cells, gh, a.gc].map(|x| x as usize);
            for_rows(
                count,
                size,
                #[inline(always)]
                |row| {
                    let [gates, cells, states, before, c] = read.map(|x| x as *const T);
                    let [g_gates, g_cells, gh, gc] = written.map(|x| x as *mut T);
                    let (at, gate) = (row * size, row * width);
                    let c = if row < known { cells_before as *const T } else { c };
                    let of = Row {
                        gates: gates.wrapping_add(gate),
                        cells: cells.wrapping_add(at),
                        state: states.wrapping_add(at),
                        before: if cell == Cell::Lstm { c.wrapping_add(at) } else { before.wrapping_add(at) },
                        g_gates: g_gates.wrapping_add(gate),
                        g_cells: g_cells.wrapping_add(at),
                        gh: gh.wrapping_add(at),
                        gc: gc.wrapping_add(at),
                    };
                    backward_row(cell, size, &of);
                },
            );
            // What is left in `gh` of a GRU is what the state before gives to the next directly.
            let (inner, adds) = if cell == Cell::Gru { (2 * size, true) } else { (width, false) };
            multiply(Rows(g_gates, width), a.weight, Rows(a.gh, projected), [count, inner, projected], adds);
            if cell == Cell::Gru {
                let weight = MatRef { ptr: a.weight.ptr.wrapping_offset(inner as isize * a.weight.row_stride), ..a.weight };
                multiply(Rows(g_cells, size), weight, Rows(a.gh, projected), [count, size, projected], true);
            }
        }
    }
}

/// What a sequence has in a step of [`backward`].
struct Row<T> {
    gates: *const T,
    cells: *const T,
    state: *const T,
    /// The state before; of an LSTM that of the cell.
    before: *const T,
    g_gates: *mut T,
    g_cells: *mut T,
    gh: *mut T,
    gc: *mut T,
}

#[inline(always)]
unsafe fn backward_row<T: Real>(cell: Cell, size: usize, row: &Row<T>) {
    let one = <T as Real>::ONE;
    for first in (0..size).step_by(LANES) {
        let n = LANES.min(size - first);
        // SAFETY: the caller answers for the rows.
        unsafe {
            let gate = |k: usize| load(row.gates.wrapping_add(k * size + first), n);
            let put = |k: usize, values| store(row.g_gates.wrapping_add(k * size + first), values, n);
            let gh = load(row.gh.add(first), n);
            match cell {
                Cell::Lstm => {
                    let (i, f, g, o) = (gate(0), gate(1), gate(2), gate(3));
                    let (state, before) = (load(row.cells.add(first), n), load(row.before.add(first), n));
                    let gc = load(row.gc.add(first), n);
                    let t = each(
                        #[inline(always)]
                        |k| tanh(state[k]),
                    );
                    let gc = each(
                        #[inline(always)]
                        |k| gc[k] + gh[k] * o[k] * (one - t[k] * t[k]),
                    );
                    put(
                        0,
                        each(
                            #[inline(always)]
                            |k| gc[k] * g[k] * i[k] * (one - i[k]),
                        ),
                    );
                    put(
                        1,
                        each(
                            #[inline(always)]
                            |k| gc[k] * before[k] * f[k] * (one - f[k]),
                        ),
                    );
                    put(
                        2,
                        each(
                            #[inline(always)]
                            |k| gc[k] * i[k] * (one - g[k] * g[k]),
                        ),
                    );
                    put(
                        3,
                        each(
                            #[inline(always)]
                            |k| gh[k] * t[k] * o[k] * (one - o[k]),
                        ),
                    );
                    store(
                        row.gc.add(first),
                        each(
                            #[inline(always)]
                            |k| gc[k] * f[k],
                        ),
                        n,
                    );
                }
                Cell::Gru => {
                    let (r, z, candidate) = (gate(0), gate(1), gate(2));
                    let (m, before) = (load(row.cells.add(first), n), load(row.before.add(first), n));
                    let gn = each(
                        #[inline(always)]
                        |k| gh[k] * (one - z[k]) * (one - candidate[k] * candidate[k]),
                    );
                    put(
                        0,
                        each(
                            #[inline(always)]
                            |k| gn[k] * m[k] * r[k] * (one - r[k]),
                        ),
                    );
                    put(
                        1,
                        each(
                            #[inline(always)]
                            |k| gh[k] * (before[k] - candidate[k]) * z[k] * (one - z[k]),
                        ),
                    );
                    put(2, gn);
                    store(
                        row.g_cells.add(first),
                        each(
                            #[inline(always)]
                            |k| gn[k] * r[k],
                        ),
                        n,
                    );
                    store(
                        row.gh.add(first),
                        each(
                            #[inline(always)]
                            |k| gh[k] * z[k],
                        ),
                        n,
                    );
                }
                Cell::Tanh => {
                    let y = load(row.state.add(first), n);
                    put(
                        0,
                        each(
                            #[inline(always)]
                            |k| gh[k] * (one - y[k] * y[k]),
                        ),
                    );
                }
                Cell::Relu => {
                    let y = load(row.state.add(first), n);
                    put(
                        0,
                        each(
                            #[inline(always)]
                            |k| if y[k] > T::ZERO { gh[k] } else { T::ZERO },
                        ),
                    );
                }
            }
        }
    }
}
