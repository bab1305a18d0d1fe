//! Elements to texts of equal width. Knows nothing of shapes.

use std::iter::repeat_n;

use super::PrintOptions;

/// More digits after the point than this are not printed: `std::fmt` panics beyond, and the last
/// one of an f64 that is not 0 is the 1074th.
const MAX_PRECISION: usize = u16::MAX as usize;

/// One element. All elements of a tensor are of the same kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Item {
    /// Of any float dtype; f64 holds the narrower ones exactly.
    Float(f64),
    /// Real and imaginary part of any complex dtype.
    Complex(f64, f64),
    /// Of any integer dtype, uint64 included.
    Int(i128),
    /// `True` or `False`.
    Bool(bool),
}

/// The text of each element, and the width they are aligned to.
///
/// Zeros, infinities and NaN do not count for the width: a `nan` among `1.` sticks out, as in torch.
pub(super) fn cells(items: &[Item], options: &PrintOptions) -> (Vec<String>, usize) {
    let real = FloatFormat::new(
        items.iter().filter_map(|item| match *item {
            Item::Float(v) | Item::Complex(v, _) => Some(v),
            _ => None,
        }),
        options,
    );
    let imag = FloatFormat::new(
        items.iter().filter_map(|item| match *item {
            Item::Complex(_, v) => Some(v),
            _ => None,
        }),
        options,
    );
    let mut cells: Vec<String> = items
        .iter()
        .map(|item| match *item {
            Item::Float(v) => real.padded(v),
            Item::Complex(re, im) => {
                let im = imag.text(im);
                let plus = if im.starts_with('-') { "" } else { "+" };
                format!("{}{plus}{im}j", real.padded(re))
            }
            Item::Int(v) => v.to_string(),
            Item::Bool(v) => (if v { "True" } else { "False" }).to_owned(),
        })
        .collect();
    let width = match items.first() {
        Some(Item::Float(_)) => real.width,
        Some(Item::Complex(..)) => real.width + imag.width + "j".len(),
        _ => {
            let width = cells.iter().map(String::len).max().unwrap_or(1);
            cells.iter_mut().for_each(|cell| *cell = right_aligned(cell, width));
            width
        }
    };
    (cells, width)
}

/// How the floats of a tensor, or their real or imaginary parts, are written.
struct FloatFormat {
    style: Style,
    precision: usize,
    width: usize,
}

#[derive(Clone, Copy)]
enum Style {
    /// `2.`
    Whole,
    /// `2.0000`
    Fixed,
    /// `2.0000e+00`
    Scientific,
}

impl FloatFormat {
    /// Style and width are decided by the values other than zeros, infinities and NaN.
    fn new(values: impl Iterator<Item = f64>, options: &PrintOptions) -> FloatFormat {
        let values: Vec<f64> = values.filter(|v| v.is_finite() && *v != 0.0).collect();
        let mut format = FloatFormat { style: Style::Whole, precision: options.precision.min(MAX_PRECISION), width: 1 };
        if values.is_empty() {
            return format;
        }
        let (min, max) = values.iter().fold((f64::INFINITY, 0.0_f64), |(min, max), v| (min.min(v.abs()), max.max(v.abs())));
        format.style = if options.sci_mode.unwrap_or(max / min > 1000.0 || max > 1e8 || min < 1e-4) {
            Style::Scientific
        } else if values.iter().all(|v| v.fract() == 0.0) {
            Style::Whole
        } else {
            Style::Fixed
        };
        format.width = values.iter().map(|&v| format.text(v).len()).max().unwrap_or(1);
        format
    }

    fn text(&self, v: f64) -> String {
        let precision = self.precision;
        if v.is_nan() {
            return "nan".to_owned();
        }
        if v.is_infinite() {
            return v.to_string();
        }
        match self.style {
            Style::Whole => format!("{v:.0}."),
            Style::Fixed => format!("{v:.precision$}"),
            Style::Scientific => python_exponent(&format!("{v:.precision$e}")),
        }
    }

    fn padded(&self, v: f64) -> String {
        right_aligned(&self.text(v), self.width)
    }
}

/// `1.5e-7` as Python writes it, with a sign and two digits: `1.5e-07`.
fn python_exponent(text: &str) -> String {
    let Some((mantissa, exponent)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn right_aligned(text: &str, width: usize) -> String {
    let mut cell: String = repeat_n(' ', width.saturating_sub(text.len())).collect();
    cell.push_str(text);
    cell
}
