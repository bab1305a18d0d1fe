//! Orders of elements: stable sorting, and the order and the selections that torch makes among equals.
//!
//! Which of several equal elements comes first where nobody asks for a stable order, or is a k-th value or in a top k, is a matter of the algorithm. To answer with
//! torch's indices, these are the steps of the algorithms that torch uses: those of `nth_element`, `partial_sort` and
//! `sort` in GNU's C++ library (introspective sort: Musser 1997), and the quickselect of Numerical Recipes.
//!
//! Elements are compared by a key, an integer: the algorithms are compiled once for all dtypes.

use crate::dtype::{DType, Element};

/// An element by its place in the order (see [`key`]), and its number in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place in the order of the dtype.
    pub key: u64,
    /// Its number.
    pub number: i64,
}

/// The key of every NaN of a dtype that has one: the largest.
pub fn nan_key(dtype: DType) -> Option<u64> {
    match dtype {
        DType::F32 => Some(u32::MAX as u64),
        DType::F64 => Some(u64::MAX),
        _ => None,
    }
}

/// An integer that is ordered as the values of a dtype are, NaN last. Zeros of either sign are equal.
#[inline(always)]
pub fn key<T: Element>(value: T) -> u64 {
    match T::DTYPE {
        DType::F32 => {
            let bits = (value.to_f64() as f32 + 0.0).to_bits();
            if value.is_nan() { u32::MAX as u64 } else { (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }) as u64 }
        }
        DType::F64 => {
            let bits = (value.to_f64() + 0.0).to_bits();
            if value.is_nan() { u64::MAX } else { if bits >> 63 == 1 { !bits } else { bits | 1 << 63 } }
        }
        _ => value.to_i64() as u64 ^ 1 << 63,
    }
}

/// Whether `a` comes before `b` in ascending order.
#[inline(always)]
pub fn ascending(a: &Item, b: &Item) -> bool {
    a.key < b.key
}

/// Whether `a` comes before `b` in descending order.
#[inline(always)]
pub fn descending(a: &Item, b: &Item) -> bool {
    a.key > b.key
}

/// Sorts, equal elements in the order of their numbers, which must be 0, 1, 2, ….
pub fn sort(line: &mut Vec<Item>, down: bool) {
    if down {
        line.iter_mut().for_each(|item| item.key = !item.key);
    }
    let (low, high) = line.iter().fold((u64::MAX, 0), |(low, high), item| (low.min(item.key), high.max(item.key)));
    let bits = u64::BITS - high.saturating_sub(low).leading_zeros();
    if bits <= 32 && line.len() <= u32::MAX as usize {
        // Key and number in one integer: no two are equal.
        let mut keys: Vec<u64> = line.iter().map(|item| (item.key - low) << 32 | item.number as u64).collect();
        if line.len() < RADIX_FROM {
            keys.sort_unstable()
        } else {
            radix_sort(&mut keys, 32..32 + bits, |&k| k)
        }
        for (item, k) in line.iter_mut().zip(keys) {
            *item = Item { key: (k >> 32) + low, number: (k & 0xffff_ffff) as i64 };
        }
    } else if line.len() < RADIX_FROM {
        line.sort_unstable_by_key(|item| (item.key, item.number));
    } else {
        radix_sort(line, 0..u64::BITS, |item| item.key);
    }
    if down {
        line.iter_mut().for_each(|item| item.key = !item.key);
    }
}

/// Sorts as [`introsort`], in which order equal elements come out of it.
pub fn sort_freely(line: &mut Vec<Item>, down: bool) {
    let before = line.clone();
    sort(line, down);
    // If no two are equal there is but one order, and by digits it is found sooner.
    if line.is_sorted_by(|a, b| a.key != b.key) {
        return;
    }
    *line = before;
    if down { introsort(line, descending) } else { introsort(line, ascending) }
}

/// Length from which passes over all digits are faster than comparisons.
const RADIX_FROM: usize = 4096;

