//! Frames that are counted but not acknowledged yet. Pure.
//!
//! A frame is acknowledged as soon as its record is durable, unless its sender can wait: then the
//! frames of that time share an acknowledgement, which goes out when the last of them comes, so
//! that no stream is woken up for it. Frames that came together, or while the disk was writing,
//! share one anyway.

use std::time::Duration;

use tally_proto::{message::Sequence, tick::Resolution};

use super::session::Taken;
use crate::journal::Position;

/// Frames that are there already and are taken before they are acknowledged, at most: who sends
/// without a pause is answered too.
const FRAMES_MOST: usize = 64;

/// Bytes of frames that share an acknowledgement, about: half of the smallest outbox that an agent of
/// this repository may have. A large node's frames cost so much else that it hears of each.
const SHARED_BYTES: usize = 32 << 10;

/// What is to be done about the frames that are pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing: there are none.
    Nothing,
    /// Nothing yet: their sender can wait for more.
    Patient,
    /// To wait for the disk.
    NotDurable,
    /// To acknowledge them, at once or after those that are there already.
    Due {
        /// Whether there are as many as there may be.
        at_once: bool,
    },
}

/// How frames share acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// How long the sender can wait.
    pub(super) within: Duration,
    /// Frames of that time.
    share: usize,
    /// Frames that the first share has less, so that streams which began together are not
    /// acknowledged together.
    ahead: usize,
}

impl Patience {
    /// Of a sender that can wait for so long, and sends a frame at each tick. Streams of different
    /// `turn`s have their turns at different ticks.
    pub(super) fn new(within: Duration, resolution: Resolution, turn: u32) -> Self {
        let frames = within.as_secs() / u64::from(resolution.seconds());
        let share = usize::try_from(frames).unwrap_or(FRAMES_MOST).clamp(1, FRAMES_MOST);
        let ahead = usize::try_from(turn).unwrap_or(0) % share;
        Self { within, share, ahead }
    }

    /// Whether it is any.
    pub(super) fn is_any(&self) -> bool {
        1 < self.share
    }
}

/// Frames that wait for their acknowledgement.
#[derive(Debug)]
pub(super) struct Pending {
    patience: Patience,
    newest: Option<Taken>,
    /// The one before the newest, unless that is acknowledged.
    before: Option<Taken>,
    frames: usize,
    bytes: usize,
    /// Whether it has been waited for long enough.
    is_late: bool,
    /// Whether the first acknowledgement is still to come.
    is_first: bool,
}

impl Default for Pending {
    fn default() -> Self {
        Self::new(Patience { within: Duration::ZERO, share: 1, ahead: 0 })
    }
}

impl Pending {
    /// Nothing waits. The first frame is acknowledged at once: then its sender knows that all is
    /// well.
    pub(super) fn new(patience: Patience) -> Self {
        let (newest, before, is_late, is_first) = (None, None, false, true);
        Self { patience, newest, before, frames: 0, bytes: 0, is_late, is_first }
    }

    /// How its sender waits.
    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// Adds a frame that was taken.
    pub(super) fn add(&mut self, frame: Taken) {
        self.before = self.newest.replace(frame);
        self.frames += 1;
        self.bytes += frame.bytes;
    }

    /// The sender's patience is over.
    pub(super) fn hurry(&mut self) {
        self.is_late = true;
    }

    /// Whether there is nothing to acknowledge.
    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// What must be durable before all of them can be acknowledged.
    pub(super) fn position(&self) -> Option<Position> {
        self.newest.map(|newest| newest.position)
    }

    /// What is to be done, as everything up to `durable` is.
    pub(super) fn outlook(&self, durable: Position) -> Outlook {
        let Some(newest) = self.newest else { return Outlook::Nothing };
        let is_enough = self.patience.share <= self.frames || SHARED_BYTES <= self.bytes;
        if !(self.is_first || self.is_late || is_enough) {
            return Outlook::Patient;
        }
        let is_durable = |taken: Taken| taken.position <= durable;
        // Who can wait for the others can wait for the newest too.
        if is_durable(newest) || self.patience.is_any() && self.before.is_some_and(is_durable) {
            Outlook::Due { at_once: FRAMES_MOST <= self.frames }
        } else {
            Outlook::NotDurable
        }
    }

