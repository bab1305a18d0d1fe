//! Reverse-mode differentiation: ops record nodes, the engine runs them backwards.
//!
//! Knows the tensor; knows nothing of kernels or Python.

pub mod anomaly;
mod chain;
pub mod custom;
pub mod engine;
pub mod former;
pub mod frozen;
pub mod held;
pub mod hooks;
pub mod kept;
pub mod leaves;
pub mod level;
pub mod links;
pub mod meta;
pub mod mode;
pub mod node;
pub mod numbers;
pub mod reach;
pub mod record;
pub mod requests;
pub mod sample;
pub mod saved;
pub mod saved_names;
mod slices;
pub mod view;
pub mod written;

pub use meta::{Grad, GradObject, Hook, Meta};
pub use mode::{is_following, is_recording, without_recording};
pub use node::{Edge, Node};
pub use record::{Recorder, SavedOutput};

#[cfg(test)]
mod tests;
