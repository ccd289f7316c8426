//! The journal: what streams said, on disk before it is acknowledged.
//!
//! ```text
//! known    what the API server knew of a node, as bytes
//! entry    what a stream says, as records                                  (pure)
//! segment  files: their names, their heads, read from beginning to end
//! ```
//! Whoever took a frame appends it to a buffer in memory; a committer writes what has gathered and
//! syncs it, once for all streams. A segment is a file that needs no other: a stream that says
//! something in a segment for the first time first says who it is, what its numbers mean and which
//! values it goes on from. So segments go one by one, when their frames have become columns of
//! history and left the live model.
//!
//! A disk that refuses (it is full, say) is tried again; what gathers meanwhile waits in memory, up
//! to a limit. Beyond it frames are not taken into the journal, so they are not acknowledged, and
//! their senders keep them.

pub mod entry;
pub mod known;
pub mod segment;
#[cfg(test)]
mod tests;

use std::{
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tally_proto::tick::Tick;

use crate::history::disk::{Disk, NewFile};
use entry::StreamNumber;
use segment::{PLAIN_VERSION, SegmentName, SegmentNumber, SegmentState, VERSION};

/// Bytes that may wait for the disk, usually: a minute of what a thousand nodes say every second.
pub const WAITING_MOST: usize = 64 << 20;

/// How much was appended since the program began; what is below a durable position is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

/// When a segment ends.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// After so long.
    pub longest: Duration,
    /// After so long when it has frames that are too old for the live model, or will be before it
    /// is as old as `longest`: these are answered for only once they are columns.
    pub longest_with_late: Duration,
    /// After so many bytes.
    pub bytes: u64,
}

/// What a closed segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Which one.
    pub number: SegmentNumber,
    /// The ticks of its frames, but for those that are too old for the live model.
    pub ticks: Option<(Tick, Tick)>,
    /// Bytes of its file.
    pub bytes: u64,
}

/// What a frame means to the segment that it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Addition {
    /// Its tick.
    pub tick: Tick,
    /// Whether it is too old for the live model.
    pub is_late: bool,
}

/// What a stream knows of its place in the journal.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamMark {
    at: Option<(SegmentNumber, StreamNumber)>,
}

/// The journal, for those who append.
#[derive(Debug)]
pub struct Journal {
    /// Bytes that may wait for the disk.
    waiting_most: usize,
    gathering: Mutex<Gathering>,
    work: Condvar,
    /// Whether more may be appended. Looked at before each frame.
    has_room: AtomicBool,
}

/// What gathers in memory for the segment that is open.
#[derive(Debug)]
struct Gathering {
    segment: SegmentNumber,
    streams: u32,
    buffer: Vec<u8>,
    appended: u64,
    ticks: Option<(Tick, Tick)>,
    /// The oldest tick of the segment before, until somebody has taken that over.
    closing_since: Option<Tick>,
    has_late: bool,
    stopping: bool,
}

impl Journal {
    /// A journal whose next segment is `first`, and of which `waiting_most` bytes may wait.
    pub fn new(first: SegmentNumber, waiting_most: usize) -> Self {
        let gathering = Gathering {
            segment: first,
            streams: 0,
            buffer: Vec::new(),
            appended: 0,
            ticks: None,
            closing_since: None,
            has_late: false,
            stopping: false,
        };
        let has_room = AtomicBool::new(true);
        Self { waiting_most, gathering: Mutex::new(gathering), work: Condvar::new(), has_room }
    }

    /// Whether frames are taken at present.
    pub fn has_room(&self) -> bool {
        self.has_room.load(Ordering::Relaxed)
    }

