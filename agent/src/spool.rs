//! Frames on disk: what waits so long for an acknowledgement that a restart or a power loss could
//! come first, and what no longer fits into memory.
//!
//! While acknowledgements come, nothing is written. When one is late, or there is no stream, every
//! frame is written as it comes, and synced every ten seconds; when the agent is asked to stop,
//! what is left is written at once. Frames go into *segments*, files that need nothing but
//! themselves to be sent, so the agent that comes after this one sends them as what they are: of
//! the run that measured them. A segment whose frames are all acknowledged is removed. When there
//! are too many, the oldest goes, and what is lost with it is counted.
//!
//! This state machine decides and never waits: it hands out one [`Job`] at a time, which a thread
//! of its own does on a [`Disk`](disk::Disk), and hears how it went. A disk that fails is left
//! alone for a while; frames then stay in memory only, as if there were no spool.

pub mod disk;
pub mod index;
mod news;
mod reading;
pub mod segment;
mod writing;

use std::{io, time::Duration};

use tally_proto::{
    message::{Hello, Run, Sequence},
    tick::Tick,
};

pub use self::news::News;
use self::{
    disk::{Done, Job, SegmentNumber},
    index::{Index, Segment},
    segment::Contents,
};
use crate::outbox::{Lost, Outbox};

/// How long a frame waits for its acknowledgement before it is written though a stream stands:
/// twice as long as aggregators of earlier days held an acknowledgement back. So long may a cut
/// network go unnoticed, and a killed agent lose what came since.
pub const SPILL_AFTER: Duration = Duration::from_secs(10);

/// How often what was written is made to survive a power loss, and so what one may cost. An
/// agent that is killed loses nothing of what was written.
pub const SYNC_EVERY: Duration = Duration::from_secs(10);

/// How long a disk that failed is left alone.
pub const RETRY_AFTER: Duration = Duration::from_secs(10);

/// A segment that is larger gets no more frames. Each has all declarations and a key frame, some
/// 57 KB on a host of 250 containers, so smaller ones would hold much of those; and one is read
/// into memory to be sent, so larger ones would cost the agent that much.
pub const SEGMENT_BYTES: u64 = 512 << 10;

/// How much is kept on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files, give or take a segment.
    pub bytes: u64,
    /// Seconds from a segment's newest frame to the newest of all.
    pub age_s: u64,
    /// A segment that is larger gets no more frames: [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
}

/// How much it presses to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// A stream stands: only what has waited long.
    Calm,
    /// No stream stands.
    Outage,
    /// The agent stops: everything, and to survive a power loss.
    Stopping,
}

/// What became of a job, as far as others must know.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// What a segment holds; `None` when it could not be read.
    Read(SegmentNumber, Option<Contents>),
}

/// The job that is being done.
#[derive(Debug)]
enum Pending {
    Scan,
    Write { segment: Segment, is_new: bool, sync: bool },
    Sync,
    Read(SegmentNumber),
    Remove(Vec<SegmentNumber>),
}

/// Frames on disk.
#[derive(Debug)]
pub struct Spool {
    limits: Limits,
    hello: Hello,
    index: Index,
    is_scanned: bool,
    next: SegmentNumber,
    /// The segment that frames are added to.
    open: Option<SegmentNumber>,
    /// Own frames up to this one are written, or too large to be.
    written: Sequence,
    /// Own frames up to this one survive a power loss.
    synced: Sequence,
    /// Own frames up to this one are acknowledged.
    acknowledged: Sequence,
    /// What was written last and does not survive a power loss yet, and since when.
    unsynced: Option<(SegmentNumber, Duration)>,
    /// In use by who sends it.
    pinned: Option<SegmentNumber>,
    unneeded: Vec<SegmentNumber>,
    pending: Option<Pending>,
    /// Whether the disk failed when it was last written to.
    is_failing: bool,
    /// Until when a disk that failed is left alone.
    rest_until: Option<Duration>,
    lost: Lost,
    faults: u64,
    news: Vec<News>,
}

impl Spool {
    /// A spool of which nothing is known yet, for the run that `hello` begins.
    pub fn new(limits: Limits, hello: Hello) -> Self {
        Self {
            limits,
            hello,
            index: Index::default(),
            is_scanned: false,
            next: SegmentNumber(1),
            open: None,
            written: Sequence(0),
            synced: Sequence(0),
            acknowledged: Sequence(0),
            unsynced: None,
            pinned: None,
            unneeded: Vec::new(),
            pending: None,
            is_failing: false,
            rest_until: None,
            lost: Lost::default(),
            faults: 0,
            news: Vec::new(),
        }
    }

    /// Whether it is known what is there, or that it will not be known soon.
    pub fn is_settled(&self) -> bool {
        self.is_scanned || self.is_failing
    }

