//! Memory of tensors: aligned buffers from a caching allocator, or memory lent by numpy or DLPack,
//! each with a lock for kernels and a version counter for the tape.
//!
//! The lock makes Rust's rule (many readers or one writer) hold between Python threads while a kernel runs
//! without the interpreter lock. A thread that holds a storage may wait for the interpreter lock (its kernel is done,
//! its release is not), so a thread that waits for a storage lets go of the interpreter. What numpy does to shared
//! memory meanwhile is beyond the lock's reach.

use std::alloc::Layout as MemoryLayout;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use crate::error::{Error, Result};
use crate::fork::{self, Lock, NAP};
use crate::interpreter::released;

/// Alignment of every buffer of ours: a cache line, and the widest vector register.
pub const ALIGN: usize = 64;

/// What a dangling address is aligned to.
#[repr(align(64))]
struct Line;

/// Shared memory of one or more tensors.
#[derive(Clone)]
pub struct Storage(Arc<Buffer>);

/// Something that counts writes to memory, and may be gone, and how many it had counted when this was made.
#[derive(Clone)]
pub struct Watch {
    counter: Counter,
    /// The version then.
    pub version: u32,
}

#[derive(Clone)]
enum Counter {
    Memory(Weak<Buffer>),
    Apart(Weak<dyn Count>),
}

/// A counter of writes.
pub trait Count: Send + Sync + 'static {
    /// How many there have been.
    fn version(&self) -> u32;
}

impl Count for AtomicU32 {
    fn version(&self) -> u32 {
        self.load(Ordering::Acquire)
    }
}

impl Watch {
    /// Whether it is this memory.
    pub fn is_of(&self, memory: &Storage) -> bool {
        matches!(&self.counter, Counter::Memory(counter) if std::ptr::eq(counter.as_ptr(), Arc::as_ptr(&memory.0)))
    }

    /// Of a counter apart from the memory.
    pub fn of(counter: Arc<dyn Count>) -> Watch {
        Watch { counter: Counter::Apart(Arc::downgrade(&counter)), version: counter.version() }
    }

    /// The version now, if it is another.
    pub fn changed(&self) -> Option<u32> {
        let version = match &self.counter {
            Counter::Memory(memory) => Storage(memory.upgrade()?).version(),
            Counter::Apart(counter) => counter.upgrade()?.version(),
        };
        (version != self.version).then_some(version)
    }
}

struct Buffer {
    start: NonNull<u8>,
    bytes: usize,
    version: AtomicU32,
    lock: Lock,
    /// Keeps lent memory alive; `None` if the memory is ours.
    lender: Option<Box<dyn Any + Send + Sync>>,
}

/// Attempts at a lock before the interpreter is let go of.
const SPINS: u32 = 100;

// SAFETY: the memory is reached only through `Access`, whose lock gives one writer or many readers.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.lender.is_none() {
            cache::give_back(self.start, self.bytes);
        }
    }
}

impl Storage {
    /// Fresh memory with arbitrary contents.
    pub fn uninitialized(bytes: usize) -> Result<Storage> {
        let start = cache::take(bytes)?;
        Ok(Storage::of(start, bytes, None))
    }

    /// Memory that belongs to somebody else, kept alive by `lender`.
    ///
    /// # Safety
    /// `start` must be valid for reads and writes of `bytes` bytes for as long as `lender` lives.
    pub unsafe fn lent(start: NonNull<u8>, bytes: usize, lender: Box<dyn Any + Send + Sync>) -> Storage {
        Storage::of(start, bytes, Some(lender))
    }

    fn of(start: NonNull<u8>, bytes: usize, lender: Option<Box<dyn Any + Send + Sync>>) -> Storage {
        Storage(Arc::new(Buffer { start, bytes, version: AtomicU32::new(0), lock: Lock::new(), lender }))
    }

    /// No memory: of a tensor without elements that only stands for another.
    pub fn nothing() -> Storage {
        Storage::of(NonNull::<Line>::dangling().cast(), 0, Some(Box::new(())))
    }

    /// Whether there is no other handle of this memory.
    pub fn is_held_once(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Address of the first byte.
    pub fn start(&self) -> *mut u8 {
        self.0.start.as_ptr()
    }

    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Whether both are the same memory.
    pub fn same(&self, other: &Storage) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether no other tensor holds this memory, and it is ours.
    pub fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.0.lender.is_none()
    }

