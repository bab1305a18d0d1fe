//! Orders of elements: stable sorting, and the selections that torch makes among equals.
//!
//! Which of several equal elements a median, a k-th value or a top k names is a matter of the algorithm. To answer with
//! torch's indices, these are the steps of the algorithms that torch uses: those of `nth_element`, `partial_sort` and
//! `sort` in GNU's C++ library (introspective sort: Musser 1997), and the quickselect of Numerical Recipes.

use crate::dtype::{DType, Element, Number};

/// An element and its number in the line.
pub type Item<T> = (T, i64);

/// Whether `a` comes before `b` in ascending order, NaN last.
#[inline(always)]
pub fn ascending<T: Number>(a: &Item<T>, b: &Item<T>) -> bool {
    a.0 < b.0 || (!a.0.is_nan() && b.0.is_nan())
}

/// Whether `a` comes before `b` in descending order, NaN first.
#[inline(always)]
pub fn descending<T: Number>(a: &Item<T>, b: &Item<T>) -> bool {
    a.0 > b.0 || (a.0.is_nan() && !b.0.is_nan())
}

/// Sorts by value, equal elements in the order of their numbers, which must be 0, 1, 2, ….
pub fn sort<T: Number>(line: &mut [Item<T>], down: bool) {
    if size_of::<T>() <= 4 && line.len() <= u32::MAX as usize {
        // Key and number in one integer: no two are equal.
        let mut keys: Vec<u64> = line.iter().map(|item| (key(item.0, down) & 0xffff_ffff) << 32 | item.1 as u64).collect();
        if keys.len() < RADIX_FROM {
            keys.sort_unstable()
        } else {
            radix_sort(&mut keys, 32..64, |&k| k)
        }
        rearrange(line, keys.iter().map(|k| (k & 0xffff_ffff) as usize));
    } else {
        let mut keys: Vec<(u64, i64)> = line.iter().map(|item| (key(item.0, down), item.1)).collect();
        if keys.len() < RADIX_FROM {
            keys.sort_unstable()
        } else {
            radix_sort(&mut keys, 0..64, |k| k.0)
        }
        rearrange(line, keys.iter().map(|k| k.1 as usize));
    }
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

fn rearrange<T: Copy>(line: &mut [Item<T>], order: impl Iterator<Item = usize>) {
    let sorted: Vec<Item<T>> = order.map(|i| line[i]).collect();
    line.copy_from_slice(&sorted);
}

/// An integer that is ordered as the values are; the lower 32 bits say all for types of up to 32 bits.
#[inline(always)]
fn key<T: Element>(value: T, down: bool) -> u64 {
    let up = match T::DTYPE {
        DType::F32 => {
            let bits = (value.to_f64() as f32 + 0.0).to_bits();
            if value.is_nan() { u32::MAX as u64 } else { (if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }) as u64 }
        }
        DType::F64 => {
            let bits = (value.to_f64() + 0.0).to_bits();
            if value.is_nan() { u64::MAX } else { if bits >> 63 == 1 { !bits } else { bits | 1 << 63 } }
        }
        DType::I64 => value.to_i64() as u64 ^ 1 << 63,
        _ => (value.to_i64() + (1 << 31)) as u64,
    };
    if down { !up } else { up }
}

