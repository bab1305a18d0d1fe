//! The tape without Python: for a sanitizer, and for what is easier said in Rust.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::engine::{Options, backward};
use super::{Meta, saved, without_recording};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::rounds;
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
    for _ in 0..rounds(50) {
        let x = leaf(&[1.0, 2.0])?;
        together(3, || {
            let mine = x.detached(false).with_meta(Meta::leaf(true));
            let y = (&mine * &x)?;
            run(&y, true)?;
            run(&y, false)?;
            assert_eq!(grad(&mine)?, [2.0, 4.0]);
            Ok(())
        })?;
        assert_eq!(grad(&x)?, [6.0, 12.0]);
    }
    Ok(())
}

/// Guards that the rules of a node are taken, or seen to be taken, under one lock.
#[test]
fn one_graph_is_freed_once() -> Result<()> {
    for _ in 0..rounds(200) {
        let x = leaf(&[3.0])?;
        let y = (&x * &x)?;
        let runs = AtomicUsize::new(0);
        together(3, || {
            if run(&y, false).is_ok() {
                runs.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })?;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(grad(&x)?, [6.0]);
    }
    Ok(())
}

/// Guards the lock of storages, also where a kernel has the pool's workers.
#[test]
fn threads_read_and_write_one_tensor() -> Result<()> {
    let size = if cfg!(miri) { 300 } else { 100_000 };
    let x = Tensor::from_slice(&[size], &vec![0.0; size])?;
    let one = Tensor::from_slice(&[size], &vec![1.0; size])?;
    together(3, || {
        for _ in 0..10 {
            x.add_in_place(&one)?;
            let values = (&x + &x)?.to_vec::<f64>()?;
            assert!(values.iter().all(|value| *value == values[0]));
        }
        Ok(())
    })?;
    assert_eq!(x.to_vec::<f64>()?, vec![30.0; size]);
    Ok(())
}

#[test]
fn threads_differentiate_what_they_share_and_what_they_do_not() -> Result<()> {
    let x = leaf(&[0.5, 0.25])?;
    let shared = (&x * &x)?.exp()?;
    together(3, || {
        for i in 1..=10 {
            run(&(&shared * i as f64)?, true)?;
        }
        Ok(())
    })?;
    let found = grad(&x)?;
    for (value, found) in [0.5f64, 0.25].iter().zip(found) {
        let expected = 3.0 * 55.0 * 2.0 * value * (value * value).exp();
        assert!((found - expected).abs() < 1e-9 * expected, "{found} {expected}");
    }
    Ok(())
}

/// Each thread runs the rules over what it has unpacked itself.
#[test]
fn threads_unpack_what_a_node_saved() -> Result<()> {
    for _ in 0..rounds(50) {
        let x = leaf(&[0.5, 0.25])?;
        let pack: saved::Pack = Arc::new(|x: Tensor| {
            let kept = x.to_vec::<f64>()?;
            let unpack = move || {
                // All threads unpack at the same time.
                std::thread::sleep(Duration::from_micros(200));
                Tensor::from_slice(&[kept.len()], &kept)
            };
            Ok(saved::Kept { unpack: Box::new(unpack), object: Arc::new(()) })
        });
        saved::push(saved::Hooks { pack, object: Arc::new(()) });
        let y = &x * &x;
        saved::pop();
        let y = y?;
        together(3, || {
            run(&y, true)?;
            run(&y, true)
        })?;
        assert_eq!(grad(&x)?, [6.0, 3.0]);
    }
    Ok(())
}

/// Runs the same on several threads, which begin at the same time.
fn together(threads: usize, body: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let start = Barrier::new(threads);
    std::thread::scope(|scope| {
        let work = || {
            start.wait();
            body()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
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
