//! What people are told of history's state, by `/readyz` and in answers.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The state of history.
#[derive(Debug)]
pub struct ArchiveStatus {
    segments: usize,
    refilled: AtomicUsize,
    is_ready: AtomicBool,
    fault: Mutex<Option<String>>,
}

impl ArchiveStatus {
    /// So many segments are to be read back first.
    pub fn new(segments: usize) -> Self {
        let (refilled, is_ready) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { segments, refilled, is_ready, fault: Mutex::new(None) }
    }

    /// One more is read back.
    pub fn refilled_one(&self) {
        self.refilled.fetch_add(1, Ordering::Relaxed);
    }

    /// All are.
    pub fn refilled_all(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Why answers are not complete yet.
    pub fn missing(&self) -> Option<String> {
        if self.is_ready.load(Ordering::Acquire) {
            return None;
        }
        let (done, all) = (self.refilled.load(Ordering::Relaxed), self.segments);
        Some(format!("reading back the journal: {done} of {all} parts\n"))
    }

    /// Sets what is wrong with the disk. Whether that is news.
    pub fn set_fault(&self, fault: Option<String>) -> bool {
        let mut known = self.known_fault();
        let is_news = known.is_some() != fault.is_some();
        *known = fault;
        is_news
    }

    /// What is wrong with the disk, though answers are right.
    pub fn fault(&self) -> Option<String> {
        let fault = self.known_fault();
        fault.as_ref().map(|fault| {
            format!(
                "history: the disk refuses ({fault}): frames are in memory only and are not \
                 acknowledged; agents keep them\n"
            )
        })
    }

    fn known_fault(&self) -> MutexGuard<'_, Option<String>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