    /// Appends what `write` writes for a stream, after `begin` where the stream has said nothing in
    /// this segment. Gives the position after it.
    pub fn append(
        &self,
        stream: &mut StreamMark,
        addition: Option<Addition>,
        begin: impl FnOnce(StreamNumber, &mut Vec<u8>),
        write: impl FnOnce(StreamNumber, &mut Vec<u8>),
    ) -> Position {
        let mut gathering = self.gathering();
        let before = gathering.buffer.len();
        let number = match stream.at {
            Some((segment, number)) if segment == gathering.segment => number,
            _ => {
                let number = StreamNumber(gathering.streams);
                gathering.streams = gathering.streams.saturating_add(1);
                begin(number, &mut gathering.buffer);
                stream.at = Some((gathering.segment, number));
                number
            }
        };
        write(number, &mut gathering.buffer);
        if let Some(addition) = addition {
            gathering.add(addition);
        }
        let waiting = gathering.buffer.len();
        gathering.appended += u64::try_from(waiting - before).unwrap_or(0);
        if self.waiting_most <= waiting {
            self.has_room.store(false, Ordering::Relaxed);
        }
        let position = Position(gathering.appended);
        drop(gathering);
        if before == 0 {
            self.work.notify_one();
        }
        position
    }

    /// Appends what `write` writes for a stream that has said something in this segment; one that
    /// has not says it anew with its next frame.
    pub fn append_if_begun(
        &self,
        stream: &StreamMark,
        write: impl FnOnce(StreamNumber, &mut Vec<u8>),
    ) {
        let mut gathering = self.gathering();
        if let Some((segment, number)) = stream.at
            && segment == gathering.segment
        {
            let before = gathering.buffer.len();
            write(number, &mut gathering.buffer);
            let written = gathering.buffer.len().saturating_sub(before);
            gathering.appended += u64::try_from(written).unwrap_or(0);
        }
    }

    /// Everything appended so far.
    pub fn position(&self) -> Position {
        Position(self.gathering().appended)
    }

    /// The oldest tick in the segment that is open, or is being closed, but for those that are too
    /// old for the model.
    pub fn open_since(&self) -> Option<Tick> {
        let gathering = self.gathering();
        let open = gathering.ticks.map(|(first, _)| first);
        gathering.closing_since.into_iter().chain(open).min()
    }

    /// Somebody else knows of the segment that was closed last.
    pub fn taken_over(&self) {
        self.gathering().closing_since = None;
    }

