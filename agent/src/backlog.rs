//! Everything that waits for an acknowledgement, in memory and on disk, and which part of it the
//! present stream carries.
//!
//! A stream carries the frames of one run, ascending by sequence and by tick, because that is how
//! aggregators tell what they have counted. So what is only on disk, of earlier runs or of this
//! one, is sent on streams of its own, oldest first, and what is in memory on the stream after
//! them. A stream of an earlier run says who speaks, the present boot of this host, and whose frames
//! they are, the earlier run: to an aggregator it is the same host reconnecting.

mod replay;

use std::{io, time::Duration};

use tally_proto::{
    columns::Columns,
    message::{Hello, Sequence},
    tick::Tick,
};

use self::replay::Replay;
use crate::{
    handover::Reading,
    outbox::{self, Lost, Outbox, Outgoing},
    spool::{
        self, News, Outcome, Spool, Urgency,
        disk::{Done, Job, SegmentNumber},
    },
};

/// Frames that are sent ahead of their acknowledgement. At 5 KB a frame and 50 ms there and back
/// that is 6 MB/s, enough to catch up with 15 minutes in a second; the aggregator holds no more
/// of one agent than this.
pub const IN_FLIGHT_MAX: usize = 64;

/// What the present stream carries.
#[derive(Debug)]
enum Voice {
    /// What is in memory.
    Live,
    /// What is only on disk, of one run.
    Replay(Box<Replay>),
}

/// What an aggregator does not accept of what a stream carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What a frame says.
    Content,
    /// When it says it is: a time that has not come.
    Time,
}

/// What is left when the agent stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Frames that are nowhere but in memory.
    pub lost: u64,
    /// Frames that the next start finds on disk.
    pub spooled: u64,
}

/// Everything that waits for an acknowledgement.
#[derive(Debug)]
pub struct Backlog {
    hello: Hello,
    outbox: Outbox,
    spool: Option<Spool>,
    voice: Voice,
    /// After a refusal: one frame at a time, so that it is known which one is refused.
    is_careful: bool,
    urgency: Urgency,
    /// Whether the first frame that is not acknowledged was refused as of a time that has not come.
    was_ahead: bool,
    /// The tick that was read last: 0 before the first.
    newest: Tick,
}

impl Backlog {
    /// Nothing waits yet. Without limits for a spool everything stays in memory.
    pub fn new(hello: Hello, outbox: outbox::Limits, spool: Option<spool::Limits>) -> Self {
        Self {
            outbox: Outbox::new(outbox),
            spool: spool.map(|limits| Spool::new(limits, hello.clone())),
            hello,
            voice: Voice::Live,
            is_careful: false,
            urgency: Urgency::Calm,
            was_ahead: false,
            newest: Tick(0),
        }
    }

    /// Takes a frame in at `now`. Hands back a buffer that is no longer needed.
    pub fn push(&mut self, reading: Reading, now: Duration) -> Columns {
        let goes_back = reading.tick < self.newest;
        self.newest = reading.tick;
        if goes_back && self.was_ahead {
            self.give_up_later_than_now();
        }
        let unneeded = self.outbox.push(reading, now);
        let spool = self.spool.as_ref();
        self.outbox.make_room(|sequence| spool.is_some_and(|spool| spool.holds(sequence)));
        self.make_room_on_disk();
        unneeded
    }

    /// Whether it is known what must be sent first.
    pub fn is_settled(&self) -> bool {
        self.spool.as_ref().is_none_or(Spool::is_settled)
    }

    /// A stream is about to be opened: who speaks on it.
    pub fn begin_stream(&mut self) -> Hello {
        self.outbox.restart();
        let kept = self.kept();
        let run = self.spool.as_ref().and_then(|spool| Some(spool.to_send(None, kept)?.run));
        self.voice = run.map_or(Voice::Live, |run| Voice::Replay(Box::new(Replay::new(run))));
        self.is_careful &= run.is_some();
        self.pin(None);
        match run {
            // A stream that catches up goes on with each acknowledgement.
            Some(run) => Hello { run, acknowledge_within: Duration::ZERO, ..self.hello.clone() },
            None => self.hello.clone(),
        }
    }

    /// The stream stands, and everything of its run up to `acknowledged` is counted.
    pub fn welcomed(&mut self, acknowledged: Sequence) {
        if self.urgency == Urgency::Outage {
            self.urgency = Urgency::Calm;
        }
        match &mut self.voice {
            Voice::Replay(replay) if replay.run != self.hello.run => {
                replay.is_welcomed = true;
                if let Some(spool) = &mut self.spool {
                    spool.acknowledge(replay.run, acknowledged);
                }
            }
            Voice::Replay(replay) => {
                replay.is_welcomed = true;
                self.acknowledge_own(acknowledged);
            }
            Voice::Live => self.acknowledge_own(acknowledged),
        }
    }

