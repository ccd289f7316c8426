//! Which segments there are, oldest first, and which must go. Pure.

use std::collections::VecDeque;

use tally_proto::{
    message::{Run, Sequence},
    tick::Tick,
};

use super::{Limits, disk::SegmentNumber};
use crate::outbox::Lost;

/// One segment on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub number: SegmentNumber,
    /// The run that measured it.
    pub run: Run,
    /// Whether the present agent may send it: it is of this node and this resolution.
    pub is_sendable: bool,
    /// Its first frame. It has all up to the last.
    pub first: Sequence,
    /// Its last frame.
    pub last: Sequence,
    /// The tick of its last frame.
    pub newest: Tick,
    /// Values in it.
    pub samples: u64,
    /// Size of its file.
    pub bytes: u64,
    /// Every frame up to this one is acknowledged.
    pub acknowledged: Sequence,
}

impl Segment {
    /// Frames in it.
    pub fn frames(&self) -> u64 {
        (self.last.0 + 1).saturating_sub(self.first.0)
    }

    /// Whether some frame is not acknowledged.
    pub fn is_wanted(&self) -> bool {
        self.acknowledged < self.last && self.first <= self.last
    }

    /// Its first frame that is not acknowledged.
    pub fn first_wanted(&self) -> Sequence {
        self.first.max(Sequence(self.acknowledged.0 + 1))
    }

    /// Leaves its frames from `first` on out.
    pub fn cut_from(&mut self, first: Sequence) {
        let frames = self.frames();
        self.last = Sequence(first.0.saturating_sub(1));
        let left = u128::from(self.samples) * u128::from(self.frames()) / u128::from(frames.max(1));
        self.samples = u64::try_from(left).unwrap_or(u64::MAX);
    }

    /// What is lost without it: what is not acknowledged and comes before `kept`, the first
    /// frame that is kept elsewhere. Values are told from the frames' share: they hardly differ.
    pub fn lost_before(&self, kept: Sequence) -> Lost {
        let end = kept.0.min(self.last.0 + 1);
        let frames = end.saturating_sub(self.first_wanted().0);
        let samples =
            u128::from(self.samples) * u128::from(frames) / u128::from(self.frames().max(1));
        Lost { frames, samples: u64::try_from(samples).unwrap_or(u64::MAX) }
    }
}

/// All segments on disk.
#[derive(Clone, Debug, Default)]
pub struct Index {
    segments: VecDeque<Segment>,
    bytes: u64,
}

impl Index {
    /// Adds one that is newer than all others.
    pub fn push(&mut self, segment: Segment) {
        self.bytes += segment.bytes;
        self.segments.push_back(segment);
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter()
    }

    /// The newest of them.
    pub fn newest(&self) -> Option<&Segment> {
        self.segments.back()
    }

    /// One of them.
    pub fn get(&self, number: SegmentNumber) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.number == number)
    }

    /// Changes one.
    pub fn change(&mut self, number: SegmentNumber, change: impl FnOnce(&mut Segment)) {
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.number == number) {
            self.bytes -= segment.bytes;
            change(segment);
            self.bytes += segment.bytes;
        }
    }

    /// Size of all files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes one out.
    pub fn remove(&mut self, number: SegmentNumber) -> Option<Segment> {
        let place = self.segments.iter().position(|segment| segment.number == number)?;
        let segment = self.segments.remove(place)?;
        self.bytes -= segment.bytes;
        Some(segment)
    }

    /// Notes that every frame of a run up to `sequence` is acknowledged. Takes those segments out
    /// that nobody needs any more.
    pub fn acknowledge(&mut self, run: Run, sequence: Sequence) -> Vec<SegmentNumber> {
        let mut unneeded = Vec::new();
        for segment in self.segments.iter_mut().filter(|segment| segment.run == run) {
            segment.acknowledged = segment.acknowledged.max(sequence);
            if !segment.is_wanted() {
                unneeded.push(segment.number);
            }
        }
        for number in &unneeded {
            self.remove(*number);
        }
        unneeded
    }

    /// The oldest segment that must go, because all together are too large or it is too old.
    /// Those in `pinned` are in use.
    pub fn to_drop(
        &self,
        limits: Limits,
        now: Tick,
        pinned: [Option<SegmentNumber>; 2],
    ) -> Option<SegmentNumber> {
        let oldest = Tick(now.0.saturating_sub(limits.age_s));
        let too_many = limits.bytes < self.bytes;
        self.segments
            .iter()
            .filter(|segment| !pinned.contains(&Some(segment.number)))
            .find(|segment| too_many || segment.newest < oldest)
            .map(|segment| segment.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, run: u64, first: u64, last: u64) -> Segment {
        Segment {
            number: SegmentNumber(number),
            run: Run(run),
            is_sendable: true,
            first: Sequence(first),
            last: Sequence(last),
            newest: Tick(last),
            samples: 10 * (last + 1 - first),
            bytes: 100,
            acknowledged: Sequence(0),
        }
    }

    fn index() -> Index {
        let mut index = Index::default();
        for (number, run, first, last) in [(1, 7, 1, 10), (2, 7, 11, 20), (3, 8, 21, 30)] {
            index.push(segment(number, run, first, last));
        }
        index
    }

    #[test]
    fn an_acknowledgement_counts_for_its_own_run_and_frees_whole_segments() {
        let mut index = index();
        assert_eq!(index.acknowledge(Run(7), Sequence(15)), [SegmentNumber(1)]);
        assert_eq!(index.acknowledge(Run(8), Sequence(5)), []);
        assert_eq!(index.bytes(), 200);
        let first_wanted: Vec<u64> = index.iter().map(|left| left.first_wanted().0).collect();
        assert_eq!(first_wanted, [16, 21]);
    }

    #[test]
    fn what_is_lost_is_neither_acknowledged_nor_kept_elsewhere() {
        let mut segment = segment(1, 7, 11, 20);
        let lost = |segment: &Segment, kept| {
            let Lost { frames, samples } = segment.lost_before(Sequence(kept));
            (frames, samples)
        };
        assert_eq!(lost(&segment, u64::MAX), (10, 100));
        assert_eq!(lost(&segment, 16), (5, 50));
        assert_eq!(lost(&segment, 3), (0, 0));
        segment.acknowledged = Sequence(13);
        assert_eq!(lost(&segment, 16), (2, 20));
        assert_eq!(lost(&segment, u64::MAX), (7, 70));
    }

    #[test]
    fn the_oldest_goes_that_is_not_in_use() {
        let index = index();
        let goes = |bytes, age_s, pinned: [Option<u64>; 2]| {
            let pinned = pinned.map(|number| number.map(SegmentNumber));
            index
                .to_drop(Limits { bytes, age_s, segment_bytes: 0 }, Tick(35), pinned)
                .map(|number| number.0)
        };
        assert_eq!(goes(300, 100, [None, None]), None);
        assert_eq!(goes(299, 100, [None, None]), Some(1));
        assert_eq!(goes(299, 100, [Some(3), Some(1)]), Some(2));
        assert_eq!(goes(300, 24, [None, None]), Some(1));
        assert_eq!(goes(300, 25, [None, None]), None);
    }
}
