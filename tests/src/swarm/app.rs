//! Brings the parts of the swarm together: connects all nodes, lets them send, measures, asks.
//!
//! Nodes live on the threads of their crews. This thread waits, reads what processes use, and
//! watches freshness; questions are asked on a thread of their own. So what is measured does not
//! wait for the player.

use std::{process, sync::Arc, thread, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use tally_proto::tick::{Tick, UnixMs};
use tokio::{
    sync::{Barrier, mpsc, watch},
    task::JoinSet,
};
use tonic::transport::Endpoint;

use super::{
    aggregator::{Spawned, Usage, flat_out_window},
    arguments::Arguments,
    asking::{self, Asked},
    cadence::{Parts, ROUND},
    clock::Clock,
    crew::{self, Begin, Event, FlatOut, Member, Orders, flat_out_ticks},
    descriptors, freshness,
    http::HttpClient,
    memory::Course,
    names,
    punctuality::Bounds,
    quantiles::Quantiles,
    reading::Plan,
    report::{Moment, Report},
    shape::Shape,
    uplink::{Counts, Exchange, LastRead},
    weather::Happened,
};

/// Nodes whose freshness is watched.
const WATCHED: u32 = 8;

/// How long a started aggregator may take to listen.
const START: Duration = Duration::from_secs(10);

/// The most that nodes may send after the tick, of the resolution: what is sent must be
/// acknowledged before the next.
const JITTER_PERCENT: u64 = 80;

/// How long questions are asked.
const ASKING_TICKS: u32 = 15;

/// Ages that wait to be collected.
const AGES: usize = 1024;

/// Usage is read this long before a tick, when all is quiet.
const BEFORE_TICK_MS: i64 = 5;

/// From the connection of the last node to the first tick.
const BREATH_MS: i64 = 500;

/// Says what is going on.
pub type Progress = fn(&str);

/// Plays the cluster and measures what it costs.
pub async fn run(arguments: &Arguments, progress: Progress) -> anyhow::Result<Report> {
    let shape = arguments.shape();
    ensure!(shape.nodes != 0, "a cluster has at least one node: --nodes");
    let resolution_ms = u64::from(shape.resolution_s) * 1000;
    ensure!(
        arguments.jitter <= resolution_ms / 100 * JITTER_PERCENT,
        "--jitter is at most {JITTER_PERCENT} % of the resolution"
    );
    descriptors::make_room(shape.nodes)?;
    let spawned = match &arguments.spawn {
        None => None,
        Some(program) => {
            let window = if arguments.flat_out {
                flat_out_window(shape.resolution_s)
            } else {
                arguments.model_window.clone()
            };
            let history = arguments.history_dir.as_deref();
            Some(Spawned::start(program, &shape, &window, history)?)
        }
    };
    let target = Target {
        grpc: spawned.as_ref().map(|own| own.grpc_url.clone()).or(arguments.aggregator.clone()),
        rest: spawned.as_ref().map(|own| own.rest_url.clone()).or(arguments.rest.clone()),
        pid: spawned.as_ref().map(|own| own.pid).or(arguments.pid),
    };
    let swarm = Swarm {
        arguments,
        shape,
        target,
        clock: Clock::start(),
        counts: Arc::default(),
        happened: Arc::default(),
        progress,
    };
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
    happened: Arc<Happened>,
    progress: Progress,
}

/// The threads that play the nodes.
struct Crews {
    events: mpsc::Receiver<Event>,
    begin: watch::Sender<Option<Begin>>,
    stop: watch::Sender<bool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Swarm<'_> {
    async fn play(&self) -> anyhow::Result<Report> {
        if let Some(rest) = &self.target.rest {
            wait_for(rest).await?;
        }
        if self.arguments.flat_out { self.flat_out().await } else { self.paced().await }
    }

    async fn paced(&self) -> anyhow::Result<Report> {
        let (ages, mut found) = mpsc::channel(AGES);
        let (members, watched) = self.members();
        let mut crews = self.start(members, None).await?;
        let watchers = self.watch_freshness(watched, &ages);
        drop(ages);
        let resolution = self.arguments.resolution;
        let first = resolution.after(resolution.tick_at(UnixMs(self.clock.unix().0 + BREATH_MS)));
        let tick = |number: u64| Tick(first.0 + number * u64::from(resolution.seconds()));
        let parts = Parts {
            measured: tick(self.arguments.warm_up),
            after: tick(self.arguments.warm_up + self.arguments.ticks),
            punctuality: Arc::default(),
            punctuality_after: Arc::default(),
        };
        crews.begin.send_replace(Some(Begin { first, parts: parts.clone() }));
        (self.progress)(&format!("warming up for {} ticks", self.arguments.warm_up));
        crews.until(self.clock, parts.measured).await?;
        let before = self.moment()?;
        (self.progress)(&format!("measuring {} ticks", self.arguments.ticks));
        let mut course = Course::new(self.arguments.ticks);
        for number in 1..=self.arguments.ticks {
            crews.until(self.clock, tick(self.arguments.warm_up + number)).await?;
            if let Some(usage) = self.target.pid.map(Usage::of).transpose()? {
                course.see(self.pods_so_far(), usage.resident_bytes);
            }
        }
        let mut report = Report::between(self.shape, false, &before, &self.moment()?);
        report.memory = course.parts();
        report.asked = self.ask(&mut crews).await?;
        crews.stop().await?;
        // Only now all acknowledgements are here: those of the last tick came after it.
        let bounds = Bounds {
            resolution_s: self.shape.resolution_s,
            acknowledge_within: self.arguments.acknowledge_within,
        };
        let expected = u64::from(self.shape.nodes) * self.arguments.ticks;
        report.judge(parts.punctuality.verdict(bounds, Some(expected)));
        if let Some(asked) = &mut report.asked {
            asked.punctuality = Some(parts.punctuality_after.verdict(bounds, None));
        }
        watchers.join_all().await.into_iter().collect::<Result<(), _>>()?;
        let mut durations = Vec::new();
        while let Ok(age) = found.try_recv() {
            durations.push(age);
        }
        report.freshness = Quantiles::of(durations);
        report.weather = Some(self.happened.record());
        Ok(report)
    }

    async fn flat_out(&self) -> anyhow::Result<Report> {
        let (ticks, warm_up) = flat_out_ticks(self.arguments.ticks);
        let all = ticks + warm_up;
        let resolution_s = u64::from(self.shape.resolution_s);
        let now = self.arguments.resolution.tick_at(self.clock.unix());
        let barrier = Arc::new(Barrier::new(usize::try_from(self.shape.nodes)? + 1));
        let first = Tick(now.0.saturating_sub(all * resolution_s));
        (self.progress)(&format!("packing {all} ticks of every node"));
        let flat_out = FlatOut { first, ticks: all, barrier: Arc::clone(&barrier) };
        let mut crews = self.start(self.members().0, Some(flat_out)).await?;
        (self.progress)("sending");
        let mut before = Moment::default();
        for round in 0..all / u64::try_from(ROUND)? {
            if round == 1 {
                before = self.moment()?;
            }
            // Its beginning and its end.
            for _ in 0..2 {
                tokio::select! {
                    biased;
                    _ = barrier.wait() => (),
                    failed = crews.failed() => return Err(failed),
                }
            }
        }
        Ok(Report::between(self.shape, true, &before, &self.moment()?))
    }

    /// All nodes, and the readings of a few of them, evenly spread over the cluster.
    fn members(&self) -> (Vec<Member>, Vec<(u32, watch::Receiver<LastRead>)>) {
        let step = self.shape.nodes.div_ceil(WATCHED).max(1);
        let mut readings = Vec::new();
        let member = |number: u32| {
            let watched = number.is_multiple_of(step).then(|| watch::channel(None));
            let watched = watched.map(|(read, reading)| {
                readings.push((number, reading));
                read
            });
            (number, watched)
        };
        ((0..self.shape.nodes).map(member).collect(), readings)
    }

    /// Starts the crews and waits until all nodes are connected.
    async fn start(
        &self,
        members: Vec<Member>,
        flat_out: Option<FlatOut>,
    ) -> anyhow::Result<Crews> {
        let count = self.arguments.threads();
        (self.progress)(&format!("connecting {} nodes, {count} threads", self.shape.nodes));
        let url = self.target.grpc.clone().ok_or_else(|| anyhow!("no aggregator to load"))?;
        let endpoint = Endpoint::from_shared(url).context("--aggregator is no URL")?;
        let (begin, begun) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let (events_in, events) = mpsc::channel(count * 2);
        let orders = Orders {
            shape: self.shape,
            weather: self.arguments.weather(),
            happened: Arc::clone(&self.happened),
            plan: Arc::new(Plan::of(&self.shape)),
            resolution: self.arguments.resolution,
            run: u64::try_from(self.clock.unix().0)?,
            jitter: Duration::from_millis(self.arguments.jitter),
            acknowledge_within: self.arguments.acknowledge_within,
            exchange: Exchange { endpoint, counts: Arc::clone(&self.counts), clock: self.clock },
            flat_out,
            begin: begun,
            stop: stopped,
            events: events_in,
        };
        let mut shares: Vec<Vec<Member>> = (0..count).map(|_| Vec::new()).collect();
        for (place, member) in members.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(place % count) {
                share.push(member);
            }
        }
        let start = |share| crew::start(orders.clone(), share);
        let threads = shares.into_iter().map(start).collect::<Result<_, _>>();
        let threads = threads.context("cannot start a thread")?;
        drop(orders);
        let mut crews = Crews { events, begin, stop, threads };
        for _ in 0..count {
            crews.ready().await?;
        }
        Ok(crews)
    }

    /// Pods that there are and that were.
    fn pods_so_far(&self) -> u64 {
        let at_once = u64::from(self.shape.nodes) * u64::from(self.shape.pods);
        at_once + self.happened.record().pods_replaced
    }

    fn moment(&self) -> anyhow::Result<Moment> {
        let usage = self.target.pid.map(Usage::of).transpose()?;
        let own = Usage::of(process::id())?;
        Ok(Moment::take(self.clock.elapsed(), &self.counts, usage, own))
    }

    fn watch_freshness(
        &self,
        nodes: Vec<(u32, watch::Receiver<LastRead>)>,
        ages: &mpsc::Sender<Duration>,
    ) -> JoinSet<anyhow::Result<()>> {
        let mut watchers = JoinSet::new();
        let Some(rest) = self.target.rest.clone() else { return watchers };
        for (number, read) in nodes {
            let (rest, ages, clock) = (rest.clone(), ages.clone(), self.clock);
            watchers.spawn(async move {
                // What does not fit is not measured: the first thousand say enough.
                let found = |age| {
                    ages.try_send(age).ok();
                };
                let name = names::node(number)?;
                Ok(freshness::watch(&rest, &name, read, clock, found).await?)
            });
        }
        watchers
    }

    /// Asks on a thread of its own: an answer is timed by a thread that does nothing else.
    async fn ask(&self, crews: &mut Crews) -> anyhow::Result<Option<Asked>> {
        let Some(rest) = self.target.rest.clone().filter(|_| self.arguments.query) else {
            return Ok(None);
        };
        (self.progress)("asking");
        let asking_ms = i64::from(self.shape.resolution_s.min(2) * ASKING_TICKS) * 1000;
        let end = UnixMs(self.clock.unix().0 + asking_ms);
        let (shape, clock) = (self.shape, self.clock);
        let asking = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.context("cannot start a runtime")?;
            anyhow::Ok(runtime.block_on(asking::ask(&rest, shape, clock, end))?)
        });
        tokio::select! {
            asked = asking => Ok(Some(asked.context("asking panicked")??)),
            failed = crews.failed() => Err(failed),
        }
    }
}