    /// There is no stream any more; why, if the aggregator did not accept what was said.
    ///
    /// A frame of a time that has not come waits for that time, as it is the aggregator's clock that
    /// is wrong. But when the clock here was set back since, nobody believes in that time any more.
    pub fn stream_failed(&mut self, refusal: Option<Refusal>) {
        if self.urgency == Urgency::Calm {
            self.urgency = Urgency::Outage;
        }
        self.outbox.restart();
        self.pin(None);
        self.was_ahead = refusal == Some(Refusal::Time) || self.was_ahead && refusal.is_none();
        match (std::mem::replace(&mut self.voice, Voice::Live), refusal) {
            (Voice::Replay(replay), Some(Refusal::Content)) => {
                let is_known = self.is_careful && replay.sent.len() == 1;
                self.is_careful = !is_known;
                if is_known {
                    self.give_up_refused(&replay);
                }
            }
            (Voice::Replay(replay), Some(Refusal::Time)) => self.give_up_ahead(&replay),
            (Voice::Live, Some(Refusal::Time)) => self.give_up_later_than_now(),
            (Voice::Live, Some(Refusal::Content)) | (_, None) => (),
        }
    }

    /// Whether the present stream has nothing more to carry, but another one has.
    pub fn is_stream_over(&self) -> bool {
        match &self.voice {
            Voice::Replay(replay) => replay.is_over(),
            Voice::Live => {
                let kept = self.kept();
                let has_older = |spool: &Spool| spool.to_send(None, kept).is_some();
                self.outbox.goes_back() || self.spool.as_ref().is_some_and(has_older)
            }
        }
    }

    /// Whether the present stream carries what is only on disk.
    pub fn is_replaying(&self) -> bool {
        matches!(self.voice, Voice::Replay(_))
    }

    /// Whether there is a frame to send, and it may be sent ahead of acknowledgements.
    pub fn may_send(&self) -> bool {
        match &self.voice {
            Voice::Live => {
                self.outbox.has_unsent()
                    && self.outbox.in_flight() < IN_FLIGHT_MAX
                    && !self.is_stream_over()
            }
            Voice::Replay(replay) => {
                let most = if self.is_careful { 1 } else { IN_FLIGHT_MAX };
                replay.may_send() && replay.sent.len() < most
            }
        }
    }

    /// Whether everything was sent that can be.
    pub fn is_all_sent(&self) -> bool {
        matches!(self.voice, Voice::Live) && !self.outbox.has_unsent()
    }

    /// The next frame to send.
    pub fn send_next(&mut self) -> Option<Outgoing> {
        match &mut self.voice {
            Voice::Live => self.outbox.send_next(),
            Voice::Replay(replay) => {
                let outgoing = replay.send_next()?;
                if replay.run == self.hello.run {
                    self.outbox.sent_from_elsewhere(outgoing.frame.sequence);
                }
                Some(outgoing)
            }
        }
    }

    /// Frames of the present stream's run up to `sequence` are counted. What it was not sent is
    /// not believed.
    pub fn acknowledge(&mut self, sequence: Sequence) {
        match &mut self.voice {
            Voice::Live => self.acknowledge_own(sequence),
            Voice::Replay(replay) => {
                if !replay.acknowledge(sequence) {
                    return;
                }
                if replay.run == self.hello.run {
                    self.acknowledge_own(sequence);
                } else if let Some(spool) = &mut self.spool {
                    spool.acknowledge(replay.run, sequence);
                }
            }
        }
    }

    /// The agent stops: from now on everything is written at once.
    pub fn stop(&mut self) {
        self.urgency = Urgency::Stopping;
        if let Some(spool) = &mut self.spool {
            spool.stop();
        }
    }

    /// Something for the disk to do, if anything. [`Backlog::done`] must follow.
    pub fn next_job(&mut self, now: Duration) -> Option<Job> {
        let wanted = self.wanted();
        let spool = self.spool.as_mut()?;
        spool.next_job(&self.outbox, wanted, self.urgency, now)
    }

    /// Tells how the job went.
    pub fn done(&mut self, result: io::Result<Done>, now: Duration) {
        let kept = self.kept();
        let Some(spool) = &mut self.spool else { return };
        let outcome = spool.done(result, kept, now);
        if let (Outcome::Read(segment, contents), Voice::Replay(replay)) =
            (outcome, &mut self.voice)
        {
            replay.take(segment, contents);
        }
        self.make_room_on_disk();
    }

