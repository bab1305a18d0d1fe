//! The parallel loop of every kernel.
//!
//! [`for_ranges`] splits `0..n` into ranges and runs them on the calling thread and on a few
//! workers that belong to this module. It knows nothing of tensors; what a kernel computes must not
//! depend on how its range was split, so that the number of threads never changes a result.
//!
//! # How a loop runs
//! The caller posts the loop and starts on it at once, claiming pieces from the front; a worker
//! that is awake claims from the back. If none comes, the caller simply finishes alone: it waits
//! only for pieces that a worker has really begun. A worker without work spins for [`SPIN`], then
//! parks. Parked workers are woken only once a loop, or a burst of loops, has shown that it is
//! worth the system call. Front and back meet at about the same place in every loop of the same
//! size, so each core tends to keep its part of the data in its caches.
//!
//! A kernel that runs in a virtual machine may take an idle processor for one that its host has
//! taken away, and put a worker that wakes on the caller's own, where the two would take turns. A
//! worker that finds itself there moves to another processor ([`processor::leave`]).
//!
//! # Why not rayon's pool
//! The loops here last 5 to 500 µs and come in bursts, with Python in between, and rayon's workers
//! sleep by then. Median µs for a loop of 16 equal pieces on two cores of a Zen 5 server, against
//! `into_par_iter().for_each` of rayon 1.12 (`rayon::join` of two halves is no faster):
//!
//! | pause before | empty loop: here, rayon | 50 µs of work | 200 µs of work |
//! |---|---|---|---|
//! | none   | 0.3, 18  | 24, 74  | 99, 109  |
//! | 20 µs  | 0.4, 16  | 27, 53  | 98, 126  |
//! | 80 µs  | 0.4, 22  | 24, 105 | 100, 139 |
//! | 300 µs | 0.4, 85  | 55, 120 | 126, 290 |
//! | 2 ms   | 0.5, 115 | 55, 133 | 129, 309 |
//!
//! # Limits
//! One loop runs in parallel at a time: a nested loop, or one started by another application thread
//! meanwhile, runs serially where it is. After `fork` the child starts workers of its own when it
//! first needs them.

mod processor;
#[cfg(test)]
pub(crate) mod tests;

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::fork;

/// How long a worker looks for the next loop before it parks.
const SPIN: Duration = Duration::from_micros(100);
/// How much time a worker could have saved before it is woken: it takes 20 to 40 µs to arrive.
const WORTH_WAKING: Duration = Duration::from_micros(40);
/// Pieces per thread: enough that a thread slowed by other programs holds up the loop by little.
const PIECES_PER_THREAD: usize = 8;

/// Number of threads a loop may use, the calling one included; 0 until it is first asked for.
static THREADS: AtomicUsize = AtomicUsize::new(0);
/// The pool of this process, or of the parent just after `fork`; null until a loop first goes
/// parallel.
static POOL: AtomicPtr<Pool> = AtomicPtr::new(std::ptr::null_mut());

/// Sets how many threads a loop may use from now on, the calling one included; 0 counts as 1.
pub fn set_num_threads(n: usize) {
    THREADS.store(n.max(1), Ordering::Relaxed);
}

/// The number of threads a loop may use, the calling one included.
///
/// Unless [`set_num_threads`] was called: `RAYON_NUM_THREADS`, else `OMP_NUM_THREADS`, else the
/// processors this process may run on.
pub fn num_threads() -> usize {
    match THREADS.load(Ordering::Relaxed) {
        0 => {
            let n = default_threads();
            // A setting made meanwhile by another thread is kept.
            match THREADS.compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => n,
                Err(set) => set,
            }
        }
        n => n,
    }
}

fn default_threads() -> usize {
    ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"]
        .iter()
        .find_map(|name| positive(&std::env::var(name).ok()?))
        .unwrap_or_else(processors)
}

/// `text` as a positive number. (`OMP_NUM_THREADS` may be a list, one number a nesting level: the
/// first counts.)
fn positive(text: &str) -> Option<usize> {
    let first = text.split(',').next()?;
    first.trim().parse().ok().filter(|&n| n > 0)
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get())
}

