//! The steps of optimizers: each reads its parameter, gradient and state once, and writes them once.
//!
//! The formulas, and where a product and a sum are rounded together, are those that torch's steps amount to, op after op;
//! so the results are the same bits, but for the last of torch's square roots, which are not correctly rounded.

use super::math::Real;
use super::par;
use super::vector::vectorize;

/// Elements worth a thread.
const GRAIN: usize = 16 * 1024;
/// A thread's share is a multiple of this many elements: whole cache lines.
const UNIT: usize = 64;

/// What stochastic gradient descent does to an element.
#[derive(Clone, Copy)]
pub struct Sgd<T> {
    /// How far to go.
    pub lr: T,
    /// How much of the last step's direction is kept; None if none is.
    pub momentum: Option<T>,
    /// How much of the gradient joins it.
    pub undamped: T,
    /// How much of the parameter is added to the gradient.
    pub weight_decay: Option<T>,
    /// Whether to look a step ahead.
    pub nesterov: bool,
    /// Whether to go up.
    pub maximize: bool,
    /// Whether there is no last step yet.
    pub first: bool,
}

impl<T: Real> Sgd<T> {
    #[inline(always)]
    fn gradient(self, p: T, g: T) -> T {
        let g = if self.maximize { -g } else { g };
        self.weight_decay.map_or(g, |decay| p.fma(decay, g))
    }

    #[inline(always)]
    fn apply(self, p: T, g: T) -> T {
        self.gradient(p, g).fma(-self.lr, p)
    }

    #[inline(always)]
    fn apply_with(self, momentum: T, p: T, g: T, last: T) -> (T, T) {
        let g = self.gradient(p, g);
        let direction = if self.first { g } else { g.fma(self.undamped, last * momentum) };
        let step = if self.nesterov { direction.fma(momentum, g) } else { direction };
        (step.fma(-self.lr, p), direction)
    }
}

/// What Adam does to an element, at a given step.
#[derive(Clone, Copy)]
pub struct Adam<T> {
    /// 1 - beta1: how much of the gradient joins its average.
    pub weight1: T,
    /// How much of the average of the squares is kept.
    pub beta2: T,
    /// 1 - beta2: how much of the square joins it.
    pub weight2: T,
    /// How far to go, corrected for the first average's start at 0.
    pub step_size: T,
    /// The square root of the correction for the second average's.
    pub correction2_sqrt: T,
    /// What keeps the quotient finite.
    pub eps: T,
    /// How much of the parameter is added to the gradient.
    pub weight_decay: Option<T>,
    /// What the parameter is multiplied with instead.
    pub shrink: Option<T>,
    /// Whether to go up.
    pub maximize: bool,
}

impl<T: Real> Adam<T> {
    /// Parameter and averages after the step; `highest` is the largest average of squares up to the last step.
    #[inline(always)]
    fn apply(self, p: T, g: T, [m, v]: [T; 2], highest: Option<T>) -> (T, [T; 2], T) {
        let g = if self.maximize { -g } else { g };
        let p = self.shrink.map_or(p, |factor| p * factor);
        let g = self.weight_decay.map_or(g, |decay| p.fma(decay, g));
        // From the nearer end, as torch's lerp.
        let m = if self.weight1.abs() < T::HALF { self.weight1.fma(g - m, m) } else { (self.weight1 - T::ONE).fma(g - m, g) };
        let v = (self.weight2 * g).fma(g, v * self.beta2);
        let highest = highest.map_or(v, |highest| larger(highest, v));
        let size = highest.sqrt() / self.correction2_sqrt + self.eps;
        (p + -self.step_size * m / size, [m, v], highest)
    }
}

/// The larger, NaN if either is.
#[inline(always)]
fn larger<T: Real>(a: T, b: T) -> T {
    let m = if a > b { a } else { b };
    if a.ne(&a) { a } else { m }
}

/// A stretch of memory that threads divide among themselves.
#[derive(Clone, Copy)]
struct Shared<T>(*mut T);
// SAFETY: each thread uses places of its own.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    fn of(x: &mut [T]) -> Shared<T> {
        Shared(x.as_mut_ptr())
    }

    /// # Safety
    /// The range must be within the slice, and used by no other thread.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, range: &std::ops::Range<usize>) -> &mut [T] {
        // SAFETY: the caller answers for it.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start), range.len()) }
    }
}

// The loops over parts are functions of their own: that their slices do not overlap is known of arguments only.

#[inline(always)]
fn sgd_part<T: Real>(step: Sgd<T>, p: &mut [T], g: &[T]) {
    p.iter_mut().zip(g).for_each(|(p, &g)| *p = step.apply(*p, g));
}

#[inline(always)]
fn momentum_part<T: Real>(step: Sgd<T>, momentum: T, p: &mut [T], g: &[T], last: &mut [T]) {
    for ((p, &g), last) in p.iter_mut().zip(g).zip(last) {
        (*p, *last) = step.apply_with(momentum, *p, g, *last);
    }
}