    /// What is to be acknowledged of what is durable; `None` when nothing is.
    pub(super) fn take(&mut self, durable: Position) -> Option<Sequence> {
        let is_durable = |taken: &mut Taken| taken.position <= durable;
        let (taken, left) = match self.newest.take_if(is_durable) {
            Some(newest) => (newest, 0),
            None => (self.before.take_if(is_durable)?, 1),
        };
        self.before = None;
        self.bytes = self.newest.map_or(0, |left| left.bytes);
        let ahead = if self.is_first { self.patience.ahead } else { 0 };
        self.frames = left + ahead;
        (self.is_first, self.is_late) = (false, false);
        Some(taken.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(number: u64) -> Taken {
        Taken { sequence: Sequence(number), position: Position(number * 100), bytes: 1_000 }
    }

    fn patient(within_s: u64, resolution_s: u64, turn: u32) -> Pending {
        let resolution = Resolution::from_seconds(resolution_s).unwrap();
        Pending::new(Patience::new(Duration::from_secs(within_s), resolution, turn))
    }

    const DUE: Outlook = Outlook::Due { at_once: false };

    /// Acknowledgements of twenty frames, each durable when the next one comes.
    #[track_caller]
    fn check(mut pending: Pending, expected: &[u64]) {
        let mut found = Vec::new();
        for number in 1..=20 {
            pending.add(taken(number));
            let durable = Position((number - 1) * 100);
            if pending.outlook(durable) == DUE {
                found.push(pending.take(durable).unwrap().0);
            }
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn one_acknowledgement_stands_for_all_frames_and_needs_all_of_them_durable() {
        let mut pending = Pending::default();
        assert_eq!(pending.outlook(Position(0)), Outlook::Nothing);
        for number in 1..=3 {
            pending.add(taken(number));
            assert_eq!(pending.position(), Some(Position(number * 100)));
        }
        assert_eq!(pending.outlook(Position(299)), Outlook::NotDurable);
        assert_eq!(pending.outlook(Position(300)), DUE);
        assert_eq!(pending.take(Position(300)), Some(Sequence(3)));
        assert!(pending.is_empty());
        assert_eq!((pending.position(), pending.take(Position(300))), (None, None));
    }

    #[test]
    fn frames_that_come_together_are_acknowledged_in_bounded_numbers() {
        for mut pending in [Pending::default(), patient(60, 1, 0)] {
            for number in 1..=64 {
                pending.add(taken(number));
                let at_once = number == 64;
                assert_eq!(pending.outlook(Position(6_400)), Outlook::Due { at_once }, "{number}");
            }
            assert_eq!(pending.take(Position(6_400)), Some(Sequence(64)));
            assert_eq!(pending.outlook(Position(6_400)), Outlook::Nothing);
        }
    }

    #[test]
    fn who_can_wait_hears_of_several_frames_with_the_next_that_comes() {
        // The first is not durable when it comes, so it is told with the second.
        check(patient(5, 1, 0), &[1, 5, 9, 13, 17]);
        check(patient(5, 1, 7), &[1, 3, 7, 11, 15, 19]);
        check(
            patient(4, 2, 0),
            &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
        );
        check(patient(5, 15, 3), &[]);
    }

    #[test]
    fn who_sends_much_hears_of_it_before_it_must_keep_much() {
        let mut pending = patient(60, 1, 0);
        let told: Vec<u64> = (1..=100)
            .filter_map(|number| {
                pending.add(Taken { bytes: 5 << 10, ..taken(number) });
                let durable = Position((number - 1) * 100);
                (pending.outlook(durable) == DUE).then(|| pending.take(durable).unwrap().0)
            })
            .collect();
        assert!(told.starts_with(&[1, 7, 13, 19]), "{told:?}");
    }

    #[test]
    fn who_waited_long_enough_is_told_what_is_durable() {
        let mut pending = patient(5, 1, 0);
        pending.add(taken(1));
        assert_eq!(pending.outlook(Position(0)), Outlook::NotDurable);
        assert_eq!(pending.outlook(Position(100)), DUE);
        assert_eq!(pending.take(Position(100)), Some(Sequence(1)));
        for number in [2, 3] {
            pending.add(taken(number));
            assert_eq!(pending.outlook(Position(300)), Outlook::Patient);
        }
        pending.hurry();
        assert_eq!(pending.outlook(Position(100)), Outlook::NotDurable);
        assert_eq!(pending.outlook(Position(200)), DUE);
        assert_eq!(pending.take(Position(200)), Some(Sequence(2)));
        assert!(!pending.is_empty());
        assert_eq!(pending.outlook(Position(300)), Outlook::Patient);
        pending.hurry();
        assert_eq!(pending.take(Position(300)), Some(Sequence(3)));
    }
}
