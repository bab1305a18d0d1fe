//! Texts copied from torch 2.13, some without their dtype.

use super::Item::{Bool, Complex, Float, Int};
use super::*;

const INF: f64 = f64::INFINITY;
const NAN: f64 = f64::NAN;

const D: PrintOptions = PrintOptions { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };

const F64: Frame = Frame {
    prefix: "tensor(",
    shape: &[],
    dtype: "torch.float64",
    dtype_note: DTypeNote::Always,
    grad: GradNote::None,
    tangent: None,
};

/// Of a tensor that needs no dtype, whose element at flat position `i` is `item(i)`.
fn plain(shape: &[usize], options: PrintOptions, item: impl Fn(usize) -> Item) -> String {
    let dtype_note = DTypeNote::Omitted;
    framed(Frame { shape, dtype_note, ..F64 }, options, item)
}

fn framed(frame: Frame, options: PrintOptions, item: impl Fn(usize) -> Item) -> String {
    tensor_repr(&frame, &options, |index| {
        let flat = index.iter().zip(frame.shape).fold(0, |n, (i, s)| n * s + i);
        item(flat)
    })
}

fn floats(values: &[f64], options: PrintOptions) -> String {
    plain(&[values.len()], options, |i| Float(values[i]))
}

fn int(i: usize) -> Item {
    Int(i as i128)
}

fn half(i: usize) -> Item {
    Float(i as f64 / 2.0)
}

#[test]
fn whole_and_fixed_floats() {
    for (values, text) in [
        (&[1.0, -2.0, 0.0][..], "tensor([ 1., -2.,  0.])"),
        (&[1.0, 2.5, -3.0], "tensor([ 1.0000,  2.5000, -3.0000])"),
        (&[1.0, NAN, -INF], "tensor([1., nan, -inf])"),
        (&[0.0, -0.0, -NAN], "tensor([0., -0., nan])"),
        (&[0.5, NAN, -INF, -0.0], "tensor([0.5000,    nan,   -inf, -0.0000])"),
        (&[1.0, 1000.0], "tensor([   1., 1000.])"),
        (&[1e8], "tensor([100000000.])"),
    ] {
        assert_eq!(floats(values, D), text);
    }
}

#[test]
fn range_decides_for_scientific() {
    for (values, text) in [
        (&[1.0, 1001.0][..], "tensor([1.0000e+00, 1.0010e+03])"),
        (&[1e-4, 5e-5], "tensor([1.0000e-04, 5.0000e-05])"),
        (&[2e8, -1.0, 0.0, NAN], "tensor([ 2.0000e+08, -1.0000e+00,  0.0000e+00,         nan])"),
        (&[1e-300, 1e300], "tensor([1.0000e-300, 1.0000e+300])"),
    ] {
        assert_eq!(floats(values, D), text);
    }
}

#[test]
fn sci_mode_overrides_the_range() {
    let sci_mode = |on| PrintOptions { sci_mode: Some(on), ..D };
    assert_eq!(floats(&[1.0, 2000.5], sci_mode(false)), "tensor([   1.0000, 2000.5000])");
    assert_eq!(floats(&[1.0, 2.0], sci_mode(true)), "tensor([1.0000e+00, 2.0000e+00])");
    assert_eq!(floats(&[0.0, NAN], sci_mode(true)), "tensor([0., nan])");
}

#[test]
fn ties_round_to_even() {
    let digits = |precision| PrintOptions { precision, ..D };
    assert_eq!(floats(&[0.5, 1.5, 2.5, -2.5, 0.1], digits(0)), "tensor([ 0,  2,  2, -2,  0])");
    assert_eq!(floats(&[0.125, 0.375], digits(2)), "tensor([0.12, 0.38])");
    let sci = PrintOptions { sci_mode: Some(true), ..digits(0) };
    assert_eq!(floats(&[1.5, 2.5], sci), "tensor([2e+00, 2e+00])");
    // Beyond what std::fmt accepts.
    assert!(floats(&[0.5], digits(usize::MAX)).starts_with("tensor([0.5000"));
}