/// Puts the element that sorting would put at `nth` there, smaller ones before it and larger ones behind it.
pub fn nth_element<V: Copy>(v: &mut [V], nth: usize, less: impl Fn(&V, &V) -> bool + Copy) {
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
pub fn partial_sort<V: Copy>(v: &mut [V], middle: usize, less: impl Fn(&V, &V) -> bool + Copy) {
    heap_select(v, middle, less);
    sort_heap(&mut v[..middle], less);
}

/// Sorts, equal elements in the order that the algorithm leaves them in.
pub fn introsort<V: Copy>(v: &mut [V], less: impl Fn(&V, &V) -> bool + Copy) {
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

/// Quickselect as in Numerical Recipes: the element of rank `k`, by "greater or NaN".
pub fn quick_select<T: Number>(v: &mut [Item<T>], k: usize) {
    let greater = descending::<T>;
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
fn partition_pivot<V: Copy>(v: &mut [V], first: usize, last: usize, less: impl Fn(&V, &V) -> bool) -> usize {
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

fn insertion_sort<V: Copy>(v: &mut [V], less: impl Fn(&V, &V) -> bool) {
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
fn adjust_heap<V: Copy>(v: &mut [V], mut hole: usize, length: usize, value: V, less: impl Fn(&V, &V) -> bool) {
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
fn heap_select<V: Copy>(v: &mut [V], middle: usize, less: impl Fn(&V, &V) -> bool + Copy) {
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

fn sort_heap<V: Copy>(v: &mut [V], less: impl Fn(&V, &V) -> bool + Copy) {
    for last in (1..v.len()).rev() {
        let value = v[last];
        v[last] = v[0];
        adjust_heap(v, 0, last, value, less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Vec<Item<f32>>> {
        let number = |values: Vec<f32>| values.into_iter().zip(0..).collect();
        let mut all: Vec<Vec<Item<f32>>> = (0..40).map(|n| number((0..n).map(|i| ((i * 7919) % 11) as f32).collect())).collect();
        all.push(number((0..1000).map(|i| ((i * 7919) % 313) as f32 - 100.0).collect()));
        all.push(number((0..1000).map(|i| if i % 7 == 0 { f32::NAN } else { (i % 5) as f32 }).collect()));
        all.push(number((0..5000).map(|i| i as f32).collect()));
        all.push(number(vec![0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -f32::NAN, -1.0]));
        all
    }

    fn stable(line: &[Item<f32>], less: fn(&Item<f32>, &Item<f32>) -> bool) -> Vec<Item<f32>> {
        let mut sorted = line.to_vec();
        sorted.sort_by(|a, b| less(b, a).cmp(&less(a, b)));
        sorted
    }

    fn bits(line: &[Item<f32>]) -> Vec<(u32, i64)> {
        line.iter().map(|(v, i)| (v.to_bits(), *i)).collect()
    }

    #[test]
    fn sorting_is_stable() {
        for line in lines() {
            for (down, less) in [(false, ascending as fn(&_, &_) -> bool), (true, descending)] {
                let mut got = line.clone();
                sort(&mut got, down);
                assert_eq!(bits(&got), bits(&stable(&line, less)));
                let wide: Vec<Item<f64>> = line.iter().map(|&(v, i)| (v as f64, i)).collect();
                let mut got = wide.clone();
                sort(&mut got, down);
                let numbers: Vec<i64> = got.iter().map(|item| item.1).collect();
                assert_eq!(numbers, stable(&line, less).iter().map(|item| item.1).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn selections_select() {
        for line in lines() {
            let want = stable(&line, ascending);
            let same = |a: &Item<f32>, b: &Item<f32>| !ascending(a, b) && !ascending(b, a);
            let mut all = line.clone();
            introsort(&mut all, ascending);
            assert!(all.iter().zip(&want).all(|(a, b)| same(a, b)));
            for k in (0..line.len()).step_by(1 + line.len() / 20) {
                let mut v = line.clone();
                nth_element(&mut v, k, ascending);
                assert!(same(&v[k], &want[k]));
                assert!(v[..k].iter().all(|a| !ascending(&v[k], a)) && v[k..].iter().all(|a| !ascending(a, &v[k])));
                let mut v = line.clone();
                quick_select(&mut v, k);
                assert!(same(&v[k], &want[k]));
                let mut v = line.clone();
                partial_sort(&mut v, k, ascending);
                assert!(v[..k].iter().zip(&want).all(|(a, b)| same(a, b)));
            }
        }
    }
}
