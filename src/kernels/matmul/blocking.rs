//! The loops of the general product.
//!
//! ```text
//! loop 0  over k in slabs, if it is much longer than m and n: each has a result of its own, to be added up
//! loop 1  over n in blocks of columns: the block of B stays in the second-level cache
//! loop 2    over k in blocks of depth: a strip of A stays in the first-level cache
//!             B's block is packed, unless its rows can be read where they are
//! loop 3      over m in strips of TILE_ROWS         \ these two are one loop over tiles,
//! loop 4        over the block's panels of columns  / split among the threads
//! loop 5          over k: the microkernel
//! ```
//!
//! The microkernel reads A one number at a time, at any stride; a strip of it is copied only if its columns are far
//! apart and it is used often. Strips and panels are divided evenly, so that there is no narrow one at the end with too
//! few registers to hide the latency of the adders.

use super::microkernel::{RowOffsets, Tile, last, row_offsets};
use super::tiles::Tiles;
use super::{MatMut, MatRef, Number, PARALLEL_FLOPS, Product, Shared, pack};
use crate::kernels::par;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Loop 2: bytes in a row of A's block. Eight rows are 16 KB, a third of a first-level cache.
const DEPTH_BYTES: usize = 2048;
/// Loop 1: bytes in B's block: half of a second-level cache.
const BLOCK_BYTES: usize = 512 << 10;
/// B is packed from this size on even if its rows are contiguous: read in place, rows a power of two apart would
/// crowd into few cache sets, and each be on a page of its own.
const PACK_BYTES: usize = 640 << 10;
/// With fewer rows of A than this, packing is not repaid unless needed.
const PACK_ROWS: usize = 64;
/// A strip of A is copied if its columns are at least this many bytes apart ...
const PACK_A_STRIDE: usize = 2048;
/// ... and at least this many panels use it.
const PACK_A_PANELS: usize = 4;
/// Loop 0: a slab is at least this many times as deep as the result is high or wide. A thread then keeps to its part of A and B,
/// which no other thread reads, and which an update by the same thread finds in its cache.
const SLAB_DEPTH: usize = 3;
/// Loop 0: the most slabs.
const SLABS: usize = 16;
/// Loop 0: the most bytes of their results: where these do not fit a cache, writing them costs more than sharing out saves.
const SLAB_BYTES: usize = 4 << 20;
/// Elements that a thread adds up at a time when all slabs are done.
const ADDED: usize = 16384;
/// Loop 0: slabs and groups of rows, for more threads than slabs.
const UNITS: usize = 16;
/// Tiles are given to threads in portions of at least this many operations.
const PORTION_FLOPS: f64 = 1e5;

/// `0..total` in `count` even parts: where part `i` starts.
fn part(total: usize, count: usize, i: usize) -> usize {
    total / count * i + (total % count).min(i)
}

/// What loops 3 to 5 work on: a block of B, with the A and C it belongs to.
struct Block<V: Tiles> {
    p: Product<V::Float>,
    /// The packed block, or null if B is read in place.
    packed: *mut V::Float,
    a_rows: RowOffsets,
    /// Whether to copy each strip of A before its tiles.
    pack_a: bool,
    strips: usize,
    panels: usize,
    /// Registers in a row of B.
    vectors: usize,
    /// Whether neighbouring tiles are of one panel, rather than of one strip.
    by_panels: bool,
}

// SAFETY: threads work on disjoint tiles of C and panels of `packed`, and only read the rest.
unsafe impl<V: Tiles> Sync for Block<V> {}