    /// Waits until there is something to commit, but not longer than `most`. Whether the journal
    /// goes on: `false` once it is to stop and nothing is left.
    pub fn wait(&self, most: Duration) -> bool {
        let gathering = self.gathering();
        let idle = |gathering: &mut Gathering| gathering.buffer.is_empty() && !gathering.stopping;
        let waited = self.work.wait_timeout_while(gathering, most, idle);
        let (gathering, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !(gathering.stopping && gathering.buffer.is_empty())
    }

    /// Lets the committer end once everything is committed.
    pub fn stop(&self) {
        self.gathering().stopping = true;
        self.work.notify_all();
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn add(&mut self, Addition { tick, is_late }: Addition) {
        if is_late {
            self.has_late = true;
        } else {
            let (first, last) = self.ticks.unwrap_or((tick, tick));
            self.ticks = Some((first.min(tick), last.max(tick)));
        }
    }

    /// Whether there are frames that are too old for the live model now, or were already as old as
    /// a segment may become when others were new.
    fn is_late(&self, longest: Duration) -> bool {
        let spread_s = self.ticks.map_or(0, |(first, last)| last.0 - first.0);
        self.has_late || longest <= Duration::from_secs(spread_s)
    }

    /// What has gathered is for a segment that ends with it; what comes is for the next.
    fn turn(&mut self) -> Option<(Tick, Tick)> {
        self.segment = SegmentNumber(self.segment.0 + 1);
        self.streams = 0;
        self.has_late = false;
        self.closing_since = self.ticks.map(|(first, _)| first);
        self.ticks.take()
    }
}

/// The one that writes: what has gathered, in one go, and then syncs it.
#[derive(Debug)]
pub struct Committer {
    disk: Arc<dyn Disk>,
    journal: Arc<Journal>,
    span: Span,
    /// The format of its segments.
    version: u32,
    segment: SegmentNumber,
    file: Option<Box<dyn NewFile>>,
    /// When the segment began, on the clock of [`Committer::commit`].
    began: Duration,
    /// Bytes of the segment's file that are safe.
    safe: u64,
    /// What is being written, the position after it, and whether the segment ends with it.
    batch: Vec<u8>,
    position: Position,
    ends: Option<Option<(Tick, Tick)>>,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// All that is below is safe.
    pub durable: Position,
    /// The segment that ended.
    pub closed: Option<Closed>,
}

impl Committer {
    /// Commits what comes to `journal`, whose first segment nobody has written to.
    pub fn new(disk: Arc<dyn Disk>, journal: Arc<Journal>, span: Span) -> Self {
        let segment = journal.gathering().segment;
        Self {
            disk,
            journal,
            span,
            version: PLAIN_VERSION,
            segment,
            file: None,
            began: Duration::ZERO,
            safe: 0,
            batch: Vec::new(),
            position: Position::default(),
            ends: None,
        }
    }

    /// Writes and syncs what has gathered. After an error all of it still waits: call again.
    pub fn commit(&mut self, elapsed: Duration) -> io::Result<Committed> {
        if self.batch.is_empty() && self.ends.is_none() {
            self.gather(elapsed, false);
        }
        self.commit_batch(elapsed)
    }

    /// The same, and ends the segment whatever its age.
    pub fn close(&mut self, elapsed: Duration) -> io::Result<Committed> {
        if !self.batch.is_empty() || self.ends.is_some() {
            self.commit_batch(elapsed)?;
        }
        self.gather(elapsed, true);
        self.commit_batch(elapsed)
    }

    fn gather(&mut self, elapsed: Duration, ends: bool) {
        let mut gathering = self.journal.gathering();
        std::mem::swap(&mut gathering.buffer, &mut self.batch);
        self.position = Position(gathering.appended);
        let is_empty = self.file.is_none() && self.batch.is_empty();
        if self.file.is_none() {
            self.began = elapsed;
        }
        let age = elapsed.saturating_sub(self.began);
        let bytes = self.safe + u64::try_from(self.batch.len()).unwrap_or(0);
        let is_due = self.span.longest <= age
            || gathering.is_late(self.span.longest) && self.span.longest_with_late <= age
            || self.span.bytes <= bytes;
        if (ends || is_due) && !is_empty {
            self.ends = Some(gathering.turn());
        }
    }

    fn commit_batch(&mut self, elapsed: Duration) -> io::Result<Committed> {
        if let Err(error) = self.write() {
            // What was written in part is cut off before it is written again.
            if let Some(file) = &mut self.file
                && file.cut(self.safe).is_err()
            {
                tracing::debug!("a part of a failed write stays until the next one");
            }
            return Err(error);
        }
        self.batch.clear();
        // After an outage the batch may have had megabytes; usually it has kilobytes.
        self.batch.shrink_to(1 << 20);
        self.journal.has_room.store(true, Ordering::Relaxed);
        let closed = self.ends.take().map(|ticks| {
            self.file = None;
            let bytes = std::mem::take(&mut self.safe);
            let number = self.segment;
            self.segment = SegmentNumber(number.0 + 1);
            self.began = elapsed;
            Closed { number, ticks, bytes }
        });
        Ok(Committed { durable: self.position, closed })
    }

    fn write(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let begun = self.file.is_some();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let name = SegmentName { number: self.segment, state: SegmentState::Frames };
                self.file.insert(self.disk.create(&name.to_string())?)
            }
        };
        if self.safe == 0 {
            // The file may be of a failed attempt, with anything in it.
            file.cut(0)?;
            file.append(&segment::head(self.version))?;
        } else {
            file.cut(self.safe)?;
        }
        file.append(&self.batch)?;
        file.sync()?;
        if !begun || self.safe == 0 {
            self.disk.sync()?;
            self.safe = u64::try_from(segment::head(self.version).len()).unwrap_or(0);
        }
        self.safe += u64::try_from(self.batch.len()).unwrap_or(0);
        Ok(())
    }

    /// The same; what is known of pods and nodes may have labels that are stored.
    pub fn with_stored_labels(self) -> Self {
        Self { version: VERSION, ..self }
    }

    /// Whether something was taken and is not written yet.
    pub fn has_work(&self) -> bool {
        !self.batch.is_empty() || self.ends.is_some()
    }

    /// Bytes of the segment that is being written.
    pub fn open_bytes(&self) -> u64 {
        self.safe
    }
}
