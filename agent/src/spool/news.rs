//! What became of the spool, as far as a person should read of it.

use std::io;

use super::disk::SegmentNumber;

/// What a person should read of.
#[derive(Debug)]
pub enum News {
    /// Earlier runs left frames.
    Found {
        /// Segments of them.
        segments: u64,
        /// Frames.
        frames: u64,
    },
    /// Segments of another node or resolution, which are kept but not sent.
    NotAlike {
        /// How many.
        segments: u64,
    },
    /// Segments of a newer version of the format, which are left alone.
    Newer {
        /// How many.
        segments: u64,
        /// The version of the newest.
        version: u32,
    },
    /// Segments that did not end as they should.
    Damaged {
        /// How many.
        segments: u64,
        /// Frames that are known to be missing.
        frames: u64,
    },
    /// A segment that could not be read when it was to be sent.
    NotRead(SegmentNumber),
    /// The aggregator refuses what an earlier segment says, so it was given up.
    Refused {
        /// Frames of it.
        frames: u64,
    },
    /// The disk fails: frames stay in memory only.
    Fails(io::Error),
    /// The disk works again.
    Works,
}