    /// What is there.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// What was given up, other than by the outbox.
    pub fn lost(&self) -> Lost {
        self.lost
    }

    /// How often the disk failed or something on it was damaged.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// What happened since this was last asked.
    pub fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether a frame of this run is on disk.
    pub fn holds(&self, sequence: Sequence) -> bool {
        let of_own = |segment: &&Segment| segment.run == self.hello.run;
        let holds = |segment: &Segment| (segment.first..=segment.last).contains(&sequence);
        self.index.iter().filter(of_own).any(holds)
    }

    /// Whether every frame of `outbox` is on disk and survives a power loss, or can't be made to.
    pub fn is_safe(&self, outbox: &Outbox) -> bool {
        let is_done =
            outbox.is_empty() || (outbox.last() <= self.written && self.unsynced.is_none());
        self.pending.is_none() && (is_done || self.rest_until.is_some())
    }

    /// The oldest segment after `after` that must be sent from here: of another run, or with
    /// frames from before `kept`, the first of this run that is in memory.
    pub fn to_send(&self, after: Option<SegmentNumber>, kept: Sequence) -> Option<&Segment> {
        self.index.iter().find(|segment| {
            after < Some(segment.number)
                && segment.is_sendable
                && segment.is_wanted()
                && (segment.run != self.hello.run || segment.first_wanted() < kept)
        })
    }

    /// Keeps a segment while it is being sent; no frame is added to it any more.
    pub fn pin(&mut self, segment: Option<SegmentNumber>) {
        self.pinned = segment;
        if segment.is_some() && self.open == segment {
            self.open = None;
        }
    }

    /// Frames of a run up to `sequence` are acknowledged.
    pub fn acknowledge(&mut self, run: Run, sequence: Sequence) {
        if run == self.hello.run {
            self.acknowledged = self.acknowledged.max(sequence);
        }
        let unneeded = self.index.acknowledge(run, sequence);
        self.unneeded(unneeded);
    }

    /// Gives a segment up: what is not acknowledged of it and not in memory is lost.
    pub fn give_up(&mut self, segment: SegmentNumber, kept: Sequence) {
        if let Some(dropped) = self.take_out(segment, kept) {
            self.unneeded(vec![dropped]);
        }
    }

    /// Gives the segment up in which an aggregator refuses a frame.
    pub fn give_up_refused(&mut self, run: Run, sequence: Sequence, kept: Sequence) {
        let has = |segment: &&Segment| {
            segment.run == run && (segment.first..=segment.last).contains(&sequence)
        };
        let found = self.index.iter().find(has).map(|segment| segment.number);
        self.give_up_all(found.into_iter().collect(), kept);
    }

    /// Gives up the segment with a frame of a time after `now`, and those that go on from it; not
    /// before all that comes before the frame is acknowledged.
    pub fn give_up_ahead(&mut self, run: Run, sequence: Sequence, now: Tick, kept: Sequence) {
        let later = self.index.iter().filter(|segment| segment.run == run);
        let later = later.skip_while(|segment| segment.last < sequence);
        let ahead = later.take_while(|segment| now < segment.newest);
        let ahead = ahead.skip_while(|segment| segment.first_wanted() < sequence);
        self.give_up_all(ahead.map(|segment| segment.number).collect(), kept);
    }

    fn give_up_all(&mut self, segments: Vec<SegmentNumber>, kept: Sequence) {
        if segments.is_empty() {
            return;
        }
        let before = self.lost.frames;
        for segment in segments {
            self.give_up(segment, kept);
            self.faults += 1;
        }
        self.news.push(News::Refused { frames: self.lost.frames - before });
    }

    /// Drops the oldest segments while there are too many. `now` is the newest tick of all,
    /// `kept` the first frame of this run that is in memory.
    pub fn make_room(&mut self, now: Tick, kept: Sequence) {
        while let Some(oldest) = self.index.to_drop(self.limits, now, [self.open, self.pinned]) {
            self.give_up(oldest, kept);
        }
    }

    /// The agent stops: a disk that is left alone is tried once more.
    pub fn stop(&mut self) {
        self.rest_until = None;
    }

