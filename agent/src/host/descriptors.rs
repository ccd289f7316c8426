//! How many descriptors may be held, and who may hold them.
//!
//! A held descriptor saves an open and a close at each reading: two thirds of its cost. Each costs the
//! kernel about 4 KiB, for a file that was read keeps its page. Where the limit of the process is too
//! low for all, files read every tick come first, slow ones are opened when their turn comes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors left to the rest of the process: streams, logs, the runtime's own.
const RESERVED: usize = 128;

/// How often a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Every tick.
    Hot,
    /// Now and then.
    Slow,
}

/// The right to hold one descriptor; given back when dropped.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives out permits.
#[derive(Debug)]
pub struct Budget {
    allowed: usize,
    allowed_slow: usize,
    hot: Arc<AtomicUsize>,
    slow: Arc<AtomicUsize>,
}

impl Budget {
    /// A budget of `allowed` descriptors, none of them kept from slow files.
    pub fn new(allowed: usize) -> Self {
        let none = || Arc::new(AtomicUsize::new(0));
        Self { allowed, allowed_slow: allowed, hot: none(), slow: none() }
    }

    /// Raises the process's soft limit to the hard one and takes all but a reserve.
    pub fn of_process() -> Self {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let current = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit.maximum,
            // Refused: what there is must do.
            Err(_) => limit.current,
        };
        let files = current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX);
        Self::new(files.saturating_sub(RESERVED))
    }

    /// Says how many hot files there are, so that slow ones leave room for them.
    pub fn plan(&mut self, hot_files: usize) {
        self.allowed_slow = self.allowed.saturating_sub(hot_files);
    }

    /// A permit, or `None` when the file has to be closed after reading.
    pub fn permit(&self, pace: Pace) -> Option<Permit> {
        let (counter, most) = match pace {
            Pace::Hot => (&self.hot, self.allowed.saturating_sub(self.count(&self.slow))),
            Pace::Slow => {
                let free = self.allowed.saturating_sub(self.count(&self.hot));
                (&self.slow, free.min(self.allowed_slow))
            }
        };
        (self.count(counter) < most).then(|| {
            counter.fetch_add(1, Ordering::Relaxed);
            Permit(Arc::clone(counter))
        })
    }

    /// Whether slow files hold more than they may since the last plan.
    pub fn is_overdrawn(&self) -> bool {
        self.allowed_slow < self.count(&self.slow)
    }

    /// Permits that are out.
    pub fn held(&self) -> usize {
        self.count(&self.hot) + self.count(&self.slow)
    }

    fn count(&self, counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hot_files_come_before_slow_ones() {
        let mut budget = Budget::new(3);
        budget.plan(2);
        let slow = budget.permit(Pace::Slow);
        assert!(slow.is_some());
        assert!(budget.permit(Pace::Slow).is_none(), "the rest is for hot files");
        let hot: Vec<_> = (0..3).filter_map(|_| budget.permit(Pace::Hot)).collect();
        assert_eq!((hot.len(), budget.held()), (2, 3));
    }

    #[test]
    fn a_dropped_permit_is_free_again() {
        let budget = Budget::new(1);
        let permit = budget.permit(Pace::Hot);
        assert!(permit.is_some() && budget.permit(Pace::Hot).is_none());
        drop(permit);
        assert!(budget.permit(Pace::Hot).is_some());
    }

    #[test]
    fn slow_files_give_back_when_hot_ones_become_more() {
        let mut budget = Budget::new(4);
        let _slow: Vec<_> = (0..4).filter_map(|_| budget.permit(Pace::Slow)).collect();
        assert!(!budget.is_overdrawn());
        budget.plan(3);
        assert!(budget.is_overdrawn());
    }
}
