//! Comparison with torch's numbers, of which `tables` holds fingerprints, and the generator's own contracts.
#![allow(clippy::panic, clippy::unwrap_used)]

mod tables;

use super::*;
use tables::{NS, ROWS, SEEDS};

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Values as little-endian bytes.
trait Bytes: Copy + Default {
    fn bytes(self) -> Vec<u8>;
}
macro_rules! bytes {
    ($($ty:ty)+) => { $(impl Bytes for $ty { fn bytes(self) -> Vec<u8> { self.to_le_bytes().to_vec() } })+ };
}
bytes! { f32 f64 i64 i32 i16 i8 u8 }
impl Bytes for bool {
    fn bytes(self) -> Vec<u8> {
        vec![u8::from(self)]
    }
}

/// The bytes of a slice of `n` values that `fill` fills.
fn filled<E: Bytes>(n: usize, fill: impl FnOnce(&mut [E])) -> Vec<u8> {
    let mut out = vec![E::default(); n];
    fill(&mut out);
    out.into_iter().flat_map(E::bytes).collect()
}

/// The bytes of what `draw` hands to its argument.
fn collected<E: Bytes>(draw: impl FnOnce(&mut dyn FnMut(E))) -> Vec<u8> {
    let mut out = Vec::new();
    draw(&mut |value| out.extend(value.bytes()));
    out
}

/// Categories drawn for each row of `n` weights.
fn multinomial<T: Real>(
    g: &mut Generator,
    weights: &[T],
    n: usize,
    samples: usize,
    replacement: bool,
) -> Result<Vec<i64>, String> {
    if replacement {
        return with_replacement(g, weights, n, samples);
    }
    check_rows(weights, n)?;
    let q: Vec<T> = weights.iter().map(|_| T::from_f64(g.exponential(1.0))).collect();
    Ok(without_replacement(weights, &q, n, samples))
}

/// The bytes of `samples` categories drawn by the weights of a function of their index, for `rows * n` of them.
fn sampled<T: Real>(
    g: &mut Generator,
    (rows, n, samples): (usize, usize, usize),
    replacement: bool,
    weight: impl Fn(usize) -> f64,
) -> Vec<u8> {
    let weights: Vec<T> = (0..rows * n).map(|i| T::from_f64(weight(i))).collect();
    let drawn = multinomial(g, &weights, n, samples, replacement).unwrap();
    drawn.into_iter().flat_map(i64::bytes).collect()
}

/// Runs the operation of a table row on a float type.
fn run_real<T: Real + Bytes + Whole>(op: &str, g: &mut Generator, n: usize) -> Vec<u8> {
    let uneven = |i: usize| (i * 7 % 11 + 1) as f64 / 11.0;
    match op {
        "rand" => filled(n, |o: &mut [T]| rand(g, o)),
        "uniform -1 1" => filled(n, |o: &mut [T]| uniform(g, o, -1.0, 1.0)),
        "uniform 0.3 0.7" => filled(n, |o: &mut [T]| uniform(g, o, 0.3, 0.7)),
        "normal 0 1" => filled(n, |o: &mut [T]| normal(g, o, 0.0, 1.0)),
        "normal 0.1 0.02" => filled(n, |o: &mut [T]| normal(g, o, 0.1, 0.02)),
        "serial -5 3" => collected(|put| normal_serial(g, n, -5.0, 3.0, |v| put(T::from_f64(v)))),
        "exponential 1" => filled(n, |o: &mut [T]| exponential(g, o, 1.0)),
        "exponential 0.37" => filled(n, |o: &mut [T]| exponential(g, o, 0.37)),
        "cauchy 2.5 0.3" => filled(n, |o: &mut [T]| cauchy(g, o, 2.5, 0.3)),
        "geometric 0.3" => filled(n, |o: &mut [T]| geometric(g, o, 0.3)),
        "geometric 1e-12" => filled(n, |o: &mut [T]| geometric(g, o, 1e-12)),
        "log_normal 1 2" => filled(n, |o: &mut [T]| log_normal(g, o, 1.0, 2.0)),
        "random_full" => filled(n, |o: &mut [T]| random_full(g, o)),
        "bernoulli_from" => {
            let probs: Vec<T> = (0..n).map(|i| T::from_f64((i * 7 % 11) as f64 / 11.0)).collect();
            collected(|put| bernoulli_from(g, &probs, put))
        }
        "poisson" => {
            let rates: Vec<T> = (0..n).map(|i| T::from_f64((i % 7) as f64 * 6.5)).collect();
            filled(n, |o: &mut [T]| poisson(g, &rates, o))
        }
        "multinomial one" => sampled::<T>(g, (2, n, 1), false, uneven),
        "multinomial half" => sampled::<T>(g, (2, n, n.div_ceil(2)), false, uneven),
        "multinomial ties" => sampled::<T>(g, (1, n, n), false, |i| f64::from(i % 3 == 0)),
        "multinomial few ties" => sampled::<T>(g, (1, n, (n / 64).max(1)), false, |i| f64::from(i + 1 == n)),
        "multinomial with replacement" => sampled::<T>(g, (2, n, 7), true, uneven),
        _ => panic!("no operation {op}"),
    }
}

