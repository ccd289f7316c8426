//! Frames of one run on their way from disk to a stream.

use std::collections::{BTreeSet, VecDeque};

use tally_proto::{
    declaration::EntityNumber,
    message::{Run, Sequence},
    tick::Tick,
};

use crate::{
    outbox::Outgoing,
    spool::{disk::SegmentNumber, segment::Contents},
};

/// One run's frames on one stream.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) run: Run,
    pub(super) is_welcomed: bool,
    /// The last segment that was read.
    pub(super) cursor: Option<SegmentNumber>,
    /// The segment that is to be read next.
    pub(super) asked: Option<SegmentNumber>,
    /// Sent and not acknowledged.
    pub(super) sent: VecDeque<(Sequence, Tick)>,
    /// No more segments follow on this stream.
    pub(super) is_ending: bool,
    loaded: VecDeque<Outgoing>,
    /// Whether the next frame is a segment's first.
    begins: bool,
    last: Option<(Sequence, Tick)>,
    /// Entities that have a meaning on this stream.
    known: BTreeSet<EntityNumber>,
}

impl Replay {
    pub(super) fn new(run: Run) -> Self {
        Self {
            run,
            is_welcomed: false,
            cursor: None,
            asked: None,
            sent: VecDeque::new(),
            is_ending: false,
            loaded: VecDeque::new(),
            begins: false,
            last: None,
            known: BTreeSet::new(),
        }
    }

    pub(super) fn wants_more(&self) -> bool {
        self.is_welcomed && self.loaded.is_empty() && !self.is_ending
    }

    /// Everything was sent and acknowledged.
    pub(super) fn is_over(&self) -> bool {
        self.is_ending && self.sent.is_empty()
    }

    pub(super) fn may_send(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// Takes a segment in. One that does not ascend, because a clock was set back, must wait for a
    /// stream of its own.
    pub(super) fn take(&mut self, segment: SegmentNumber, contents: Option<Contents>) {
        if self.asked != Some(segment) {
            // A stream asked for it that is no more.
            return;
        }
        (self.cursor, self.asked) = (Some(segment), None);
        let Some(Contents { frames, .. }) = contents else { return };
        let ascends = frames.first().zip(self.last).is_none_or(|(first, (sequence, tick))| {
            sequence < first.frame.sequence && tick < first.frame.tick
        });
        if ascends {
            self.loaded = frames.into();
            self.begins = true;
        } else {
            self.is_ending = true;
        }
    }

    pub(super) fn send_next(&mut self) -> Option<Outgoing> {
        let mut outgoing = self.loaded.pop_front()?;
        let said = &mut outgoing.declarations;
        if std::mem::take(&mut self.begins) {
            // These are all that are in force, so what else had a meaning has none any more.
            let all: BTreeSet<EntityNumber> =
                said.entities.iter().map(|entity| entity.number).collect();
            said.retired = self.known.difference(&all).copied().collect();
            self.known = all;
        } else {
            self.known.retain(|number| !said.retired.contains(number));
            self.known.extend(said.entities.iter().map(|entity| entity.number));
        }
        self.last = Some((outgoing.frame.sequence, outgoing.frame.tick));
        self.sent.push_back((outgoing.frame.sequence, outgoing.frame.tick));
        Some(outgoing)
    }

    /// Whether it can be believed.
    pub(super) fn acknowledge(&mut self, sequence: Sequence) -> bool {
        let is_sent = self.last.is_some_and(|(last, _)| sequence <= last);
        while is_sent && self.sent.front().is_some_and(|(oldest, _)| *oldest <= sequence) {
            self.sent.pop_front();
        }
        is_sent
    }
}
