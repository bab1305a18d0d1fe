//! Matrix products at the shapes of the two-layer network, and square ones; and what one thread could reach at most.
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

/// Accumulators enough to hide the latency of a fused multiply-add, few enough to stay in registers.
#[cfg(target_arch = "x86_64")]
const ACCUMULATORS: usize = 24;

/// Independent fused multiply-adds without memory: `rounds` for each accumulator.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fused_f32(rounds: usize) -> f32 {
    use std::arch::x86_64::{_mm512_add_ps, _mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1e-3)));
    let mut sums = [_mm512_set1_ps(0.0); ACCUMULATORS];
    for _ in 0..rounds {
        sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, a, b));
    }
    _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |x, y| _mm512_add_ps(x, y)))
}

/// The peak of one thread in float32, half of which is that in float64. Only where there is AVX-512.
fn peak(c: &mut Criterion) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        const ROUNDS: usize = 10_000;
        let mut group = c.benchmark_group("peak");
        group.throughput(Throughput::Elements((2 * 16 * ACCUMULATORS * ROUNDS) as u64));
        // SAFETY: the processor has the instructions.
        group.bench_function("float32, one thread", |bench| bench.iter(|| unsafe { fused_f32(black_box(ROUNDS)) }));
        group.finish();
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = c;
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = peak, products
}
criterion_main!(benches);
