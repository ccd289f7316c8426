//! Whether the player itself kept up: without that, no figure of the aggregator means anything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tally_proto::tick::UnixMs;

use super::{histogram::Histogram, quantiles::Quantiles};

/// How the frames of one part of a run were sent.
#[derive(Debug, Default)]
pub struct Punctuality {
    due: AtomicU64,
    missed: AtomicU64,
    kept_back: AtomicU64,
    unheard: AtomicU64,
    late: Histogram,
    acknowledged: Histogram,
}

/// When a frame is due, and where it is counted how late it was.
#[derive(Clone, Debug)]
pub struct Due {
    /// When.
    pub at: UnixMs,
    /// Its part of the run.
    pub counted: Arc<Punctuality>,
}

impl Due {
    /// A frame that is due.
    pub fn new(at: UnixMs, counted: &Arc<Punctuality>) -> Self {
        counted.due.fetch_add(1, Ordering::Relaxed);
        Self { at, counted: Arc::clone(counted) }
    }

    /// It left, this long after it was due.
    pub fn sent(&self, late: Duration) {
        self.counted.late.add(late);
    }

    /// It was acknowledged, this long after it was due.
    pub fn acknowledged(&self, after: Duration) {
        self.counted.acknowledged.add(after);
    }

    /// Its connection was cut before its acknowledgement could be read.
    pub fn unheard(&self) {
        self.counted.unheard.fetch_add(1, Ordering::Relaxed);
    }
}

/// What is in time.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Time between ticks.
    pub resolution_s: u32,
    /// How long nodes can wait for an acknowledgement.
    pub acknowledge_within: Duration,
}

impl Punctuality {
    /// Ticks whose time had passed when their turn came: nothing was sent for them.
    pub fn miss(&self, ticks: u64) {
        self.missed.fetch_add(ticks, Ordering::Relaxed);
    }

    /// A frame that is not sent now on purpose: its node is cut off.
    pub fn keep_back(&self) {
        self.kept_back.fetch_add(1, Ordering::Relaxed);
    }

    /// What is to be said about it. With `expected` frames, those that were never due, because
    /// their nodes were too far behind, are unsent too.
    pub fn verdict(&self, bounds: Bounds, expected: Option<u64>) -> Verdict {
        let Bounds { resolution_s, acknowledge_within } = bounds;
        let late = self.late.quantiles();
        let acknowledged = self.acknowledged.quantiles();
        let count = |found: &Option<Quantiles>| {
            found.as_ref().map_or(0, |found| u64::try_from(found.count).unwrap_or(u64::MAX))
        };
        let ticks_missed = self.missed.load(Ordering::Relaxed);
        let kept_back = self.kept_back.load(Ordering::Relaxed);
        let became_due = self.due.load(Ordering::Relaxed);
        let expected = expected.map(|expected| expected.saturating_sub(ticks_missed + kept_back));
        let frames_due = expected.unwrap_or(became_due).max(became_due);
        let frames_unsent = frames_due.saturating_sub(count(&late));
        let frames_unacknowledged =
            frames_due.saturating_sub(count(&acknowledged) + self.unheard.load(Ordering::Relaxed));
        let half_ms = f64::from(resolution_s) * 500.0;
        let in_time = late.as_ref().is_some_and(|late| late.p99_ms <= half_ms);
        let kept_up = in_time && ticks_missed == 0 && frames_unsent == 0;
        let heard_ms = f64::from(resolution_s) * 1000.0 + acknowledge_within.as_secs_f64() * 1000.0;
        let heard_in_time = acknowledged.as_ref().is_none_or(|after| after.p99_ms <= heard_ms);
        Verdict {
            kept_up,
            sustained: kept_up && heard_in_time && frames_unacknowledged == 0,
            ticks_missed,
            frames_due,
            frames_unsent,
            frames_unacknowledged,
            late,
            acknowledged,
        }
    }
}

/// Whether every frame left in time.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Every tick was played, and 99 of 100 frames left within half the resolution.
    pub kept_up: bool,
    /// And the aggregator acknowledged every frame, 99 of 100 within the resolution and the time
    /// for which nodes can wait: it kept up too.
    pub sustained: bool,
    /// Ticks of a node for which nothing was sent, because the next was due already.
    pub ticks_missed: u64,
    /// Frames that should have been sent.
    pub frames_due: u64,
    /// Of these, frames that did not leave.
    pub frames_unsent: u64,
    /// Of these, frames that were not acknowledged when this was written.
    pub frames_unacknowledged: u64,
    /// From the time a frame was due until gRPC took it.
    pub late: Option<Quantiles>,
    /// From the time a frame was due until its acknowledgement was read.
    pub acknowledged: Option<Quantiles>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(acknowledge_within_s: u64) -> Bounds {
        let acknowledge_within = Duration::from_secs(acknowledge_within_s);
        Bounds { resolution_s: 1, acknowledge_within }
    }

    #[track_caller]
    fn check(late_ms: &[u64], missed: u64, expected: u64, kept_up: bool) {
        let counted = Arc::new(Punctuality::default());
        for late in late_ms {
            Due::new(UnixMs(0), &counted).sent(Duration::from_millis(*late));
        }
        counted.miss(missed);
        counted.keep_back();
        assert_eq!(counted.verdict(bounds(0), Some(expected)).kept_up, kept_up);
    }

    #[test]
    fn all_in_time_but_what_is_kept_back_is_kept_up() {
        check(&[1, 20, 300], 0, 4, true);
    }

    #[test]
    fn late_missed_or_unsent_is_not() {
        check(&[1, 20, 600], 0, 4, false);
        check(&[1, 20, 30], 1, 5, false);
        check(&[1, 20, 30], 0, 5, false);
        check(&[], 0, 1, false);
    }

    #[test]
    fn a_load_is_sustained_when_all_is_acknowledged_that_can_be_heard() {
        let counted = Arc::new(Punctuality::default());
        let within = |within_s| counted.verdict(bounds(within_s), None).sustained;
        let sustained = || within(0);
        let [first, second] = [(); 2].map(|()| Due::new(UnixMs(0), &counted));
        for due in [&first, &second] {
            due.sent(Duration::ZERO);
        }
        first.acknowledged(Duration::ZERO);
        assert!(!sustained());
        second.unheard();
        assert!(sustained());
        let third = Due::new(UnixMs(0), &counted);
        third.sent(Duration::ZERO);
        third.acknowledged(Duration::from_millis(1_100));
        assert!(!sustained(), "an acknowledgement that came after the next frame");
        assert!(within(1), "where that is soon enough");
    }
}