/// Calls `body` on disjoint ranges that together cover `0..n`, in parallel if that may pay.
///
/// Every range starts at a multiple of `grain`, and all but the one that ends at `n` have a
/// multiple of `grain` as length. Runs as one call `body(0..n)` on the calling thread if `n <=
/// grain` or only one thread is set; does not call `body` if `n` is 0. A panic in `body` comes out
/// of this call, whichever thread it happened on; pieces not begun by then are left out.
pub fn for_ranges(n: usize, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    for_even_ranges(n, grain, grain, body);
}

/// [`for_ranges`] for loops that may be cut at any multiple of `unit`: the ranges are even, so that each thread gets its share, and
/// the same one in each loop of the same size. Runs as one call if `n <= grain`; a range is no shorter than half of that.
pub fn for_even_ranges(n: usize, unit: usize, grain: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
    if n == 0 {
        return;
    }
    let threads = if n <= grain { 1 } else { num_threads() };
    if threads > 1 {
        let pool = Pool::of_this_process();
        if let Some(crew) = pool.try_lock() {
            pool.run(crew, threads, &Loop::new(n, unit.max(1), grain.max(1), threads, body));
            return;
        }
    }
    body(0..n);
}

/// A loop as posted to the workers: lives on the caller's stack until every claimed piece is
/// finished.
struct Loop<'a> {
    body: &'a (dyn Fn(Range<usize>) + Sync),
    n: usize,
    unit: usize,
    pieces: usize,
}

impl<'a> Loop<'a> {
    fn new(n: usize, unit: usize, grain: usize, threads: usize, body: &'a (dyn Fn(Range<usize>) + Sync)) -> Self {
        let worthwhile = n.div_ceil(grain);
        let even = if worthwhile < threads { worthwhile } else { worthwhile.next_multiple_of(threads) };
        let pieces = even.min(n.div_ceil(unit)).min(threads.saturating_mul(PIECES_PER_THREAD)).min(u32::MAX as usize);
        Loop { body, n, unit, pieces }
    }

    fn run_piece(&self, piece: usize) {
        let start = self.start(piece);
        (self.body)(start..self.start(piece + 1));
    }

    /// Where a piece starts: pieces differ by at most one unit in length.
    fn start(&self, piece: usize) -> usize {
        let units = self.n.div_ceil(self.unit);
        let (each, more) = (units / self.pieces, units % self.pieces);
        ((piece * each + piece.min(more)) * self.unit).min(self.n)
    }
}

/// The pieces of the current loop that nobody has claimed: `front..back`, in one word so that a
/// claim is one compare-and-swap. Empty between loops.
struct Unclaimed(AtomicU64);

impl Unclaimed {
    fn unpack(word: u64) -> (u64, u64) {
        (word >> 32, word & 0xffff_ffff)
    }

    fn post(&self, pieces: usize) {
        self.0.store(pieces as u64, Ordering::SeqCst);
    }

    fn any(&self, order: Ordering) -> bool {
        let (front, back) = Self::unpack(self.0.load(order));
        front < back
    }

    fn update(&self, change: impl Fn(u64, u64) -> (u64, u64)) -> Option<(usize, usize)> {
        let claim = |word| {
            let (front, back) = Self::unpack(word);
            let (to_front, to_back) = change(front, back);
            (front < back).then_some(to_front << 32 | to_back)
        };
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, claim).ok()?;
        let (front, back) = Self::unpack(before);
        Some((front as usize, back as usize))
    }

    fn claim_front(&self) -> Option<usize> {
        self.update(|front, back| (front + 1, back)).map(|(front, _)| front)
    }

    fn claim_back(&self) -> Option<usize> {
        self.update(|front, back| (front, back.wrapping_sub(1))).map(|(_, back)| back - 1)
    }

    /// Takes all pieces away; the number claimed from the back can still be read off.
    fn cancel(&self) {
        self.update(|_, back| (back, back));
    }

    fn back(&self) -> usize {
        Self::unpack(self.0.load(Ordering::Acquire)).1 as usize
    }
}

/// On a cache line of its own, because threads of different cores write to its neighbours.
#[repr(align(128))]
struct Aligned<T>(T);