/// Runs the operation of a table row that has one element type only.
fn run_whole(op: &str, g: &mut Generator, n: usize) -> Vec<u8> {
    let range = |g: &mut Generator, low, high| collected(|put| random_range(g, n, low, high, put));
    match op {
        "random64" => range(g, i64::MIN, i64::MIN),
        "bernoulli 0.3" => collected(|put| bernoulli(g, n, 0.3, put)),
        "dropout_keep 0.7" => filled(n, |o| dropout_keep(g, o, 0.7)),
        "range -5 6" => range(g, -5, 6),
        "range 0 2^28-1" => range(g, 0, (1 << 28) - 1),
        "range 0 2^28" => range(g, 0, 1 << 28),
        "range 0 2^32" => range(g, 0, 1 << 32),
        "range min max" => range(g, i64::MIN, i64::MAX),
        "randperm" => randperm(g, n).into_iter().flat_map(i64::bytes).collect(),
        "random_full i64" => filled(n, |o: &mut [i64]| random_full(g, o)),
        "random_full i32" => filled(n, |o: &mut [i32]| random_full(g, o)),
        "random_full i16" => filled(n, |o: &mut [i16]| random_full(g, o)),
        "random_full i8" => filled(n, |o: &mut [i8]| random_full(g, o)),
        "random_full u8" => filled(n, |o: &mut [u8]| random_full(g, o)),
        "random_full bool" => filled(n, |o: &mut [bool]| random_full(g, o)),
        _ => panic!("no operation {op}"),
    }
}

