//! One training step of the two-layer network, 64 x 1000 x 100 x 10: forward, backward, update.
#![allow(clippy::panic, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use ferrograd::Tensor;
use ferrograd::dtype::Scalar;
use ferrograd::error::{Error, Result};
use ferrograd::tape::engine::{Options, grad};
use ferrograd::tape::{Meta, without_recording};

fn filled(shape: &[usize], scale: f32) -> Result<Tensor> {
    let numel = shape.iter().product();
    let values: Vec<f32> = (0..numel).map(|i: usize| (((i * 7919) % 1000) as f32 / 500.0 - 1.0) * scale).collect();
    Tensor::from_slice(shape, &values)
}

struct Network {
    x: Tensor,
    y: Tensor,
    weights: [Tensor; 2],
}

impl Network {
    fn new() -> Result<Network> {
        let weight = |shape: &[usize]| Ok::<_, Error>(filled(shape, 0.1)?.with_meta(Meta::leaf(true)));
        let weights = [weight(&[1000, 100])?, weight(&[100, 10])?];
        Ok(Network { x: filled(&[64, 1000], 1.0)?, y: filled(&[64, 10], 1.0)?, weights })
    }

    fn step(&self) -> Result<()> {
        let [w1, w2] = &self.weights;
        let error = self.x.mm(w1)?.relu()?.mm(w2)?.sub(&self.y)?;
        let loss = error.mul(&error)?.sum(None, false, None)?;
        let one = Tensor::from_scalar(Scalar::Float(1.0), loss.dtype())?;
        let grads = grad(vec![(loss, one)], &self.weights, Options { retain_graph: false, create_graph: false })?;
        without_recording(|| {
            for (w, g) in self.weights.iter().zip(grads) {
                if let Some(g) = g {
                    w.write(&w.sub(&g.mul(&Tensor::from_number(Scalar::Float(1e-6))?)?)?)?;
                }
            }
            Ok(())
        })
    }
}

fn step(c: &mut Criterion) {
    let network = Network::new().unwrap_or_else(|error| panic!("{error}"));
    c.bench_function("training step 64x1000x100x10", |bench| bench.iter(|| network.step()));
}

criterion_group!(benches, step);
criterion_main!(benches);