    /// What to do now, if anything. Its outcome must be told before there is more.
    pub fn next_job(
        &mut self,
        outbox: &Outbox,
        wanted: Option<SegmentNumber>,
        urgency: Urgency,
        now: Duration,
    ) -> Option<Job> {
        self.rest_until = self.rest_until.filter(|until| now < *until);
        if self.pending.is_some() || self.rest_until.is_some() {
            return None;
        }
        if !self.is_scanned {
            self.pending = Some(Pending::Scan);
            return Some(Job::Scan);
        }
        if let Some(job) = self.write(outbox, urgency, now) {
            return Some(job);
        }
        if let Some((segment, since)) = self.unsynced
            && (urgency == Urgency::Stopping || since + SYNC_EVERY <= now)
        {
            return Some(self.sync(segment));
        }
        if let Some(segment) = wanted {
            self.pending = Some(Pending::Read(segment));
            return Some(Job::Read(segment));
        }
        if self.unneeded.is_empty() {
            return None;
        }
        let segments = std::mem::take(&mut self.unneeded);
        self.pending = Some(Pending::Remove(segments.clone()));
        Some(Job::Remove(segments))
    }

    /// When there may be something to do though nothing happens before.
    pub fn wake_at(&self, outbox: &Outbox) -> Option<Duration> {
        if self.pending.is_some() {
            return None;
        }
        // A memory that fills up is seen to when the next frame comes.
        let is_unwritten = self.written < outbox.last();
        let spill = outbox.oldest().filter(|_| is_unwritten).map(|(_, since)| since + SPILL_AFTER);
        let sync = self.unsynced.map(|(_, since)| since + SYNC_EVERY);
        self.rest_until.or_else(|| spill.into_iter().chain(sync).min())
    }

    fn sync(&mut self, segment: SegmentNumber) -> Job {
        self.pending = Some(Pending::Sync);
        Job::Sync(segment)
    }

    /// Tells how the job went. `kept` is the first frame of this run that is in memory.
    pub fn done(&mut self, result: io::Result<Done>, kept: Sequence, now: Duration) -> Outcome {
        let Some(pending) = self.pending.take() else { return Outcome::Nothing };
        match result {
            Ok(done) => self.succeeded(pending, done, kept, now),
            Err(error) => self.failed(pending, error, kept, now),
        }
    }

    fn succeeded(
        &mut self,
        pending: Pending,
        done: Done,
        kept: Sequence,
        now: Duration,
    ) -> Outcome {
        // Reading and removing say nothing of writing.
        let says = !matches!(pending, Pending::Read(_) | Pending::Remove(_));
        if says && std::mem::take(&mut self.is_failing) {
            self.news.push(News::Works);
        }
        match (pending, done) {
            (Pending::Scan, Done::Scanned(found)) => self.scanned(found),
            (Pending::Write { segment, is_new, sync }, _) => {
                self.wrote(segment, is_new, sync, now);
            }
            (Pending::Sync, _) => (self.synced, self.unsynced) = (self.written, None),
            (Pending::Read(segment), Done::Read(contents)) => {
                return self.read(segment, contents.ok(), kept);
            }
            (Pending::Scan | Pending::Read(_) | Pending::Remove(_), _) => (),
        }
        Outcome::Nothing
    }

    fn failed(
        &mut self,
        pending: Pending,
        error: io::Error,
        kept: Sequence,
        now: Duration,
    ) -> Outcome {
        match pending {
            Pending::Read(segment) => {
                self.not_read(segment, kept);
                return Outcome::Read(segment, None);
            }
            Pending::Scan => (),
            Pending::Write { segment, is_new, sync } => {
                // What a part of it left behind is cut off by what is written next.
                self.open = None;
                if is_new {
                    self.next = SegmentNumber(segment.number.0 + 1);
                    self.unneeded.push(segment.number);
                }
                if sync {
                    self.forget_unsynced();
                }
            }
            Pending::Sync => self.forget_unsynced(),
            Pending::Remove(segments) => self.unneeded.extend(segments),
        }
        self.faults += 1;
        self.rest_until = Some(now + RETRY_AFTER);
        if !std::mem::replace(&mut self.is_failing, true) {
            self.news.push(News::Fails(error));
        }
        Outcome::Nothing
    }

    /// After a sync that failed nobody knows what the disk has: what is in memory is written
    /// again.
    fn forget_unsynced(&mut self) {
        (self.open, self.unsynced) = (None, None);
        self.written = self.synced;
    }

    fn take_out(&mut self, segment: SegmentNumber, kept: Sequence) -> Option<SegmentNumber> {
        let segment = self.index.remove(segment)?;
        let kept = if segment.run == self.hello.run { kept } else { Sequence(u64::MAX) };
        self.lost.add(segment.lost_before(kept));
        Some(segment.number)
    }

    fn unneeded(&mut self, segments: Vec<SegmentNumber>) {
        let is_gone = |segment: SegmentNumber| segments.contains(&segment);
        self.open = self.open.filter(|open| !is_gone(*open));
        self.unsynced = self.unsynced.filter(|(segment, _)| !is_gone(*segment));
        self.unneeded.extend(segments);
    }
}

#[cfg(test)]
mod tests;
