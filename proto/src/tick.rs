//! Time as Tally counts it: aligned ticks, and milliseconds since the epoch.

use std::{fmt, num::NonZeroU32};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub i64);

impl UnixMs {
    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub fn since(self, earlier: UnixMs) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Seconds between two ticks: a whole number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolution(NonZeroU32);

/// A resolution outside 1 s to 1 h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a resolution is a whole number of seconds from 1 to 3600, not {0}")]
pub struct BadResolution(pub u64);

impl Resolution {
    /// 15 s: what metrics-server uses too.
    pub const DEFAULT: Resolution = match NonZeroU32::new(15) {
        Some(seconds) => Resolution(seconds),
        None => unreachable!(),
    };

    /// Checks a number of seconds.
    pub fn from_seconds(seconds: u64) -> Result<Self, BadResolution> {
        match u32::try_from(seconds).ok().and_then(NonZeroU32::new) {
            Some(checked) if checked.get() <= 3600 => Ok(Self(checked)),
            _ => Err(BadResolution(seconds)),
        }
    }

    /// The number of seconds.
    pub fn seconds(self) -> u32 {
        self.0.get()
    }

    /// The last tick at or before `at`.
    pub fn tick_at(self, at: UnixMs) -> Tick {
        let seconds = u64::try_from(at.0.div_euclid(1000)).unwrap_or(0);
        Tick(seconds - seconds % u64::from(self.seconds()))
    }

    /// The tick after `tick`.
    pub fn after(self, tick: Tick) -> Tick {
        Tick(tick.0.saturating_add(u64::from(self.seconds())))
    }

    /// Whether `tick` is a multiple of this resolution.
    pub fn divides(self, tick: Tick) -> bool {
        tick.0.is_multiple_of(u64::from(self.seconds()))
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}s", self.seconds())
    }
}

/// The time that a frame is stamped with: Unix seconds, a multiple of the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick as milliseconds.
    pub fn unix_ms(self) -> UnixMs {
        UnixMs(i64::try_from(self.0).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_the_multiple_at_or_before() {
        let resolution = Resolution::from_seconds(15).unwrap();
        assert_eq!(resolution.tick_at(UnixMs(14_999)), Tick(0));
        assert_eq!(resolution.tick_at(UnixMs(15_000)), Tick(15));
        assert_eq!(resolution.tick_at(UnixMs(-1)), Tick(0));
    }

    #[test]
    fn zero_and_more_than_an_hour_are_no_resolution() {
        assert_eq!(Resolution::from_seconds(0), Err(BadResolution(0)));
        assert_eq!(Resolution::from_seconds(3601), Err(BadResolution(3601)));
        assert!(Resolution::from_seconds(3600).is_ok());
    }
}
