//! What is done when: closed segments become history, small files become larger ones and coarser
//! tiers, what is too old goes, and segments go once nobody needs them.
//!
//! Each call does one thing and may take seconds; whoever calls has threads for it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tally_proto::tick::{Resolution, Tick};

use super::{
    kept::Patience,
    refill::{Part, Refilled, refill},
    seal::{SealError, Sealed, first_write, seal, segment_after},
};
use crate::{
    history::{
        disk::Disk,
        error::HistoryError,
        store::{Dropped, Merged, Retention, Store},
    },
    journal::{
        Closed, Journal,
        segment::{self, SegmentError, SegmentName, SegmentNumber, SegmentState},
    },
    model::Model,
};

/// History as it is kept: the journal's segments, and the store that they go to.
#[derive(Debug)]
pub struct Archive {
    disk: Arc<dyn Disk>,
    store: Arc<Store>,
    journal: Arc<Journal>,
    resolution: Resolution,
    limits: Limits,
    segments: Mutex<Segments>,
    /// Bytes of the segment that is being written.
    open_bytes: AtomicU64,
}

const DAY_S: u64 = 86_400;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// On disk.
    pub retention: Retention,
    /// In memory while the disk refuses: bytes of the journal.
    pub waiting_most: usize,
}

/// Closed segments.
#[derive(Debug, Default)]
struct Segments {
    /// Those that are no history yet, the oldest first. One is here until its files are.
    closed: VecDeque<Closed>,
    /// Those that are only kept to fill the model.
    kept: Vec<Closed>,
    /// Those that nobody reads any more; their bytes are on the disk all the same.
    aside: Vec<Closed>,
}

