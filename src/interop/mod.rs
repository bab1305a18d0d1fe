//! Tensors from and to the arrays of other Rust crates, for users of the library from Rust.

mod ndarray;
