use super::*;
use std::sync::atomic::AtomicU32;

// Not the library's: a sanitizer for threads sees what this one does when it is contended.
use parking_lot::{Mutex, MutexGuard};

/// The number of threads is one setting of the process: tests that change it take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Waits for the right to set the number of threads.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock()
}

fn check_cover(n: usize, grain: usize) {
    let hits: Vec<AtomicU32> = (0..n).map(|_| AtomicU32::new(0)).collect();
    for_ranges(n, grain, &|range| {
        assert!(range.start < range.end && range.start.is_multiple_of(grain));
        assert!(range.end == n || range.end.is_multiple_of(grain));
        for hit in &hits[range] {
            hit.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1), "n {n}, grain {grain}");
}

#[test]
fn ranges_cover_everything_once() {
    let _turn = turn();
    for threads in [1, 2, 5, 2] {
        set_num_threads(threads);
        for n in [0, 1, 2, 3, 7, 64, 100, 1000, 4097] {
            for grain in [1, 2, 3, 16, 64, 999, 5000] {
                check_cover(n, grain);
            }
        }
    }
}

#[test]
fn even_ranges_are_even() {
    let _turn = turn();
    for (threads, n, unit, grain) in
        [(2, 100_000, 512, 32_768), (2, 33_000, 64, 32_768), (3, 100_000, 64, 32_768), (4, 1000, 1, 10)]
    {
        set_num_threads(threads);
        let found = Mutex::new(Vec::new());
        for_even_ranges(n, unit, grain, &|range| found.lock().push(range));
        let mut found = found.into_inner();
        found.sort_by_key(|range| range.start);
        assert!(found.windows(2).all(|pair| pair[0].end == pair[1].start && pair[1].start.is_multiple_of(unit)));
        assert_eq!((found[0].start, found[found.len() - 1].end), (0, n));
        // Another test's loop may keep the pool busy, and this one serial.
        if found.len() > 1 {
            assert!(found.len().is_multiple_of(threads) || found.len() < threads);
            assert!(found.iter().all(|range| range.len().abs_diff(n / found.len()) <= unit));
        }
    }
}

#[test]
fn several_threads_take_part() {
    let _turn = turn();
    set_num_threads(3);
    let seen = Mutex::new(std::collections::HashSet::new());
    // Another test's loop may keep the pool busy, and this one serial.
    for _ in 0..100 {
        for_ranges(24, 1, &|_| {
            seen.lock().insert(thread::current().id());
            thread::sleep(Duration::from_millis(2));
        });
        if seen.lock().len() > 1 {
            break;
        }
    }
    assert!(seen.lock().len() > 1);
    set_num_threads(1);
    seen.lock().clear();
    for_ranges(24, 1, &|_| {
        seen.lock().insert(thread::current().id());
    });
    assert_eq!(seen.lock().len(), 1);
}

/// The caller has little to do, and must wait for what the workers have begun.
#[test]
fn slow_workers_are_waited_for() {
    let _turn = turn();
    set_num_threads(3);
    let caller = thread::current().id();
    for _ in 0..30 {
        let done = AtomicUsize::new(0);
        for_ranges(12, 1, &|range| {
            let in_caller = thread::current().id() == caller;
            thread::sleep(Duration::from_micros(if in_caller { 50 } else { 3000 }));
            done.fetch_add(range.len(), Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 12);
    }
}

/// Guards the order of memory at both ends of a loop; a sanitizer for threads is what would object.
#[test]
fn what_workers_write_is_seen() {
    let _turn = turn();
    set_num_threads(3);
    let mut values = vec![0u64; 4096];
    for round in 1..=200 {
        values.fill(round);
        let start = AtomicPtr::new(values.as_mut_ptr());
        for_ranges(4096, 64, &|range| {
            let start = start.load(Ordering::Relaxed);
            // SAFETY: ranges are disjoint, and within the vector.
            range.for_each(|i| unsafe { *start.add(i) += i as u64 });
        });
        assert!(values.iter().enumerate().all(|(i, value)| *value == round + i as u64));
    }
}

#[test]
fn parked_workers_wake_up() {
    let _turn = turn();
    set_num_threads(2);
    for pause in [0, 50, 100, 150, 1000, 20_000] {
        for _ in 0..20 {
            check_cover(512, 4);
            thread::sleep(Duration::from_micros(pause));
        }
    }
}

#[test]
fn nested_loops_and_several_callers() {
    let _turn = turn();
    set_num_threads(3);
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    for_ranges(8, 1, &|outer| {
                        for _ in outer {
                            for_ranges(16, 2, &|inner| {
                                count.fetch_add(inner.len(), Ordering::Relaxed);
                            });
                        }
                    });
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 4 * 200 * 8 * 16);
}

#[test]
fn panics_reach_the_caller() {
    let _turn = turn();
    set_num_threads(2);
    let caller = thread::current().id();
    let (begun, by_workers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for in_caller in [true, false] {
        let attempt = || {
            by_workers.store(0, Ordering::Relaxed);
            for_ranges(64, 1, &|_| {
                begun.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(200));
                let mine = thread::current().id() == caller;
                by_workers.fetch_add(usize::from(!mine), Ordering::Relaxed);
                // When workers have begun, in either case.
                if mine == in_caller && by_workers.load(Ordering::Relaxed) > 0 {
                    resume_unwind(Box::new("on purpose"));
                }
            });
        };
        // Another test's loop may keep the pool busy, and this one on the caller's thread.
        let result = (0..100).map(|_| catch_unwind(attempt)).find(Result::is_err).unwrap_or(Ok(()));
        let cause = result.expect_err("must panic");
        // Nobody is left who would begin another piece of a loop that is over.
        let before = begun.load(Ordering::Relaxed);
        thread::sleep(Duration::from_millis(3));
        assert_eq!(begun.load(Ordering::Relaxed), before);
        assert_eq!(cause.downcast_ref::<&str>(), Some(&"on purpose"));
        check_cover(1000, 1);
    }
}

#[test]
fn settings_are_read_as_numbers() {
    assert_eq!(positive("4"), Some(4));
    assert_eq!(positive(" 2,1 "), Some(2));
    assert_eq!([positive("0"), positive("-1"), positive(""), positive("all")], [None; 4]);
}

#[cfg(unix)]
#[test]
fn works_after_fork() {
    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(status: i32) -> !;
    }
    let _turn = turn();
    set_num_threads(2);
    check_cover(1000, 1);
    // SAFETY: the child only runs loops, starts threads and leaves by `_exit`.
    let child = unsafe { fork() };
    if child == 0 {
        let good = catch_unwind(|| (0..50).for_each(|_| check_cover(1000, 1))).is_ok();
        // SAFETY: ends the child without running the test harness's cleanup.
        unsafe { _exit(if good { 0 } else { 1 }) }
    }
    assert!(child > 0);
    let mut status = -1;
    // SAFETY: `child` is our own child and `status` a local of the right type.
    assert_eq!(unsafe { waitpid(child, &mut status, 0) }, child);
    assert_eq!(status, 0);
}