/// What the journal takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalHeld {
    /// Segments that are no history yet, without the one that is open.
    pub unsealed: u64,
    /// All segments.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A directory that can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its files can't be listed.
    #[error("cannot list the history directory")]
    List(#[source] io::Error),
    /// A segment can't be read.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Its store can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl Archive {
    /// Works with the segments and the store of a directory. Nothing is read yet but names and
    /// heads; what is written from now on begins a new segment.
    pub fn open(
        disk: Arc<dyn Disk>,
        store: Arc<Store>,
        resolution: Resolution,
        limits: Limits,
    ) -> Result<(Self, Vec<SegmentName>), OpenError> {
        let names = segment::list(&*disk).map_err(OpenError::List)?;
        for name in &names {
            segment::check_version(&*disk, *name)?;
        }
        let last = names.last().map_or(0, |name| name.number.0);
        let first = segment_after(store.next_write()).max(SegmentNumber(last + 1));
        let (aside, names) = names.into_iter().partition(|name| name.state == SegmentState::Aside);
        let archive = Self {
            disk,
            store,
            journal: Arc::new(Journal::new(first, limits.waiting_most)),
            resolution,
            limits,
            segments: Mutex::default(),
            open_bytes: AtomicU64::new(0),
        };
        let aside: Vec<SegmentName> = aside;
        aside.into_iter().for_each(|name| archive.not_refilled(name));
        Ok((archive, names))
    }

    /// Where frames are appended.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// What has become history.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The directory.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Gives the frames of a part of the nodes in a segment that was there before to the model. To
    /// be called for each segment, in the order of their numbers; then say so by [`Self::refilled`].
    pub fn refill(
        &self,
        name: SegmentName,
        model: &Model,
        part: Part,
    ) -> Result<Refilled, SegmentError> {
        refill(&*self.disk, name, model, part)
    }

    /// Takes over a segment that was there before.
    pub fn refilled(&self, name: SegmentName, refilled: &Refilled) {
        self.take_over(name, refilled.holds.clone());
    }

    /// Takes over a segment that was there before and was not read.
    pub fn not_refilled(&self, name: SegmentName) {
        let length = self.disk.open(&name.to_string()).and_then(|file| file.length());
        // What can't even be opened counts for nothing until it can.
        let bytes = length.unwrap_or(0);
        self.take_over(name, Closed { number: name.number, ticks: None, bytes });
    }

    fn take_over(&self, name: SegmentName, closed: Closed) {
        let mut segments = self.segments();
        match name.state {
            SegmentState::Kept => segments.kept.push(closed),
            SegmentState::Frames => segments.closed.push_back(closed),
            SegmentState::Aside => segments.aside.push(closed),
        }
    }

    /// A segment ended.
    pub fn close(&self, closed: Closed) {
        self.segments().closed.push_back(closed);
        self.journal.taken_over();
    }

    /// Notes how large the segment is that is being written.
    pub fn set_open_bytes(&self, bytes: u64) {
        self.open_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Makes history of the oldest closed segment; `None` when there is none.
    pub fn seal_next(&self, patience: Patience) -> Result<Option<Sealed>, SealError> {
        let Some(closed) = self.segments().closed.front().cloned() else { return Ok(None) };
        let name = SegmentName { number: closed.number, state: SegmentState::Frames };
        let sealed = seal(&self.disk, &self.store, name, self.resolution, patience)?;
        // Not synced: when a crash takes the new name back, it is found that the files are there.
        self.rename(name, SegmentState::Kept).map_err(SealError::Write)?;
        let mut segments = self.segments();
        segments.closed.pop_front();
        segments.kept.push(closed);
        Ok(Some(sealed))
    }

    /// Gives up the oldest closed segment, which can't be read: its file stays under another name,
    /// which says so and is never read. `None` when there is no segment.
    pub fn set_aside_next(&self) -> Result<Option<SegmentName>, HistoryError> {
        let Some(closed) = self.segments().closed.front().cloned() else { return Ok(None) };
        let name = SegmentName { number: closed.number, state: SegmentState::Frames };
        let aside = self.rename(name, SegmentState::Aside)?;
        let mut segments = self.segments();
        segments.closed.pop_front();
        segments.aside.push(closed);
        Ok(Some(aside))
    }

    fn rename(&self, name: SegmentName, state: SegmentState) -> Result<SegmentName, HistoryError> {
        let renamed = SegmentName { state, ..name };
        match self.disk.rename(&name.to_string(), &renamed.to_string()) {
            Ok(()) => Ok(renamed),
            Err(source) => {
                Err(HistoryError::Disk { what: "rename", name: name.to_string(), source })
            }
        }
    }

    /// Removes segments that are history and that the model, whose window begins at `oldest`, does
    /// not need after a restart. How many.
    pub fn drop_kept(&self, oldest: Tick) -> io::Result<u64> {
        let needless = |closed: &Closed| closed.ticks.is_none_or(|(_, last)| last < oldest);
        let gone: Vec<Closed> =
            self.segments().kept.iter().filter(|closed| needless(closed)).cloned().collect();
        let mut dropped = 0;
        for closed in gone {
            let name = SegmentName { number: closed.number, state: SegmentState::Kept };
            match self.disk.remove(&name.to_string()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
            self.segments().kept.retain(|kept| kept.number != closed.number);
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Does the next merge that is due, if any.
    pub fn merge(&self, now: Tick) -> Result<Option<Merged>, HistoryError> {
        // Of a segment that is being sealed some parts may be there already; whoever does it again
        // after a crash must be able to tell them from what was there before.
        let front = || self.segments().closed.front().map(|closed| closed.number);
        self.store.merge(now, || front().map_or(u64::MAX, first_write))
    }

    /// Drops what is too old or too much. The journal counts as history does. What is old is told
    /// by the newest there is, too, so that a clock that is years ahead drops nothing.
    pub fn drop_old(&self, now: Tick) -> Result<Dropped, HistoryError> {
        let newest = self.store.newest_tick()?.unwrap_or(now);
        let now = now.min(Tick(newest.0.saturating_add(DAY_S)));
        let journal = self.journal_held().bytes;
        let bytes = self.limits.retention.bytes.saturating_sub(journal);
        self.store.drop_old(now, Retention { bytes, ..self.limits.retention })
    }

    /// The oldest tick that may be in no file yet; `None` when all are.
    pub fn unsealed_from(&self) -> Option<Tick> {
        let open = self.journal.open_since();
        let segments = self.segments();
        let closed = segments.closed.iter().filter_map(|closed| Some(closed.ticks?.0));
        closed.chain(open).min()
    }

    /// What the journal takes.
    pub fn journal_held(&self) -> JournalHeld {
        let open = self.open_bytes.load(Ordering::Relaxed);
        let segments = self.segments();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let all = segments.closed.iter().chain(&segments.kept).chain(&segments.aside);
        JournalHeld {
            unsealed: count(segments.closed.len()),
            segments: count(all.clone().count()) + u64::from(open != 0),
            bytes: all.map(|closed| closed.bytes).sum::<u64>() + open,
        }
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
