//! The sampling thread's loop: wait for a tick, read the host, hand the reading over.

use std::{sync::Arc, time::Duration};

use tally_proto::{
    columns::Builder,
    message::Declarations,
    tick::{Resolution, Tick},
};
use tracing::{debug, warn};

use crate::{
    counters::Counters,
    handover::{Giver, UplinkEnded},
    schedule::{Moment, Schedule, Step},
};

/// The clocks, and a way to wait. Tests have their own.
pub(super) trait Time {
    fn now(&mut self) -> Moment;

    fn pause(&mut self, pause: Duration) -> Pause;
}

/// How a pause ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    Over,
    /// The agent stops.
    Stopped,
}

/// Reads at every tick until it is stopped.
pub(super) fn run(
    resolution: Resolution,
    mut time: impl Time,
    mut read: impl FnMut(Tick, &mut Builder) -> Declarations,
    mut giver: Giver,
    counters: &Arc<Counters>,
) -> Result<(), UplinkEnded> {
    let mut schedule = Schedule::new(resolution, time.now());
    let mut frame = Builder::new();
    loop {
        let skipped_before = schedule.skipped();
        let step = schedule.step(time.now());
        let skipped = schedule.skipped() - skipped_before;
        if 0 < skipped {
            counters.ticks_skipped.add(skipped);
            warn!(skipped, "ticks were skipped: the host slept, or one reading took too long");
        }
        match step {
            Step::Wait(wait) => match time.pause(wait) {
                Pause::Over => (),
                Pause::Stopped => return giver.finish(),
            },
            Step::Read(tick) => {
                let declarations = read(tick, &mut frame);
                debug!(tick = tick.0, "read");
                giver.give(tick, declarations, frame.finish())?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::{
        declaration::{ColumnNumber, EntityNumber},
        tick::UnixMs,
    };

    use super::*;
    use crate::handover::handover;

    /// Each pause passes at once, until there were enough.
    struct Fake {
        now_ms: u64,
        pauses: u32,
    }

    impl Time for Fake {
        fn now(&mut self) -> Moment {
            let wall = UnixMs(i64::try_from(self.now_ms).unwrap());
            Moment { wall, running: Duration::from_millis(self.now_ms) }
        }

        fn pause(&mut self, pause: Duration) -> Pause {
            self.now_ms += u64::try_from(pause.as_millis()).unwrap();
            match self.pauses.checked_sub(1) {
                Some(left) => self.pauses = left,
                None => return Pause::Stopped,
            }
            Pause::Over
        }
    }

    #[tokio::test]
    async fn reads_every_tick_until_stopped_and_then_closes_the_queue() {
        let counters = Arc::new(Counters::default());
        let (giver, mut taker) = handover(Arc::clone(&counters));
        let taken = tokio::spawn(async move {
            let mut ticks = Vec::new();
            while let Some(reading) = taker.take().await {
                ticks.push(reading.tick.0);
            }
            ticks
        });
        let resolution = Resolution::from_seconds(10).unwrap();
        let read = |tick: Tick, frame: &mut Builder| {
            frame.set(EntityNumber(0), ColumnNumber(0), tick.unix_ms().0);
            Declarations::default()
        };
        let time = Fake { now_ms: 105_000, pauses: 2 };
        assert_eq!(run(resolution, time, read, giver, &counters), Ok(()));
        assert_eq!(taken.await.unwrap(), [110, 120]);
        assert_eq!(counters.ticks_skipped.get(), 0);
    }

    #[test]
    fn a_last_reading_that_nobody_takes_is_counted() {
        let counters = Arc::new(Counters::default());
        let (giver, _taker) = handover(Arc::clone(&counters));
        let time = Fake { now_ms: 0, pauses: 3 };
        let read = |_, _: &mut Builder| Declarations::default();
        assert_eq!(run(Resolution::DEFAULT, time, read, giver, &counters), Ok(()));
        assert_eq!(counters.frames_dropped.get(), 1);
    }

    #[test]
    fn without_an_uplink_it_ends() {
        let counters = Arc::new(Counters::default());
        let (giver, taker) = handover(Arc::clone(&counters));
        drop(taker);
        let time = Fake { now_ms: 0, pauses: 9 };
        let read = |_, _: &mut Builder| Declarations::default();
        assert_eq!(run(Resolution::DEFAULT, time, read, giver, &counters), Err(UplinkEnded));
    }
}
