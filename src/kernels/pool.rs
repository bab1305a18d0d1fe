//! Pooling: what is made of the windows of planes. A plane has three dims, of which the first may be of size 1; so one
//! loop does for all of them, and for windows that slide, adapt to the size of the result, or lie at random places.

use super::par;
use crate::dtype::{Number, Ordered};

/// Elements that are worth a thread.
const GRAIN: usize = 8 * 1024;

/// Which places along one dim make one result: `count` of them from `first` on, an axis' step apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// The first.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// How many their sum is divided by; padding may count, too.
    pub span: usize,
}

/// The windows along one dim.
#[derive(Clone, Debug)]
pub struct Axis {
    /// How many places there are.
    pub size: usize,
    /// How far apart those of a window are.
    pub step: usize,
    /// Where the windows lie.
    pub windows: Windows,
}

/// Where windows lie.
#[derive(Clone, Debug)]
pub enum Windows {
    /// Each as far from the one before it.
    Sliding(Slide),
    /// Anywhere.
    Listed(Vec<Window>),
}

/// Windows that begin before the first place, at even distances. At least one place must be in reach.
#[derive(Clone, Copy, Debug)]
pub struct Slide {
    /// Places of a window.
    pub kernel: usize,
    /// From one to the next.
    pub stride: usize,
    /// How far before the first place the first begins, and how far behind the last there may be places.
    pub padding: usize,
    /// Whether these count in the span.
    pub include_pad: bool,
    /// How many windows there are.
    pub results: usize,
}

impl Axis {
    /// How many windows there are.
    fn results(&self) -> usize {
        match &self.windows {
            Windows::Sliding(slide) => slide.results,
            Windows::Listed(list) => list.len(),
        }
    }

    #[inline(always)]
    fn window(&self, i: usize) -> Window {
        match &self.windows {
            Windows::Listed(list) => list[i],
            Windows::Sliding(slide) => slide.window(i, self.size, self.step),
        }
    }
}

impl Slide {
    /// Window i, of `size` places, whose places are `step` apart. Nothing overflows: each window starts before the end of the dim.
    #[inline(always)]
    fn window(self, i: usize, size: usize, step: usize) -> Window {
        let Slide { kernel, stride, padding, .. } = self;
        // As if all places were `padding` further on.
        let (start, end) = (i * stride, size + padding);
        if start >= padding && start + (kernel - 1) * step < end {
            return Window { first: start - padding, count: kernel, span: kernel };
        }
        self.cut(start, end, step)
    }

    /// A window that padding is part of.
    #[cold]
    fn cut(self, start: usize, end: usize, step: usize) -> Window {
        let Slide { kernel, padding, include_pad, .. } = self;
        let skipped = padding.saturating_sub(start).div_ceil(step).min(kernel);
        let reached = end.saturating_sub(start).div_ceil(step).min(kernel);
        let count = reached.saturating_sub(skipped);
        let first = (start + skipped * step).saturating_sub(padding);
        let span = if include_pad { kernel.min((end + padding).saturating_sub(start)) } else { count };
        Window { first, count, span }
    }
}

/// The windows of a plane.
pub type Axes = [Axis; 3];

/// Elements of planes, results, and the windows of each plane, or of all if there is one only.
pub struct Planes<'a> {
    /// How many.
    pub count: usize,
    /// Their windows.
    pub axes: &'a [Axes],
}

impl Planes<'_> {
    fn axes(&self, plane: usize) -> &Axes {
        &self.axes[plane.min(self.axes.len() - 1)]
    }

    /// How many elements a plane has, and how many results.
    fn sizes(&self) -> (usize, usize) {
        let axes = self.axes(0);
        (axes.iter().map(|axis| axis.size).product(), axes.iter().map(Axis::results).product())
    }

    /// Calls `body(number of the result, its windows, axes)` for the results of a plane.
    #[inline(always)]
    fn each_result(&self, plane: usize, mut body: impl FnMut(usize, [Window; 3], &Axes)) {
        let axes = self.axes(plane);
        let mut result = 0;
        for depth in (0..axes[0].results()).map(|i| axes[0].window(i)) {
            for height in (0..axes[1].results()).map(|i| axes[1].window(i)) {
                for width in (0..axes[2].results()).map(|i| axes[2].window(i)) {
                    body(result, [depth, height, width], axes);
                    result += 1;
                }
            }
        }
    }

    /// Calls `body(plane)` for all.
    fn each_plane(&self, body: impl Fn(usize) + Sync) {
        let (elements, results) = self.sizes();
        par::for_ranges(self.count, (GRAIN / (elements + results).max(1)).max(1), &|range| range.for_each(&body));
    }
}

/// Calls `body(place in the plane)` for the places of a window, in their order.
#[inline(always)]
fn each_place([depth, height, width]: [Window; 3], axes: &Axes, mut body: impl FnMut(usize)) {
    for d in 0..depth.count {
        let layer = (depth.first + d * axes[0].step) * axes[1].size;
        for h in 0..height.count {
            let row = (layer + height.first + h * axes[1].step) * axes[2].size + width.first;
            for w in 0..width.count {
                body(row + w * axes[2].step);
            }
        }
    }
}

/// Addresses that threads use at planes of their own.
#[derive(Clone, Copy)]
struct At<T>(*mut T);
// SAFETY: each plane is one thread's.
unsafe impl<T> Sync for At<T> {}
// SAFETY: as above.
unsafe impl<T> Send for At<T> {}

