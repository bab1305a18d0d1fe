//! In-place forms of views: the tensor itself shows its memory in another way. Other views of the memory stay as they are.
//! Their nodes have names of their own, as in torch.

use pyo3::prelude::*;

use super::arguments::{Dims, Given, Sizes};
use super::samples;
use crate::interpreter::show;
use crate::layout::normalize_dim;
use crate::tape::view;
use crate::tensor::Tensor;

/// `name_(signature)(arguments) |x| view, change;`, where the change, for [`samples::note_view`], is a method and its dims.
macro_rules! in_place_views {
    ($($(#[$doc:meta])* $name:ident($($sig:tt)*)($($arg:ident: $ty:ty),*) |$x:ident| $body:expr, $change:expr;)+) => {$(
        #[pymethods]
        impl Tensor {
            $(#[$doc])*
            #[pyo3(signature = ($($sig)*))]
            fn $name<'py>(slf: Bound<'py, Self>, $($arg: $ty),*) -> PyResult<Bound<'py, Self>> {
                let x = slf.borrow().clone();
                let mut change = ("", Vec::new());
                let layout = view::in_place_view(stringify!($name), &x, |$x| {
                    change = $change;
                    $body
                })?;
                // Of the memory that the layout was made for: another thread may have changed the object meanwhile.
                let _old = show(&slf, &x.with_layout(layout))?;
                samples::note_view(slf.as_ptr().addr(), change);
                Ok(slf)
            }
        }
    )+};
}

/// The two dims, if they are some.
fn swapped(x: &Tensor, dim0: isize, dim1: isize) -> (&'static str, Vec<usize>) {
    let dims = [dim0, dim1].map(|dim| normalize_dim("transpose", dim, x.rank()));
    ("transpose_", if x.rank() < 2 { Vec::new() } else { dims.into_iter().flatten().collect() })
}

in_place_views! {
    /// `t` in place: this tensor becomes its own transposed view.
    t_()() |x| x.t_as("t.1"), swapped(x, 0, 1);
    /// `transpose` in place.
    transpose_(dim0, dim1)(dim0: isize, dim1: isize) |x| x.transposed_as("transpose.1", dim0, dim1), swapped(x, dim0, dim1);
    /// `swapaxes` in place.
    swapaxes_(axis0, axis1)(axis0: isize, axis1: isize) |x| x.transposed_as("transpose.1", axis0, axis1), swapped(x, axis0, axis1);
    /// `swapdims` in place.
    swapdims_(dim0, dim1)(dim0: isize, dim1: isize) |x| x.transposed_as("transpose.1", dim0, dim1), swapped(x, dim0, dim1);
    /// `squeeze` in place.
    squeeze_(*dims, dim=Given(None))(dims: Sizes, dim: Given<Dims>)
        |x| x.squeezed_as(["squeeze.3", "squeeze.4", "squeeze.5"], &dims.or_given(&dim, "squeeze_")?),
        ("squeeze_", dims.or_given(&dim, "squeeze_").and_then(|dim| x.dims_of_size_1(&dim)).unwrap_or_default().to_vec());
    /// `unsqueeze` in place.
    unsqueeze_(dim)(dim: isize) |x| x.unsqueezed("unsqueeze.1", normalize_dim("unsqueeze_", dim, x.rank() + 1)?, dim),
        ("unsqueeze_", normalize_dim("unsqueeze_", dim, x.rank() + 1).into_iter().collect());
    /// `as_strided` in place.
    as_strided_(size, stride, storage_offset=None)(size: Dims, stride: Dims, storage_offset: Option<isize>)
        |x| x.as_strided_as("as_strided.1", &size, &stride, storage_offset), ("", Vec::new());
}
