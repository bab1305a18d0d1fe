//! What the tape costs: an op on a few elements unrecorded, recorded, and recorded and differentiated.
#![allow(clippy::panic, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use ferrograd::Tensor;
use ferrograd::error::Result;
use ferrograd::tape::Meta;
use ferrograd::tape::engine::{Options, backward};

/// Ops in a chain: enough that what is done once for a chain does not count.
const OPS: usize = 100;

fn chain(x: &Tensor, b: &Tensor) -> Result<Tensor> {
    (1..OPS).try_fold(x.add(b)?, |y, _| y.add(b))
}

fn differentiated(x: &Tensor, b: &Tensor) -> Result<()> {
    let y = chain(x, b)?;
    let root = vec![(y, b.clone())];
    backward(root, None, Options { retain_graph: false, create_graph: false })
}

fn tape(c: &mut Criterion) {
    let tensor = || Tensor::from_slice(&[4, 4], &[1f32; 16]).unwrap_or_else(|error| panic!("{error}"));
    let (plain, leaf, b) = (tensor(), tensor().with_meta(Meta::leaf(true)), tensor());
    c.bench_function("100 additions", |bench| bench.iter(|| chain(&plain, &b)));
    c.bench_function("100 additions, recorded", |bench| bench.iter(|| chain(&leaf, &b)));
    c.bench_function("100 additions, recorded and differentiated", |bench| bench.iter(|| differentiated(&leaf, &b)));
}

criterion_group!(benches, tape);
criterion_main!(benches);