impl<T: Copy> At<T> {
    /// # Safety
    /// `i` must be in bounds, and used by no other thread.
    #[inline(always)]
    unsafe fn get(&self, i: usize) -> T {
        // SAFETY: the caller answers for it; lent memory may be unaligned.
        unsafe { self.0.add(i).read_unaligned() }
    }

    /// # Safety
    /// As for `get`.
    #[inline(always)]
    unsafe fn set(&self, i: usize, value: T) {
        // SAFETY: the caller answers for it.
        unsafe { self.0.add(i).write_unaligned(value) }
    }
}

/// The largest of each window (the last NaN if there is one), and its place in the plane; of no places the lowest
/// value and where the window begins.
///
/// # Safety
/// `x` must be valid for the elements, `y` and `index` for the results.
pub unsafe fn max<T: Ordered>(planes: &Planes<'_>, x: *const T, y: *mut T, index: *mut i64) {
    let (x, y, index) = (At(x.cast_mut()), At(y), At(index));
    let (elements, results) = planes.sizes();
    planes.each_plane(|plane| {
        let (x, y, index) = (&x, &y, &index);
        planes.each_result(plane, |result, windows, axes| {
            // A window of no places may begin after the last of its line.
            let [d, h, w] = windows.map(|window| window.first);
            let first = ((d * axes[1].size + h) * axes[2].size + w).min(elements - 1);
            let (mut most, mut place) = (T::LOWEST, first);
            each_place(windows, axes, |i| {
                // SAFETY: windows lie within the plane.
                let value = unsafe { x.get(plane * elements + i) };
                if value > most || value.is_nan() {
                    (most, place) = (value, i);
                }
            });
            // SAFETY: each result is written once.
            unsafe {
                y.set(plane * results + result, most);
                index.set(plane * results + result, place as i64);
            }
        });
    });
}

/// By what the sum of a window is divided.
fn divisor(windows: [Window; 3], given: Option<i64>) -> i64 {
    given.unwrap_or_else(|| windows.iter().fold(1, |product: i64, window| product.saturating_mul(window.span as i64)))
}

/// The sum of each window over its span, or over a given number; 0 for no places.
///
/// # Safety
/// `x` must be valid for the elements, `y` for the results.
pub unsafe fn average<T: Number>(
    planes: &Planes<'_>,
    given: Option<i64>,
    x: *const T,
    y: *mut T,
    over: impl Fn(T, i64) -> T + Sync,
) {
    let (x, y) = (At(x.cast_mut()), At(y));
    let (elements, results) = planes.sizes();
    planes.each_plane(|plane| {
        let (x, y) = (&x, &y);
        planes.each_result(plane, |result, windows, axes| {
            let mut sum = T::ZERO;
            // SAFETY: windows lie within the plane.
            each_place(windows, axes, |i| sum = sum.add(unsafe { x.get(plane * elements + i) }));
            let is_empty = windows.iter().any(|window| window.count == 0);
            let value = if is_empty { T::ZERO } else { over(sum, divisor(windows, given)) };
            // SAFETY: each result is written once.
            unsafe { y.set(plane * results + result, value) };
        });
    });
}

/// The adjoint of [`average`]: each result over its span is added to the places of its window.
///
/// # Safety
/// `g` must be valid for the results, `gx`, which begins as zeros, for the elements.
pub unsafe fn spread<T: Number>(
    planes: &Planes<'_>,
    given: Option<i64>,
    g: *const T,
    gx: *mut T,
    over: impl Fn(T, i64) -> T + Sync,
) {
    let (g, gx) = (At(g.cast_mut()), At(gx));
    let (elements, results) = planes.sizes();
    planes.each_plane(|plane| {
        let (g, gx) = (&g, &gx);
        planes.each_result(plane, |result, windows, axes| {
            if windows.iter().all(|window| window.count > 0) {
                // SAFETY: windows and results lie within the planes.
                let part = over(unsafe { g.get(plane * results + result) }, divisor(windows, given));
                each_place(windows, axes, |i| {
                    let i = plane * elements + i;
                    // SAFETY: as above.
                    unsafe { gx.set(i, gx.get(i).add(part)) };
                });
            }
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_padded_lines() {
        for (size, kernel, stride, padding, step) in
            [(9, 2, 2, 0, 1), (9, 3, 1, 1, 1), (5, 4, 3, 2, 1), (6, 2, 1, 1, 3), (1, 2, 1, 1, 2), (7, 3, 2, 2, 2)]
        {
            let padded = size + 2 * padding;
            let results = (padded - ((kernel - 1) * step + 1)) / stride + 1;
            for include_pad in [false, true] {
                let slide = Slide { kernel, stride, padding, include_pad, results };
                for i in 0..results {
                    let window = slide.window(i, size, step);
                    let got: Vec<usize> = (0..window.count).map(|k| window.first + k * step).collect();
                    let places = (0..kernel).map(|k| i * stride + k * step);
                    let want: Vec<usize> =
                        places.filter(|place| (padding..padding + size).contains(place)).map(|place| place - padding).collect();
                    assert_eq!(got, want, "window {i} of {slide:?}");
                    if step == 1 {
                        assert_eq!(window.span, if include_pad { kernel } else { want.len() });
                    }
                }
            }
        }
    }
}
