//! The first `k` of a slice in order, with equal elements in the order torch leaves them.
//!
//! torch selects with the C++ standard library, whose GNU version does not keep equal elements in place, so
//! the order of ties is a property of its algorithms: Musser's introsort and introselect ("Introspective
//! sorting and selection algorithms", 1997) with Singleton's median of three, and Williams' and Floyd's heaps.
//! They are followed here step by step, for the sake of equal scores of float32 and of scores of 0.

/// Below this length sorting is left to insertion; selection goes on down to 3.
const SHORT: usize = 16;
/// If less than one in so many is wanted, a heap of the best replaces selection.
const FEW: usize = 64;

/// Moves the `k` first elements by `before`, a strict weak order, to the front, in order. `1 <= k <= len`.
pub(super) fn top<E: Copy>(x: &mut [E], k: usize, before: impl Fn(&E, &E) -> bool) {
    if k * FEW <= x.len() {
        heap_select(x, k, &before);
        sort_heap(&mut x[..k], &before);
    } else {
        select(x, k - 1, &before);
        sort(&mut x[..k - 1], &before);
    }
}

/// The stable order for short pieces: what insertion sort gives, however it is done.
fn insertion<E: Copy>(x: &mut [E], before: &impl Fn(&E, &E) -> bool) {
    for i in 1..x.len() {
        let value = x[i];
        let mut j = i;
        while j > 0 && before(&value, &x[j - 1]) {
            x[j] = x[j - 1];
            j -= 1;
        }
        x[j] = value;
    }
}

/// How deep the partitions may go before heaps take over.
fn depth_limit(n: usize) -> u32 {
    2 * n.checked_ilog2().unwrap_or(0)
}

fn sort<E: Copy>(x: &mut [E], before: &impl Fn(&E, &E) -> bool) {
    partition_down(x, depth_limit(x.len()), before);
    insertion(x, before);
}

/// Partitions until the pieces are short; nothing then moves further than the length of a piece.
pub(super) fn partition_down<E: Copy>(mut x: &mut [E], mut depth: u32, before: &impl Fn(&E, &E) -> bool) {
    while x.len() > SHORT {
        if depth == 0 {
            heap_select(x, x.len(), before);
            return sort_heap(x, before);
        }
        depth -= 1;
        let cut = partition(x, before);
        let (low, high) = x.split_at_mut(cut);
        partition_down(high, depth, before);
        x = low;
    }
}

/// Puts the element of rank `nth` into its place, with nothing that comes after it in front.
fn select<E: Copy>(mut x: &mut [E], mut nth: usize, before: &impl Fn(&E, &E) -> bool) {
    let mut depth = depth_limit(x.len());
    while x.len() > 3 {
        if depth == 0 {
            heap_select(x, nth + 1, before);
            return x.swap(0, nth);
        }
        depth -= 1;
        let cut = partition(x, before);
        if cut <= nth {
            x = &mut x[cut..];
            nth -= cut;
        } else {
            x = &mut x[..cut];
        }
    }
    insertion(x, before);
}

/// Splits around the median of the second, the middle and the last element, which goes to the front first.
/// No element behind the returned place comes before one in front of it. At least 4 elements.
fn partition<E: Copy>(x: &mut [E], before: &impl Fn(&E, &E) -> bool) -> usize {
    let (a, b, c) = (1, x.len() / 2, x.len() - 1);
    let is_before = |i: usize, j: usize| before(&x[i], &x[j]);
    let median = match (is_before(a, b), is_before(b, c), is_before(a, c)) {
        (true, true, _) => b,
        (true, false, true) => c,
        (true, false, false) => a,
        (false, _, true) => a,
        (false, true, false) => c,
        (false, false, false) => b,
    };
    x.swap(0, median);
    let pivot = x[0];
    let (mut low, mut high) = (1, x.len());
    loop {
        while before(&x[low], &pivot) {
            low += 1;
        }
        high -= 1;
        while before(&pivot, &x[high]) {
            high -= 1;
        }
        if low >= high {
            return low;
        }
        x.swap(low, high);
        low += 1;
    }
}

/// Gathers the first `k` elements in front, as a heap whose top is the last of them.
fn heap_select<E: Copy>(x: &mut [E], k: usize, before: &impl Fn(&E, &E) -> bool) {
    let (heap, rest) = x.split_at_mut(k);
    for hole in (0..k / 2).rev() {
        let value = heap[hole];
        sift(heap, hole, value, before);
    }
    for candidate in rest {
        if before(candidate, &heap[0]) {
            let value = std::mem::replace(candidate, heap[0]);
            sift(heap, 0, value, before);
        }
    }
}

fn sort_heap<E: Copy>(x: &mut [E], before: &impl Fn(&E, &E) -> bool) {
    for last in (1..x.len()).rev() {
        let value = x[last];
        x[last] = x[0];
        sift(&mut x[..last], 0, value, before);
    }
}

/// Fills the hole: the later child moves up, down to the bottom, and `value` climbs back from there.
fn sift<E: Copy>(heap: &mut [E], start: usize, value: E, before: &impl Fn(&E, &E) -> bool) {
    let mut hole = start;
    while 2 * hole + 1 < heap.len() {
        let (left, right) = (2 * hole + 1, 2 * hole + 2);
        let child = if right < heap.len() && !before(&heap[right], &heap[left]) { right } else { left };
        heap[hole] = heap[child];
        hole = child;
    }
    while hole > start && before(&heap[(hole - 1) / 2], &value) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = value;
}
