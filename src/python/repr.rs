//! The text of `repr(tensor)`, character for character as torch prints it.
//!
//! Knows neither Python nor the tensor type: elements are fetched by index, and only those that
//! are printed, each once. In three steps: `gather` fetches the elements, `cells` turns them into
//! texts of equal width, `Grid` sets these in brackets and lines.
//! Limit: dense tensors on the CPU; there are no `device`, `layout` or `nnz` suffixes.

mod cells;
mod options;
#[cfg(test)]
mod tests;

pub use self::cells::Item;
use self::cells::cells;
pub use self::options::{PrintOptions, print_options, set_print_options};

/// When the `dtype=` suffix is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DTypeNote {
    /// Never: the default float dtype.
    Omitted,
    /// Only if there are no elements to tell it from: int64, bool, and the complex dtype of the
    /// default float's precision.
    IfEmpty,
    /// Always: every other dtype.
    Always,
}

/// What is printed of a tensor's place on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradNote<'a> {
    /// Nothing.
    None,
    /// `requires_grad=True`.
    Leaf,
    /// `grad_fn=<MulBackward0>`, of this name.
    Node(&'a str),
}

/// What is printed around the elements.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// What the text begins with: `tensor(`, or `Parameter containing:\ntensor(`. Its last line
    /// sets the indent.
    pub prefix: &'a str,
    /// Size of each dimension.
    pub shape: &'a [usize],
    /// The dtype as it is to be printed, `torch.float64`.
    pub dtype: &'a str,
    /// Whether the dtype is printed.
    pub dtype_note: DTypeNote,
    /// The last suffix but one.
    pub grad: GradNote<'a>,
    /// The text of its tangent, if it carries one.
    pub tangent: Option<&'a str>,
}

/// The text of a tensor, whose element at an index `fetch` gives.
pub fn tensor_repr(frame: &Frame, options: &PrintOptions, mut fetch: impl FnMut(&[usize]) -> Item) -> String {
    let Frame { prefix, shape, .. } = *frame;
    let indent = last_line_width(prefix);
    let mut text = prefix.to_owned();
    if shape.contains(&0) {
        text.push_str("[]");
    } else {
        let numel = shape.iter().fold(1_usize, |n, &size| n.saturating_mul(size));
        let edge = (numel > options.threshold).then_some(options.edgeitems);
        let mut items = Vec::new();
        gather(shape, edge, &mut Vec::with_capacity(shape.len()), &mut fetch, &mut items);
        let (cells, cell_width) = cells(&items, options);
        // The innermost vectors stand one column further right per dimension around them.
        let room = options.linewidth.saturating_sub(indent + shape.len().saturating_sub(1));
        let per_line = (room / (cell_width + ", ".len())).max(1);
        let mut grid = Grid { shape, edge, indent, per_line, cells: cells.into_iter() };
        text.push_str(&grid.block(0));
    }
    push_suffixes(&mut text, &suffixes(frame, options), indent, options.linewidth);
    text.push(')');
    text
}

/// How many elements a summary keeps at either end of a dimension, if it leaves out any.
fn cut(size: usize, edge: Option<usize>) -> Option<usize> {
    edge.filter(|edge| size > edge.saturating_mul(2))
}

/// The printed elements, in row-major order.
fn gather(
    shape: &[usize],
    edge: Option<usize>,
    index: &mut Vec<usize>,
    fetch: &mut impl FnMut(&[usize]) -> Item,
    items: &mut Vec<Item>,
) {
    let Some(&size) = shape.get(index.len()) else {
        items.push(fetch(index));
        return;
    };
    let (head, tail) = cut(size, edge).map_or((size, size), |edge| (edge, size - edge));
    for i in (0..head).chain(tail..size) {
        index.push(i);
        gather(shape, edge, index, fetch, items);
        index.pop();
    }
}

/// Sets the cells, which come in row-major order, in nested brackets.
struct Grid<'a> {
    shape: &'a [usize],
    edge: Option<usize>,
    indent: usize,
    per_line: usize,
    cells: std::vec::IntoIter<String>,
}

impl Grid<'_> {
    /// The next block, within `depth` brackets; a single cell within all of them.
    fn block(&mut self, depth: usize) -> String {
        let Some(&size) = self.shape.get(depth) else {
            return self.cells.next().unwrap_or_default();
        };
        let inner_dims = self.shape.len() - depth - 1;
        let cut = cut(size, self.edge);
        let shown = cut.map_or(size, |edge| 2 * edge);
        let mut parts: Vec<String> = (0..shown).map(|_| self.block(depth + 1)).collect();
        if let Some(edge) = cut {
            let dots = if inner_dims == 0 && edge > 0 { " ..." } else { "..." };
            parts.insert(edge, dots.to_owned());
        }
        if inner_dims == 0 {
            parts = parts.chunks(self.per_line).map(|line| line.join(", ")).collect();
        }
        let separator = format!(",{}{}", "\n".repeat(inner_dims.max(1)), " ".repeat(self.indent + depth + 1));
        format!("[{}]", parts.join(&separator))
    }
}

fn suffixes(frame: &Frame, options: &PrintOptions) -> Vec<String> {
    let empty = frame.shape.contains(&0);
    let mut suffixes = Vec::new();
    // `[]` alone stands for (0,). Without edge items torch prints the size even where no element is
    // left out.
    let shape_untold = if empty { frame.shape.len() != 1 } else { options.edgeitems == 0 };
    if shape_untold {
        suffixes.push(format!("size={}", python_tuple(frame.shape)));
    }
    if frame.dtype_note == DTypeNote::Always || frame.dtype_note == DTypeNote::IfEmpty && empty {
        suffixes.push(format!("dtype={}", frame.dtype));
    }
    match frame.grad {
        GradNote::None => {}
        GradNote::Leaf => suffixes.push("requires_grad=True".to_owned()),
        GradNote::Node(name) => suffixes.push(format!("grad_fn=<{name}>")),
    }
    suffixes.extend(frame.tangent.map(|text| format!("tangent={text}")));
    suffixes
}

/// Appends the suffixes, each on a new line if it does not fit on the last one.
fn push_suffixes(text: &mut String, suffixes: &[String], indent: usize, linewidth: usize) {
    // The line that the elements end on counts two columns longer than it is, the lines begun here
    // do not: torch's rule.
    let mut column = last_line_width(text) + 2;
    for suffix in suffixes {
        let width = suffix.chars().count();
        if column + ", ".len() + width > linewidth {
            text.push_str(&format!(",\n{}{suffix}", " ".repeat(indent)));
            column = indent + width;
        } else {
            text.push_str(&format!(", {suffix}"));
            column += ", ".len() + width;
        }
    }
}

fn last_line_width(text: &str) -> usize {
    text.rsplit('\n').next().unwrap_or_default().chars().count()
}

/// `()`, `(3,)`, `(3, 4)`
fn python_tuple(shape: &[usize]) -> String {
    match shape {
        [size] => format!("({size},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}