#[inline(always)]
fn adam_part<T: Real>(step: Adam<T>, p: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
    for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
        (*p, [*m, *v], _) = step.apply(*p, g, [*m, *v], None);
    }
}

#[inline(always)]
fn amsgrad_part<T: Real>(step: Adam<T>, p: &mut [T], g: &[T], [m, v, highest]: [&mut [T]; 3]) {
    for ((((p, &g), m), v), highest) in p.iter_mut().zip(g).zip(m).zip(v).zip(highest) {
        (*p, [*m, *v], *highest) = step.apply(*p, g, [*m, *v], Some(*highest));
    }
}

/// A step of gradient descent; `last` is the direction of the last step, with momentum only.
pub fn sgd<T: Real + Send + Sync>(step: Sgd<T>, p: &mut [T], g: &[T], last: Option<&mut [T]>) {
    let n = p.len();
    debug_assert_eq!(n, g.len());
    let (p, last) = (Shared::of(p), step.momentum.zip(last.map(Shared::of)));
    par::for_even_ranges(n, UNIT, GRAIN, &|range| {
        // SAFETY: this thread's part.
        let p = unsafe { p.part(&range) };
        // SAFETY: as above.
        let last = last.as_ref().map(|(momentum, last)| (*momentum, unsafe { last.part(&range) }));
        let g = &g[range];
        match last {
            None => vectorize(
                #[inline(always)]
                || sgd_part(step, p, g),
            ),
            Some((momentum, last)) => vectorize(
                #[inline(always)]
                || momentum_part(step, momentum, p, g, last),
            ),
        }
    });
}

/// A step of Adam over a parameter, its averages, and the highest average of squares if the step is to use it.
pub fn adam<T: Real + Send + Sync>(step: Adam<T>, p: &mut [T], g: &[T], [m, v]: [&mut [T]; 2], highest: Option<&mut [T]>) {
    let n = p.len();
    debug_assert!(n == g.len() && n == m.len() && n == v.len());
    let (p, m, v) = (Shared::of(p), Shared::of(m), Shared::of(v));
    let highest = highest.map(Shared::of);
    par::for_even_ranges(n, UNIT, GRAIN, &|range| {
        // SAFETY: this thread's part.
        let (p, m, v) = unsafe { (p.part(&range), m.part(&range), v.part(&range)) };
        // SAFETY: as above.
        let highest = highest.as_ref().map(|highest| unsafe { highest.part(&range) });
        let g = &g[range];
        match highest {
            None => vectorize(
                #[inline(always)]
                || adam_part(step, p, g, m, v),
            ),
            Some(highest) => vectorize(
                #[inline(always)]
                || amsgrad_part(step, p, g, [m, v, highest]),
            ),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADAM: Adam<f64> = Adam {
        weight1: 0.1,
        beta2: 0.999,
        weight2: 0.001,
        step_size: 0.01,
        correction2_sqrt: 0.5,
        eps: 1e-8,
        weight_decay: None,
        shrink: None,
        maximize: false,
    };

    #[test]
    fn threads_do_not_change_results() {
        let n = 3 * GRAIN + 5;
        let (p, g): (Vec<f64>, Vec<f64>) = (0..n).map(|i| ((i as f64).sin(), (i as f64).cos())).unzip();
        let (mut whole, mut m, mut v, mut top) = (p.clone(), g.clone(), vec![0.5; n], vec![0.0; n]);
        adam(ADAM, &mut whole, &g, [&mut m, &mut v], Some(&mut top));
        for i in [0, 1, GRAIN, n - 1] {
            let (x, [a, b], c) = ADAM.apply(p[i], g[i], [g[i], 0.5], Some(0.0));
            assert_eq!([whole[i], m[i], v[i], top[i]], [x, a, b, c]);
        }
    }

    #[test]
    fn nan_is_the_highest() {
        assert!(larger(f64::NAN, 1.0).is_nan() && larger(1.0, f64::NAN).is_nan());
        assert_eq!(larger(1.0, 2.0), 2.0);
    }

    #[test]
    fn a_step_of_descent() {
        let step = Sgd {
            lr: 0.5,
            momentum: Some(0.25),
            undamped: 1.0,
            weight_decay: Some(2.0),
            nesterov: true,
            maximize: true,
            first: false,
        };
        // The gradient is -1 + 2 * 3 = 5, the direction 4 * 0.25 + 5 = 6, the step 5 + 0.25 * 6.
        let (mut p, mut last) = ([3.0], [4.0]);
        sgd(step, &mut p, &[1.0], Some(&mut last));
        assert_eq!((p, last), ([3.0 - 0.5 * 6.5], [6.0]));
        sgd(Sgd { momentum: None, weight_decay: None, ..step }, &mut p, &[1.0], None);
        assert_eq!(p, [0.25]);
    }
}
