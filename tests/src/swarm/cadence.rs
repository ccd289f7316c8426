//! When one node sends: at each tick, or as fast as it is acknowledged.

use std::{sync::Arc, time::Duration};

use tally_proto::tick::{Resolution, Tick, UnixMs};
use tokio::sync::{Barrier, watch};

use super::{
    clock::Clock,
    node::Node,
    punctuality::{Due, Punctuality},
    uplink::{Message, Uplink, UplinkError},
};

/// Ticks that a node may be ahead of the slowest when sending flat out: the model's window must
/// hold twice as many.
pub const ROUND: usize = 8;

/// The times at which a node sends.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The first tick.
    pub first: Tick,
    /// Time between ticks.
    pub resolution: Resolution,
    /// How late after the tick this node sends.
    pub delay: Duration,
    /// How late after the tick its next frame is made: in the quiet time, when the burst of the
    /// tick is over, so that at the tick there is nothing to do but send.
    pub make_after: Duration,
    /// What the ticks are for.
    pub parts: Parts,
}

/// The parts of a run: warming up, measuring, and what comes after that.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The first tick that is measured.
    pub measured: Tick,
    /// The first that no longer is.
    pub after: Tick,
    /// How the measured frames were sent.
    pub punctuality: Arc<Punctuality>,
    /// How those were sent that came later.
    pub punctuality_after: Arc<Punctuality>,
}

impl Parts {
    /// Where frames of a tick are counted; nowhere while warming up.
    fn of(&self, tick: Tick) -> Option<&Arc<Punctuality>> {
        if tick < self.measured {
            None
        } else if tick < self.after {
            Some(&self.punctuality)
        } else {
            Some(&self.punctuality_after)
        }
    }
}

impl Pace {
    fn due(&self, tick: Tick) -> UnixMs {
        after(tick, self.delay)
    }

    /// Ticks after `tick` that are due already, when now is `late` after it was due.
    fn passed(&self, late: Duration) -> u64 {
        late.as_secs() / u64::from(self.resolution.seconds())
    }
}

fn after(tick: Tick, delay: Duration) -> UnixMs {
    UnixMs(tick.unix_ms().0 + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}

/// Sends a frame at each tick until told to stop, and then waits for the last acknowledgement.
pub async fn at_a_resolution(
    mut node: Node,
    mut uplink: Uplink,
    pace: Pace,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) -> Result<(), UplinkError> {
    let mut tick = pace.first;
    let mut made = node.say(tick);
    loop {
        if !wait(&mut uplink, clock.until(pace.due(tick)), &mut stop).await? {
            return uplink.settle().await;
        }
        // An agent that wakes too late reads once, for the tick that is due now.
        let missed = pace.passed(clock.since(pace.due(tick)));
        if let Some(counted) = pace.parts.of(tick) {
            counted.miss(missed);
        }
        tick.0 += missed * u64::from(pace.resolution.seconds());
        made.frame.tick = tick;
        let due = pace.parts.of(tick).map(|counted| Due::new(pace.due(tick), counted));
        uplink.send(Message::from(made), due).await?;
        if !wait(&mut uplink, clock.until(after(tick, pace.make_after)), &mut stop).await? {
            return uplink.settle().await;
        }
        tick = pace.resolution.after(tick);
        made = node.say(tick);
    }
}

/// Takes acknowledgements for some time. False when it is time to stop.
async fn wait(
    uplink: &mut Uplink,
    time: Duration,
    stop: &mut watch::Receiver<bool>,
) -> Result<bool, UplinkError> {
    let over = tokio::time::sleep(time);
    tokio::pin!(over);
    loop {
        tokio::select! {
            biased;
            received = uplink.receive() => received?,
            () = &mut over => return Ok(true),
            _ = stop.changed() => return Ok(false),
        }
    }
}

/// Sends prepared ticks as fast as they are acknowledged. All nodes wait for each other after
/// every [`ROUND`] ticks.
pub async fn flat_out(
    messages: Vec<Message>,
    mut uplink: Uplink,
    barrier: Arc<Barrier>,
) -> Result<(), UplinkError> {
    let mut messages = messages.into_iter().peekable();
    while messages.peek().is_some() {
        barrier.wait().await;
        for message in messages.by_ref().take(ROUND) {
            uplink.send(message, None).await?;
        }
        uplink.settle().await?;
    }
    barrier.wait().await;
    Ok(())
}
