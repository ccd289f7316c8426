//! Frames that are counted but not acknowledged yet, and when their acknowledgement is due. Pure:
//! the time is an argument.
//!
//! Sending an acknowledgement costs about as much as taking a frame, so one stands for several
//! frames where nobody waits for it. An agent that keeps up with time does not: it keeps a quarter
//! of an hour anyway. One that catches up does, as its outbox empties only by acknowledgements.

use std::time::Duration;

use tally_proto::{
    message::Sequence,
    tick::{Resolution, UnixMs},
};

use super::session::Taken;
use crate::journal::Position;

/// Frames that one acknowledgement may stand for.
const FRAMES_MOST: usize = 64;

/// How long an acknowledgement may wait for the frames of the next ticks.
const WAIT: Duration = Duration::from_secs(5);

/// How much older than the resolution a frame may be and still come from an agent that keeps up.
const LATE_MS: i64 = 2_000;

/// Frames that wait for their acknowledgement.
#[derive(Debug, Default)]
pub(super) struct Pending {
    sequence: Option<Sequence>,
    /// What must be durable first.
    position: Position,
    frames: usize,
    due: Duration,
    /// Whether the stream was acknowledged at all.
    answered: bool,
}

impl Pending {
    /// Adds a frame that is taken at `now`, which is `elapsed` on the clock by which
    /// acknowledgements are due.
    pub(super) fn add(
        &mut self,
        Taken { sequence, tick, position }: Taken,
        resolution: Resolution,
        now: UnixMs,
        elapsed: Duration,
    ) {
        let apart = Duration::from_secs(u64::from(resolution.seconds()));
        let apart_ms = i64::from(resolution.seconds()) * 1000;
        if self.sequence.replace(sequence).is_none() {
            self.due = elapsed + WAIT;
        }
        self.position = position;
        self.frames += 1;
        let keeps_up = now.since(tick.unix_ms()) <= apart_ms + LATE_MS;
        // There is nothing to wait for when the next frame comes too late; and who just connected
        // learns at once that its frames count.
        if !self.answered || !keeps_up || FRAMES_MOST <= self.frames || self.due < elapsed + apart {
            self.due = elapsed;
        }
    }

    /// How long the acknowledgement may still wait; `None` when there is nothing to acknowledge.
    pub(super) fn wait(&self, elapsed: Duration) -> Option<Duration> {
        self.sequence.map(|_| self.due.saturating_sub(elapsed))
    }

    /// What must be durable before the acknowledgement is sent.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// Whether it stands for as many frames as it may.
    pub(super) fn is_full(&self) -> bool {
        FRAMES_MOST <= self.frames
    }

    /// What is to be acknowledged; nothing is pending after that.
    pub(super) fn take(&mut self) -> Option<Sequence> {
        self.frames = 0;
        self.answered |= self.sequence.is_some();
        self.sequence.take()
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::tick::Tick;

    use super::*;

    fn taken(sequence: u64, tick: u64) -> Taken {
        Taken { sequence: Sequence(sequence), tick: Tick(tick), position: Position(sequence) }
    }

    /// Frames of ticks `age` seconds old arrive one `apart` seconds after the other; after the
    /// last, the acknowledgement may wait `expected` seconds.
    #[track_caller]
    fn check(apart: u64, age: u64, frames: u64, expected: u64) {
        let resolution = Resolution::from_seconds(apart).unwrap();
        let mut pending = Pending { answered: true, ..Pending::default() };
        for number in 0..frames {
            let elapsed = Duration::from_secs(number * apart);
            let now = 1_000_000 + number * apart;
            let frame = taken(1 + number, now - age);
            pending.add(frame, resolution, Tick(now).unix_ms(), elapsed);
        }
        let last = Duration::from_secs((frames - 1) * apart);
        assert_eq!(pending.wait(last), Some(Duration::from_secs(expected)));
        assert_eq!(pending.take(), Some(Sequence(frames)));
        assert_eq!(pending.wait(last), None);
    }

    #[test]
    fn frames_of_several_ticks_share_an_acknowledgement() {
        check(1, 0, 1, 5);
        check(1, 1, 5, 1);
        check(2, 0, 2, 3);
    }

    #[test]
    fn it_waits_for_no_frame_that_comes_too_late() {
        check(1, 0, 6, 0);
        check(2, 0, 3, 0);
        check(15, 0, 1, 0);
    }

    #[test]
    fn the_first_frame_of_a_stream_is_answered_at_once() {
        let mut pending = Pending::default();
        let mut wait = |number| {
            let frame = taken(number, 1_000_000);
            let at = Tick(1_000_000).unix_ms();
            pending.add(frame, Resolution::from_seconds(1).unwrap(), at, Duration::ZERO);
            let wait = pending.wait(Duration::ZERO);
            assert_eq!(pending.take(), Some(Sequence(number)));
            wait
        };
        assert_eq!(wait(1), Some(Duration::ZERO));
        assert_eq!(wait(2), Some(WAIT));
    }

    #[test]
    fn an_agent_that_catches_up_is_answered_at_once() {
        check(1, 3, 1, 5);
        check(1, 4, 1, 0);
    }

    #[test]
    fn frames_that_come_together_are_acknowledged_in_bounded_numbers() {
        let mut pending = Pending::default();
        for number in 1..=64 {
            assert!(!pending.is_full(), "{number}");
            let frame = taken(number, 1_000_000);
            let at = Tick(1_000_000).unix_ms();
            pending.add(frame, Resolution::from_seconds(1).unwrap(), at, Duration::ZERO);
        }
        assert!(pending.is_full());
    }
}