    /// Whether the memory belongs to somebody else.
    pub fn is_lent(&self) -> bool {
        self.0.lender.is_some()
    }

    /// To find out later whether it has been written to, without keeping it.
    pub fn watch(&self) -> Watch {
        Watch { counter: Counter::Memory(Arc::downgrade(&self.0)), version: self.version() }
    }

    /// How often the memory has been written to by in-place ops.
    pub fn version(&self) -> u32 {
        self.0.version.load(Ordering::Acquire)
    }

    /// Sets the count of in-place writes.
    pub(crate) fn set_version(&self, version: u32) {
        self.0.version.store(version, Ordering::Release);
    }

    /// Counts one in-place write.
    pub fn bump_version(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// The right to read some storages and write others, held while a kernel runs.
pub struct Access<'a> {
    held: SmallVec<[(&'a Storage, bool); 4]>,
}

impl<'a> Access<'a> {
    /// Waits until all are free. A storage that is in both lists is taken for writing.
    pub fn new(reads: &[&'a Storage], writes: &[&'a Storage]) -> Access<'a> {
        // Most often all are free; then their order does not matter.
        let mut access = Access { held: SmallVec::new() };
        let all_free = writes.iter().all(|storage| access.takes(storage, true))
            && reads.iter().all(|storage| writes.iter().any(|written| written.same(storage)) || access.takes(storage, false));
        if all_free {
            return access;
        }
        drop(access);
        Access::in_order(reads, writes)
    }

    /// Waits for one after the other in the order of their addresses, so that two ops never wait for each other.
    #[cold]
    fn in_order(reads: &[&'a Storage], writes: &[&'a Storage]) -> Access<'a> {
        let written = writes.iter().map(|&storage| (storage, true));
        let mut all: SmallVec<[(&'a Storage, bool); 4]> = written.chain(reads.iter().map(|&storage| (storage, false))).collect();
        // Of one storage, writing comes first and is taken for all.
        all.sort_unstable_by_key(|(storage, write)| (Arc::as_ptr(&storage.0), !write));
        let mut access = Access { held: SmallVec::new() };
        for (storage, write) in all {
            // A second reading would wait for a writer that waits for the first to end. For the same reason nobody who holds
            // a storage may come here again.
            if access.held.last().is_some_and(|(before, _)| before.same(storage)) {
                continue;
            }
            if !(0..SPINS).any(|_| access.takes(storage, write)) {
                released(&mut || {
                    while !access.takes(storage, write) {
                        if write {
                            storage.0.lock.ask_to_write();
                        }
                        std::thread::sleep(NAP);
                    }
                });
            }
        }
        access
    }

    fn takes(&mut self, storage: &'a Storage, write: bool) -> bool {
        let taken = if write { storage.0.lock.try_write() } else { storage.0.lock.try_read() };
        if taken {
            self.held.push((storage, write));
        }
        taken
    }
}

impl Drop for Access<'_> {
    fn drop(&mut self) {
        for (storage, write) in &self.held {
            if *write {
                storage.0.lock.end_write();
            } else {
                storage.0.lock.end_read();
            }
        }
    }
}

/// Fails if so many `T` do not fit in memory: for lists whose length a user decides, which would end the process.
pub(crate) fn check_room<T>(count: usize) -> Result<()> {
    let bytes = count.saturating_mul(size_of::<T>());
    Vec::<T>::new().try_reserve_exact(count).map_err(|_| Error::Memory { bytes })
}

/// Before a fork: nobody may be in the middle of changing the cache's lists.
pub(crate) fn hold_cache() {
    cache::hold();
}

/// After the fork, in the parent. (In the child the lock is free by itself.)
pub(crate) fn release_cache() {
    cache::let_go();
}

/// The caching allocator: freed buffers wait in lists by size class, the last freed is the first reused.
///
/// Fresh pages cost more than most kernels that fill them, so a training loop should touch none after its first steps.
mod cache {
    use super::*;
    use std::cell::RefCell;

    /// Buffers up to this size are kept per thread, without a lock.
    const SMALL: usize = 4096;
    /// How many buffers of one small class a thread keeps.
    const SMALL_KEPT: usize = 64;
    /// How many bytes of large buffers are kept in all.
    const LARGE_KEPT: usize = 1 << 30;
    /// Buffers larger than this go back to the system at once.
    const LARGEST: usize = 1 << 29;

    struct Free(NonNull<u8>);
    // SAFETY: a free buffer is plain memory that nobody else knows of.
    unsafe impl Send for Free {}

    struct Large {
        lists: Vec<(usize, Vec<Free>)>,
        bytes: usize,
    }

    static LARGE: fork::Mutex<Large> = fork::Mutex::new(Large { lists: Vec::new(), bytes: 0 });

    thread_local! {
        static SMALL_LISTS: RefCell<SmallLists> = const { RefCell::new(SmallLists([const { Vec::new() }; SMALL / ALIGN + 1])) };
    }

    pub(super) fn hold() {
        std::mem::forget(LARGE.lock());
    }

    pub(super) fn let_go() {
        // SAFETY: this thread called `hold`, which kept the lock.
        unsafe { LARGE.force_unlock() }
    }

    struct SmallLists([Vec<Free>; SMALL / ALIGN + 1]);

    impl Drop for SmallLists {
        fn drop(&mut self) {
            for (class, list) in self.0.iter_mut().enumerate() {
                for free in list.drain(..) {
                    release(free.0, class * ALIGN);
                }
            }
        }
    }

    /// The size really allocated: a multiple of `ALIGN`, and above `SMALL` one of eight steps per power of two.
    fn class(bytes: usize) -> usize {
        let step = if bytes <= SMALL { ALIGN } else { (bytes.next_power_of_two() / 16).max(ALIGN) };
        bytes.max(1).next_multiple_of(step)
    }

    fn layout(size: usize) -> Result<MemoryLayout> {
        MemoryLayout::from_size_align(size, ALIGN).map_err(|_| Error::Memory { bytes: size })
    }

    pub(super) fn take(bytes: usize) -> Result<NonNull<u8>> {
        if bytes > isize::MAX as usize / 2 {
            return Err(Error::Memory { bytes });
        }
        let size = class(bytes);
        let cached = if size <= SMALL {
            SMALL_LISTS.try_with(|lists| lists.borrow_mut().0[size / ALIGN].pop()).ok().flatten()
        } else {
            take_large(size)
        };
        match cached {
            Some(free) => Ok(free.0),
            None => allocate(size).or_else(|_| {
                empty();
                allocate(size).map_err(|_| Error::Memory { bytes })
            }),
        }
    }

    fn take_large(size: usize) -> Option<Free> {
        let mut large = LARGE.lock();
        let list = large.lists.iter_mut().find(|(class, _)| *class == size).map(|(_, list)| list)?;
        let free = list.pop()?;
        large.bytes -= size;
        Some(free)
    }

    pub(super) fn give_back(start: NonNull<u8>, bytes: usize) {
        let size = class(bytes);
        let kept = if size <= SMALL { keep_small(start, size) } else { keep_large(start, size) };
        if !kept {
            release(start, size);
        }
    }

    fn keep_small(start: NonNull<u8>, size: usize) -> bool {
        let keep = |lists: &RefCell<SmallLists>| {
            let list = &mut lists.borrow_mut().0[size / ALIGN];
            let room = list.len() < SMALL_KEPT;
            if room {
                list.push(Free(start));
            }
            room
        };
        SMALL_LISTS.try_with(keep).unwrap_or(false)
    }

    fn keep_large(start: NonNull<u8>, size: usize) -> bool {
        let mut large = LARGE.lock();
        #[cfg(test)]
        tests::pause_if_asked();
        if size > LARGEST || large.bytes + size > LARGE_KEPT {
            return false;
        }
        large.bytes += size;
        match large.lists.iter_mut().find(|(class, _)| *class == size) {
            Some((_, list)) => list.push(Free(start)),
            None => large.lists.push((size, vec![Free(start)])),
        }
        true
    }

    /// Gives all large cached buffers back to the system.
    fn empty() {
        let lists = {
            let mut large = LARGE.lock();
            large.bytes = 0;
            std::mem::take(&mut large.lists)
        };
        for (size, list) in lists {
            list.into_iter().for_each(|free| release(free.0, size));
        }
    }

    fn allocate(size: usize) -> Result<NonNull<u8>> {
        let layout = layout(size)?;
        // SAFETY: the size is not zero.
        let start = unsafe { std::alloc::alloc(layout) };
        let start = NonNull::new(start).ok_or(Error::Memory { bytes: size })?;
        advise_huge_pages(start, size);
        Ok(start)
    }

    /// From a few megabytes on, huge pages make the first touch several times cheaper.
    fn advise_huge_pages(start: NonNull<u8>, size: usize) {
        const HUGE: usize = 2 << 20;
        #[cfg(target_os = "linux")]
        if size >= 2 * HUGE {
            let first = (start.as_ptr() as usize).next_multiple_of(HUGE);
            let end = start.as_ptr() as usize + size;
            // SAFETY: the range lies within the buffer just allocated; the call is a hint and changes no contents.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
        }
        #[cfg(not(target_os = "linux"))]
        let _ = (start, size, HUGE);
    }

    fn release(start: NonNull<u8>, size: usize) {
        if let Ok(layout) = layout(size) {
            // SAFETY: `start` came from `allocate` with this size, and nobody uses it any more.
            unsafe { std::alloc::dealloc(start.as_ptr(), layout) }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::cell::Cell;
        use std::sync::atomic::AtomicBool;
        use std::time::Duration;

        #[test]
        fn classes_hold_what_they_are_asked_for() {
            for bytes in [0, 1, 64, 65, 4095, 4096, 4097, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
                let size = class(bytes);
                assert!(size >= bytes && size.is_multiple_of(ALIGN) && size <= bytes + bytes / 7 + ALIGN, "{bytes} {size}");
                assert_eq!(class(size), size, "a class must be its own class");
            }
        }

        /// Tests that fill the lists, or look for what they left there, take turns.
        static TURN: fork::Mutex<()> = fork::Mutex::new(());

        #[test]
        fn freed_buffers_are_reused() {
            let _turn = TURN.lock();
            for bytes in [100usize, 1 << 20] {
                let first = take(bytes).unwrap();
                give_back(first, bytes);
                assert_eq!(take(bytes).unwrap(), first);
                give_back(first, bytes);
            }
        }

        thread_local! {
            static PAUSES: Cell<bool> = const { Cell::new(false) };
        }
        static PAUSING: AtomicBool = AtomicBool::new(false);

        /// Makes the moment long in which a thread that asks for it is within the lists.
        pub(super) fn pause_if_asked() {
            if PAUSES.get() {
                PAUSING.store(true, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(300));
                PAUSING.store(false, Ordering::SeqCst);
            }
        }

        fn churn() {
            (0..8).for_each(|i| give_back(take(SMALL << (i % 4 + 1)).unwrap(), SMALL << (i % 4 + 1)));
        }

        /// Whether a child that uses the cache ends well, and was made at a moment that it calls good. Its alarm ends one that
        /// hangs.
        #[cfg(unix)]
        fn child_ends_well(moment_is_good: impl Fn() -> bool) -> bool {
            // SAFETY: the child takes and gives back buffers, and leaves by `_exit` or by its alarm.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    libc::alarm(20);
                    let good = moment_is_good();
                    churn();
                    libc::_exit(if good { 0 } else { 1 });
                }
                let mut status = -1;
                libc::waitpid(child, &mut status, 0) == child && status == 0
            }
        }

        /// Guards the lock of the lists: with one that knows nothing of forks, a child waits for it for ever.
        #[cfg(unix)]
        #[cfg_attr(miri, ignore = "Miri cannot fork")]
        #[test]
        fn a_child_may_use_the_cache() {
            fork::watch();
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        churn();
                    }
                });
                let good = (0..300).all(|_| child_ends_well(|| true));
                stop.store(true, Ordering::Relaxed);
                assert!(good);
            });
        }

        /// Guards `hold`: without it the lists may be copied while they are being changed.
        #[cfg(unix)]
        #[cfg_attr(miri, ignore = "Miri cannot fork")]
        #[test]
        fn a_fork_waits_for_whoever_is_within_the_lists() {
            fork::watch();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    PAUSES.set(true);
                    give_back(take(SMALL + 1).unwrap(), SMALL + 1);
                });
                while !PAUSING.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                assert!(child_ends_well(|| !PAUSING.load(Ordering::SeqCst)));
            });
        }

        /// Guards the limit of what is kept. (Memory that nobody touches costs nothing.)
        #[cfg_attr(miri, ignore = "to Miri all of it costs")]
        #[test]
        fn what_is_kept_is_limited() {
            let _turn = TURN.lock();
            let size = LARGEST / 2;
            let taken: Vec<_> = (0..LARGE_KEPT / size + 2).map(|_| take(size).unwrap()).collect();
            taken.into_iter().for_each(|start| give_back(start, size));
            assert!(LARGE.lock().bytes <= LARGE_KEPT);
            while let Some(free) = take_large(size) {
                release(free.0, size);
            }
        }

        #[cfg_attr(miri, ignore = "Miri has no memory to refuse")]
        #[test]
        fn too_much_is_an_error() {
            assert!(matches!(take(usize::MAX), Err(Error::Memory { .. })));
            assert!(matches!(take(1 << 60), Err(Error::Memory { .. })));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds;

    #[test]
    fn readers_share_and_writers_wait() {
        let s = Storage::uninitialized(8).unwrap();
        let lock = &s.0.lock;
        let reading = Access::new(&[&s, &s], &[]);
        assert!(lock.try_read());
        lock.end_read();
        assert!(!lock.try_write());
        drop(reading);
        let writing = Access::new(&[&s], &[&s]);
        assert!(!lock.try_read());
        drop(writing);
        assert!(lock.try_write());
    }

    /// Guards the order of `in_order`: in the order of the lists, one would hold what the other waits for.
    #[test]
    fn two_that_want_the_same_two_never_wait_for_each_other() {
        let (ended, waiting) = std::sync::mpsc::channel();
        let both = std::thread::spawn(move || {
            for _ in 0..rounds(200) {
                let (a, b) = (&Storage::uninitialized(8).unwrap(), &Storage::uninitialized(8).unwrap());
                // Both threads wait when the first is let go of.
                let held = Access::new(&[], &[a]);
                std::thread::scope(|scope| {
                    let one = scope.spawn(|| drop(Access::new(&[a], &[b])));
                    let other = scope.spawn(|| drop(Access::new(&[b], &[a])));
                    std::thread::sleep(NAP * 10);
                    drop(held);
                    one.join().and(other.join()).unwrap();
                });
            }
            ended.send(()).unwrap();
        });
        assert!(waiting.recv_timeout(std::time::Duration::from_secs(60)).is_ok(), "two threads wait for each other");
        both.join().unwrap();
    }

    /// Many threads with random lists of the same few storages: each sees a writer's numbers whole. The compiler's sanitizers and
    /// the lock's own states are what would object.
    #[test]
    fn random_readers_and_writers() {
        const STORAGES: u64 = 4;
        const WORDS: usize = 32;
        let storages: Vec<Storage> = (0..STORAGES).map(|_| Storage::uninitialized(8 * WORDS).unwrap()).collect();
        let words = |storage: &Storage| storage.start().cast::<u64>();
        for storage in &storages {
            // SAFETY: room for so many words.
            unsafe { words(storage).write_bytes(0, WORDS) };
        }
        std::thread::scope(|scope| {
            let work = |seed: u64| {
                let storages = &storages;
                scope.spawn(move || {
                    // Marsaglia, "Xorshift RNGs", 2003.
                    let mut state = seed;
                    let mut random = move || {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state
                    };
                    for _ in 0..rounds(3000) {
                        let [read, write] = [0, 0].map(|_| &storages[(random() % STORAGES) as usize]);
                        let _access = Access::new(&[read], &[write]);
                        let value = random();
                        if value % 8 == 0 {
                            // So that others have to wait.
                            std::thread::yield_now();
                        }
                        // SAFETY: locked for reading and for writing.
                        unsafe {
                            let first = words(read).read();
                            assert!((0..WORDS).all(|i| words(read).add(i).read() == first));
                            (0..WORDS).for_each(|i| words(write).add(i).write(value));
                        }
                    }
                })
            };
            let threads: Vec<_> = (1..=6).map(work).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
