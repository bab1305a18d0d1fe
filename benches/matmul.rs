//! Matrix products at the shapes of the two-layer network, and square ones. What could be reached at most: `limits.rs`.
#![allow(clippy::panic, missing_docs)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ferrograd::Tensor;
use ferrograd::dtype::DType;

/// A tensor of small numbers without a pattern that matters.
fn filled(shape: &[usize]) -> Tensor {
    let numel = shape.iter().product();
    let values: Vec<f32> = (0..numel).map(|i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_slice(shape, &values).unwrap_or_else(|error| panic!("{error}"))
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    let network = [(64, 1000, 100), (64, 100, 10), (64, 10, 100), (1000, 64, 100)];
    let square = [256, 512, 1024, 2048].map(|n| (n, n, n));
    for (m, k, n) in network.into_iter().chain(square) {
        for dtype in [DType::F32, DType::F64] {
            let (a, b) = (filled(&[m, k]).to_dtype(dtype), filled(&[k, n]).to_dtype(dtype));
            let (Ok(a), Ok(b)) = (a, b) else { continue };
            group.throughput(Throughput::Elements((2 * m * k * n) as u64));
            group.bench_function(BenchmarkId::new(dtype.name(), format!("{m}x{k}x{n}")), |bench| {
                bench.iter(|| black_box(&a).mm(black_box(&b)))
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = products
}
criterion_main!(benches);
