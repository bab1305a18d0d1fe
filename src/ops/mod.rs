//! The operations: check, promote, kernel, derivative, each in one place. Of PyO3 only the attributes.

#[macro_use]
mod kernel;
#[macro_use]
pub mod inplace;
mod inplace_views;

pub mod activation;
pub mod aliases;
mod along;
pub mod arguments;
pub mod arithmetic;
pub mod bitwise;
pub mod clamp;
pub mod compare;
pub mod complex;
pub mod copy;
pub mod creation;
pub mod diagonal;
pub mod difference;
pub mod distance;
pub mod dropout;
mod dunders;
pub mod embedding;
pub mod extremum;
pub mod fft;
pub mod float_parts;
pub mod grid;
pub mod index;
pub mod index_dim;
pub mod join;
pub mod layer_norms;
pub mod linalg;
pub mod loss;
pub mod masked;
pub mod matmul;
pub mod norm;
mod normalize;
pub mod operators;
pub mod optim;
pub mod permute;
mod places;
pub mod pointwise;
pub mod power;
pub mod random;
pub mod rectifier;
pub mod reduce;
pub mod resample;
pub mod rounding;
pub mod samples;
pub mod scan;
pub mod scatter;
pub mod search;
pub mod select;
pub mod shape;
pub mod shuffle;
pub mod softmax;
pub mod sort;
pub mod special;
pub mod split;
pub mod statistics;
pub mod trapezoid;
pub mod trigonometry;
pub mod window;

pub use kernel::{default_dtype, set_default_dtype};
