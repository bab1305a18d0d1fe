//! The tape without Python: for a sanitizer, and for what is easier said in Rust.

use super::engine::{Options, backward};
use super::{Meta, without_recording};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::tensor::Tensor;

fn leaf(values: &[f64]) -> Result<Tensor> {
    Ok(Tensor::from_slice(&[values.len()], values)?.with_meta(Meta::leaf(true)))
}

fn run(root: &Tensor, retain_graph: bool) -> Result<()> {
    let ones = Tensor::from_scalar(Scalar::Float(1.0), root.dtype())?.expand_to("backward", root.shape())?;
    backward(vec![(root.clone(), ones)], None, Options { retain_graph, create_graph: false })
}

fn grad(x: &Tensor) -> Result<Vec<f64>> {
    let grad = x.meta_or_new().lock().grad.clone();
    grad.map_or_else(|| Ok(Vec::new()), |grad| grad.tensor()?.to_vec())
}

#[test]
fn gradients_add_up() -> Result<()> {
    let x = leaf(&[1.0, 2.0, 3.0])?;
    let y = ((&x * &x)? + &x)?;
    run(&y, true)?;
    assert_eq!(grad(&x)?, [3.0, 5.0, 7.0]);
    run(&y, false)?;
    assert_eq!(grad(&x)?, [6.0, 10.0, 14.0]);
    assert!(run(&y, false).is_err(), "the graph is freed");
    Ok(())
}

#[test]
fn a_write_to_what_is_saved_is_an_error() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let y = (&x * 2.0)?;
    let z = (&y * &y)?;
    without_recording(|| y.fill_with(Scalar::Float(0.0)))?;
    assert!(run(&z, false).is_err());
    assert!(grad(&x)?.is_empty());
    Ok(())
}

#[test]
fn long_chains_and_wide_graphs_are_dropped() -> Result<()> {
    let length = if cfg!(miri) { 200 } else { 100_000 };
    let x = leaf(&[1.0])?;
    let mut y = x.clone();
    for _ in 0..length {
        y = (&y + 1.0)?;
    }
    run(&y, true)?;
    assert_eq!(grad(&x)?, [1.0]);
    let mut z = x.clone();
    for _ in 0..length.min(50) {
        z = (&z + &z)?;
    }
    drop(y);
    run(&z, false)?;
    assert_eq!(grad(&x)?, [1.0 + (1u64 << length.min(50)) as f64]);
    Ok(())
}

#[test]
fn threads_run_backward_on_a_shared_leaf() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let outcome: Result<()> = std::thread::scope(|scope| {
        let work = || -> Result<()> {
            for _ in 0..20 {
                let mine = x.detached(false).with_meta(Meta::leaf(true));
                let y = (&mine * &x)?;
                run(&y, false)?;
                assert_eq!(grad(&mine)?, [1.0, 2.0]);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    });
    outcome
}

#[test]
fn a_graph_is_dropped_in_another_thread() -> Result<()> {
    let x = leaf(&[1.0, 2.0])?;
    let mut y = x.clone();
    for _ in 0..500 {
        y = (&y * &x)?;
    }
    std::thread::spawn(move || drop(y)).join().unwrap();
    Ok(())
}