impl Crews {
    async fn ready(&mut self) -> anyhow::Result<()> {
        match self.events.recv().await {
            Some(Event::Ready) => Ok(()),
            Some(Event::Ended(Err(error))) => Err(error),
            Some(Event::Ended(Ok(()))) | None => bail!("a thread of the player ended unasked"),
        }
    }

    /// Waits until shortly before a tick. A crew that ends before is an error.
    async fn until(&mut self, clock: Clock, tick: Tick) -> anyhow::Result<()> {
        let at = UnixMs(tick.unix_ms().0 - BEFORE_TICK_MS);
        tokio::select! {
            () = tokio::time::sleep(clock.until(at)) => Ok(()),
            failed = self.failed() => Err(failed),
        }
    }

    /// Waits for a crew that ends unasked.
    async fn failed(&mut self) -> anyhow::Error {
        match self.ready().await {
            Ok(()) => anyhow!("a thread of the player is ready twice"),
            Err(error) => error,
        }
    }

    /// Lets all nodes settle, and ends.
    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        for _ in &self.threads {
            if let Some(Event::Ended(ended)) = self.events.recv().await {
                ended?;
            }
        }
        self.threads
            .into_iter()
            .try_for_each(thread::JoinHandle::join)
            .map_err(|_| anyhow!("a thread of the player panicked"))
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
