//! CPU time of this thread: what a measurement costs, whoever else uses the machine.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds that this thread has run.
pub fn thread_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let parts = now.tv_sec.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(now.tv_nsec));
    parts.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0)
}

/// What `work` gives, and the CPU time it took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = thread_ns();
    let made = work();
    (made, thread_ns().saturating_sub(before))
}