#[test]
fn ints_and_bools() {
    let ints = [3, -10, 200];
    assert_eq!(plain(&[3], D, |i| Int(ints[i])), "tensor([  3, -10, 200])");
    let big = [u64::MAX, 0];
    assert_eq!(plain(&[2], D, |i| Int(big[i].into())), "tensor([18446744073709551615,                    0])");
    assert_eq!(plain(&[2], D, |i| Bool(i == 0)), "tensor([ True, False])");
    assert_eq!(plain(&[2], D, |_| Bool(true)), "tensor([True, True])");
}

#[test]
fn complex_columns_are_formatted_apart() {
    let values = [(1.0, 2.0), (-0.5, -1.0), (NAN, -0.0)];
    assert_eq!(plain(&[3], D, |i| Complex(values[i].0, values[i].1)), "tensor([ 1.0000+2.j, -0.5000-1.j,     nan-0.j])");
}

#[test]
fn scalars() {
    assert_eq!(plain(&[], D, |_| Float(2.5)), "tensor(2.5000)");
    assert_eq!(plain(&[], D, |_| Int(-7)), "tensor(-7)");
    assert_eq!(plain(&[], D, |_| Complex(1.0, -1.0)), "tensor(1.-1.j)");
}

#[test]
fn nested_brackets() {
    assert_eq!(
        plain(&[2, 3, 4], D, int),
        "\
tensor([[[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]],

        [[12, 13, 14, 15],
         [16, 17, 18, 19],
         [20, 21, 22, 23]]])"
    );
}

#[test]
fn long_vectors_wrap() {
    assert_eq!(
        plain(&[30], D, int),
        "\
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    );
    let narrow = PrintOptions { linewidth: 0, threshold: 5, edgeitems: 1, ..D };
    assert_eq!(plain(&[30], narrow, int), "tensor([ 0,\n         ...,\n        29])");
    let wide = |linewidth| PrintOptions { linewidth, ..D };
    assert_eq!(plain(&[2, 2], wide(14), int), "tensor([[0, 1],\n        [2, 3]])");
    assert_eq!(plain(&[2, 2], wide(13), int), "tensor([[0,\n         1],\n        [2,\n         3]])");
    let complex = |i| Complex(i as f64, 1.0);
    assert_eq!(plain(&[2], wide(21), complex), "tensor([0.+1.j, 1.+1.j])");
    assert_eq!(plain(&[2], wide(20), complex), "tensor([0.+1.j,\n        1.+1.j])");
}

#[test]
fn summaries() {
    assert_eq!(plain(&[1001], D, int), "tensor([   0,    1,    2,  ...,  998,  999, 1000])");
    let short = PrintOptions { threshold: 5, edgeitems: 1, ..D };
    assert_eq!(
        plain(&[4, 4], short, half),
        "\
tensor([[0.0000,  ..., 1.5000],
        ...,
        [6.0000,  ..., 7.5000]])"
    );
    // Neither `threshold` elements nor dimensions of twice `edgeitems` are cut.
    assert_eq!(plain(&[5], short, int), "tensor([0, 1, 2, 3, 4])");
    assert_eq!(plain(&[2, 4], short, int), "tensor([[0,  ..., 3],\n        [4,  ..., 7]])");
}

#[test]
fn no_edge_items_print_the_size() {
    let none = PrintOptions { edgeitems: 0, ..D };
    assert_eq!(plain(&[3], none, int), "tensor([0, 1, 2], size=(3,))");
    let none = PrintOptions { threshold: 0, ..none };
    assert_eq!(plain(&[2, 2], none, int), "tensor([...], size=(2, 2))");
    assert_eq!(plain(&[4], none, int), "tensor([...], size=(4,))");
}

