//! The kernels' parallel loop beside rayon's: why the hot loops have a scheme of their own.
//!
//! What counts is the loop after a pause, as between two operations of a training step: rayon's workers sleep by then.
#![allow(clippy::panic, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use ferrograd::kernels::par;
use rayon::prelude::*;

const PIECES: usize = 16;

/// Keeps a core busy, as Python does between two operations.
fn busy(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Times `run` after a pause, the pause not counted.
fn after_pause(iterations: u64, pause: Duration, mut run: impl FnMut()) -> Duration {
    let mut total = Duration::ZERO;
    for _ in 0..iterations {
        busy(pause);
        let start = Instant::now();
        run();
        total += start.elapsed();
    }
    total
}

fn loops(c: &mut Criterion) {
    let mut group = c.benchmark_group("parallel loop");
    for pause in [0, 20, 300].map(Duration::from_micros) {
        for work in [0, 50, 200].map(Duration::from_micros) {
            let piece = work / PIECES as u32;
            let name = format!("{work:?} of work after {pause:?}");
            group.bench_function(BenchmarkId::new("ferrograd", &name), |bench| {
                bench.iter_custom(|n| {
                    after_pause(n, pause, || par::for_ranges(PIECES, 1, &|range| range.for_each(|_| busy(black_box(piece)))))
                })
            });
            group.bench_function(BenchmarkId::new("rayon", &name), |bench| {
                bench.iter_custom(|n| after_pause(n, pause, || (0..PIECES).into_par_iter().for_each(|_| busy(black_box(piece)))))
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = loops
}
criterion_main!(benches);
