//! What can go wrong with history, with the file it went wrong at.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{block::BlockError, codec::Malformed, file::FileName};

/// Why history can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The disk refused.
    #[error("cannot {what} {name}")]
    Disk {
        /// What was tried.
        what: &'static str,
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A block that can't be written or read.
    #[error("in {name}")]
    Block {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: BlockError,
    },
    /// A part whose checksum does not fit, or a file that does not end as it should.
    #[error("{name} is damaged: {what}")]
    Damaged {
        /// The file.
        name: String,
        /// Which part.
        what: &'static str,
    },
    /// A file that a newer version of this program wrote.
    #[error(
        "{name} has format {version}, this version knows up to {known}: it was written by a newer \
         tally-aggregator"
    )]
    Newer {
        /// The file.
        name: String,
        /// Its format.
        version: u32,
        /// The newest known.
        known: u32,
    },
    /// A directory in which files came and went each time that it was looked at.
    #[error("the files of the directory changed {looks} times while they were opened: try again")]
    Restless {
        /// How often it was looked at.
        looks: usize,
    },
    /// A question that would read more than one may.
    #[error("the answer needs more than {limit} {what}: ask for a shorter range or larger buckets")]
    TooMuch {
        /// Bytes or points.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// Nobody waits for the answer any more.
    #[error("the question was given up")]
    Stopped,
}

impl HistoryError {
    pub(super) fn disk(what: &'static str, name: &str, source: io::Error) -> Self {
        Self::Disk { what, name: name.to_owned(), source }
    }

    pub(super) fn block(name: &FileName, source: BlockError) -> Self {
        Self::Block { name: name.to_string(), source }
    }

    pub(super) fn damaged(name: &FileName, what: &'static str) -> Self {
        Self::Damaged { name: name.to_string(), what }
    }

    /// A sketch of a coarser tier that is not one.
    pub fn of_sketch(source: Malformed) -> Self {
        Self::Block { name: "a coarser tier".to_owned(), source: source.into() }
    }

    /// Whether a file that was there is there no longer.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk is full: the one fault that may pass by itself.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// Stops a question that is under way: whoever reads looks at it before every read. All clones are
/// one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Stops it.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it is to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one question may still read.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: u64,
    bytes_limit: u64,
    points: u64,
    points_limit: u64,
    stop: Stop,
}

/// Bytes one question may read by default: a day of one entity at a second takes 0.3 MB, thirty
/// days at 15 s about 2 MB; a list of a hundred thousand pods some 10 MB.
pub const BYTES_PER_ANSWER: u64 = 256 << 20;

/// Points one question may look at by default: a year of one series at 15 s has two million.
pub const POINTS_PER_ANSWER: u64 = 20_000_000;

impl Default for Budget {
    fn default() -> Self {
        Self::new(BYTES_PER_ANSWER, POINTS_PER_ANSWER)
    }
}

impl Budget {
    /// So many bytes and points.
    pub fn new(bytes: u64, points: u64) -> Self {
        let stop = Stop::default();
        Self { bytes, bytes_limit: bytes, points, points_limit: points, stop }
    }

    /// The same, until `stop`.
    pub fn until(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Without any limit: for merging, which is bounded by what is there.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX, u64::MAX)
    }

    /// Whether anybody still waits for the answer.
    pub(super) fn go_on(&self) -> Result<(), HistoryError> {
        if self.stop.is_stopped() { Err(HistoryError::Stopped) } else { Ok(()) }
    }

    /// Takes bytes.
    pub(super) fn bytes(&mut self, count: u64) -> Result<(), HistoryError> {
        self.go_on()?;
        let left = self.bytes.checked_sub(count);
        self.bytes = left
            .ok_or(HistoryError::TooMuch { what: "bytes of history", limit: self.bytes_limit })?;
        Ok(())
    }

    /// Takes points.
    pub(super) fn points(&mut self, count: usize) -> Result<(), HistoryError> {
        self.go_on()?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let left = self.points.checked_sub(count);
        self.points =
            left.ok_or(HistoryError::TooMuch { what: "points", limit: self.points_limit })?;
        Ok(())
    }

    /// Bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_limit - self.bytes
    }
}
