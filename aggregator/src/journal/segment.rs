//! Files of the journal: their names, their heads, and reading them.
//!
//! ```text
//! segment = magic: "tallyjnl", version: u32, record*           (numbers little-endian)
//! ```
//! A name says which segment it is, and whether its frames have become columns already: then it is
//! only kept to fill the live model after a restart.

use std::{fmt, io, sync::Arc};

use bytes::Bytes;
use tally_proto::record::{End, PAYLOAD_BYTES, Records};

use super::entry::{Entry, EntryReader, StreamNumber};
use crate::history::disk::{Disk, OldFile};

const MAGIC: &[u8; 8] = b"tallyjnl";

/// The newest format that this program knows: segments that may say which labels are stored, which
/// older programs take for damage.
pub const VERSION: u32 = 2;

/// The format of all other segments.
pub const PLAIN_VERSION: u32 = 1;

const HEAD_BYTES: usize = 12;

/// Bytes that are read at once; more than any record has.
const READ_BYTES: usize = 2 * PAYLOAD_BYTES;

/// Which segment. Columns that are made of it carry its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentNumber(pub u64);

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SegmentState {
    /// History has its frames as columns; it is kept to fill the live model.
    Kept,
    /// History does not have its frames yet.
    Frames,
    /// It could not be read for long, and nobody reads it any more.
    Aside,
}

/// What a segment's file is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName {
    /// Which one.
    pub number: SegmentNumber,
    /// What becomes of it.
    pub state: SegmentState,
}

impl SegmentState {
    const ALL: [Self; 3] = [Self::Kept, Self::Frames, Self::Aside];

    fn ending(self) -> &'static str {
        match self {
            Self::Kept => "-kept.tally",
            Self::Frames => ".tally",
            Self::Aside => "-aside.tally",
        }
    }
}

impl SegmentName {
    /// The name that a file has, if it is one of the journal's.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("journal-")?;
        let known = SegmentState::ALL.into_iter();
        let mut parsed = known.filter_map(|state| {
            let number = rest.strip_suffix(state.ending())?.parse().ok()?;
            Some(Self { number: SegmentNumber(number), state })
        });
        // The same number has one spelling, so that a file has one name.
        parsed.find(|parsed| parsed.to_string() == name)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "journal-{:012}{}", self.number.0, self.state.ending())
    }
}

/// What a segment of a format begins with.
pub(super) fn head(version: u32) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&version.to_le_bytes());
    head
}

/// A segment that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The disk refused.
    #[error("cannot read {name}")]
    Disk {
        /// The file.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error(
        "{name} has format {version}, this version knows up to {VERSION}: it was written by a newer \
         tally-aggregator"
    )]
    Newer {
        /// The file.
        name: String,
        /// Its format.
        version: u32,
    },
}

/// Every segment of a directory, the oldest first. Where a segment is there under several names, it
/// is the one whose columns there are.
pub fn list(disk: &dyn Disk) -> io::Result<Vec<SegmentName>> {
    let mut found: Vec<SegmentName> =
        disk.list()?.iter().filter_map(|name| SegmentName::parse(name)).collect();
    found.sort();
    found.dedup_by_key(|name| name.number);
    Ok(found)
}

/// Refuses a segment that a newer version wrote. One that can't be read at all is found later.
pub fn check_version(disk: &dyn Disk, name: SegmentName) -> Result<(), SegmentError> {
    let text = name.to_string();
    let Ok(file) = disk.open(&text) else { return Ok(()) };
    let bytes = file.length().unwrap_or(0);
    match has_head(&*file, bytes, &text) {
        Err(newer @ SegmentError::Newer { .. }) => Err(newer),
        _ => Ok(()),
    }
}

/// What was read of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadUp {
    /// Why it ended.
    pub end: End,
    /// Its length in bytes.
    pub bytes: u64,
    /// Records that were whole and yet made no sense.
    pub malformed: u64,
}

/// Where a record's payload lies in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    at: u64,
    length: usize,
}

