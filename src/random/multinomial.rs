//! Drawing categories with given, unnormalised probabilities: `torch.multinomial`.
//!
//! Without replacement, or for a single draw, each category gets the score p / q with q exponential, and the
//! highest scores win (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006). With
//! replacement each draw looks a uniform number up among the running sums.
//!
//! Categories of probability 0 score 0 and are only drawn once nothing else is left; equal scores come in the
//! order in which torch's selection leaves them (see `top`).

use super::generator::Generator;
use super::top::top;
use super::uniform::Real;

/// Draws `samples` category numbers for each row of `categories` probabilities, rows one after the other; each may come more than
/// once.
///
/// Fails as torch does if a probability is negative, infinite or not a number, or if a row has sum 0.
pub fn with_replacement<T: Real>(
    rng: &mut Generator,
    probs: &[T],
    categories: usize,
    samples: usize,
) -> Result<Vec<i64>, String> {
    let rows = probs.chunks_exact(categories);
    let mut out = Vec::with_capacity(rows.len() * samples);
    let mut sums = Vec::with_capacity(categories);
    for row in rows {
        check(row)?;
        cumulate(row, &mut sums);
        for _ in 0..samples {
            let u: f64 = rng.rand();
            out.push(sums.partition_point(|sum| sum.to_f64() < u) as i64);
        }
    }
    Ok(out)
}

/// The same without replacement, by the exponential numbers in `q`, one for each probability.
pub fn without_replacement<T: Real>(probs: &[T], q: &[T], categories: usize, samples: usize) -> Vec<i64> {
    let scores: Vec<T> = probs.iter().zip(q).map(|(&p, &q)| p / q).collect();
    let mut out = Vec::with_capacity(probs.len() / categories * samples);
    scores.chunks_exact(categories).for_each(|row| push_highest(row, samples, &mut out));
    out
}

/// Fails if a row of probabilities is invalid.
pub fn check_rows<T: Real>(probs: &[T], categories: usize) -> Result<(), String> {
    probs.chunks_exact(categories).try_for_each(check)
}

/// What makes a row of probabilities invalid, in torch's words.
fn check<T: Real>(row: &[T]) -> Result<(), String> {
    if !row.iter().all(|&p| p >= T::ZERO && p.to_f64() < f64::INFINITY) {
        return Err("probability tensor contains either `inf`, `nan` or element < 0".into());
    }
    if !row.iter().any(|&p| p > T::ZERO) {
        return Err("invalid multinomial distribution (sum of probabilities <= 0)".into());
    }
    Ok(())
}

/// Running sums in the dtype, divided by the total, the last one set to 1.
fn cumulate<T: Real>(row: &[T], sums: &mut Vec<T>) {
    sums.clear();
    let mut total = T::ZERO;
    for &p in row {
        total += p;
        sums.push(total);
    }
    sums.iter_mut().for_each(|sum| *sum = *sum / total);
    if let Some(last) = sums.last_mut() {
        *last = T::ONE;
    }
}

/// Appends the indices of the `k` highest scores, highest first. Not a number counts as highest, as in torch.
fn push_highest<T: Real>(scores: &[T], k: usize, out: &mut Vec<i64>) {
    let is_nan = |v: T| v.to_f64().is_nan();
    let before = |a: &(T, usize), b: &(T, usize)| a.0 > b.0 || is_nan(a.0) && !is_nan(b.0);
    let numbered = scores.iter().copied().zip(0..);
    if k == 1 {
        // The first of equal ones.
        let best = numbered.reduce(|best, next| if before(&next, &best) { next } else { best });
        return out.extend(best.map(|(_, index)| index as i64));
    }
    let mut pairs: Vec<(T, usize)> = numbered.collect();
    top(&mut pairs, k, before);
    out.extend(pairs[..k].iter().map(|&(_, index)| index as i64));
}
