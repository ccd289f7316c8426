//! When one node sends: at each tick, or as fast as it is acknowledged.

use std::{sync::Arc, time::Duration};

use tally_proto::tick::{Resolution, Tick, UnixMs};
use tokio::sync::{Barrier, watch};

use super::{
    clock::Clock,
    node::Node,
    uplink::{Message, Uplink, UplinkError},
};

/// Ticks that a node may be ahead of the slowest when sending flat out: the model's window must
/// hold twice as many.
pub const ROUND: usize = 8;

/// The newest reading of a node: its tick, and when it was read.
pub type LastRead = Option<(Tick, Duration)>;

/// The times at which a node sends.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The first tick.
    pub first: Tick,
    /// Time between ticks.
    pub resolution: Resolution,
    /// How late after the tick this node sends.
    pub delay_ms: i64,
}

/// Sends a frame at each tick until told to stop, and then waits for the last acknowledgement.
pub async fn at_a_resolution(
    mut node: Node,
    mut uplink: Uplink,
    pace: Pace,
    clock: Clock,
    (read, mut stop): (watch::Sender<LastRead>, watch::Receiver<bool>),
) -> Result<(), UplinkError> {
    let mut tick = pace.first;
    loop {
        let at = UnixMs(tick.unix_ms().0 + pace.delay_ms);
        let due = tokio::time::sleep(clock.until(at));
        tokio::pin!(due);
        loop {
            tokio::select! {
                () = &mut due => break,
                received = uplink.receive() => received?,
                _ = stop.changed() => return uplink.settle().await,
            }
        }
        let read_at = clock.elapsed();
        uplink.send(Message::from(node.say(tick))).await?;
        read.send_replace(Some((tick, read_at)));
        tick = pace.resolution.after(tick);
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
            uplink.send(message).await?;
        }
        uplink.settle().await?;
    }
    barrier.wait().await;
    Ok(())
}
