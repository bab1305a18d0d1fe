//! Tensors, parallel CPU kernels and reverse-mode autograd with torch's names.
//!
//! | layer   | what it is                                             | what it knows                              |
//! |---------|--------------------------------------------------------|--------------------------------------------|
//! | kernels | plain generic Rust over slices and raw strided memory  | nothing else                               |
//! | tape    | nodes, `vjp!`, the backward engine                     | the tensor                                 |
//! | ops     | `impl Tensor`: check, promote, kernel, derivative      | kernels, tape; of PyO3 only the attributes |
//! | python  | module tree, argument types, exceptions, numpy         | everything                                 |

pub mod dtype;
pub mod error;
pub mod fork;
mod interop;
pub mod interpreter;
pub mod kernels;
pub mod layout;
pub mod ops;
pub mod python;
pub mod random;
pub mod storage;
pub mod tape;
pub mod tensor;

pub use tensor::Tensor;

/// How often a test repeats something: Miri, which interprets, does a twentieth.
#[cfg(test)]
fn rounds(all: usize) -> usize {
    if cfg!(miri) { all.div_ceil(20) } else { all }
}