    /// When there may be something for the disk to do though nothing happens before.
    pub fn wake_at(&self) -> Option<Duration> {
        self.spool.as_ref()?.wake_at(&self.outbox)
    }

    /// Whether nothing is left in memory that could still be saved.
    pub fn is_safe(&self) -> bool {
        self.spool.as_ref().is_none_or(|spool| spool.is_safe(&self.outbox))
    }

    /// Frames in memory that are not acknowledged.
    pub fn in_memory(&self) -> usize {
        self.outbox.len()
    }

    /// What is left now.
    pub fn leftover(&self) -> Leftover {
        let Some(spool) = &self.spool else {
            let lost = u64::try_from(self.outbox.len()).unwrap_or(u64::MAX);
            return Leftover { lost, spooled: 0 };
        };
        let unsaved = self.outbox.after(Sequence(0));
        let unsaved = unsaved.filter(|outgoing| !spool.holds(outgoing.frame.sequence));
        let lost = u64::try_from(unsaved.count()).unwrap_or(u64::MAX);
        let wanted = spool.index().iter().filter(|segment| segment.is_wanted());
        let spooled = wanted.map(|segment| segment.last.0 + 1 - segment.first_wanted().0).sum();
        Leftover { lost, spooled }
    }

    /// What was given up so far.
    pub fn lost(&self) -> Lost {
        let mut lost = self.outbox.dropped();
        if let Some(spool) = &self.spool {
            lost.add(spool.lost());
        }
        lost
    }

    /// Bytes on disk, and how often the disk failed or was found damaged; `None` without a spool.
    pub fn spool_state(&self) -> Option<(u64, u64)> {
        self.spool.as_ref().map(|spool| (spool.index().bytes(), spool.faults()))
    }

    /// What a person should read of, since this was last asked.
    pub fn take_news(&mut self) -> Vec<News> {
        self.spool.as_mut().map(Spool::take_news).unwrap_or_default()
    }

    fn acknowledge_own(&mut self, sequence: Sequence) {
        if self.outbox.highest_sent() < sequence {
            return;
        }
        self.outbox.acknowledge(sequence);
        self.was_ahead = false;
        if let Some(spool) = &mut self.spool {
            spool.acknowledge(self.hello.run, sequence);
        }
    }

    /// The first frame of this run that is in memory, or will be.
    fn kept(&self) -> Sequence {
        self.outbox.oldest().map_or(Sequence(self.outbox.last().0 + 1), |(sequence, _)| sequence)
    }

    /// The segment that is to be read next.
    fn wanted(&mut self) -> Option<SegmentNumber> {
        let kept = self.kept();
        let (Voice::Replay(replay), Some(spool)) = (&mut self.voice, &mut self.spool) else {
            return None;
        };
        if !replay.wants_more() {
            return None;
        }
        let next = spool.to_send(replay.cursor, kept).filter(|next| next.run == replay.run);
        let next = next.map(|next| next.number);
        spool.pin(next);
        (replay.asked, replay.is_ending) = (next, next.is_none());
        next
    }

    fn pin(&mut self, segment: Option<SegmentNumber>) {
        if let Some(spool) = &mut self.spool {
            spool.pin(segment);
        }
    }

    fn make_room_on_disk(&mut self) {
        let kept = self.kept();
        if let Some(spool) = &mut self.spool {
            spool.make_room(self.newest, kept);
        }
    }

    fn give_up_later_than_now(&mut self) {
        let given_up = self.outbox.drop_after(self.newest);
        if let (Some(spool), Some(last)) = (&mut self.spool, given_up) {
            spool.acknowledge(self.hello.run, last);
        }
    }

    fn give_up_refused(&mut self, replay: &Replay) {
        let kept = self.kept();
        if let (Some(spool), Some((sequence, _))) = (&mut self.spool, replay.sent.front()) {
            spool.give_up_refused(replay.run, *sequence, kept);
        }
    }

    fn give_up_ahead(&mut self, replay: &Replay) {
        let (kept, now) = (self.kept(), self.newest);
        let ahead = replay.sent.iter().find(|(_, tick)| now < *tick && now != Tick(0));
        if let (Some(spool), Some((sequence, _))) = (&mut self.spool, ahead) {
            spool.give_up_ahead(replay.run, *sequence, now, kept);
        }
    }
}

#[cfg(test)]
mod tests;
