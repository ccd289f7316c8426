//! Everything there is: a server on a simulated disk, its agents, and the time.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tally_proto::{
    name::{NamespaceName, NodeName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    super::Shared,
    agents::Agent,
    truth::{NODES, STEP_S, inventory, tick},
};
use crate::{
    admission::Rules,
    archive::{
        kept::Patience,
        refill::Part,
        upkeep::{Archive, Limits},
    },
    clock::{Clock, Now},
    history::{
        cache::Cache,
        disk::{Disk, simulated::SimulatedDisk},
        error::Budget,
        life::Life,
        selection::Selection,
        series::What,
        store::{Retention, Store},
    },
    journal::{Committer, Position, Span},
    model::{Model, past::EraView},
    self_metrics::SelfMetrics,
};

const WINDOW_MS: u64 = 12 * STEP_S * 1000;
const SKEW_MS: i64 = 60_000;
const DAY_S: u64 = 86_400;
const KEPT: Retention = Retention {
    raw_s: 30 * DAY_S,
    five_minutes_s: 120 * DAY_S,
    hour_s: 400 * DAY_S,
    bytes: u64::MAX,
};

/// How often agents try until everything is delivered. Little fits into a small journal at once.
const ROUNDS: u32 = 80;

/// Every series of every row.
pub(super) type Rows = BTreeMap<(Arc<Life>, Arc<What>), Vec<(Tick, i64)>>;

/// The time, and what the aggregator's clock takes it for.
#[derive(Default)]
struct Time {
    now_ms: AtomicI64,
    wrong_by_ms: AtomicI64,
}

impl Time {
    fn read(&self) -> Now {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let unix = UnixMs(now_ms + self.wrong_by_ms.load(Ordering::Relaxed));
        Now { unix, elapsed: Duration::from_millis(now_ms.cast_unsigned()) }
    }
}

/// One life of the aggregator.
pub(super) struct Server {
    pub(super) disk: SimulatedDisk,
    model: Arc<Model>,
    archive: Arc<Archive>,
    committer: Committer,
    pub(super) shared: Arc<Shared>,
    pub(super) announce: watch::Sender<Position>,
}

impl Server {
    fn start(disk: SimulatedDisk, time: &Arc<Time>, waiting_most: usize) -> Self {
        let resolution = Resolution::from_seconds(STEP_S).unwrap();
        let model = Arc::new(Model::new(resolution, WINDOW_MS));
        model.set_inventory(inventory());
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let limits = Limits { retention: KEPT, waiting_most };
        let (store, _) = Store::open(Arc::clone(&dyn_disk), Cache::default()).unwrap();
        let (archive, segments) =
            Archive::open(Arc::clone(&dyn_disk), Arc::new(store), resolution, limits).unwrap();
        let archive = Arc::new(archive);
        model.set_recorded_before(archive.store().newest_tick().unwrap().unwrap_or_default());
        let until = resolution.tick_at(UnixMs(time.read().unix.0 + SKEW_MS));
        for name in segments {
            let part =
                |number| archive.refill(name, &model, Part { number, of: 2, until }).unwrap();
            archive.refilled(name, &part(0).and(&part(1)));
        }
        let span = Span {
            longest: Duration::from_secs(8 * STEP_S),
            longest_with_late: Duration::from_secs(STEP_S),
            bytes: 1 << 20,
        };
        let committer = Committer::new(dyn_disk, Arc::clone(archive.journal()), span);
        let (announce, durable) = watch::channel(Position::default());
        let time = Arc::clone(time);
        let clock = Clock::new(move || time.read());
        let rules = Rules { resolution, clock_skew_ms: SKEW_MS, entities_per_node: 100 };
        let shared = Arc::new(Shared {
            model: Arc::clone(&model),
            journal: Some(Arc::clone(archive.journal())),
            durable,
            rules,
            streams_most: 100,
            streams: AtomicUsize::new(0),
            metrics: SelfMetrics::default(),
            clock,
            clock_set_back: CancellationToken::new(),
        });
        Self { disk, model, archive, committer, shared, announce }
    }

    /// Writes what has gathered. Whether it lives on.
    pub(super) fn commit(&mut self, elapsed: Duration) -> bool {
        match self.committer.commit(elapsed) {
            Ok(done) => {
                if let Some(closed) = done.closed {
                    self.archive.close(closed);
                }
                let known = *self.announce.borrow();
                self.announce.send_replace(known.max(done.durable));
                true
            }
            Err(_) => !self.disk.has_crashed(),
        }
    }

    /// Seals, drops and merges. Whether it lives on.
    pub(super) fn upkeep(&self) -> bool {
        let now = Tick(u64::try_from(self.shared.clock.now().0 / 1000).unwrap());
        let newest = self.model.cluster().progress.newest();
        let oldest = newest.map(|newest| self.model.oldest(newest)).unwrap_or_default();
        let fine = self.archive.seal_next(Patience::Waits).is_ok()
            & self.archive.drop_kept(oldest).is_ok()
            & self.archive.drop_old(now).is_ok()
            & self.archive.merge(now).is_ok();
        fine || !self.disk.has_crashed()
    }
}

