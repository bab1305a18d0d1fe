//! Which processor a thread is on, and how to get off it. Does nothing where there is no such call.

/// The number of the processor this thread is on, or one that does not exist if it cannot be told.
#[cfg(target_os = "linux")]
pub(super) fn current() -> usize {
    // SAFETY: takes no arguments and touches no memory of ours.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(usize::MAX)
}

/// Moves this thread to another processor if it is on `processor`, and may run on others.
#[cfg(target_os = "linux")]
pub(super) fn leave(processor: usize) {
    if current() != processor || processor >= libc::CPU_SETSIZE as usize {
        return;
    }
    // SAFETY: the sets are plain bits of the size given, and `processor` is one of them; 0 is this thread. To forbid
    // the processor moves the thread at once; then all it was allowed before is allowed again.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&allowed), &mut allowed) != 0 {
            return;
        }
        let mut others = allowed;
        libc::CPU_CLR(processor, &mut others);
        if libc::CPU_COUNT(&others) > 0 && libc::sched_setaffinity(0, size_of_val(&others), &others) == 0 {
            libc::sched_setaffinity(0, size_of_val(&allowed), &allowed);
        }
    }
}

/// As on Linux: not known.
#[cfg(not(target_os = "linux"))]
pub(super) fn current() -> usize {
    usize::MAX
}

/// As on Linux: does nothing.
#[cfg(not(target_os = "linux"))]
pub(super) fn leave(_processor: usize) {}
