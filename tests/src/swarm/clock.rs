//! The only place of the swarm that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tally_proto::tick::UnixMs;

/// A clock. Copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    /// Time of day at the start: the swarm lives on one clock, which does not jump.
    since_epoch: Duration,
}

impl Clock {
    /// A clock that counts from now.
    #[expect(clippy::disallowed_methods, reason = "a load program measures real time")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), since_epoch }
    }

    /// Time since the start; it never goes back.
    pub fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    /// The time of day.
    pub fn unix(self) -> UnixMs {
        let now = self.since_epoch + self.elapsed();
        UnixMs(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long it is until a time of day; nothing when it has passed.
    pub fn until(self, at: UnixMs) -> Duration {
        since_epoch(at).saturating_sub(self.since_epoch + self.elapsed())
    }

    /// How long ago a time of day was; nothing when it is still to come.
    pub fn since(self, at: UnixMs) -> Duration {
        (self.since_epoch + self.elapsed()).saturating_sub(since_epoch(at))
    }
}

fn since_epoch(at: UnixMs) -> Duration {
    Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}