/// Sorts by the bits in a range of an integer, equal ones in the order they are in: by one digit after the other, the
/// lowest first. Digits that are the same everywhere are left out.
fn radix_sort<K: Copy>(keys: &mut Vec<K>, bits: std::ops::Range<u32>, of: impl Fn(&K) -> u64) {
    const DIGIT: usize = 11;
    let mut sorted = keys.clone();
    for low in bits.step_by(DIGIT) {
        let digit = |k: &K| (of(k) >> low) as usize & ((1 << DIGIT) - 1);
        let mut places = [0usize; 1 << DIGIT];
        keys.iter().for_each(|k| places[digit(k)] += 1);
        if places.contains(&keys.len()) {
            continue;
        }
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        for k in keys.iter() {
            let place = &mut places[digit(k)];
            sorted[*place] = *k;
            *place += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// Puts the element that sorting would put at `nth` there, smaller ones before it and larger ones behind it.
pub fn nth_element(v: &mut [Item], nth: usize, less: impl Fn(&Item, &Item) -> bool + Copy) {
    let (mut first, mut last) = (0, v.len());
    let mut depth = 2 * v.len().checked_ilog2().unwrap_or(0);
    while last - first > 3 {
        if depth == 0 {
            heap_select(&mut v[first..last], nth + 1 - first, less);
            v.swap(first, nth);
            return;
        }
        depth -= 1;
        let cut = partition_pivot(v, first, last, less);
        if cut <= nth { first = cut } else { last = cut }
    }
    insertion_sort(&mut v[first..last], less);
}

/// Puts the `middle` smallest elements first, in order.
pub fn partial_sort(v: &mut [Item], middle: usize, less: impl Fn(&Item, &Item) -> bool + Copy) {
    heap_select(v, middle, less);
    sort_heap(&mut v[..middle], less);
}

/// Sorts, equal elements in the order that the algorithm leaves them in.
pub fn introsort(v: &mut [Item], less: impl Fn(&Item, &Item) -> bool + Copy) {
    const THRESHOLD: usize = 16;
    let mut parts = vec![(0, v.len(), 2 * v.len().checked_ilog2().unwrap_or(0))];
    while let Some((first, mut last, mut depth)) = parts.pop() {
        while last - first > THRESHOLD {
            if depth == 0 {
                let all = last - first;
                partial_sort(&mut v[first..last], all, less);
                break;
            }
            depth -= 1;
            let cut = partition_pivot(v, first, last, less);
            parts.push((cut, last, depth));
            last = cut;
        }
    }
    insertion_sort(v, less);
}

/// Quickselect as in Numerical Recipes: the element of rank `k`.
pub fn quick_select(v: &mut [Item], k: usize) {
    let greater = descending;
    let (mut left, mut right) = (0usize, v.len() as isize - 1);
    loop {
        if right <= left as isize {
            return;
        }
        let r = right as usize;
        if r == left + 1 {
            if greater(&v[left], &v[r]) {
                v.swap(left, r);
            }
            return;
        }
        v.swap(left + (r - left) / 2, left + 1);
        if greater(&v[left + 1], &v[r]) {
            v.swap(left + 1, r);
        }
        if greater(&v[left], &v[r]) {
            v.swap(left, r);
        }
        if greater(&v[left + 1], &v[left]) {
            v.swap(left + 1, left);
        }
        let (mut i, mut j, pivot) = (left + 1, r, v[left]);
        loop {
            i += 1;
            while greater(&pivot, &v[i]) {
                i += 1;
            }
            j -= 1;
            while greater(&v[j], &pivot) {
                j -= 1;
            }
            if j < i {
                break;
            }
            v.swap(i, j);
        }
        v.swap(left, j);
        if j <= k {
            left = i;
        }
        if j >= k {
            right = j as isize - 1;
        }
    }
}

/// Partitions `first..last` around the median of three of its elements; where the second part starts.
fn partition_pivot(v: &mut [Item], first: usize, last: usize, less: impl Fn(&Item, &Item) -> bool) -> usize {
    let (a, b, c) = (first + 1, first + (last - first) / 2, last - 1);
    let median = if less(&v[a], &v[b]) {
        if less(&v[b], &v[c]) {
            b
        } else if less(&v[a], &v[c]) {
            c
        } else {
            a
        }
    } else if less(&v[a], &v[c]) {
        a
    } else if less(&v[b], &v[c]) {
        c
    } else {
        b
    };
    v.swap(first, median);
    let (mut low, mut high) = (first + 1, last);
    loop {
        while less(&v[low], &v[first]) {
            low += 1;
        }
        high -= 1;
        while less(&v[first], &v[high]) {
            high -= 1;
        }
        if low >= high {
            return low;
        }
        v.swap(low, high);
        low += 1;
    }
}

fn insertion_sort(v: &mut [Item], less: impl Fn(&Item, &Item) -> bool) {
    for i in 1..v.len() {
        let value = v[i];
        let mut hole = i;
        while hole > 0 && less(&value, &v[hole - 1]) {
            v[hole] = v[hole - 1];
            hole -= 1;
        }
        v[hole] = value;
    }
}

/// Lets `value` sink from `hole` in a heap of `length` elements: down to a leaf, then up to its place.
fn adjust_heap(v: &mut [Item], mut hole: usize, length: usize, value: Item, less: impl Fn(&Item, &Item) -> bool) {
    let top = hole;
    let mut child = hole;
    while child < length.saturating_sub(1) / 2 {
        child = 2 * (child + 1);
        if less(&v[child], &v[child - 1]) {
            child -= 1;
        }
        v[hole] = v[child];
        hole = child;
    }
    if length.is_multiple_of(2) && length >= 2 && child == (length - 2) / 2 {
        child = 2 * child + 1;
        v[hole] = v[child];
        hole = child;
    }
    while hole > top {
        let parent = (hole - 1) / 2;
        if !less(&v[parent], &value) {
            break;
        }
        v[hole] = v[parent];
        hole = parent;
    }
    v[hole] = value;
}

/// Makes the first `middle` elements a heap of the smallest ones.
fn heap_select(v: &mut [Item], middle: usize, less: impl Fn(&Item, &Item) -> bool + Copy) {
    for parent in (0..middle / 2).rev() {
        let value = v[parent];
        adjust_heap(v, parent, middle, value, less);
    }
    for i in middle..v.len() {
        if middle > 0 && less(&v[i], &v[0]) {
            let value = v[i];
            v[i] = v[0];
            adjust_heap(v, 0, middle, value, less);
        }
    }
}

fn sort_heap(v: &mut [Item], less: impl Fn(&Item, &Item) -> bool + Copy) {
    for last in (1..v.len()).rev() {
        let value = v[last];
        v[last] = v[0];
        adjust_heap(v, 0, last, value, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<T: Element>(values: impl IntoIterator<Item = T>) -> Vec<Item> {
        values.into_iter().zip(0..).map(|(value, number)| Item { key: key(value), number }).collect()
    }

    fn lines() -> Vec<Vec<Item>> {
        let mut all: Vec<Vec<Item>> = (0..40).map(|n| line((0..n).map(|i| ((i * 7919) % 11) as f32))).collect();
        all.push(line((0..1000).map(|i| ((i * 7919) % 313) as f32 - 100.0)));
        all.push(line((0..1000).map(|i| if i % 7 == 0 { f64::NAN } else { (i % 5) as f64 })));
        all.push(line((0..5000).map(|i| (i * 7919 % 1013) as f32)));
        all.push(line((0..5000).map(|i| (i * 7919 % 1013) as f64 - 7.5)));
        all.push(line((0..5000).map(|i| i * 7919 % 1013 - 500)));
        all
    }

    fn stable(line: &[Item], less: fn(&Item, &Item) -> bool) -> Vec<Item> {
        let mut sorted = line.to_vec();
        sorted.sort_by(|a, b| less(b, a).cmp(&less(a, b)));
        sorted
    }

    #[test]
    fn keys_are_ordered_as_values() {
        let ordered = |keys: &[u64]| assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        ordered(&[f32::NEG_INFINITY, f32::MIN, -1.0, 0.0, 1e-45, 1.0, f32::INFINITY, f32::NAN].map(key));
        ordered(&[f64::NEG_INFINITY, f64::MIN, -1.0, 0.0, 5e-324, 1.0, f64::INFINITY, f64::NAN].map(key));
        ordered(&[i64::MIN, -1, 0, 1, i64::MAX].map(key));
        ordered(&[0u8, 1, 200].map(key));
        assert_eq!((key(-0.0f32), key(-f64::NAN)), (key(0.0f32), key(f64::NAN)));
        assert_eq!((nan_key(DType::F32), nan_key(DType::F64)), (Some(key(f32::NAN)), Some(key(f64::NAN))));
    }

    #[test]
    fn sorting_is_stable() {
        for line in lines() {
            for (down, less) in [(false, ascending as fn(&_, &_) -> bool), (true, descending)] {
                let mut got = line.clone();
                sort(&mut got, down);
                assert_eq!(got, stable(&line, less));
                let mut free = line.clone();
                sort_freely(&mut free, down);
                assert!(free.iter().zip(&got).all(|(a, b)| a.key == b.key));
            }
        }
    }

    #[test]
    fn selections_select() {
        for line in lines() {
            let want = stable(&line, ascending);
            let mut all = line.clone();
            introsort(&mut all, ascending);
            assert!(all.iter().zip(&want).all(|(a, b)| a.key == b.key));
            for k in (0..line.len()).step_by(1 + line.len() / 20) {
                let mut v = line.clone();
                nth_element(&mut v, k, ascending);
                assert_eq!(v[k].key, want[k].key);
                assert!(v[..k].iter().all(|a| !ascending(&v[k], a)) && v[k..].iter().all(|a| !ascending(a, &v[k])));
                let mut v = line.clone();
                quick_select(&mut v, k);
                assert_eq!(v[k].key, want[k].key);
                let mut v = line.clone();
                partial_sort(&mut v, k, ascending);
                assert!(v[..k].iter().zip(&want).all(|(a, b)| a.key == b.key));
            }
        }
    }
}