/// The workers of one process and the loop they are on.
struct Pool {
    /// Which process it belongs to, as [`fork::generation`] counts them.
    process: u32,
    /// Held by the caller of the current loop.
    crew: Mutex<Crew>,
    /// Workers numbered from here stay out, after the number of threads was lowered.
    limit: AtomicUsize,
    /// The processor the caller was on when it last woke workers.
    callers_processor: AtomicUsize,
    current: AtomicPtr<Loop<'static>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    unclaimed: Aligned<Unclaimed>,
    /// Pieces of the current loop that workers have finished.
    finished: Aligned<AtomicUsize>,
}

/// What a caller needs in order to wake a worker.
struct Worker {
    thread: Mutex<Option<Thread>>,
    parked: AtomicBool,
}

/// The workers, and what decides whether to wake them.
#[derive(Default)]
struct Crew {
    workers: Vec<Arc<Worker>>,
    /// Work of the current burst of loops that was left to the caller because workers were parked.
    missed: Duration,
    /// When that was last added to; a pause longer than [`SPIN`] ends the burst.
    last_missed: Option<Instant>,
}

impl Crew {
    /// Whether to wake parked workers, given when the first of `pieces` pieces began.
    fn should_wake(&mut self, began: Instant, pieces: usize) -> bool {
        let now = Instant::now();
        if self.last_missed.is_none_or(|last| began.saturating_duration_since(last) > SPIN) {
            self.missed = Duration::ZERO;
        }
        self.missed += now.saturating_duration_since(began) * (pieces - 1) as u32;
        self.last_missed = Some(now);
        self.missed > WORTH_WAKING
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The pool of this process. One inherited through `fork` has no threads any more, and its
    /// locks may be held by threads that do not exist here: it is left as it is (a few hundred
    /// bytes) and replaced.
    fn of_this_process() -> &'static Pool {
        let process = fork::generation();
        let found = POOL.load(Ordering::Acquire);
        // SAFETY: a non-null pointer comes from `Box::into_raw` below, and is never freed or
        // written through.
        if let Some(pool) = unsafe { found.as_ref() }
            && pool.process == process
        {
            return pool;
        }
        fork::watch();
        let new = Box::into_raw(Box::new(Pool::new(process)));
        match POOL.compare_exchange(found, new, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just made from a box that is never freed from now on.
            Ok(_) => unsafe { &*new },
            Err(other) => {
                // SAFETY: `new` was not published, so this is its only owner; `other` was leaked by
                // the thread that was faster, and as in the first block is never freed.
                unsafe {
                    drop(Box::from_raw(new));
                    &*other
                }
            }
        }
    }

    fn new(process: u32) -> Pool {
        Pool {
            process,
            crew: Mutex::default(),
            limit: AtomicUsize::new(0),
            callers_processor: AtomicUsize::new(usize::MAX),
            current: AtomicPtr::new(std::ptr::null_mut()),
            panic: Mutex::new(None),
            unclaimed: Aligned(Unclaimed(AtomicU64::new(0))),
            finished: Aligned(AtomicUsize::new(0)),
        }
    }

