//! When frames are written, how many, and into which segment.

use std::time::Duration;

use tally_proto::{message::Sequence, tick::Tick};

use super::{
    Pending, SPILL_AFTER, Spool, Urgency,
    disk::{Job, SegmentNumber},
    index::Segment,
    segment,
};
use crate::outbox::{FRAME_BYTES_MAX, Outbox};

/// About how much is written at once: it is in memory a second time until then.
const BATCH_BYTES: usize = 128 << 10;

impl Spool {
    /// Writes frames that are not, if it is time.
    pub(super) fn write(
        &mut self,
        outbox: &Outbox,
        urgency: Urgency,
        now: Duration,
    ) -> Option<Job> {
        let (_, since) = outbox.oldest()?;
        if urgency == Urgency::Calm && now < since + SPILL_AFTER && !outbox.is_filling() {
            return None;
        }
        loop {
            let first = outbox.after(self.written).next()?;
            let (sequence, tick) = (first.frame.sequence, first.frame.tick);
            let open = self.open.and_then(|open| self.index.get(open)).filter(|open| {
                open.last.0 + 1 == sequence.0
                    && open.newest < tick
                    && open.bytes < self.limits.segment_bytes
            });
            if open.is_none()
                && let Some((unsynced, _)) = self.unsynced
            {
                // Only what is written last needs to be looked after.
                return Some(self.sync(unsynced));
            }
            let is_new = open.is_none();
            let before = open.cloned().unwrap_or_else(|| self.new_segment(sequence));
            let Some((segment, bytes)) = self.batch(outbox, before, is_new) else {
                // The outbox drops it when it is its turn to be sent.
                self.written = sequence;
                continue;
            };
            let sync = self.limits.segment_bytes <= segment.bytes;
            let job = Job::Write { segment: segment.number, bytes, sync };
            self.pending = Some(Pending::Write { segment, is_new, sync });
            return Some(job);
        }
    }

    fn new_segment(&self, first: Sequence) -> Segment {
        Segment {
            number: self.next,
            run: self.hello.run,
            is_sendable: true,
            first,
            last: Sequence(first.0 - 1),
            newest: Tick(0),
            samples: 0,
            bytes: 0,
            acknowledged: Sequence(0),
        }
    }

    /// The bytes of the next frames, and what the segment is with them; `None` when the first of
    /// them is too large to be sent.
    fn batch(
        &self,
        outbox: &Outbox,
        mut segment: Segment,
        is_new: bool,
    ) -> Option<(Segment, Vec<u8>)> {
        let mut bytes = Vec::new();
        let first = if is_new { outbox.standing_after(self.written) } else { None };
        if is_new {
            segment::begin(&self.hello, &mut bytes).ok()?;
        }
        let others = outbox.after(self.written).skip(usize::from(is_new));
        for outgoing in first.into_iter().chain(others) {
            let (sequence, tick) = (outgoing.frame.sequence, outgoing.frame.tick);
            let samples = outgoing.samples;
            let fits = segment.newest < tick && outgoing.frame.columns.len() <= FRAME_BYTES_MAX;
            if !fits || segment::push_frame(outgoing, &mut bytes).is_err() {
                break;
            }
            (segment.last, segment.newest) = (sequence, tick);
            segment.samples += u64::from(samples);
            if BATCH_BYTES <= bytes.len() {
                break;
            }
        }
        segment.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        (self.written < segment.last).then_some((segment, bytes))
    }

    /// A write succeeded.
    pub(super) fn wrote(&mut self, segment: Segment, is_new: bool, sync: bool, now: Duration) {
        let number = segment.number;
        self.written = segment.last;
        if sync {
            (self.synced, self.unsynced) = (self.written, None);
        } else if self.unsynced.is_none() && (is_new || self.index.get(number).is_some()) {
            self.unsynced = Some((number, now));
        }
        if is_new {
            self.next = SegmentNumber(number.0 + 1);
            self.cut_from(segment.first);
            self.open = Some(number);
            self.index.push(segment);
        } else {
            let Segment { last, newest, samples, bytes, .. } = segment;
            self.index.change(number, |known| {
                (known.last, known.newest) = (last, newest);
                (known.samples, known.bytes) = (samples, bytes);
            });
        }
        // Acknowledgements may have come while it was being written.
        self.acknowledge(self.hello.run, self.acknowledged);
    }

    /// Frames of this run from `first` on are about to be in a newer segment.
    fn cut_from(&mut self, first: Sequence) {
        let overlaps = |segment: &&Segment| segment.run == self.hello.run && first <= segment.last;
        let cut: Vec<Segment> = self.index.iter().filter(overlaps).cloned().collect();
        for segment in cut {
            if segment.first < first {
                self.index.change(segment.number, |segment| segment.cut_from(first));
            } else {
                self.index.remove(segment.number);
                self.unneeded(vec![segment.number]);
            }
        }
    }
}
