//! One-pass kernels: ReLU and a sum of two tensors.
#![allow(clippy::panic, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::Tensor;

fn filled(n: usize) -> Tensor {
    let values: Vec<f32> = (0..n).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_slice(&[n], &values).unwrap_or_else(|error| panic!("{error}"))
}

fn passes(c: &mut Criterion) {
    let mut group = c.benchmark_group("elementwise");
    for n in [1 << 10, 1 << 16, 1 << 20] {
        let (a, b) = (filled(n), filled(n));
        group.throughput(Throughput::Elements(n as u64));
        group.bench_function(BenchmarkId::new("relu", n), |bench| bench.iter(|| black_box(&a).relu()));
        group.bench_function(BenchmarkId::new("add", n), |bench| bench.iter(|| black_box(&a).add(black_box(&b))));
    }
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