#[test]
fn numbers_are_those_of_torch() {
    let mut wrong = Vec::new();
    for &(op, dtype, lengths, hash, first) in ROWS {
        let mut bytes = Vec::new();
        for seed in SEEDS {
            let mut g = Generator::new(seed);
            for &n in lengths {
                bytes.extend(match dtype {
                    "f32" => run_real::<f32>(op, &mut g, n),
                    "f64" => run_real::<f64>(op, &mut g, n),
                    _ => run_whole(op, &mut g, n),
                });
                bytes.extend(g.normal(0.0, 1.0).bytes());
                bytes.extend(g.rand::<f32>().bytes());
            }
        }
        // The first values only tell a wrong number from a wrong count of words.
        let starts = first.iter().zip(bytes.chunks(width(op, dtype))).all(|(&bits, value)| {
            let mut eight = [0; 8];
            eight[..value.len()].copy_from_slice(value);
            u64::from_le_bytes(eight) == bits
        });
        if fnv(&bytes) != hash || !starts {
            wrong.push(format!("{op} {dtype} {lengths:?}: first values equal: {starts}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}

/// Bytes of one value of a row.
fn width(op: &str, dtype: &str) -> usize {
    match (op, dtype) {
        _ if op.starts_with("multinomial") => 8,
        ("bernoulli_from" | "bernoulli 0.3" | "dropout_keep 0.7", _) => 1,
        ("random_full i8" | "random_full u8" | "random_full bool", _) => 1,
        ("random_full i16", _) => 2,
        ("random_full i32", _) | (_, "f32") => 4,
        _ => 8,
    }
}

#[test]
fn ten_thousandth_word_is_the_one_of_the_standard() {
    // C++ demands this of std::mt19937.
    let mut g = Generator::new(5489);
    let last = (0..10_000).map(|_| g.random32()).last();
    assert_eq!(last, Some(4_123_659_995));
}

#[test]
fn one_value_methods_give_what_fills_give() {
    for n in [1, 5, 311, 312, 313, 2000] {
        let (mut a, mut b) = (Generator::new(9), Generator::new(9));
        // An odd number of words first, so that pairs straddle two blocks.
        assert_eq!(a.random32(), b.random32());
        let fills = [
            filled(n, |o: &mut [f64]| uniform(&mut a, o, -2.0, 3.0)),
            filled(n, |o: &mut [f32]| uniform(&mut a, o, -2.0, 3.0)),
            filled(n, |o: &mut [f64]| exponential(&mut a, o, 2.0)),
            filled(n, |o: &mut [f64]| cauchy(&mut a, o, 1.0, 2.0)),
            filled(n, |o: &mut [f64]| geometric(&mut a, o, 0.1)),
            collected(|put| bernoulli(&mut a, n, 0.4, put)),
            collected(|put| bernoulli_from(&mut a, &vec![0.4_f32; n], put)),
        ];
        let ones = [
            filled(n, |o| fill(o, || b.uniform(-2.0, 3.0))),
            filled(n, |o| fill(o, || b.uniform(-2.0_f32, 3.0))),
            filled(n, |o| fill(o, || b.exponential(2.0))),
            filled(n, |o| fill(o, || b.cauchy(1.0, 2.0))),
            filled(n, |o| fill(o, || b.geometric(0.1))),
            filled(n, |o| fill(o, || b.bernoulli(0.4))),
            filled(n, |o| fill(o, || b.bernoulli_from(0.4_f32))),
        ];
        assert_eq!(fills, ones);
        assert_eq!(a.state(), b.state());
    }
}

#[test]
fn spare_normal_outlives_other_draws_but_not_a_seed() {
    let mut g = Generator::new(1);
    let first = g.normal(0.0, 1.0);
    let sine = Generator::clone(&g).normal(0.0, 1.0);
    rand(&mut g, &mut [0.0_f32; 700]);
    normal(&mut g, &mut [0.0_f32; 40], 0.0, 1.0);
    assert_eq!(g.normal(0.0, 1.0), sine);
    g.manual_seed(1);
    g.normal(0.0, 1.0);
    g.manual_seed(1);
    assert_eq!(g.normal(0.0, 1.0), first);
}

#[test]
fn long_normals_do_not_depend_on_the_instructions() {
    // The scalar versions of the same formulas, so that the vectorised ones are compared with them.
    let (mut u, mut x) = (vec![0.0_f32; 4096], vec![0.0_f32; 4096]);
    rand(&mut Generator::new(3), &mut u);
    normal(&mut Generator::new(3), &mut x, 0.5, 2.0);
    for (u, x) in u.chunks(16).zip(x.chunks(16)) {
        for j in 0..8 {
            assert_eq!(normal::pair32(u[j], u[j + 8], 0.5, 2.0), (x[j], x[j + 8]));
        }
    }
}

#[test]
fn state_has_the_bytes_of_torch() {
    let mut g = Generator::new(3);
    assert_eq!(fnv(&g.state()), 0xf6ba_b292_2096_1f65);
    rand(&mut g, &mut [0.0_f32; 624]);
    assert_eq!(fnv(&g.state()), 0xb06e_5064_5d4e_cfd7);
    g.manual_seed(3);
    normal(&mut g, &mut [0.0_f64; 3], 0.0, 1.0);
    rand(&mut g, &mut [0.0_f32; 700]);
    assert_eq!(fnv(&g.state()), 0x40b8_490c_aac5_909e);
}

#[test]
fn state_brings_a_generator_back_from_anywhere() {
    for words in [0, 1, 3, 623, 624, 625, 1248, 1300] {
        for normals in [0, 1] {
            let mut g = Generator::new(77);
            for _ in 0..words {
                g.random32();
            }
            for _ in 0..normals {
                g.normal(0.0, 1.0);
            }
            let mut back = Generator::default();
            back.set_state(&g.state()).unwrap();
            assert_eq!(back.state(), g.state());
            assert_eq!(back.initial_seed(), 77);
            assert_eq!(back.normal(1.0, 2.0), g.normal(1.0, 2.0));
            assert!((0..700).all(|_| back.random32() == g.random32()));
        }
    }
}

#[test]
fn set_state_rejects_what_no_generator_saved() {
    let mut g = Generator::new(5);
    g.random32();
    let good = g.state();
    for length in [0, 1, 5048, 5055, 5057] {
        assert!(g.set_state(&vec![0; length]).is_err());
    }
    assert!(g.set_state(&[0; STATE_BYTES]).is_err());
    // Words left, the mark of a seeded generator, the next word.
    for (at, byte) in [(8, 0), (8, 7), (12, 0), (16, 9), (23, 1)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert!(g.set_state(&bad).is_err(), "byte {at}");
    }
    assert_eq!(g.state(), good);
}

#[test]
fn long_permutations_follow_their_own_rule() {
    let expected = [3, 14, 12, 0, 5, 8, 1, 4, 16, 11, 6, 9, 2, 13, 17, 7, 19, 10, 15, 18];
    assert_eq!(integers::shuffled_inside_out(&mut Generator::new(11), 20), expected);
}

#[test]
fn empty_draws_leave_the_stream_alone() {
    let mut g = Generator::new(2);
    let before = g.state();
    rand(&mut g, &mut [0.0_f32; 0]);
    rand(&mut g, &mut [0.0_f64; 0]);
    normal(&mut g, &mut [0.0_f32; 0], 0.0, 1.0);
    bernoulli(&mut g, 0, 0.5, |_| ());
    assert!(randperm(&mut g, 0).is_empty());
    assert_eq!(randperm(&mut g, 1), [0]);
    assert_eq!(g.poisson(0.0), 0.0);
    assert_eq!(g.state(), before);
}

#[test]
fn top_sorts_whatever_way_it_goes() {
    for n in [1_usize, 2, 3, 4, 16, 17, 64, 500] {
        for pattern in 0..5 {
            let x: Vec<usize> = (0..n).map(|i| [i, n - i, i * 7919 % 101, i % 2, i.min(n - i)][pattern]).collect();
            let mut sorted = x.clone();
            sorted.sort_unstable();
            for k in [1, n.div_ceil(64), n.div_ceil(2), n] {
                let mut y = x.clone();
                top::top(&mut y, k, |a, b| a < b);
                assert_eq!(y[..k], sorted[..k], "{k} of {n}, pattern {pattern}");
            }
            // Depth 0: heaps from the start.
            let mut y = x.clone();
            top::partition_down(&mut y, 0, &|a, b| a < b);
            assert!(n <= 16 || y == sorted);
        }
    }
}

#[test]
fn multinomial_rejects_what_torch_rejects() {
    let mut g = Generator::new(2);
    for replacement in [false, true] {
        for bad in [[-1.0, 1.0], [0.0, 0.0], [f64::INFINITY, 1.0], [f64::NAN, 1.0]] {
            assert!(multinomial(&mut g, &bad, 2, 2, replacement).is_err());
        }
    }
    let sure = multinomial(&mut g, &[0.0, 1.0, 0.0], 3, 50, true);
    assert_eq!(sure, Ok(vec![1; 50]));
}

#[test]
fn seeds_and_the_default_generator() {
    assert_eq!(Generator::default().initial_seed(), 67_280_421_310_721);
    assert_ne!(nondeterministic_seed(), nondeterministic_seed());
    let mut g = default_generator().lock();
    let seed = g.seed();
    assert_eq!(g.initial_seed(), seed);
    assert_eq!(g.random32(), Generator::new(seed).random32());
    assert_eq!(NS.len(), 9);
}