/// Computes a product with m, n, k >= 1.
///
/// # Safety
/// As [`super::gemm`]; the processor must have the instruction set of V.
pub(super) unsafe fn product<V: Tiles>(p: &Product<V::Float>) {
    let slabs = slabs(p);
    if slabs == 1 {
        // SAFETY: the same contract.
        return unsafe { slab::<V>(p) };
    }
    // Loop 0
    let strips = p.m.div_ceil(V::TILE_ROWS);
    // B, if it must be packed, is packed for each group.
    let groups = if p.b.col_stride == 1 { (UNITS / slabs).min(strips) } else { 1 };
    let area = p.m * p.n;
    pack::with_buffer(slabs * area, |sums: *mut V::Float| {
        let compute = Shared(|units: Range<usize>| {
            for unit in units {
                let (i, group) = (unit / groups, unit % groups);
                let ks = part(p.k, slabs, i)..part(p.k, slabs, i + 1);
                let row = |group| (part(strips, groups, group) * V::TILE_ROWS).min(p.m);
                let (first, end) = (row(group), row(group + 1));
                let c = MatMut { ptr: sums.wrapping_add(i * area + first * p.n), row_stride: p.n as isize, col_stride: 1 };
                let (a, b) = (p.a.from(first, ks.start), p.b.from(ks.start, 0));
                let (alpha, beta) = (V::Float::ONE, V::Float::ZERO);
                // SAFETY: the part is within the product, and its result within this unit's part of the buffer.
                unsafe { slab::<V>(&Product { m: end - first, k: ks.len(), n: p.n, alpha, a, b, beta, c }) };
            }
        });
        par::for_ranges(slabs * groups, 1, &|units| compute.call(units));
        // SAFETY: all sums are there; ranges of rows are disjoint; the processor has the instruction set.
        let add = Shared(|rows: Range<usize>| unsafe { V::run(|| add_slabs(p, sums, slabs, rows)) });
        par::for_ranges(p.m, (ADDED / p.n).max(1), &|rows| add.call(rows));
    });
}

/// How many slabs there are: it depends on the sizes only.
fn slabs<T: Number>(p: &Product<T>) -> usize {
    let deep = p.k / (SLAB_DEPTH * p.m.max(p.n));
    let room = SLAB_BYTES / size_of::<T>() / (p.m * p.n);
    if deep == 0 || room < 2 || p.flops() < 2.0 * PARALLEL_FLOPS {
        return 1;
    }
    (1 << deep.min(room).ilog2()).clamp(2, SLABS)
}

/// C = alpha (the sum of the slabs' results) + beta C, for some rows. The sum is left in the first result.
///
/// # Safety
/// As [`product`], for these rows; `sums` holds `slabs` results, rows one after the other.
#[inline(always)]
unsafe fn add_slabs<T: Number>(p: &Product<T>, sums: *mut T, slabs: usize, rows: Range<usize>) {
    for i in rows {
        let sum = sums.wrapping_add(i * p.n);
        // SAFETY: within the results, and row i of C, which is this thread's.
        unsafe {
            for other in (1..slabs).map(|slab| sum.add(slab * p.m * p.n)) {
                for j in 0..p.n {
                    *sum.add(j) = (*sum.add(j)).plus(*other.add(j));
                }
            }
            let sum = MatRef { ptr: sum.cast_const(), row_stride: 0, col_stride: 1 };
            put_scaled(p.alpha, sum, 1, p.n, p.beta, p.c.from(i, 0));
        }
    }
}

/// Loops 1 to 5; of a small product there is only the last.
///
/// # Safety
/// As [`product`].
unsafe fn slab<V: Tiles>(p: &Product<V::Float>) {
    let size = size_of::<V::Float>();
    let pack_b = p.b.col_stride != 1 || (p.k * p.n * size > PACK_BYTES && p.m >= PACK_ROWS);
    if p.m <= V::TILE_ROWS && p.n <= V::TILE_VECTORS * V::LANES && p.k <= DEPTH_BYTES / size && p.b.col_stride == 1 {
        let block = Block::<V>::new(p, 0..p.k, 0..p.n, std::ptr::null_mut());
        let a = Strip { ptr: p.a.ptr, stride: p.a.col_stride, rows: &block.a_rows };
        // SAFETY: the one tile is all of C.
        return unsafe { block.compute_tile(&a, 0..p.m, 0..p.n) };
    }
    let depths = p.k.div_ceil(DEPTH_BYTES / size);
    let depth = p.k.div_ceil(depths);
    let blocks = if pack_b { (p.n * depth * size).div_ceil(BLOCK_BYTES) } else { 1 };
    let vectors = p.n.div_ceil(V::LANES);
    let blocks = blocks.min(vectors);
    let widest = vectors.div_ceil(blocks) * V::LANES;
    let run = |packed: *mut V::Float| {
        // Loop 1
        for block in 0..blocks {
            let cols = part(vectors, blocks, block) * V::LANES..(part(vectors, blocks, block + 1) * V::LANES).min(p.n);
            // Loop 2
            for d in 0..depths {
                let ks = part(p.k, depths, d)..part(p.k, depths, d + 1);
                // SAFETY: the block is within the product; blocks follow one another on this thread.
                unsafe { Block::<V>::new(p, ks, cols.clone(), packed).run() };
            }
        }
    };
    if pack_b { pack::with_buffer(depth * widest, run) } else { run(std::ptr::null_mut()) }
}

