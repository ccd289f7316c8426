//! Brings the parts of the swarm together: connects all nodes, lets them send, measures, asks.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, anyhow, ensure};
use tally_proto::tick::{Tick, UnixMs};
use tokio::{
    sync::{Barrier, Semaphore, mpsc, watch},
    task::JoinSet,
};
use tonic::transport::Endpoint;

use super::{
    aggregator::{Spawned, Usage, flat_out_window},
    arguments::Arguments,
    asking,
    cadence::{self, LastRead, Pace, ROUND},
    clock::Clock,
    freshness,
    http::HttpClient,
    node::Node,
    quantiles::Quantiles,
    random::Random,
    report::{Moment, Report},
    shape::Shape,
    uplink::{Counts, Message, Uplink, UplinkError},
};

/// Connections being opened at once: more would overflow the listener's backlog.
const CONNECTING: usize = 64;

/// Nodes whose freshness is watched.
const WATCHED: u32 = 8;

/// How long a started aggregator may take to listen.
const START: Duration = Duration::from_secs(10);

/// How long questions are asked.
const ASKING_TICKS: u32 = 15;

/// Ages that wait to be collected.
const AGES: usize = 1024;

/// Says what is going on.
pub type Progress = fn(&str);

/// Plays the cluster and measures what it costs.
pub async fn run(arguments: &Arguments, progress: Progress) -> anyhow::Result<Report> {
    let shape = arguments.shape();
    ensure!(shape.nodes != 0, "a cluster has at least one node: --nodes");
    let spawned = match &arguments.spawn {
        None => None,
        Some(program) => {
            let window = if arguments.flat_out {
                flat_out_window(shape.resolution_s)
            } else {
                arguments.model_window.clone()
            };
            Some(Spawned::start(program, &shape, &window)?)
        }
    };
    let target = Target {
        grpc: spawned.as_ref().map(|own| own.grpc_url.clone()).or(arguments.aggregator.clone()),
        rest: spawned.as_ref().map(|own| own.rest_url.clone()).or(arguments.rest.clone()),
        pid: spawned.as_ref().map(|own| own.pid).or(arguments.pid),
    };
    let swarm =
        Swarm { arguments, shape, target, clock: Clock::start(), counts: Arc::default(), progress };
    let report = swarm.play().await;
    if let Some(spawned) = spawned {
        spawned.stop().await?;
    }
    report
}

/// What is loaded and asked.
struct Target {
    grpc: Option<String>,
    rest: Option<String>,
    pid: Option<u32>,
}

struct Swarm<'a> {
    arguments: &'a Arguments,
    shape: Shape,
    target: Target,
    clock: Clock,
    counts: Arc<Counts>,
    progress: Progress,
}

type Nodes = JoinSet<Result<(), UplinkError>>;

