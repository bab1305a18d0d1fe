//! Locks that outlive `fork`.
//!
//! A forked child has one thread. A lock that another thread of the parent held at that moment would never be
//! released there, so a lock remembers in which process it was taken: to a child, those of its parent are free.
//! What such a lock guards may then be half-written, which is why only plain numbers are guarded by these (elements of
//! tensors, states of generators); what has more structure is brought to rest before the fork ([`watch`]).

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::lock_api::{GuardSend, RawMutex};

/// The number of forks between the first process and this one, in the bits of [`GENERATION`].
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The bits of a lock that say in which process it was taken.
const GENERATION: u32 = 0xff00_0000;
/// The bit that says that a writer waits.
const WAITING: u32 = 0x0080_0000;
/// The other bits: the number of readers, or this for a writer.
const WRITER: u32 = 0x007f_ffff;

/// Attempts at a lock before the thread sleeps.
const SPINS: u32 = 100;
/// Pause between later attempts.
pub const NAP: Duration = Duration::from_micros(20);

/// Which process of a line of forks this is; parent and child differ once [`watch`] has been called.
#[inline]
pub fn generation() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Makes forks known from now on.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        #[cfg(unix)]
        // SAFETY: the three functions live for as long as the process: the library is never unloaded.
        unsafe {
            libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child));
        }
    });
}

#[cfg(unix)]
extern "C" fn before() {
    crate::storage::hold_cache();
}

#[cfg(unix)]
extern "C" fn after_in_parent() {
    crate::storage::release_cache();
}

#[cfg(unix)]
extern "C" fn after_in_child() {
    FORKS.store(generation().wrapping_add(WAITING << 1), Ordering::Relaxed);
}

/// A lock for many readers or one writer, free in a child of the process that holds it.
pub struct Lock(AtomicU32);

impl Lock {
    /// Free.
    pub const fn new() -> Lock {
        Lock(AtomicU32::new(0))
    }

    /// The word now, and what it says of this process: how many hold it, and whether a writer waits.
    #[inline]
    fn look(&self) -> (u32, u32) {
        let word = self.0.load(Ordering::Relaxed);
        (word, if word & GENERATION == generation() { word & !GENERATION } else { 0 })
    }

    #[inline]
    fn replace(&self, before: u32, after: u32) -> bool {
        self.0.compare_exchange(before, generation() | after, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Becomes a reader, if there is no writer, and none waits.
    #[inline]
    pub fn try_read(&self) -> bool {
        let (word, found) = self.look();
        found < WRITER - 1 && self.replace(word, found + 1)
    }

    /// Becomes the writer, if nobody holds it.
    #[inline]
    pub fn try_write(&self) -> bool {
        let (word, found) = self.look();
        found & WRITER == 0 && self.replace(word, WRITER)
    }

    /// Lets no more readers in before a writer, who else might wait for ever: two readers that take turns are enough. To be
    /// called again and again, as a writer that was faster has the last word.
    pub fn ask_to_write(&self) {
        let (word, found) = self.look();
        if found != 0 && found & WAITING == 0 {
            self.replace(word, found | WAITING);
        }
    }

    /// Ends what `try_read` began.
    #[inline]
    pub fn end_read(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Ends what `try_write` began.
    #[inline]
    pub fn end_write(&self) {
        self.0.store(generation(), Ordering::Release);
    }
}

impl Default for Lock {
    fn default() -> Lock {
        Lock::new()
    }
}

// SAFETY: `try_write` succeeds for one holder at a time, until `end_write`. (In a child the parent's holder does not
// exist.)
unsafe impl RawMutex for Lock {
    // The trait asks for a constant with interior mutability: each mutex begins with a copy.
    #[allow(clippy::declare_interior_mutable_const)]
    const INIT: Lock = Lock::new();
    type GuardMarker = GuardSend;

    fn lock(&self) {
        if !(0..SPINS).any(|_| self.try_write()) {
            while !self.try_write() {
                std::thread::sleep(NAP);
            }
        }
    }

    fn try_lock(&self) -> bool {
        self.try_write()
    }

    unsafe fn unlock(&self) {
        self.end_write();
    }
}

/// A mutex that is free in a child of the process that holds it. Not fair: for short times.
pub type Mutex<T> = parking_lot::lock_api::Mutex<Lock, T>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_do_not() {
        let lock = Lock::new();
        assert!(lock.try_read() && lock.try_read() && !lock.try_write());
        lock.end_read();
        assert!(!lock.try_write());
        lock.end_read();
        assert!(lock.try_write() && !lock.try_write() && !lock.try_read());
        lock.end_write();
        assert!(lock.try_read());
    }

    #[test]
    fn a_writer_that_waits_comes_before_readers_that_do_not_read_yet() {
        let lock = Lock::new();
        lock.ask_to_write();
        assert!(lock.try_read() && lock.try_read());
        lock.ask_to_write();
        assert!(!lock.try_read() && !lock.try_write());
        lock.end_read();
        lock.end_read();
        assert!(!lock.try_read() && lock.try_write());
        lock.ask_to_write();
        lock.end_write();
        assert!(lock.try_read());
    }

    #[test]
    fn a_mutex_excludes() {
        let count = Mutex::new(0u32);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| *count.lock() += 1));
            }
        });
        assert_eq!(*count.lock(), 4000);
    }
}