    /// The right to post a loop, unless one is running.
    fn try_lock(&self) -> Option<MutexGuard<'_, Crew>> {
        self.crew.try_lock().ok()
    }

    fn run(&'static self, mut crew: MutexGuard<'_, Crew>, threads: usize, work: &Loop<'_>) {
        self.hire(&mut crew, threads - 1);
        self.limit.store(threads - 1, Ordering::Relaxed);
        self.finished.0.store(0, Ordering::Relaxed);
        self.current.store(std::ptr::from_ref(work).cast_mut().cast(), Ordering::Release);
        self.unclaimed.0.post(work.pieces);

        let mine = catch_unwind(AssertUnwindSafe(|| self.work_as_caller(&mut crew, work)));
        if mine.is_err() {
            self.unclaimed.0.cancel();
        }
        // From here on `unclaimed` is empty, so no worker can begin on `work` any more.
        self.wait_for(work.pieces - self.unclaimed.0.back());
        let theirs = lock(&self.panic).take();
        drop(crew);
        if let Some(cause) = mine.err().or(theirs) {
            resume_unwind(cause);
        }
    }

    fn work_as_caller(&self, crew: &mut Crew, work: &Loop<'_>) {
        let parked = |worker: &Arc<Worker>| worker.parked.load(Ordering::SeqCst);
        if crew.workers.iter().any(parked)
            && let Some(piece) = self.unclaimed.0.claim_front()
        {
            let began = Instant::now();
            work.run_piece(piece);
            if crew.should_wake(began, work.pieces) {
                self.wake(crew);
            }
        }
        while let Some(piece) = self.unclaimed.0.claim_front() {
            work.run_piece(piece);
        }
    }

    /// Waits until workers have finished `pieces` pieces.
    fn wait_for(&self, pieces: usize) {
        let mut looks = 0u32;
        while self.finished.0.load(Ordering::Acquire) < pieces {
            looks = looks.saturating_add(1);
            // A worker that is not on a processor needs ours.
            if looks < 2000 { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }

    fn wake(&self, crew: &Crew) {
        self.callers_processor.store(processor::current(), Ordering::Relaxed);
        for worker in crew.workers.iter().take(self.limit.load(Ordering::Relaxed)) {
            if worker.parked.swap(false, Ordering::SeqCst)
                && let Some(thread) = &*lock(&worker.thread)
            {
                thread.unpark();
            }
        }
    }

    /// Starts workers until there are `wanted`, or as many as the system allows: the loop needs
    /// none of them.
    fn hire(&'static self, crew: &mut Crew, wanted: usize) {
        while crew.workers.len() < wanted {
            let number = crew.workers.len();
            let worker = Arc::new(Worker { thread: Mutex::new(None), parked: AtomicBool::new(false) });
            let own = Arc::clone(&worker);
            let body = move || self.work(number, &own);
            match thread::Builder::new().name(format!("ferrograd-{number}")).spawn(body) {
                Ok(handle) => *lock(&worker.thread) = Some(handle.thread().clone()),
                Err(_) => return,
            }
            crew.workers.push(worker);
        }
    }

    /// The life of worker `number`.
    fn work(&self, number: usize, own: &Worker) {
        // With more threads than processors, a spinning worker would keep one that has work from
        // running.
        let spin = if number + 1 < processors() { SPIN } else { Duration::ZERO };
        loop {
            let allowed = || number < self.limit.load(Ordering::SeqCst);
            while allowed()
                && let Some(piece) = self.unclaimed.0.claim_back()
            {
                self.run_claimed(piece);
            }
            if self.spin_until_work(spin) && allowed() {
                continue;
            }
            own.parked.store(true, Ordering::SeqCst);
            // A caller that posted before it could see `parked` will not wake us: look once more.
            if self.unclaimed.0.any(Ordering::SeqCst) && allowed() {
                own.parked.store(false, Ordering::SeqCst);
            }
            while own.parked.load(Ordering::SeqCst) {
                thread::park();
            }
            processor::leave(self.callers_processor.load(Ordering::Relaxed));
        }
    }

    fn spin_until_work(&self, limit: Duration) -> bool {
        let began = Instant::now();
        loop {
            for _ in 0..32 {
                if self.unclaimed.0.any(Ordering::Relaxed) {
                    return true;
                }
                std::hint::spin_loop();
            }
            if began.elapsed() >= limit {
                return false;
            }
        }
    }

    /// Runs a piece this worker has claimed. A panic ends the loop and is kept for the caller.
    fn run_claimed(&self, piece: usize) {
        let current = self.current.load(Ordering::Acquire);
        // SAFETY: a piece of the loop at `current` is claimed and not finished, and until it is,
        // the caller stays in `run`, which borrows the loop and posts no other.
        let work: &Loop<'_> = unsafe { &*current };
        if let Err(cause) = catch_unwind(AssertUnwindSafe(|| work.run_piece(piece))) {
            self.unclaimed.0.cancel();
            *lock(&self.panic) = Some(cause);
        }
        self.finished.0.fetch_add(1, Ordering::Release);
    }
}