impl Swarm<'_> {
    async fn play(&self) -> anyhow::Result<Report> {
        if let Some(rest) = &self.target.rest {
            wait_for(rest).await?;
        }
        (self.progress)(&format!("making {} nodes", self.shape.nodes));
        let nodes = (0..self.shape.nodes)
            .map(|number| Node::new(self.shape, number))
            .collect::<Result<Vec<_>, _>>()
            .context("cannot name a node")?;
        if self.arguments.flat_out { self.flat_out(nodes).await } else { self.paced(nodes).await }
    }

    async fn paced(&self, nodes: Vec<Node>) -> anyhow::Result<Report> {
        let (stop, stopped) = watch::channel(false);
        let uplinks = self.connect(&nodes).await?;
        let resolution = self.arguments.resolution;
        // Two ticks from now, so that every node is waiting for it.
        let first = resolution.after(resolution.after(resolution.tick_at(self.clock.unix())));
        let mut delays = Random::new(self.shape.seed, u64::MAX - 1);
        let (mut tasks, mut watched) = (Nodes::new(), Vec::new());
        for (node, uplink) in nodes.into_iter().zip(uplinks) {
            let (read, reading) = watch::channel(None);
            watched.push((node.name.to_string(), reading));
            let delay = delays.below(self.arguments.jitter + 1);
            let delay_ms = i64::try_from(delay).unwrap_or(0);
            let pace = Pace { first, resolution, delay_ms };
            let ends = (read, stopped.clone());
            tasks.spawn(cadence::at_a_resolution(node, uplink, pace, self.clock, ends));
        }
        let tick = |number: u64| Tick(first.0 + number * u64::from(resolution.seconds()));
        (self.progress)(&format!("warming up for {} ticks", self.arguments.warm_up));
        self.until(tick(self.arguments.warm_up), &mut tasks).await?;
        let before = self.moment()?;
        let (ages, mut found) = mpsc::channel(AGES);
        let watchers = self.watch_freshness(watched, &ages);
        drop(ages);
        (self.progress)(&format!("measuring {} ticks", self.arguments.ticks));
        let end = self.arguments.warm_up + self.arguments.ticks;
        self.until(tick(end), &mut tasks).await?;
        let mut report = Report::between(self.shape, false, &before, &self.moment()?);
        report.asked = self.ask(&mut tasks).await?;
        stop.send_replace(true);
        while let Some(ended) = tasks.join_next().await {
            ended.context("a node panicked")??;
        }
        watchers.join_all().await.into_iter().collect::<Result<(), _>>()?;
        let mut durations = Vec::new();
        while let Ok(age) = found.try_recv() {
            durations.push(age);
        }
        report.freshness = Quantiles::of(durations);
        Ok(report)
    }

    async fn flat_out(&self, nodes: Vec<Node>) -> anyhow::Result<Report> {
        let ticks = self.arguments.ticks.next_multiple_of(u64::try_from(ROUND)?);
        // One round more, which is the warm-up.
        let all = ticks + u64::try_from(ROUND)?;
        let resolution_s = u64::from(self.shape.resolution_s);
        let now = self.arguments.resolution.tick_at(self.clock.unix());
        let first = now.0.saturating_sub(all * resolution_s);
        (self.progress)(&format!("packing {all} ticks of every node"));
        let mut prepared = Vec::new();
        let uplinks = self.connect(&nodes).await?;
        for mut node in nodes {
            let say = |tick| Message::from(node.say(Tick(first + tick * resolution_s)));
            prepared.push((0..all).map(say).collect::<Vec<_>>());
        }
        let barrier = Arc::new(Barrier::new(uplinks.len() + 1));
        let mut tasks = Nodes::new();
        for (messages, uplink) in prepared.into_iter().zip(uplinks) {
            tasks.spawn(cadence::flat_out(messages, uplink, Arc::clone(&barrier)));
        }
        (self.progress)("sending");
        let rounds = all / u64::try_from(ROUND)?;
        let mut before = Moment::default();
        for round in 0..=rounds {
            tokio::select! {
                _ = barrier.wait() => (),
                Some(ended) = tasks.join_next(), if round < rounds => {
                    ended.context("a node panicked")??;
                }
            }
            if round == 1 {
                before = self.moment()?;
            }
        }
        Ok(Report::between(self.shape, true, &before, &self.moment()?))
    }

    /// Opens the streams of all nodes, in their order.
    async fn connect(&self, nodes: &[Node]) -> anyhow::Result<Vec<Uplink>> {
        (self.progress)("connecting");
        let url = self.target.grpc.clone().ok_or_else(|| anyhow!("no aggregator to load"))?;
        let endpoint = Endpoint::from_shared(url).context("--aggregator is no URL")?;
        let room = Arc::new(Semaphore::new(CONNECTING));
        let run = u64::try_from(self.clock.unix().0)?;
        let mut opening = JoinSet::new();
        for (place, node) in nodes.iter().enumerate() {
            let hello = node.hello(self.arguments.resolution, run);
            let (endpoint, counts) = (endpoint.clone(), Arc::clone(&self.counts));
            let room = Arc::clone(&room);
            opening.spawn(async move {
                let _place = room.acquire_owned().await;
                Uplink::open(&endpoint, hello, counts).await.map(|uplink| (place, uplink))
            });
        }
        let mut uplinks = Vec::new();
        while let Some(opened) = opening.join_next().await {
            uplinks.push(opened.context("a connection panicked")??);
        }
        uplinks.sort_unstable_by_key(|(place, _)| *place);
        Ok(uplinks.into_iter().map(|(_, uplink)| uplink).collect())
    }

    /// Waits for a tick. A node that ends before is an error.
    async fn until(&self, tick: Tick, nodes: &mut Nodes) -> anyhow::Result<()> {
        let UnixMs(at) = tick.unix_ms();
        tokio::select! {
            () = tokio::time::sleep(self.clock.until(UnixMs(at))) => Ok(()),
            Some(ended) = nodes.join_next() => {
                ended.context("a node panicked")??;
                Err(anyhow!("a node ended unasked"))
            }
        }
    }

    fn moment(&self) -> anyhow::Result<Moment> {
        let usage = self.target.pid.map(Usage::of).transpose()?;
        Ok(Moment::take(self.clock.elapsed(), &self.counts, usage))
    }

    /// Watches a few nodes, evenly spread over the cluster.
    fn watch_freshness(
        &self,
        nodes: Vec<(String, watch::Receiver<LastRead>)>,
        ages: &mpsc::Sender<Duration>,
    ) -> JoinSet<anyhow::Result<()>> {
        let mut watchers = JoinSet::new();
        let Some(rest) = self.target.rest.clone() else { return watchers };
        let step = usize::try_from(self.shape.nodes.div_ceil(WATCHED)).unwrap_or(1).max(1);
        for (name, read) in nodes.into_iter().step_by(step) {
            let (rest, ages, clock) = (rest.clone(), ages.clone(), self.clock);
            watchers.spawn(async move {
                // What does not fit is not measured: the first thousand say enough.
                let found = |age| {
                    ages.try_send(age).ok();
                };
                Ok(freshness::watch(&rest, &name, read, clock, found).await?)
            });
        }
        watchers
    }

    async fn ask(&self, nodes: &mut Nodes) -> anyhow::Result<Option<asking::Asked>> {
        let Some(rest) = self.target.rest.clone().filter(|_| self.arguments.query) else {
            return Ok(None);
        };
        (self.progress)("asking");
        let (stop, stopped) = watch::channel(false);
        let asked = tokio::spawn({
            let (shape, clock) = (self.shape, self.clock);
            async move { asking::ask(&rest, shape, clock, stopped).await }
        });
        let asking_ms = i64::from(self.shape.resolution_s.min(2) * ASKING_TICKS) * 1000;
        let end = UnixMs(self.clock.unix().0 + asking_ms);
        self.until(self.arguments.resolution.tick_at(end), nodes).await?;
        stop.send_replace(true);
        Ok(Some(asked.await.context("asking panicked")??))
    }
}

/// Waits until a started aggregator answers.
async fn wait_for(rest: &str) -> anyhow::Result<()> {
    let answering = async {
        while HttpClient::connect(rest).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(START, answering).await.context("the aggregator does not listen")
}
