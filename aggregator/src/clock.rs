//! The time, as a value that is handed in. Only `app.rs` makes one that reads the host's clock;
//! tests make one that they move.

use std::{fmt, sync::Arc, time::Duration};

use tally_proto::tick::UnixMs;

/// One reading of a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time of day. It may jump.
    pub unix: UnixMs,
    /// Time since some fixed moment. It never goes back; for measuring how long something took.
    pub elapsed: Duration,
}

/// Something that tells the time. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// A clock that asks `read`.
    pub fn new(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Both.
    pub fn read(&self) -> Now {
        (self.0)()
    }

    /// The time of day.
    pub fn now(&self) -> UnixMs {
        self.read().unix
    }

    /// Time since some fixed moment.
    pub fn elapsed(&self) -> Duration {
        self.read().elapsed
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Clock").field(&(self.0)()).finish()
    }
}
