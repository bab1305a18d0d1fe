//! The one error type. Each variant carries what its message needs; `python/errors.rs` maps it to torch's class.

use std::fmt;

use crate::dtype::DType;

/// What an op answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an op could not answer. The comment names the Python class.
#[non_exhaustive]
#[derive(Debug)]
pub enum Error {
    /// Shapes that do not broadcast. RuntimeError.
    Broadcast {
        /// The op.
        op: &'static str,
        /// Shape of the first operand.
        lhs: Vec<usize>,
        /// Shape of the second operand.
        rhs: Vec<usize>,
    },
    /// A dimension out of range. IndexError.
    Dim {
        /// The op.
        op: &'static str,
        /// The dimension as given.
        dim: isize,
        /// The number of dimensions.
        rank: usize,
    },
    /// A dtype the op does not take. NotImplementedError, which is a RuntimeError.
    DType {
        /// The op.
        op: &'static str,
        /// The dtype as given.
        got: DType,
        /// The accepted ones.
        expected: String,
    },
    /// A value that backward needs has been written to. RuntimeError.
    Modified {
        /// What was modified, as `[torch.FloatTensor [2, 3]], which is output 0 of Mul,`.
        what: String,
        /// The version now.
        found: u32,
        /// The version when it was saved.
        expected: u32,
        /// Whether anomaly detection is on, which has shown where to look.
        traced: bool,
    },
    /// A tensor that backward needs has been given data of another shape. RuntimeError.
    Outgrown {
        /// The tensor, as in `Modified`.
        what: String,
    },
    /// An inference tensor that backward needs. RuntimeError.
    Inference,
    /// An op without a derivative. RuntimeError.
    NoDerivative {
        /// The op.
        op: &'static str,
    },
    /// A derivative rule failed: a bug of ours. RuntimeError.
    Rule {
        /// The op's node.
        op: String,
        /// Which input.
        input: usize,
        /// What went wrong.
        cause: Box<Error>,
    },
    /// Memory ran out. MemoryError.
    Memory {
        /// How much was asked for.
        bytes: usize,
    },
    /// Anything else that torch answers with a RuntimeError.
    Runtime(String),
    /// An index out of range. IndexError.
    Index(String),
    /// Places (an index, a mask) that do not fit what they are used on, also in backward: the user has written to them since.
    /// RuntimeError.
    Places(String),
    /// A derivative that is not defined for what was asked of an op. RuntimeError.
    Undefined(String),
    /// A value out of its domain. ValueError.
    Value(String),
    /// An argument of the wrong type. TypeError.
    Type(String),
    /// A matrix that cannot be decomposed. LinAlgError, which is a RuntimeError.
    Linalg(String),
    /// Something torch declares as not implemented. NotImplementedError.
    NotImplemented(String),
    /// A random op that needs the values of samples which a `vmap` has yet to come to: of the transform of this number. What Python
    /// raises, `vmap` catches.
    OtherSamples(u64),
    /// An exception that came from Python code (a hook, say) and goes back there as it is.
    External(Box<dyn std::error::Error + Send + Sync>),
}

/// `Err(Error::Runtime(format!(…)))`.
#[macro_export]
macro_rules! runtime_error {
    ($($arg:tt)+) => { Err($crate::error::Error::Runtime(format!($($arg)+))) };
}

impl Error {
    /// An op that has no kernel for a dtype, only for others. NotImplementedError.
    #[cold]
    pub fn unsupported(op: &'static str, got: DType, expected: &[DType]) -> Error {
        let names: Vec<String> = expected.iter().map(DType::to_string).collect();
        Error::DType { op, got, expected: names.join(", ") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Broadcast { op, lhs, rhs } => {
                write!(
                    f,
                    "{op}: shapes {lhs:?} and {rhs:?} do not broadcast (sizes must be equal or 1, counted from the last dimension)"
                )
            }
            Error::Dim { op, dim, rank } => {
                let reach = (*rank).max(1) as isize;
                write!(f, "{op}: dim {dim} is out of range (expected {}..={} for a {rank}-d tensor)", -reach, reach - 1)
            }
            Error::DType { op, got, expected } => write!(f, "{op}: not implemented for dtype {got} (expected one of {expected})"),
            Error::Modified { what, found, expected, traced } => write!(
                f,
                "one of the variables needed for gradient computation has been modified by an inplace operation: \
                 {what} is at version {found}; expected version {expected} instead. Hint: {}",
                if *traced {
                    "the backtrace further above shows the operation that failed to compute its gradient. The variable in question \
                     was changed in there or anywhere later. Good luck!"
                } else {
                    "enable anomaly detection to find the operation that failed to compute its gradient, with \
                     torch.autograd.set_detect_anomaly(True, check_nan=False)."
                }
            ),
            Error::Outgrown { what } => write!(
                f,
                "one of the variables needed for gradient computation has been given data of another shape (x.data = y): it was {what}"
            ),
            Error::Inference => f.write_str(
                "Inference tensors cannot be saved for backward: take a clone of what was made in inference mode, or make it under \
                 `torch.no_grad()` instead of `torch.inference_mode()`.",
            ),
            Error::NoDerivative { op } => {
                write!(f, "derivative for aten::{op} is not implemented: detach its input if none is wanted")
            }
            Error::Rule { op, input, cause } => {
                write!(f, "{op}: the derivative for input {input} failed ({cause}); this is a bug of ferrograd, please report it")
            }
            Error::Memory { bytes } => write!(f, "not enough memory: could not allocate {bytes} bytes"),
            Error::Runtime(text)
            | Error::Index(text)
            | Error::Places(text)
            | Error::Undefined(text)
            | Error::Value(text)
            | Error::Type(text)
            | Error::Linalg(text)
            | Error::NotImplemented(text) => f.write_str(text),
            Error::OtherSamples(_) => f.write_str("vmap: other samples come first"),
            Error::External(cause) => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for Error {}
