//! Durations of every frame of all threads, counted without a lock and in little memory.
//!
//! A duration is counted in a bucket that is at most a sixteenth of itself wide, so quantiles are
//! at most 7 % too high and never too low. The longest is kept exactly.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::quantiles::{Quantiles, rounded};

/// Buckets of each doubling.
const PARTS: usize = 16;

/// Doublings from a microsecond: over an hour, which nothing takes.
const DOUBLINGS: usize = 33;

/// Counted durations, in microseconds.
#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<AtomicU64>,
    longest_us: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = (0..PARTS * DOUBLINGS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, longest_us: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one.
    pub fn add(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket_of(us)).or(self.buckets.last()) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    /// Their quantiles; `None` of none.
    #[expect(clippy::as_conversions, reason = "figures for people")]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let longest = self.longest_us.load(Ordering::Relaxed);
        let at = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut below = 0;
            let bucket = counts.iter().position(|here| {
                below += here;
                rank <= below
            })?;
            Some(rounded(end_of(bucket).min(longest) as f64 / 1e3))
        };
        let (p50_ms, p99_ms) = (at(50)?, at(99)?);
        let most_ms = rounded(longest as f64 / 1e3);
        Some(Quantiles { count: usize::try_from(count).ok()?, p50_ms, p99_ms, most_ms })
    }
}

/// The first two rows of buckets hold one microsecond each, from there each row is a doubling.
fn bucket_of(us: u64) -> usize {
    let row = us.checked_ilog2().unwrap_or(0).saturating_sub(PARTS.ilog2());
    let part = usize::try_from(us >> row).unwrap_or(usize::MAX);
    usize::try_from(row).unwrap_or(0) * PARTS + part
}

/// The longest duration of a bucket.
fn end_of(bucket: usize) -> u64 {
    let row = (bucket / PARTS).saturating_sub(1);
    let part = u64::try_from(bucket - row * PARTS).unwrap_or(0);
    ((part + 1) << row) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_a_bucket_that_ends_a_sixteenth_later_at_most() {
        for us in (0..5_000).chain([1_000_000, 59_999_999, 3_600_000_000]) {
            let end = end_of(bucket_of(us));
            assert!(us <= end && end <= us + us / 16, "{us} is in the bucket up to {end}");
        }
    }

    #[test]
    fn the_longest_is_exact_and_of_nothing_there_are_no_quantiles() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantiles(), None);
        for ms in 1..=100 {
            histogram.add(Duration::from_millis(ms));
        }
        let quantiles = histogram.quantiles().unwrap();
        assert_eq!((quantiles.count, quantiles.most_ms), (100, 100.0));
        assert!((50.0..=53.2).contains(&quantiles.p50_ms), "{}", quantiles.p50_ms);
    }
}
