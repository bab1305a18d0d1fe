//! Plain generic loops over memory. They know no tensor, no dtype enum, no error and no Python.

pub mod bessel;
pub mod complex;
pub mod conv;
pub mod distance;
pub mod elementwise;
pub mod fft;
pub mod folds;
pub mod gather;
pub mod grid;
pub mod igamma;
pub mod integer;
pub mod join;
pub mod linalg;
pub mod lines;
pub mod map;
pub mod math;
pub mod matmul;
pub mod normalize;
pub mod optim;
pub mod par;
pub mod polynomials;
pub mod pool;
pub mod quotient;
pub mod reduce;
pub(crate) mod register;
pub mod resample;
pub mod rows;
pub mod select;
pub mod simd;
pub mod softmax;
pub mod special;
pub mod transpose;
pub mod triangle;
pub mod vector;

pub use crate::interpreter::without_interpreter;
