//! One thread of the player, with its share of the nodes.
//!
//! A node's connection never leaves its thread: a frame is made, packed, sent and acknowledged
//! without waking another core, which at thousands of connections is most of the cost.

use std::{io, sync::Arc, thread, time::Duration};

use anyhow::Context;
use tally_proto::tick::{Resolution, Tick};
use tokio::{
    runtime,
    sync::{Barrier, Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    cadence::{self, Pace, Parts, ROUND, Steady},
    node::Node,
    random::Random,
    reading::Plan,
    shape::Shape,
    uplink::{Exchange, Message, Uplink, UplinkError, Watched},
    weather::{Happened, Outages, Weather},
};

/// Connections that a crew opens at once: together they stay far below a listener's backlog, and
/// the aggregator takes the names of few nodes at a time.
const CONNECTING: usize = 16;

/// When next frames are made, in parts of the resolution.
const MAKING: (f64, f64) = (0.5, 0.9);

/// What all crews do.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The cluster.
    pub shape: Shape,
    /// What happens to it.
    pub weather: Weather,
    /// Where that is counted.
    pub happened: Arc<Happened>,
    /// Where the frames' values stand.
    pub plan: Arc<Plan>,
    /// Time between ticks.
    pub resolution: Resolution,
    /// This process, as the hello says it.
    pub run: u64,
    /// The most that a node sends after the tick.
    pub jitter: Duration,
    /// How long nodes can wait for an acknowledgement.
    pub acknowledge_within: Duration,
    /// Where to send.
    pub exchange: Exchange,
    /// Prepared ticks to send as fast as possible, if not at the resolution.
    pub flat_out: Option<FlatOut>,
    /// Set when all nodes are connected: when to begin.
    pub begin: watch::Receiver<Option<Begin>>,
    /// Set when it is enough.
    pub stop: watch::Receiver<bool>,
    /// Told how it goes.
    pub events: mpsc::Sender<Event>,
}

/// Ticks that are sent flat out.
#[derive(Clone, Debug)]
pub struct FlatOut {
    /// The first.
    pub first: Tick,
    /// How many.
    pub ticks: u64,
    /// Where all nodes wait for each other.
    pub barrier: Arc<Barrier>,
}

/// The beginning of a run at the resolution.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The first tick of all nodes.
    pub first: Tick,
    /// What the ticks are for.
    pub parts: Parts,
}

/// What a crew tells.
#[derive(Debug)]
pub enum Event {
    /// Its nodes are connected.
    Ready,
    /// It ended.
    Ended(anyhow::Result<()>),
}

/// A node to play, and who wants to know what it sent.
pub type Member = (u32, Watched);

/// Starts a thread that plays these nodes.
pub fn start(orders: Orders, members: Vec<Member>) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("crew".to_owned()).spawn(move || {
        let events = orders.events.clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime
            .context("cannot start a runtime")
            .and_then(|runtime| runtime.block_on(Crew { orders }.play(members)));
        // Nobody listens any longer when the run has failed elsewhere.
        events.blocking_send(Event::Ended(ended)).ok();
    })
}

struct Crew {
    orders: Orders,
}

struct Connected {
    number: u32,
    node: Node,
    uplink: Uplink,
    watched: Watched,
}

type Nodes = JoinSet<Result<(), UplinkError>>;

impl Crew {
    async fn play(mut self, members: Vec<Member>) -> anyhow::Result<()> {
        let connected = self.connect(members).await?;
        let nodes = match self.orders.flat_out.clone() {
            Some(flat_out) => {
                let nodes = self.flat_out(connected, &flat_out);
                self.orders.events.send(Event::Ready).await.ok();
                nodes
            }
            None => {
                self.orders.events.send(Event::Ready).await.ok();
                let begin = self.orders.begin.wait_for(Option::is_some).await?.clone();
                begin.map(|begin| self.at_a_resolution(connected, &begin)).unwrap_or_default()
            }
        };
        until_all_ended(nodes).await
    }

