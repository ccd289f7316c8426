//! What the spool asks of a disk, one thing at a time.
//!
//! The agent has real files ([`crate::folder`]), on a thread of their own, so that a disk that hangs delays
//! nothing; tests have a disk that crashes, fills up and fails.

use std::io;

use bytes::Bytes;
use tally_proto::{
    message::{Hello, Sequence},
    record::End,
    tick::Tick,
};

use super::segment::{self, Contents, Unreadable};

/// Which segment: they are numbered in the order in which they were begun, over all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// A disk.
pub trait Disk {
    /// The segments that are there, in any order.
    fn list(&mut self) -> io::Result<Vec<SegmentNumber>>;

    /// The bytes of one.
    fn read(&mut self, segment: SegmentNumber) -> io::Result<Vec<u8>>;

    /// Adds to one, which is made when it is new. After an error any part of it may be there.
    fn append(&mut self, segment: SegmentNumber, bytes: &[u8]) -> io::Result<()>;

    /// Makes sure that all that was added is there also after a power loss.
    fn sync(&mut self, segment: SegmentNumber) -> io::Result<()>;

    /// Removes one. It is no error when it is gone already.
    fn remove(&mut self, segment: SegmentNumber) -> io::Result<()>;
}

/// Something to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Job {
    /// Look what is there.
    Scan,
    /// Add to a segment.
    Write {
        /// The segment.
        segment: SegmentNumber,
        /// Whole records.
        bytes: Vec<u8>,
        /// Whether it must survive a power loss.
        sync: bool,
    },
    /// Make a segment survive a power loss.
    Sync(SegmentNumber),
    /// Read a segment.
    Read(SegmentNumber),
    /// Remove segments.
    Remove(Vec<SegmentNumber>),
}

/// What a scan found of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub segment: SegmentNumber,
    /// What it holds, in short.
    pub summary: Result<Summary, NotRead>,
}

/// Why nothing is known of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// Its bytes say nothing.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The disk does not give them.
    #[error("the disk does not give its bytes: {0}")]
    Disk(io::ErrorKind),
}

/// A segment in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Who measured it.
    pub hello: Hello,
    /// Its first and last frame, and the tick of that; `None` when it has none.
    pub frames: Option<(Sequence, Sequence, Tick)>,
    /// Values in it.
    pub samples: u64,
    /// Size of its file.
    pub bytes: u64,
    /// How it ended.
    pub end: End,
}

/// What was done.
#[derive(Debug)]
pub enum Done {
    /// What is there.
    Scanned(Vec<Found>),
    /// Everything was written.
    Written,
    /// Everything is safe.
    Synced,
    /// What a segment holds.
    Read(Result<Contents, Unreadable>),
    /// They are gone.
    Removed,
}

/// Does it.
pub fn perform(disk: &mut impl Disk, job: Job) -> io::Result<Done> {
    match job {
        Job::Scan => scan(disk).map(Done::Scanned),
        Job::Write { segment, bytes, sync } => {
            disk.append(segment, &bytes)?;
            if sync {
                disk.sync(segment)?;
            }
            Ok(Done::Written)
        }
        Job::Sync(segment) => disk.sync(segment).map(|()| Done::Synced),
        Job::Read(segment) => {
            disk.read(segment).map(|bytes| Done::Read(segment::read(&Bytes::from(bytes))))
        }
        Job::Remove(segments) => {
            segments.into_iter().try_for_each(|segment| disk.remove(segment))?;
            Ok(Done::Removed)
        }
    }
}

/// Reads every segment, one after the other, so that from now on it is known what is lost when
/// one goes. A full spool takes about a second.
fn scan(disk: &mut impl Disk) -> io::Result<Vec<Found>> {
    let mut segments = disk.list()?;
    segments.sort_unstable();
    let found = segments.into_iter().map(|segment| {
        let bytes = disk.read(segment).map_err(|error| NotRead::Disk(error.kind()));
        Found { segment, summary: bytes.and_then(|bytes| Ok(summary(bytes)?)) }
    });
    Ok(found.collect())
}

fn summary(bytes: Vec<u8>) -> Result<Summary, Unreadable> {
    let bytes = Bytes::from(bytes);
    let Contents { hello, frames, end } = segment::read(&bytes)?;
    let (first, last) = (frames.first(), frames.last());
    Ok(Summary {
        hello,
        frames: first
            .zip(last)
            .map(|(first, last)| (first.frame.sequence, last.frame.sequence, last.frame.tick)),
        samples: frames.iter().map(|frame| u64::from(frame.samples)).sum(),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        end,
    })
}
