//! The only place of the swarm that reads clocks.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tally_proto::tick::UnixMs;

/// A clock. Copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that counts from now.
    #[expect(clippy::disallowed_methods, reason = "a load program measures real time")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start; it never goes back.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "frames are stamped with real ticks")]
    pub fn unix(self) -> UnixMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        UnixMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// How long it is until a time of day; nothing when it has passed.
    pub fn until(self, at: UnixMs) -> Duration {
        Duration::from_millis(u64::try_from(at.since(self.unix())).unwrap_or(0))
    }
}