impl<V: Tiles> Block<V> {
    fn new(p: &Product<V::Float>, ks: Range<usize>, cols: Range<usize>, packed: *mut V::Float) -> Self {
        let block = Product {
            k: ks.len(),
            n: cols.len(),
            a: p.a.from(0, ks.start),
            b: p.b.from(ks.start, cols.start),
            c: p.c.from(0, cols.start),
            // The first block applies beta, later ones add.
            beta: if ks.start == 0 { p.beta } else { V::Float::ONE },
            ..*p
        };
        let vectors = block.n.div_ceil(V::LANES);
        let panels = vectors.div_ceil(V::TILE_VECTORS);
        let a_apart = p.a.col_stride.unsigned_abs() * size_of::<V::Float>();
        let pack_a = a_apart >= PACK_A_STRIDE && panels >= PACK_A_PANELS;
        Block {
            a_rows: row_offsets(p.a.row_stride),
            pack_a,
            strips: block.m.div_ceil(V::TILE_ROWS),
            panels,
            vectors,
            by_panels: block.n > block.m && !pack_a,
            p: block,
            packed,
        }
    }

    /// # Safety
    /// As [`product`].
    unsafe fn run(&self) {
        let tiles = self.strips * self.panels;
        let flops = self.p.flops();
        // SAFETY: ranges given to the closures are within what they count, and disjoint.
        let (pack, compute) = (|r| unsafe { self.pack_panels(r) }, |r| unsafe { self.compute_tiles(r) });
        if flops < PARALLEL_FLOPS {
            if !self.packed.is_null() {
                pack(0..self.panels);
            }
            return compute(0..tiles);
        }
        if !self.packed.is_null() {
            par::for_ranges(self.panels, 1, &pack);
        }
        let grain = (PORTION_FLOPS * tiles as f64 / flops).ceil() as usize;
        par::for_ranges(tiles, grain, &compute);
    }

    /// The columns of a panel of B.
    fn cols(&self, panel: usize) -> Range<usize> {
        let start = |i| (part(self.vectors, self.panels, i) * V::LANES).min(self.p.n);
        start(panel)..start(panel + 1)
    }

    /// Where a panel is, and the distance of its rows.
    fn panel(&self, cols: &Range<usize>) -> (*mut V::Float, usize) {
        let width = cols.len().next_multiple_of(V::LANES);
        (self.packed.wrapping_add(cols.start * self.p.k), width)
    }

    /// # Safety
    /// As [`product`]; no other thread may be on these panels.
    unsafe fn pack_panels(&self, panels: Range<usize>) {
        for panel in panels {
            let cols = self.cols(panel);
            let (to, width) = self.panel(&cols);
            // SAFETY: the panel is within B, and before it are only the `cols.start * k` elements of others.
            unsafe { pack::pack::<V>(self.p.b.from(0, cols.start), self.p.k, cols.len(), to, width) };
        }
    }

    /// Loops 3 and 4, for some of the tiles.
    ///
    /// # Safety
    /// As [`product`]; no other thread may be on these tiles.
    unsafe fn compute_tiles(&self, tiles: Range<usize>) {
        if self.pack_a {
            // SAFETY: the same contract.
            return unsafe { self.compute_tiles_packing_a(tiles) };
        }
        let p = &self.p;
        for tile in tiles {
            let (strip, panel) =
                if self.by_panels { (tile % self.strips, tile / self.strips) } else { (tile / self.panels, tile % self.panels) };
            let rows = self.rows(strip);
            let a = Strip { ptr: p.a.offset(rows.start, 0), stride: p.a.col_stride, rows: &self.a_rows };
            // SAFETY: the tile is within C.
            unsafe { self.compute_tile(&a, rows, self.cols(panel)) };
        }
    }