/// Everything there is.
pub(super) struct World {
    time: Arc<Time>,
    /// Bytes of the journal that may wait for the disk.
    waiting_most: usize,
    pub(super) server: Server,
    pub(super) agents: Vec<Agent>,
}

impl World {
    /// Nothing happened yet.
    pub(super) fn new(waiting_most: usize) -> Self {
        let time = Arc::new(Time::default());
        let server = Server::start(SimulatedDisk::default(), &time, waiting_most);
        Self { time, waiting_most, server, agents: (0..NODES).map(Agent::new).collect() }
    }

    /// It is shortly after a tick.
    pub(super) fn set_time(&self, index: u64) -> Duration {
        let now = tick(index).unix_ms().0 + 50;
        self.time.now_ms.store(now, Ordering::Relaxed);
        Duration::from_millis(now.cast_unsigned())
    }

    /// The aggregator's clock is set ahead, or back.
    pub(super) fn set_clock(&self, wrong_by_s: i64) {
        self.time.wrong_by_ms.store(wrong_by_s * 1000, Ordering::Relaxed);
    }

    /// All agents measure a tick.
    pub(super) fn measure(&mut self, index: u64) {
        self.agents.iter_mut().for_each(|agent| agent.measure(index));
    }

    /// All links that are up deliver what waits.
    pub(super) fn deliver(&mut self, index: u64) {
        for agent in self.agents.iter_mut().filter(|agent| agent.cut_until <= index) {
            // A refused stream is opened again at once, but not for ever.
            for _ in 0..3 {
                if agent.deliver(&self.server) {
                    break;
                }
            }
        }
    }

    /// All agents hear what is durable.
    pub(super) fn acknowledge(&mut self) {
        let durable = *self.server.announce.borrow();
        for agent in &mut self.agents {
            agent.hear(durable);
        }
    }

    /// The server dies, and another begins with what its disk kept.
    pub(super) fn crash(&mut self, seed: u64) {
        let disk = self.server.disk.after_crash(seed);
        for agent in &mut self.agents {
            agent.link = None;
        }
        self.server = Server::start(disk, &self.time, self.waiting_most);
    }

    /// Whether a frame has shown that the clock was set back.
    pub(super) fn clock_was_set_back(&self) -> bool {
        self.server.shared.clock_set_back.is_cancelled()
    }

    /// The ticks of a node that the live model has.
    pub(super) fn live_ticks(&self, node: usize) -> Vec<Tick> {
        let name = NodeName::parse(&format!("node-{node}")).unwrap();
        let view = self.server.model.node(&name).view();
        let ticks =
            |era: EraView<'_>| era.frames.iter().map(|frame| frame.tick).collect::<Vec<_>>();
        view.eras().flat_map(ticks).collect()
    }

    /// Everything is delivered and becomes columns.
    pub(super) fn heal(&mut self, index: u64) {
        let elapsed = self.set_time(index);
        self.server.disk.leave_room(None);
        self.set_clock(0);
        for agent in &mut self.agents {
            agent.cut_until = 0;
        }
        for round in 0..ROUNDS {
            self.deliver(index);
            assert!(self.server.commit(elapsed + Duration::from_secs(u64::from(round))));
            self.acknowledge();
        }
        assert!(self.agents.iter().all(|agent| agent.waiting.is_empty()), "something is left");
        let closed = self.server.committer.close(elapsed).unwrap().closed;
        closed.into_iter().for_each(|closed| self.server.archive.close(closed));
        while self.server.archive.seal_next(Patience::Waits).unwrap().is_some() {}
    }

    /// Every row of history.
    pub(super) fn rows(&self) -> Rows {
        let store = self.server.archive.store();
        let name = |name: &str| NamespaceName::parse(name).unwrap();
        let mut selections = vec![
            Selection::Cluster,
            Selection::Namespace(None),
            Selection::Node(None),
            Selection::Pod(name("default"), None),
            Selection::Pod(name("batch"), None),
        ];
        for node in 0..NODES {
            let on = NodeName::parse(&format!("node-{node}")).unwrap();
            selections.push(Selection::FreeContainer(on, None));
            let pod = |name: String| PodUid::parse(&format!("uid-{name}")).unwrap();
            selections.push(Selection::ContainerByUid(pod(format!("web-{node}")), None));
            for generation in 0..40 {
                let uid = pod(format!("job-{node}-{generation}"));
                selections.push(Selection::ContainerByUid(uid, None));
            }
        }
        let mut rows = Rows::new();
        for of in selections {
            let found = store.rows(&of, Tick(0), Tick(u64::MAX), &mut Budget::unlimited());
            for row in found.unwrap() {
                for series in &row.series {
                    let points = series.timeline.iter().zip(series.values.iter().copied());
                    rows.insert((row.life.clone(), series.what.clone()), points.collect());
                }
            }
        }
        rows
    }
}
