//! The operations: check, promote, kernel, derivative, each in one place. Of PyO3 only the attributes.

#[macro_use]
mod kernel;
#[macro_use]
pub mod inplace;

pub mod arguments;
pub mod arithmetic;
pub mod matmul;
pub mod operators;
pub mod pointwise;
pub mod reduce;
pub mod shape;

pub use kernel::{default_dtype, set_default_dtype};
