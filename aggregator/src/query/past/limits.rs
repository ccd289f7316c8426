//! What one question to history may take.

use super::PastError;
use crate::history::{
    aggregate::BUCKETS_PER_ANSWER,
    error::{BYTES_PER_ANSWER, POINTS_PER_ANSWER},
};

/// What one question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastLimits {
    /// Bytes that are read.
    pub bytes: u64,
    /// Points that are looked at.
    pub points_read: u64,
    /// Points of one series: a year at 15 s has two million. 72 MB while they are sent.
    pub points: usize,
    /// Points of all series of a list: 55 MB of JSON, as in the model.
    pub list_points: usize,
    /// Buckets, all of a list together.
    pub buckets: usize,
    /// Names of a list of objects: 30 MB of JSON.
    pub names: usize,
    /// Items of a pod-list or pod-id-list, repeats included, as in the model.
    pub items: usize,
}

impl Default for PastLimits {
    fn default() -> Self {
        Self {
            bytes: BYTES_PER_ANSWER,
            points_read: POINTS_PER_ANSWER,
            points: 3_000_000,
            list_points: 1_000_000,
            buckets: usize::try_from(BUCKETS_PER_ANSWER).unwrap_or(usize::MAX),
            names: 500_000,
            items: 10_000,
        }
    }
}

impl PastLimits {
    pub(super) fn names(&self) -> Quota {
        Quota::of(self.names, "names", "a shorter range, with start and end")
    }

    pub(super) fn items(&self) -> Quota {
        Quota::of(self.items, "items", "fewer of them")
    }

    pub(super) fn points(&self) -> Quota {
        Quota::of(self.points, "points", "a shorter range, or for metrics-aggregated with a bucket")
    }

    pub(super) fn list_points(&self) -> Quota {
        Quota::of(self.list_points, "points", "fewer pods or a shorter range")
    }

    pub(super) fn buckets(&self) -> Quota {
        Quota::of(self.buckets, "buckets", "a shorter range or larger buckets")
    }
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    left: usize,
    limit: usize,
    what: &'static str,
    instead: &'static str,
}

impl Quota {
    fn of(limit: usize, what: &'static str, instead: &'static str) -> Self {
        Self { left: limit, limit, what, instead }
    }

    /// Takes so many.
    pub(super) fn take(&mut self, count: usize) -> Result<(), PastError> {
        let Self { limit, what, instead, .. } = *self;
        let left = self.left.checked_sub(count);
        self.left = left.ok_or(PastError::TooLarge { what, limit, instead })?;
        Ok(())
    }
}
