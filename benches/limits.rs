//! What this machine could do at most: multiply-adds without memory, and passes over memory that compute next to nothing. A kernel
//! that takes as long as one of these can't be made faster.
#![allow(clippy::panic, missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;
    use std::hint::black_box;
    use std::ops::Range;

    use criterion::{BenchmarkId, Criterion, Throughput};
    use ferrograd::Tensor;
    use ferrograd::dtype::DType;
    use ferrograd::kernels::par;

    /// Accumulators enough to hide the latency of a fused multiply-add, few enough to stay in registers.
    const ACCUMULATORS: usize = 24;
    const ROUNDS: usize = 40_000;

    /// Independent fused multiply-adds: `rounds` for each accumulator.
    #[target_feature(enable = "avx512f")]
    fn fused_f32(rounds: usize) -> f32 {
        let (a, b) = (_mm512_set1_ps(black_box(0.5)), _mm512_set1_ps(black_box(1e-3)));
        let mut sums = [_mm512_set1_ps(0.0); ACCUMULATORS];
        for _ in 0..rounds {
            sums.iter_mut().for_each(|sum| *sum = _mm512_fmadd_ps(*sum, a, b));
        }
        _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |x, y| _mm512_add_ps(x, y)))
    }

    /// The sum, asked for a page ahead.
    #[target_feature(enable = "avx512f")]
    unsafe fn read(x: *const f32, range: Range<usize>) -> f32 {
        let mut sums = [_mm512_set1_ps(0.0); 4];
        for i in range.step_by(64) {
            for (j, sum) in sums.iter_mut().enumerate() {
                let at = x.wrapping_add(i + 16 * j);
                _mm_prefetch::<_MM_HINT_T0>(at.wrapping_byte_add(4096).cast());
                // SAFETY: the caller gives whole rows of 64.
                *sum = _mm512_add_ps(*sum, unsafe { _mm512_loadu_ps(at) });
            }
        }
        _mm512_reduce_add_ps(sums.into_iter().fold(_mm512_set1_ps(0.0), |x, y| _mm512_add_ps(x, y)))
    }

    /// y = x / 2, also in place.
    #[target_feature(enable = "avx512f")]
    unsafe fn write(y: *mut f32, x: *const f32, range: Range<usize>) {
        let half = _mm512_set1_ps(0.5);
        for i in range.step_by(64) {
            // SAFETY: the caller gives whole rows of 64.
            let row: [__m512; 4] = std::array::from_fn(|j| unsafe { _mm512_loadu_ps(x.add(i + 16 * j)) });
            for (j, part) in row.into_iter().enumerate() {
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(y.add(i + 16 * j), _mm512_mul_ps(part, half)) };
            }
        }
    }

    /// Shares the rows of 64 out evenly.
    fn on_threads(n: usize, threads: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
        if threads == 1 { body(0..n) } else { par::for_even_ranges(n, 64, 1 << 14, body) }
    }

    pub fn limits(c: &mut Criterion) {
        if !std::arch::is_x86_feature_detected!("avx512f") {
            return;
        }
        let all = par::num_threads();
        for threads in if all == 1 { vec![1] } else { vec![1, all] } {
            let mut group = c.benchmark_group("multiply-adds of float32");
            group.throughput(Throughput::Elements((2 * 16 * ACCUMULATORS * ROUNDS * threads) as u64));
            group.bench_function(BenchmarkId::new("threads", threads), |bench| {
                let one = |_: Range<usize>| {
                    // SAFETY: the processor has the instructions.
                    black_box(unsafe { fused_f32(black_box(ROUNDS)) });
                };
                bench.iter(|| if threads == 1 { one(0..1) } else { par::for_ranges(threads, 1, &one) })
            });
            group.finish();
            for (name, n) in [("64K", 1usize << 16), ("1M", 1 << 20), ("16M", 1 << 24)] {
                let filled = || Tensor::from_slice(&[n], &vec![1f32; n]).unwrap_or_else(|error| panic!("{error}"));
                let (tensor, other) = (filled(), filled());
                assert_eq!(tensor.dtype(), DType::F32);
                let (x, y) = (tensor.ptr::<f32>() as usize, other.ptr::<f32>() as usize);
                let mut group = c.benchmark_group(format!("{name} float32, {threads} threads"));
                // SAFETY: the processor has the instructions, and the tensors n elements, a multiple of 64.
                unsafe {
                    group.throughput(Throughput::Bytes(4 * n as u64));
                    let one = |range| {
                        black_box(read(x as *const f32, range));
                    };
                    group.bench_function("read", |bench| bench.iter(|| on_threads(n, threads, &one)));
                    group.throughput(Throughput::Bytes(8 * n as u64));
                    for (name, y) in [("in place", x), ("elsewhere", y)] {
                        let one = |range| write(y as *mut f32, x as *const f32, range);
                        group.bench_function(name, |bench| bench.iter(|| on_threads(n, threads, &one)));
                    }
                }
                group.finish();
            }
        }
    }
}

/// Only where there is AVX-512.
fn limits(c: &mut Criterion) {
    #[cfg(target_arch = "x86_64")]
    avx512::limits(c);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = c;
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30);
    targets = limits
}
criterion_main!(benches);
