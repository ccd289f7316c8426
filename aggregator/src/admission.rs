//! Who may say what, when: the rules that a stream is held to. Pure: the time is an argument.

use tally_proto::{
    message::{Hello, PackedFrame},
    tick::{Resolution, Tick, UnixMs},
};

/// A clock that is set back by less is only kept right: with one node as far ahead as it may be, each
/// such step would else have the live model filled anew.
const STEP_MS: i64 = 10_000;

/// What this aggregator accepts.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Time between ticks.
    pub resolution: Resolution,
    /// How far a frame may be ahead of this clock.
    pub clock_skew_ms: i64,
    /// How many entities one node may declare.
    pub entities_per_node: u32,
}

/// Why a stream is refused. The message names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The first message was something else.
    #[error("the first message of a stream must be hello")]
    NoHello,
    /// A later one was hello.
    #[error("hello may only be the first message of a stream")]
    SecondHello,
    /// Ticks would not fall together.
    #[error(
        "hello.resolution_seconds is {theirs}, this aggregator works at {ours}; \
         start the agent with --resolution {ours}"
    )]
    Resolution {
        /// The agent's.
        theirs: Resolution,
        /// The aggregator's.
        ours: Resolution,
    },
    /// A tick between ticks.
    #[error("frame.tick_unix_s is {0}, which is no multiple of the resolution of {1}")]
    Unaligned(u64, Resolution),
    /// A tick that has not come.
    #[error(
        "frame.tick_unix_s is {ahead_ms} ms ahead of this clock, at most {most_ms} ms are allowed; \
         set the node's clock"
    )]
    Future {
        /// How far ahead.
        ahead_ms: i64,
        /// The limit.
        most_ms: i64,
    },
    /// Ticks that do not ascend.
    #[error("frame.tick_unix_s is {0}, which is not after the frame before, {1}")]
    TickOrder(u64, u64),
    /// Sequences that do not ascend.
    #[error("frame.sequence is {0}, which is not after the frame before, {1}")]
    SequenceOrder(u64, u64),
    /// Too many entities.
    #[error("entity.number is {0}, this aggregator takes {1} entities a node")]
    Entities(u32, u32),
}

impl Refusal {
    /// A word for the counter of refusals.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoHello | Self::SecondHello => "hello_order",
            Self::Resolution { .. } => "resolution",
            Self::Unaligned(..) => "unaligned_tick",
            Self::Future { .. } => "future_tick",
            Self::TickOrder(..) => "tick_order",
            Self::SequenceOrder(..) => "sequence_order",
            Self::Entities(..) => "entities",
        }
    }
}

impl Rules {
    /// Whether a stream may begin.
    pub fn check_hello(&self, hello: &Hello) -> Result<(), Refusal> {
        if hello.resolution == self.resolution {
            Ok(())
        } else {
            Err(Refusal::Resolution { theirs: hello.resolution, ours: self.resolution })
        }
    }

    /// Whether a frame may follow the stream's frame before. A frame may be late by any time.
    pub fn check_frame(
        &self,
        frame: &PackedFrame,
        before: Option<(u64, Tick)>,
        now: UnixMs,
    ) -> Result<(), Refusal> {
        if !self.resolution.divides(frame.tick) {
            return Err(Refusal::Unaligned(frame.tick.0, self.resolution));
        }
        let ahead_ms = frame.tick.unix_ms().since(now);
        if self.clock_skew_ms < ahead_ms {
            return Err(Refusal::Future { ahead_ms, most_ms: self.clock_skew_ms });
        }
        match before {
            Some((sequence, _)) if frame.sequence.0 <= sequence => {
                Err(Refusal::SequenceOrder(frame.sequence.0, sequence))
            }
            Some((_, tick)) if frame.tick <= tick => Err(Refusal::TickOrder(frame.tick.0, tick.0)),
            _ => Ok(()),
        }
    }

    /// Whether this clock was set back: what was taken as present is further ahead of it than any
    /// frame may be, and a frame has come that agrees with it.
    pub fn was_set_back(&self, newest: Tick, frame: &PackedFrame, now: UnixMs) -> bool {
        let skew_ms = self.clock_skew_ms;
        skew_ms.saturating_add(STEP_MS) < newest.unix_ms().since(now)
            && now.since(frame.tick.unix_ms()) <= skew_ms
    }

    /// Whether an entity's number is within the limit.
    pub fn check_entity(&self, number: u32) -> Result<(), Refusal> {
        if number < self.entities_per_node {
            Ok(())
        } else {
            Err(Refusal::Entities(number, self.entities_per_node))
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tally_proto::message::Sequence;

    use super::*;

    const RULES: Rules =
        Rules { resolution: Resolution::DEFAULT, clock_skew_ms: 60_000, entities_per_node: 100 };

    #[track_caller]
    fn check(sequence: u64, tick: u64, before: Option<(u64, u64)>, expected: Result<(), Refusal>) {
        let frame =
            PackedFrame { sequence: Sequence(sequence), tick: Tick(tick), columns: Bytes::new() };
        let before = before.map(|(sequence, tick)| (sequence, Tick(tick)));
        assert_eq!(RULES.check_frame(&frame, before, UnixMs(1_000_000)), expected);
    }

    #[test]
    fn a_late_frame_is_welcome() {
        check(1, 15, None, Ok(()));
        check(7, 900, Some((3, 15)), Ok(()));
    }

    #[test]
    fn time_travel_is_refused() {
        check(1, 1050, None, Ok(()));
        let ahead = Refusal::Future { ahead_ms: 65_000, most_ms: 60_000 };
        check(1, 1065, None, Err(ahead));
        check(2, 900, Some((1, 900)), Err(Refusal::TickOrder(900, 900)));
    }

    #[track_caller]
    fn check_set_back(newest: u64, tick: u64, expected: bool) {
        let frame = PackedFrame { sequence: Sequence(1), tick: Tick(tick), columns: Bytes::new() };
        assert_eq!(RULES.was_set_back(Tick(newest), &frame, UnixMs(1_000_000)), expected);
    }

    #[test]
    fn a_clock_was_set_back_when_what_was_present_is_future_and_frames_agree() {
        check_set_back(1_071, 1_000, true);
        check_set_back(9_000, 940, true);
        check_set_back(1_070, 1_000, false);
    }

    #[test]
    fn a_late_frame_says_nothing_of_the_clock() {
        check_set_back(9_000, 939, false);
    }

    #[test]
    fn disorder_is_refused() {
        check(1, 16, None, Err(Refusal::Unaligned(16, Resolution::DEFAULT)));
        check(1, 900, Some((1, 885)), Err(Refusal::SequenceOrder(1, 1)));
    }
}