    /// Opens the streams of all nodes. At a resolution their first frames, which are absolute and
    /// come with all the names, are delivered here too.
    async fn connect(&self, members: Vec<Member>) -> anyhow::Result<Vec<Connected>> {
        let room = Arc::new(Semaphore::new(CONNECTING));
        let mut opening = JoinSet::new();
        for (number, watched) in members {
            let (orders, room) = (self.orders.clone(), Arc::clone(&room));
            opening.spawn(async move {
                let _place = room.acquire_owned().await;
                let Orders { shape, plan, exchange, resolution, .. } = orders;
                let mut node = Node::of(shape, &plan, number)
                    .context("cannot name a node")?
                    .restarting(orders.weather.restarts_ppm);
                // Who sends as fast as is acknowledged waits for each acknowledgement.
                let within = orders.acknowledge_within;
                let within = if orders.flat_out.is_some() { Duration::ZERO } else { within };
                let hello = node.hello(resolution, orders.run, within);
                let mut uplink = Uplink::open(&exchange, hello, watched.clone()).await?;
                if orders.flat_out.is_none() {
                    let said = node.say(resolution.tick_at(exchange.clock.unix()));
                    uplink.send(Message::from(said), None).await?;
                    uplink.settle().await?;
                }
                anyhow::Ok(Connected { number, node, uplink, watched })
            });
        }
        let mut connected = Vec::with_capacity(opening.len());
        while let Some(opened) = opening.join_next().await {
            connected.push(opened.context("a connection panicked")??);
        }
        Ok(connected)
    }

    fn at_a_resolution(&self, connected: Vec<Connected>, begin: &Begin) -> Nodes {
        let Orders {
            shape,
            weather,
            resolution,
            jitter,
            acknowledge_within,
            exchange,
            run,
            happened,
            ..
        } = &self.orders;
        let period = Duration::from_secs(u64::from(resolution.seconds()));
        let (making, made) = (period.mul_f64(MAKING.0), period.mul_f64(MAKING.1));
        let between =
            made.saturating_sub(making) / u32::try_from(connected.len().max(1)).unwrap_or(1);
        let mut nodes = Nodes::new();
        for (place, Connected { number, node, uplink, watched }) in (0..).zip(connected) {
            let pace = Pace {
                first: begin.first,
                resolution: *resolution,
                delay: delay(shape.seed, number, *jitter),
                make_after: making + between * place,
                parts: begin.parts.clone(),
            };
            let steady = Steady {
                node,
                uplink: Some(uplink),
                exchange: exchange.clone(),
                run: *run,
                acknowledge_within: *acknowledge_within,
                watched,
                pace,
                outages: Outages::new(*weather, shape.seed, number),
                happened: Arc::clone(happened),
            };
            nodes.spawn(steady.play(self.orders.stop.clone()));
        }
        nodes
    }

    fn flat_out(&self, connected: Vec<Connected>, flat_out: &FlatOut) -> Nodes {
        let resolution_s = u64::from(self.orders.resolution.seconds());
        let mut nodes = Nodes::new();
        for Connected { mut node, uplink, .. } in connected {
            let say = |tick| node.say(Tick(flat_out.first.0 + tick * resolution_s));
            let messages = (0..flat_out.ticks).map(say).map(Message::from).collect();
            nodes.spawn(cadence::flat_out(messages, uplink, Arc::clone(&flat_out.barrier)));
        }
        nodes
    }
}

/// Each node's own time after the tick.
fn delay(seed: u64, number: u32, jitter: Duration) -> Duration {
    let mut random = Random::new(!seed, u64::from(number));
    let most = u64::try_from(jitter.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random.below(most.saturating_add(1)))
}

/// The first node that fails ends its crew.
async fn until_all_ended(mut nodes: Nodes) -> anyhow::Result<()> {
    while let Some(ended) = nodes.join_next().await {
        ended.context("a node panicked")??;
    }
    Ok(())
}

/// Ticks of a flat-out run, and of its warm-up, which is one round.
pub fn flat_out_ticks(wanted: u64) -> (u64, u64) {
    let round = u64::try_from(ROUND).unwrap_or(u64::MAX);
    (wanted.next_multiple_of(round), round)
}
