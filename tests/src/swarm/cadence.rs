//! When one node sends: at each tick, or as fast as it is acknowledged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tally_proto::tick::{Resolution, Tick, UnixMs};
use tokio::sync::{Barrier, watch};

use super::{
    node::{Node, Said},
    punctuality::{Due, Punctuality},
    uplink::{Exchange, Message, Uplink, UplinkError, Watched},
    weather::{Happened, Outages},
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

    /// Ticks that became due while the one before them still waited for its turn.
    fn passed(&self, late: Duration) -> u64 {
        late.as_secs() / u64::from(self.resolution.seconds())
    }
}

fn after(tick: Tick, delay: Duration) -> UnixMs {
    UnixMs(tick.unix_ms().0 + i64::try_from(delay.as_millis()).unwrap_or(i64::MAX))
}

/// A node that sends at a resolution.
#[derive(Debug)]
pub struct Steady {
    /// The node.
    pub node: Node,
    /// Its stream; none while it is cut off.
    pub uplink: Option<Uplink>,
    /// Where to connect again.
    pub exchange: Exchange,
    /// This process, as the hello says it.
    pub run: u64,
    /// How long it can wait for an acknowledgement.
    pub acknowledge_within: Duration,
    /// Who wants to know what it sent.
    pub watched: Watched,
    /// When it sends.
    pub pace: Pace,
    /// When it is cut off.
    pub outages: Outages,
    /// What happened to it is counted here.
    pub happened: Arc<Happened>,
}

/// What a node kept while it was cut off.
struct Away {
    ticks: u64,
    kept: Vec<Message>,
}

impl Steady {
    /// Sends a frame at each tick until told to stop, then delivers what is left and waits for the
    /// last acknowledgement.
    pub async fn play(mut self, mut stop: watch::Receiver<bool>) -> Result<(), UplinkError> {
        let mut tick = self.pace.first;
        let mut made = self.node.say(tick);
        let mut away = None;
        while self.wait(self.pace.due(tick), &mut stop).await? {
            tick = self.catch_up(tick);
            made.frame.tick = tick;
            self.count(&made);
            away = match away {
                None => self.send(tick, made).await?,
                Some(away) => self.keep(tick, away, made).await?,
            };
            if !self.wait(after(tick, self.pace.make_after), &mut stop).await? {
                break;
            }
            tick = self.pace.resolution.after(tick);
            made = self.node.say(tick);
        }
        if let Some(away) = away {
            self.come_back(away).await?;
        }
        match self.uplink {
            Some(uplink) => uplink.finish().await,
            None => Ok(()),
        }
    }

    /// An agent that wakes too late reads once, for the tick that is due by then.
    fn catch_up(&self, tick: Tick) -> Tick {
        let missed = self.pace.passed(self.exchange.clock.since(self.pace.due(tick)));
        if let Some(counted) = self.pace.parts.of(tick) {
            counted.miss(missed);
        }
        Tick(tick.0 + missed * u64::from(self.pace.resolution.seconds()))
    }

    fn count(&self, made: &Said) {
        let Happened { pods_replaced, containers_restarted, .. } = &*self.happened;
        pods_replaced.fetch_add(made.pods_replaced, Ordering::Relaxed);
        containers_restarted.fetch_add(made.containers_restarted, Ordering::Relaxed);
    }

    /// Sends a frame. It may be the last before an outage.
    async fn send(&mut self, tick: Tick, made: Said) -> Result<Option<Away>, UplinkError> {
        let Some(uplink) = &mut self.uplink else { return Ok(None) };
        let due = self.pace.parts.of(tick).map(|counted| Due::new(self.pace.due(tick), counted));
        uplink.send(Message::from(made), due).await?;
        let Some(ticks) = self.outages.begin() else { return Ok(None) };
        // What was said is on its way before the connection breaks; its answer is not heard.
        tokio::task::yield_now().await;
        if let Some(uplink) = self.uplink.take() {
            uplink.cut();
        }
        self.happened.outages.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Away { ticks, kept: vec![Message::from(self.node.again(tick))] }))
    }

    /// Keeps a frame. It may be the last of an outage.
    async fn keep(
        &mut self,
        tick: Tick,
        mut away: Away,
        made: Said,
    ) -> Result<Option<Away>, UplinkError> {
        if let Some(counted) = self.pace.parts.of(tick) {
            counted.keep_back();
        }
        away.kept.push(Message::from(made));
        away.ticks = away.ticks.saturating_sub(1);
        if away.ticks != 0 {
            return Ok(Some(away));
        }
        self.come_back(away).await?;
        Ok(None)
    }

    /// Connects again and sends what was kept.
    async fn come_back(&mut self, away: Away) -> Result<(), UplinkError> {
        let hello = self.node.hello(self.pace.resolution, self.run, self.acknowledge_within);
        let mut uplink = Uplink::open(&self.exchange, hello, self.watched.clone()).await?;
        let late = u64::try_from(away.kept.len()).unwrap_or(0).saturating_sub(1);
        for message in away.kept {
            uplink.send(message, None).await?;
        }
        self.happened.frames_repeated.fetch_add(1, Ordering::Relaxed);
        self.happened.frames_late.fetch_add(late, Ordering::Relaxed);
        self.uplink = Some(uplink);
        Ok(())
    }

    /// Takes acknowledgements until some time. False when it is time to stop.
    async fn wait(
        &mut self,
        at: UnixMs,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<bool, UplinkError> {
        let over = tokio::time::sleep(self.exchange.clock.until(at));
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                received = receive(&mut self.uplink) => received?,
                () = &mut over => return Ok(true),
                _ = stop.changed() => return Ok(false),
            }
        }
    }
}

/// Takes one answer; waits for ever where there is no stream.
async fn receive(uplink: &mut Option<Uplink>) -> Result<(), UplinkError> {
    match uplink {
        Some(uplink) => uplink.receive().await,
        None => std::future::pending().await,
    }
}

/// Sends prepared ticks as fast as they are acknowledged. All nodes wait for each other before and
/// after every [`ROUND`] ticks: in between, nothing is under way.
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
        barrier.wait().await;
    }
    Ok(())
}
