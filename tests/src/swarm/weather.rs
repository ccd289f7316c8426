//! Unruly weather: nodes that are cut off for a while, containers that restart.
//!
//! A node that is cut off goes on measuring, as an agent does. When it comes back it says who is
//! who again and sends all that it kept, beginning with the last frame that it had sent before:
//! no agent can know whether that one arrived.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::random::Random;

/// Ticks that a node is cut off: short enough that its frames are still within the window of an
/// aggregator's live model.
const AWAY_TICKS: (i64, i64) = (2, 8);

/// A whole, where shares are parts of a million.
const WHOLE: u64 = 1_000_000;

/// How unruly it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Of a million nodes, how many are cut off at any time.
    pub late_ppm: u64,
    /// Of a million containers, how many restart at each tick.
    pub restarts_ppm: u64,
}

/// Decides when one node is cut off. Seeded, like everything else.
#[derive(Clone, Debug)]
pub struct Outages {
    random: Random,
    begin_ppm: u64,
}

impl Outages {
    /// The outages of the `number`-th node.
    pub fn new(weather: Weather, seed: u64, number: u32) -> Self {
        let random = Random::new(seed.rotate_left(32), u64::from(number));
        // Connected nodes must go as often as others come back.
        let away_ticks = u64::try_from(AWAY_TICKS.0.midpoint(AWAY_TICKS.1)).unwrap_or(1);
        let connected = away_ticks * WHOLE.saturating_sub(weather.late_ppm);
        let begin_ppm = (weather.late_ppm * WHOLE).checked_div(connected).unwrap_or(WHOLE);
        Self { random, begin_ppm }
    }

    /// Asked at each tick of a connected node: for how many ticks it is cut off, if now.
    pub fn begin(&mut self) -> Option<u64> {
        let begins = self.begin_ppm != 0 && self.random.below(WHOLE) < self.begin_ppm;
        begins.then(|| u64::try_from(self.random.between(AWAY_TICKS.0, AWAY_TICKS.1)).unwrap_or(1))
    }
}

/// What happened to all nodes, the warm-up included.
#[derive(Debug, Default)]
pub struct Happened {
    /// Nodes were cut off.
    pub outages: AtomicU64,
    /// Frames came late, because their node was cut off.
    pub frames_late: AtomicU64,
    /// Frames were sent again, because it could not be known whether they had arrived.
    pub frames_repeated: AtomicU64,
    /// Pods were replaced.
    pub pods_replaced: AtomicU64,
    /// Containers restarted.
    pub containers_restarted: AtomicU64,
}

/// The same, to be written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is what `Happened` counts under the same name")]
pub struct Record {
    pub outages: u64,
    pub frames_late: u64,
    pub frames_repeated: u64,
    pub pods_replaced: u64,
    pub containers_restarted: u64,
}

impl Happened {
    /// Counts so far.
    pub fn record(&self) -> Record {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Record {
            outages: read(&self.outages),
            frames_late: read(&self.frames_late),
            frames_repeated: read(&self.frames_repeated),
            pods_replaced: read(&self.pods_replaced),
            containers_restarted: read(&self.containers_restarted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_share(late_ppm: u64) {
        let weather = Weather { late_ppm, restarts_ppm: 0 };
        let (mut away, mut ticks) = (0, 0);
        for number in 0..200 {
            let mut outages = Outages::new(weather, 1, number);
            let mut now = 0;
            while now < 500 {
                let cut_off = outages.begin().unwrap_or(0);
                away += cut_off;
                now += cut_off.max(1);
            }
            ticks += now;
        }
        let share = away * WHOLE / ticks;
        assert!(share.abs_diff(late_ppm) <= late_ppm / 5, "{share} of {late_ppm}");
    }

    #[test]
    fn the_share_of_nodes_that_are_cut_off_is_what_was_asked_for() {
        check_share(0);
        check_share(50_000);
        check_share(300_000);
    }

    #[test]
    fn in_calm_weather_no_node_is_cut_off_and_in_the_worst_every_one() {
        let first = |late_ppm| Outages::new(Weather { late_ppm, restarts_ppm: 0 }, 1, 1).begin();
        assert_eq!(first(0), None);
        assert!(first(WHOLE).is_some());
    }
}
