//! What the agent says it read, and which of it may be lost. Pure.
//!
//! An agent that is killed has not delivered what it read last. When it knew of the outage all but
//! that is in its spool; a network that was cut without anybody noticing costs up to ten seconds
//! more (`docs/spool.md`). Everything else it read must be in history.

use std::collections::BTreeSet;

use serde::Deserialize;
use tally_proto::tick::{Tick, UnixMs};

/// Ticks that may be on their way at any kill: one that was read and one that is being sent.
const UNDER_WAY: u64 = 2;

/// Ticks that are in memory alone while an outage is not noticed: frames are spooled when they have
/// waited for 10 s, one waits until the one before it is written.
const UNNOTICED: u64 = 12;

/// A stream may be dead for so long before the agent knows: it asks every 10 s and waits for 20 s.
const NOTICED_WITHIN_MS: i64 = 35_000;

/// How long a process takes until it reads its first tick: to start, in a build without
/// optimization on a busy machine, and to the next tick but one.
const STARTED_WITHIN_MS: i64 = 4_000;

/// A span of time in which something was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When it began.
    pub from: UnixMs,
    /// When it was whole again.
    pub to: UnixMs,
}

/// What happened, as this program did it.
#[derive(Clone, Debug, Default)]
pub struct Happened {
    /// When the agent was killed.
    pub agent_kills: Vec<UnixMs>,
    /// When the agent did not work: dead or stopped.
    pub agent_idle: Vec<Broken>,
    /// When nothing came through, and nobody said so: the network cut, the aggregator stopped.
    pub unnoticed: Vec<Broken>,
}

/// What the agent's log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diary {
    /// Ticks that were read.
    pub read: BTreeSet<Tick>,
    /// Ticks that were read twice, by two processes or by one.
    pub twice: BTreeSet<Tick>,
    /// How many ticks were skipped because the agent was too late for them.
    pub skipped: u64,
}

/// A line of the log, as far as it is of interest.
#[derive(Debug, Deserialize)]
struct Line {
    message: String,
    tick: Option<u64>,
    skipped: Option<u64>,
}

impl Diary {
    /// Adds what one life of the agent wrote, in JSON.
    pub fn add(&mut self, log: &str) {
        // The last line of a process that was killed may be torn.
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        for line in lines {
            if let (Some(tick), "read") = (line.tick, line.message.as_str())
                && !self.read.insert(Tick(tick))
            {
                self.twice.insert(Tick(tick));
            }
            self.skipped += line.skipped.unwrap_or(0);
        }
    }

    /// Ticks that were read and may be lost all the same.
    pub fn may_be_lost(&self, happened: &Happened) -> BTreeSet<Tick> {
        let mut lost = BTreeSet::new();
        for kill in &happened.agent_kills {
            let unnoticed = |broken: &Broken| {
                broken.from <= *kill && kill.since(broken.to) <= NOTICED_WITHIN_MS
            };
            let is_unnoticed = happened.unnoticed.iter().any(unnoticed);
            let most = if is_unnoticed { UNNOTICED } else { UNDER_WAY };
            let seconds = u64::try_from(kill.0.div_euclid(1000)).unwrap_or(0);
            let ticks = Tick(seconds.saturating_sub(most) + 1)..=Tick(seconds);
            lost.extend(self.read.range(ticks).copied());
        }
        lost
    }

    /// Ticks from the first to the last that were not read though the agent ran.
    pub fn unread(&self, happened: &Happened) -> Vec<Tick> {
        let (Some(first), Some(last)) = (self.read.first(), self.read.last()) else {
            return Vec::new();
        };
        let is_idle = |tick: &Tick| {
            let at = tick.unix_ms();
            // A tick is read in its first half second, so one that a kill came upon may be unread.
            happened
                .agent_idle
                .iter()
                .any(|idle| idle.from.since(at) <= 1_000 && at.since(idle.to) <= STARTED_WITHIN_MS)
        };
        let all = (first.0..=last.0).map(Tick);
        all.filter(|tick| !self.read.contains(tick) && !is_idle(tick)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diary(ticks: impl IntoIterator<Item = u64>) -> Diary {
        Diary { read: ticks.into_iter().map(Tick).collect(), ..Diary::default() }
    }

    fn broken(from: i64, to: i64) -> Broken {
        Broken { from: UnixMs(from), to: UnixMs(to) }
    }

    #[track_caller]
    fn check_lost(kill: i64, unnoticed: &[Broken], expected: impl IntoIterator<Item = u64>) {
        let happened = Happened {
            agent_kills: vec![UnixMs(kill)],
            unnoticed: unnoticed.to_vec(),
            ..Happened::default()
        };
        let expected: BTreeSet<Tick> = expected.into_iter().map(Tick).collect();
        assert_eq!(diary(100..=200).may_be_lost(&happened), expected);
    }

    #[track_caller]
    fn check_unread(read: impl IntoIterator<Item = u64>, idle: Broken, expected: &[u64]) {
        let happened = Happened { agent_idle: vec![idle], ..Happened::default() };
        let unread = diary(read).unread(&happened);
        assert_eq!(unread.iter().map(|tick| tick.0).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_kill_costs_what_is_under_way() {
        check_lost(150_900, &[], [149, 150]);
        check_lost(150_900, &[broken(100_000, 110_000)], [149, 150]);
        check_lost(150_900, &[broken(151_000, 160_000)], [149, 150]);
    }

    #[test]
    fn a_kill_in_an_outage_that_nobody_noticed_costs_what_waits() {
        check_lost(150_900, &[broken(145_000, 170_000)], 139..=150);
        check_lost(150_900, &[broken(100_000, 116_000)], 139..=150);
    }

    #[test]
    fn who_is_dead_reads_nothing_and_who_lives_reads_all() {
        check_unread((100..=110).chain(115..=120), broken(110_600, 113_000), &[]);
        check_unread((100..=110).chain(121..=130), broken(110_600, 113_000), &[118, 119, 120]);
        check_unread([100, 101, 103, 104], broken(110_600, 113_000), &[102]);
    }

    #[test]
    fn a_log_says_what_was_read() {
        let mut found = Diary::default();
        found.add(concat!(
            r#"{"level":"INFO","message":"delivering"}"#,
            "\n",
            r#"{"level":"DEBUG","message":"read","tick":7}"#,
            "\n",
            r#"{"level":"WARN","message":"ticks were skipped: …","skipped":3}"#,
            "\n",
            r#"{"level":"DEBUG","message":"re"#
        ));
        found.add(r#"{"message":"read","tick":7}"#);
        let twice = BTreeSet::from([Tick(7)]);
        assert_eq!(found, Diary { read: twice.clone(), twice, skipped: 3 });
    }
}
