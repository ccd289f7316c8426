//! A file of history: blocks in the order of their rows, then an index, written once.
//!
//! ```text
//! "TALLYHIS" version                       12 bytes
//! names columns sections, of each block
//! uids: (hash of the uid, block), sorted   8 bytes each
//! index: what each block holds and where   compressed
//! where the index is, its checksum, "TALLYEND"   28 bytes
//! ```
//! A file has a name that says all that is needed to choose it: its tier, the day it is of, and
//! which writes it holds, from the first to the last. Of two that hold a write, the one that holds
//! more replaces the other: that is the whole manifest.

pub mod index;
pub mod read;
mod verify;
pub mod write;

use std::fmt;

use tally_proto::tick::Tick;

/// What a file begins with.
const MAGIC: &[u8; 8] = b"TALLYHIS";

/// What a whole file ends with.
const END: &[u8; 8] = b"TALLYEND";

/// The newest format that this program knows: files in which any row has stored labels.
pub const VERSION: u32 = 2;

/// The format of all other files, which older programs read too.
pub const PLAIN_VERSION: u32 = 1;

/// Bytes before the first block.
const HEAD_BYTES: u64 = 12;

/// Bytes after the index.
const FOOT_BYTES: u64 = 28;

/// Seconds of the span that one file is of: files never reach over midnight UTC, so that they can
/// be merged and dropped by the day.
pub const WINDOW_S: u64 = 86_400;

/// Ending of names of files that are being written.
pub const UNFINISHED: &str = ".new";

/// How fine the times of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// As they were sampled.
    Raw,
    /// Buckets of five minutes.
    FiveMinutes,
    /// Buckets of an hour.
    Hour,
}

impl Tier {
    /// Every tier, the finest first.
    pub const ALL: [Tier; 3] = [Self::Raw, Self::FiveMinutes, Self::Hour];

    /// Seconds of a bucket; a raw value is none.
    pub fn bucket_s(self) -> Option<u64> {
        match self {
            Self::Raw => None,
            Self::FiveMinutes => Some(300),
            Self::Hour => Some(3600),
        }
    }

    /// As names of files say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
        }
    }
}

/// A day, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window(pub u64);

impl Window {
    /// The day of a tick.
    pub fn of(tick: Tick) -> Self {
        Self(tick.0 / WINDOW_S)
    }

    /// Its first tick.
    pub fn first(self) -> Tick {
        Tick(self.0.saturating_mul(WINDOW_S))
    }

    /// Its last tick.
    pub fn last(self) -> Tick {
        Tick(self.first().0.saturating_add(WINDOW_S - 1))
    }
}

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// How fine.
    pub tier: Tier,
    /// Of which day.
    pub window: Window,
    /// The first write that it holds.
    pub first: u64,
    /// The last. Of two values for one tick, the one of the later write counts.
    pub last: u64,
}

impl FileName {
    /// The name that a file has, if it is one of history's.
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".tally")?.split('-');
        let tier = parts.next()?;
        let tier = Tier::ALL.into_iter().find(|known| known.word() == tier)?;
        let mut number = || -> Option<u64> { parts.next()?.parse().ok() };
        let parsed = Self { tier, window: Window(number()?), first: number()?, last: number()? };
        // The same number has one spelling, so that a file has one name.
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Whether this holds all that `other` does, and more.
    pub fn replaces(&self, other: &Self) -> bool {
        self != other
            && (self.tier, self.window) == (other.tier, other.window)
            && self.first <= other.first
            && other.last <= self.last
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, window: Window(window), first, last } = self;
        write!(out, "{}-{window:06}-{first:012}-{last:012}.tally", tier.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: FileName =
        FileName { tier: Tier::FiveMinutes, window: Window(20_717), first: 7, last: 12 };

    #[test]
    fn a_name_comes_back_and_no_other_spelling_does() {
        let name = NAME.to_string();
        assert_eq!(name, "5m-020717-000000000007-000000000012.tally");
        assert_eq!(FileName::parse(&name), Some(NAME));
        for other in ["5m-20717-7-12.tally", "5m-020717-000000000007.tally", "lock", &name[1..]] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_holds_more_of_the_same_day_replaces() {
        assert!(NAME.replaces(&FileName { last: 11, ..NAME }));
        assert!(!NAME.replaces(&NAME));
        assert!(!NAME.replaces(&FileName { last: 13, ..NAME }));
        assert!(!NAME.replaces(&FileName { last: 11, window: Window(20_718), ..NAME }));
        assert!(!NAME.replaces(&FileName { last: 11, tier: Tier::Raw, ..NAME }));
    }
}
