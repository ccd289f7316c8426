//! Frames that are counted but not acknowledged yet. Pure.
//!
//! A frame is acknowledged as soon as its record is durable. Frames that came together, or while
//! the disk was writing, share one acknowledgement.

use tally_proto::message::Sequence;

use super::session::Taken;
use crate::journal::Position;

/// Frames that are there already and are taken before they are acknowledged, at most: who sends
/// without a pause is answered too.
const FRAMES_MOST: usize = 64;

/// Frames that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Pending {
    newest: Option<Taken>,
    frames: usize,
}

impl Pending {
    /// Adds a frame that was taken.
    pub(super) fn add(&mut self, frame: Taken) {
        self.newest = Some(frame);
        self.frames += 1;
    }

    /// What must be durable before the acknowledgement is sent; `None` when there is nothing to
    /// acknowledge.
    pub(super) fn position(&self) -> Option<Position> {
        self.newest.map(|newest| newest.position)
    }

    /// Whether it stands for as many frames as it may.
    pub(super) fn is_full(&self) -> bool {
        FRAMES_MOST <= self.frames
    }

    /// What is to be acknowledged; nothing is pending after that.
    pub(super) fn take(&mut self) -> Option<Sequence> {
        self.frames = 0;
        self.newest.take().map(|newest| newest.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(number: u64) -> Taken {
        Taken { sequence: Sequence(number), position: Position(number * 100) }
    }

    #[test]
    fn one_acknowledgement_stands_for_all_frames_and_needs_all_of_them_durable() {
        let mut pending = Pending::default();
        assert_eq!((pending.position(), pending.take()), (None, None));
        for number in 1..=3 {
            pending.add(taken(number));
            assert_eq!(pending.position(), Some(Position(number * 100)));
        }
        assert_eq!(pending.take(), Some(Sequence(3)));
        assert_eq!((pending.position(), pending.take()), (None, None));
    }

    #[test]
    fn frames_that_come_together_are_acknowledged_in_bounded_numbers() {
        let mut pending = Pending::default();
        for number in 1..=64 {
            assert!(!pending.is_full(), "{number}");
            pending.add(taken(number));
        }
        assert!(pending.is_full());
        pending.take();
        assert!(!pending.is_full());
    }
}
