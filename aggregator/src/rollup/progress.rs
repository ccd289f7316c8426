//! Which ticks are complete. Sums of namespaces and of the cluster are shown for closed ticks
//! only, so that a tick that half of the nodes have delivered does not look like a dip.
//!
//! A tick closes when every live node has delivered it, or after a grace: a node that fails or
//! is slow delays nobody. What comes after that still counts in its own tick.

use tally_proto::tick::{Resolution, Tick, UnixMs};

/// How long after its time a tick stays open for nodes that have not delivered it. Agents read
/// at the tick and send at once, so one second is far more than a healthy one takes.
const GRACE_MS: i64 = 1_000;

/// Counts deliveries by tick.
#[derive(Debug)]
pub struct Progress {
    resolution: Resolution,
    slots: Vec<(Tick, usize)>,
    live: usize,
    newest: Option<Tick>,
    closed: Option<Tick>,
    /// The newest closed tick when it was last asked how many were closed.
    reported: Option<Tick>,
}

impl Progress {
    /// Nothing delivered yet; remembers as many ticks as the window has.
    pub fn new(resolution: Resolution, ticks: usize) -> Self {
        let slots = vec![(Tick(0), 0); ticks];
        Self { resolution, slots, live: 0, newest: None, closed: None, reported: None }
    }

    /// A node began to deliver.
    pub fn join(&mut self) {
        self.live += 1;
    }

    /// A node's stream ended: nobody waits for it.
    pub fn leave(&mut self) {
        self.live = self.live.saturating_sub(1);
        if let Some(newest) = self.newest {
            self.close_if_complete(newest);
        }
    }

    /// A node delivered a tick.
    pub fn deliver(&mut self, tick: Tick) {
        let place = self.place(tick);
        if let Some((held, count)) = self.slots.get_mut(place) {
            if *held < tick {
                (*held, *count) = (tick, 0);
            }
            if *held == tick {
                *count += 1;
            }
        }
        self.newest = self.newest.max(Some(tick));
        self.close_if_complete(tick);
    }

    /// Closes what has waited long enough. How many ticks were closed since it was last called.
    pub fn advance(&mut self, now: UnixMs) -> u64 {
        let waited = self.resolution.tick_at(UnixMs(now.0.saturating_sub(GRACE_MS)));
        if let Some(newest) = self.newest {
            self.closed = self.closed.max(Some(newest.min(waited)));
        }
        let (Some(closed), before) = (self.closed, self.reported) else { return 0 };
        self.reported = Some(closed);
        let seconds = closed.0.saturating_sub(before.map_or(closed.0, |before| before.0));
        seconds / u64::from(self.resolution.seconds())
    }

    /// The newest tick that anything was delivered for.
    pub fn newest(&self) -> Option<Tick> {
        self.newest
    }

    /// The newest closed tick; every older one is closed too.
    pub fn closed(&self) -> Option<Tick> {
        self.closed
    }

    /// Nodes that are delivering.
    pub fn live(&self) -> usize {
        self.live
    }

    fn close_if_complete(&mut self, tick: Tick) {
        let delivered = self.slots.get(self.place(tick)).filter(|(held, _)| *held == tick);
        // Nodes deliver in order, so a complete tick has no incomplete one before it.
        if delivered.is_some_and(|(_, count)| self.live <= *count) {
            self.closed = self.closed.max(Some(tick));
        }
    }

    fn place(&self, tick: Tick) -> usize {
        let slots = u64::try_from(self.slots.len().max(1)).unwrap_or(1);
        let number = tick.0 / u64::from(self.resolution.seconds());
        usize::try_from(number % slots).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_two_nodes() -> Progress {
        let mut progress = Progress::new(Resolution::from_seconds(10).unwrap(), 8);
        progress.join();
        progress.join();
        progress
    }

    #[test]
    fn a_tick_closes_when_all_have_delivered_it() {
        let mut progress = of_two_nodes();
        progress.deliver(Tick(100));
        assert_eq!(progress.closed(), None);
        progress.deliver(Tick(100));
        assert_eq!(progress.closed(), Some(Tick(100)));
    }

    #[test]
    fn a_slow_node_delays_nobody_beyond_the_grace() {
        let mut progress = of_two_nodes();
        progress.deliver(Tick(100));
        progress.advance(UnixMs(100_999));
        assert!(progress.closed() < Some(Tick(100)));
        progress.advance(UnixMs(101_000));
        assert_eq!(progress.closed(), Some(Tick(100)));
    }

    #[test]
    fn nobody_waits_for_a_node_that_left() {
        let mut progress = of_two_nodes();
        progress.deliver(Tick(100));
        progress.leave();
        assert_eq!(progress.closed(), Some(Tick(100)));
    }

    #[test]
    fn a_late_delivery_reopens_nothing() {
        let mut progress = of_two_nodes();
        for tick in [100, 110, 110] {
            progress.deliver(Tick(tick));
        }
        assert_eq!(progress.closed(), Some(Tick(110)));
        progress.deliver(Tick(100));
        assert_eq!(progress.closed(), Some(Tick(110)));
    }
}