/// Reads a segment from its beginning up to the first record that is not whole, which in the last
/// segment of a run is where a crash was. Frames share the memory of what is read at once.
pub fn read(
    disk: &dyn Disk,
    name: SegmentName,
    mut each: impl FnMut(StreamNumber, Entry),
) -> Result<ReadUp, SegmentError> {
    let (mut malformed, mut entries) = (0, EntryReader::default());
    let up = payloads(disk, name, |_, payload| match entries.next(payload) {
        Ok(Some((stream, entry))) => each(stream, entry),
        Ok(None) => (),
        Err(_) => malformed += 1,
    })?;
    Ok(ReadUp { malformed, ..up })
}

/// Reads the payloads of a segment, checks their checksums, and says where they are.
pub fn payloads(
    disk: &dyn Disk,
    name: SegmentName,
    mut each: impl FnMut(Located, Bytes),
) -> Result<ReadUp, SegmentError> {
    let text = name.to_string();
    let failed = |source| SegmentError::Disk { name: text.clone(), source };
    let file = disk.open(&text).map_err(failed)?;
    let bytes = file.length().map_err(failed)?;
    let mut up = ReadUp { end: End::Torn, bytes, malformed: 0 };
    if !has_head(&*file, bytes, &text)? {
        return Ok(up);
    }
    let mut at = u64::try_from(HEAD_BYTES).unwrap_or(0);
    let mut buffer = Bytes::new();
    loop {
        let left = usize::try_from(bytes - at).unwrap_or(usize::MAX);
        let length = left.min(READ_BYTES);
        // The memory of the bytes before, unless somebody holds any of them.
        let mut filling = buffer.try_into_mut().unwrap_or_default();
        filling.resize(length, 0);
        file.read_at(at, &mut filling).map_err(failed)?;
        buffer = filling.freeze();
        let mut records = Records::new(&buffer);
        while let Some(payload) = records.next() {
            let end = u64::try_from(records.whole_bytes()).unwrap_or(0);
            let length = payload.len();
            let located = Located { at: at + end - u64::try_from(length).unwrap_or(0), length };
            each(located, buffer.slice_ref(payload));
        }
        let whole = records.whole_bytes();
        at += u64::try_from(whole).unwrap_or(0);
        up.end = records.end().unwrap_or(End::Whole);
        let goes_on = length < left && up.end != End::Damaged && whole != 0;
        if !goes_on {
            return Ok(up);
        }
    }
}

/// A segment whose records are read again one by one, after [`payloads`] has checked them.
#[derive(Debug)]
pub struct Segment {
    name: SegmentName,
    file: Arc<dyn OldFile>,
}

impl Segment {
    /// Opens it.
    pub fn open(disk: &dyn Disk, name: SegmentName) -> Result<Self, SegmentError> {
        let failed = |source| SegmentError::Disk { name: name.to_string(), source };
        Ok(Self { name, file: disk.open(&name.to_string()).map_err(failed)? })
    }

    /// Reads a payload again.
    pub fn payload(&self, located: Located) -> Result<Bytes, SegmentError> {
        let mut payload = vec![0; located.length];
        let read = self.file.read_at(located.at, &mut payload);
        read.map_err(|source| SegmentError::Disk { name: self.name.to_string(), source })?;
        Ok(payload.into())
    }
}

/// Whether the file has a whole head; one that a crash left in its first bytes has none.
fn has_head(file: &dyn OldFile, bytes: u64, name: &str) -> Result<bool, SegmentError> {
    let mut head = [0; HEAD_BYTES];
    if bytes < u64::try_from(HEAD_BYTES).unwrap_or(0) {
        return Ok(false);
    }
    let failed = |source| SegmentError::Disk { name: name.to_owned(), source };
    file.read_at(0, &mut head).map_err(failed)?;
    let version = head.strip_prefix(MAGIC.as_slice());
    let version = version.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    match version {
        Some(version) if VERSION < version => {
            Err(SegmentError::Newer { name: name.to_owned(), version })
        }
        version => Ok(version.is_some_and(|version| PLAIN_VERSION <= version)),
    }
}
