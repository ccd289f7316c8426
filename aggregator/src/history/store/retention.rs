//! What goes when history is too old or too large: the oldest first.

use tally_proto::tick::Tick;

use super::Store;
use crate::history::{
    error::HistoryError,
    file::{FileName, Tier},
};

/// How much history is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Seconds for which raw values are kept.
    pub raw_s: u64,
    /// Seconds for which buckets of five minutes are kept.
    pub five_minutes_s: u64,
    /// Seconds for which buckets of an hour are kept.
    pub hour_s: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

/// What was dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The files, in the order in which they went.
    pub files: Vec<FileName>,
    /// Their bytes.
    pub bytes: u64,
}

/// Days that go only when nothing else is left to go: today and yesterday.
const RECENT_DAYS: u64 = 2;

impl Retention {
    fn seconds(&self, tier: Tier) -> u64 {
        match tier {
            Tier::Raw => self.raw_s,
            Tier::FiveMinutes => self.five_minutes_s,
            Tier::Hour => self.hour_s,
        }
    }
}

impl Store {
    /// Drops the files of days that are over for longer than their tier is kept. While what is
    /// left has too many bytes, drops more: first raw values, as buckets of their days stay and
    /// take a hundredth of the room, then buckets, each the oldest first; of the newest days only
    /// when nothing else is left.
    pub fn drop_old(&self, now: Tick, retention: Retention) -> Result<Dropped, HistoryError> {
        let files = self.files();
        let today = now.0 / crate::history::file::WINDOW_S;
        let recent = today.saturating_sub(RECENT_DAYS - 1);
        let mut order: Vec<FileName> = files.keys().copied().collect();
        order.sort_by_key(|name| (recent <= name.window.0, *name));
        let mut left: u64 = files.values().map(|file| file.bytes).sum();
        let mut dropped = Dropped::default();
        let is_old = |name: &FileName| {
            name.window.last().0.saturating_add(retention.seconds(name.tier)) < now.0
        };
        let (old, kept): (Vec<FileName>, Vec<FileName>) = order.into_iter().partition(is_old);
        let count = old.len();
        for (place, name) in old.into_iter().chain(kept).enumerate() {
            if count <= place && left <= retention.bytes {
                break;
            }
            let bytes = files.get(&name).map_or(0, |file| file.bytes);
            left = left.saturating_sub(bytes);
            dropped.bytes += bytes;
            dropped.files.push(name);
        }
        let _writing = self.lock();
        self.remove(&dropped.files)?;
        Ok(dropped)
    }
}