#[test]
fn only_printed_elements_are_fetched() {
    let mut fetched = Vec::new();
    let frame = Frame { shape: &[1000, 1000], dtype_note: DTypeNote::Omitted, ..F64 };
    tensor_repr(&frame, &D, |index| {
        fetched.push(index.to_vec());
        Int(0)
    });
    assert_eq!(fetched.len(), 36);
    assert_eq!(fetched[4], [0, 998]);
    assert_eq!(fetched[35], [999, 999]);
}

#[test]
fn empty_tensors() {
    let text = |shape, dtype_note, grad| {
        let dtype = "torch.int64";
        framed(Frame { prefix: "tensor(", shape, dtype, dtype_note, grad, tangent: None }, D, int)
    };
    let (omitted, if_empty) = (DTypeNote::Omitted, DTypeNote::IfEmpty);
    assert_eq!(text(&[0], omitted, GradNote::None), "tensor([])");
    assert_eq!(text(&[0, 3], omitted, GradNote::None), "tensor([], size=(0, 3))");
    assert_eq!(text(&[0], if_empty, GradNote::None), "tensor([], dtype=torch.int64)");
    assert_eq!(text(&[2, 0], if_empty, GradNote::Leaf), "tensor([], size=(2, 0), dtype=torch.int64, requires_grad=True)");
    assert_eq!(text(&[1], if_empty, GradNote::None), "tensor([0])");
}

#[test]
fn suffixes_wrap() {
    let frame = Frame { shape: &[8], grad: GradNote::Node("MulBackward0"), ..F64 };
    assert_eq!(
        framed(frame, D, |_| Float(1.0 / 3.0)),
        "\
tensor([0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333, 0.3333],
       dtype=torch.float64, grad_fn=<MulBackward0>)"
    );
    // 15 characters, 2 that are kept free, and 21 of the suffix.
    let frame = Frame { shape: &[2], ..F64 };
    let wide = |linewidth| {
        let options = PrintOptions { linewidth, ..D };
        framed(frame, options, |i| Float(i as f64))
    };
    assert_eq!(wide(38), "tensor([0., 1.], dtype=torch.float64)");
    assert_eq!(wide(37), "tensor([0., 1.],\n       dtype=torch.float64)");
    let frame = Frame { shape: &[6], grad: GradNote::Node("MulBackward0"), ..F64 };
    let narrow = |linewidth| framed(frame, PrintOptions { linewidth, ..D }, |i| Float(i as f64));
    let elements = "tensor([0., 1., 2., 3., 4., 5.],\n       dtype=torch.float64";
    assert_eq!(narrow(50), format!("{elements}, grad_fn=<MulBackward0>)"));
    assert_eq!(narrow(49), format!("{elements},\n       grad_fn=<MulBackward0>)"));
}

#[test]
fn prefix_sets_the_indent_by_its_last_line() {
    let frame = Frame {
        prefix: "Parameter containing:\ntensor(",
        shape: &[2, 2],
        dtype_note: DTypeNote::Omitted,
        grad: GradNote::Leaf,
        ..F64
    };
    assert_eq!(
        framed(frame, D, |_| Float(0.5)),
        "\
Parameter containing:
tensor([[0.5000, 0.5000],
        [0.5000, 0.5000]], requires_grad=True)"
    );
}

#[test]
fn updating_options() {
    let start = PrintOptions { precision: 8, linewidth: 60, sci_mode: Some(true), ..D };
    let kept = start.updated(None, Some(7), None, None, None, None);
    assert_eq!((kept.precision, kept.threshold, kept.sci_mode), (8, 7, None));
    let short = start.updated(None, None, Some(5), None, Some("short"), Some(false));
    let expected = PrintOptions { precision: 2, edgeitems: 5, sci_mode: Some(false), ..D };
    assert_eq!(short, expected);
    let full = start.updated(None, None, None, None, Some("full"), None);
    assert_eq!((full.threshold, full.linewidth), (usize::MAX, 80));

    assert_eq!(print_options(), PrintOptions::default());
    set_print_options(start);
    assert_eq!(print_options(), start);
    set_print_options(D);
}