    /// [`Self::compute_tiles`] where strips of A are copied; tiles of one strip are neighbours.
    ///
    /// # Safety
    /// As [`Self::compute_tiles`].
    #[inline(never)] // the copy is not to be on the stack of small products
    unsafe fn compute_tiles_packing_a(&self, tiles: Range<usize>) {
        let mut memory = MaybeUninit::<[[u64; DEPTH_BYTES / 8]; STRIP_ROWS]>::uninit();
        let copy: *mut V::Float = memory.as_mut_ptr().cast();
        let copy_rows = row_offsets(1);
        let a = Strip { ptr: copy.cast_const(), stride: STRIP_ROWS as isize, rows: &copy_rows };
        let mut copied = None;
        for tile in tiles {
            let (strip, panel) = (tile / self.panels, tile % self.panels);
            let rows = self.rows(strip);
            // SAFETY: the strip and the tile are within the product; a strip has at most `STRIP_ROWS` rows and
            // `DEPTH_BYTES` bytes a row.
            unsafe {
                if copied != Some(strip) {
                    copied = Some(strip);
                    pack::pack_strip::<_, STRIP_ROWS>(self.p.a.from(rows.start, 0), rows.len(), self.p.k, copy);
                }
                self.compute_tile(&a, rows, self.cols(panel));
            }
        }
    }

    /// The rows of a strip of A.
    fn rows(&self, strip: usize) -> Range<usize> {
        part(self.p.m, self.strips, strip)..part(self.p.m, self.strips, strip + 1)
    }

    /// # Safety
    /// As [`Self::compute_tiles`].
    #[inline]
    unsafe fn compute_tile(&self, a: &Strip<'_, V::Float>, rows: Range<usize>, cols: Range<usize>) {
        let p = &self.p;
        let (b, b_stride) = if self.packed.is_null() {
            (p.b.offset(0, cols.start), p.b.row_stride)
        } else {
            let (panel, width) = self.panel(&cols);
            (panel.cast_const(), width as isize)
        };
        let vectors = cols.len().div_ceil(V::LANES);
        let last_lanes = cols.len() - (vectors - 1) * V::LANES;
        let c = p.c.from(rows.start, cols.start);
        let mut tile = Tile {
            k: p.k,
            a: a.ptr,
            a_stride: a.stride,
            a_rows: a.rows,
            b,
            b_stride,
            c: c.ptr,
            c_stride: c.row_stride,
            last_lanes,
            alpha: p.alpha,
            beta: p.beta,
        };
        let kernel = V::tile_kernel(rows.len(), vectors, last::<V>(last_lanes));
        if c.col_stride == 1 {
            // SAFETY: the tile's rows and columns are within the product, and its C is contiguous in rows.
            return unsafe { kernel(&tile) };
        }
        let mut scratch = Scratch::<V::Float>::uninit();
        tile.c = scratch.as_mut_ptr().cast();
        tile.c_stride = (vectors * V::LANES) as isize;
        tile.beta = V::Float::ZERO;
        // SAFETY: `scratch` has room for the largest tile, of which `kernel` writes what is then read.
        unsafe {
            kernel(&tile);
            let result = MatRef { ptr: tile.c.cast_const(), row_stride: tile.c_stride, col_stride: 1 };
            put_scaled(V::Float::ONE, result, rows.len(), cols.len(), p.beta, c);
        }
    }
}

/// Rows of A for the tiles of one strip, as they are or copied.
struct Strip<'a, T> {
    ptr: *const T,
    /// From one column to the next.
    stride: isize,
    rows: &'a RowOffsets,
}

/// The most rows that a strip has.
const STRIP_ROWS: usize = size_of::<RowOffsets>() / size_of::<isize>();

/// Room for the largest tile: 8 rows of 3 registers of 16 floats.
type Scratch<T> = MaybeUninit<[T; 8 * 48]>;

/// C = alpha `x` + beta C.
///
/// # Safety
/// Both must be valid, C also initialised unless beta is 0.
#[inline(always)]
unsafe fn put_scaled<T: Number>(alpha: T, x: MatRef<T>, rows: usize, cols: usize, beta: T, c: MatMut<T>) {
    let put = |i, j, c: *mut T| {
        // SAFETY: (i, j) is within both.
        unsafe {
            let x = alpha.times(*x.offset(i, j));
            *c = if beta == T::ZERO { x } else { x.plus(beta.times(*c)) };
        }
    };
    if c.col_stride == 1 {
        for (i, j) in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            put(i, j, c.offset(i, 0).wrapping_add(j));
        }
    } else {
        for (i, j) in (0..cols).flat_map(|j| (0..rows).map(move |i| (i, j))) {
            put(i, j, c.offset(i, j));
        }
    }
}
