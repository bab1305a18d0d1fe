//! What `set_printoptions` sets.

use std::sync::{PoisonError, RwLock};

/// How tensors are printed, as set by `set_printoptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the decimal point of floats.
    pub precision: usize,
    /// A tensor of more elements is summarised; `usize::MAX` (infinity in Python) for never.
    pub threshold: usize,
    /// Elements that a summary keeps at each end of a dimension.
    pub edgeitems: usize,
    /// Characters per line.
    pub linewidth: usize,
    /// Scientific notation: always, never, or by the range of the values.
    pub sci_mode: Option<bool>,
}

impl PrintOptions {
    const DEFAULT: PrintOptions = PrintOptions { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };

    /// The options after `set_printoptions` with these arguments.
    ///
    /// The profile (`default`, `short` or `full`; other names are ignored) comes first, single
    /// settings override it, and what is not given stays. Only `sci_mode` goes back to None if it
    /// is not given, as in torch.
    #[must_use]
    pub fn updated(
        self,
        precision: Option<usize>,
        threshold: Option<usize>,
        edgeitems: Option<usize>,
        linewidth: Option<usize>,
        profile: Option<&str>,
        sci_mode: Option<bool>,
    ) -> PrintOptions {
        let base = match profile {
            Some("default") => Self::DEFAULT,
            Some("short") => PrintOptions { precision: 2, edgeitems: 2, ..Self::DEFAULT },
            Some("full") => PrintOptions { threshold: usize::MAX, ..Self::DEFAULT },
            _ => self,
        };
        PrintOptions {
            precision: precision.unwrap_or(base.precision),
            threshold: threshold.unwrap_or(base.threshold),
            edgeitems: edgeitems.unwrap_or(base.edgeitems),
            linewidth: linewidth.unwrap_or(base.linewidth),
            sci_mode,
        }
    }
}

impl Default for PrintOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

static OPTIONS: RwLock<PrintOptions> = RwLock::new(PrintOptions::DEFAULT);

/// The options of this process.
pub fn print_options() -> PrintOptions {
    *OPTIONS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces the options of this process.
pub fn set_print_options(options: PrintOptions) {
    *OPTIONS.write().unwrap_or_else(PoisonError::into_inner) = options;
}
