//! What the agent counts about itself. The sending half counts, the reading half reports the
//! numbers as metrics of the node.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that many may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts some more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Makes it another number: for what also goes down.
    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shared by the sampling thread and the uplink.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames that were given up before they were acknowledged, oldest first. One that was
    /// already sent may have arrived all the same.
    pub frames_dropped: Counter,
    /// Values in those frames.
    pub samples_dropped: Counter,
    /// Bytes that the spool has on disk.
    pub spool_bytes: Counter,
    /// How often the spool's disk failed, or something in the spool was found damaged.
    pub spool_faults: Counter,
    /// Ticks that were not read, because the reading before took too long or the host slept.
    pub ticks_skipped: Counter,
    /// Connections to the aggregator that were lost or never came about.
    pub connections_failed: Counter,
}
