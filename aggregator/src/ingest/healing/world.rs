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

use super::{
    super::Shared,
    agents::Agent,
    truth::{NODES, STEP_S, inventory, tick},
};
use crate::{
    admission::Rules,
    archive::{kept::Patience, refill::NodesPart, upkeep::Archive},
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
    model::Model,
    self_metrics::SelfMetrics,
};

const WINDOW_MS: u64 = 12 * STEP_S * 1000;
const KEPT: Retention =
    Retention { raw_s: u64::MAX, five_minutes_s: u64::MAX, hour_s: u64::MAX, bytes: u64::MAX };

/// Every series of every row.
pub(super) type Rows = BTreeMap<(Arc<Life>, Arc<What>), Vec<(Tick, i64)>>;

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
    fn start(disk: SimulatedDisk, now: &Arc<AtomicI64>) -> Self {
        let resolution = Resolution::from_seconds(STEP_S).unwrap();
        let model = Arc::new(Model::new(resolution, WINDOW_MS));
        model.set_inventory(inventory());
        let dyn_disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) = Store::open(Arc::clone(&dyn_disk), Cache::default()).unwrap();
        let (archive, segments) =
            Archive::open(Arc::clone(&dyn_disk), Arc::new(store), resolution, KEPT).unwrap();
        let archive = Arc::new(archive);
        model.set_recorded_before(archive.store().newest_tick().unwrap().unwrap_or_default());
        for name in segments {
            let part = |number| archive.refill(name, &model, NodesPart { number, of: 2 }).unwrap();
            archive.refilled(name, &part(0).and(&part(1)));
        }
        let span = Span {
            longest: Duration::from_secs(8 * STEP_S),
            longest_with_late: Duration::from_secs(STEP_S),
            bytes: 1 << 20,
        };
        let committer = Committer::new(dyn_disk, Arc::clone(archive.journal()), span);
        let (announce, durable) = watch::channel(Position::default());
        let now = Arc::clone(now);
        let clock = Clock::new(move || {
            let unix = UnixMs(now.load(Ordering::Relaxed));
            Now { unix, elapsed: Duration::from_millis(unix.0.cast_unsigned()) }
        });
        let rules = Rules { resolution, clock_skew_ms: 60_000, entities_per_node: 100 };
        let shared = Arc::new(Shared {
            model: Arc::clone(&model),
            journal: Some(Arc::clone(archive.journal())),
            durable,
            rules,
            streams_most: 100,
            streams: AtomicUsize::new(0),
            metrics: SelfMetrics::default(),
            clock,
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
    pub(super) fn upkeep(&self, index: u64) -> bool {
        let newest = self.model.cluster().progress.newest();
        let oldest = newest.map(|newest| self.model.oldest(newest)).unwrap_or_default();
        let fine = self.archive.seal_next(Patience::Waits).is_ok()
            & self.archive.drop_kept(oldest).is_ok()
            & self.archive.merge(tick(index)).is_ok();
        fine || !self.disk.has_crashed()
    }
}

/// Everything there is.
pub(super) struct World {
    now: Arc<AtomicI64>,
    pub(super) server: Server,
    pub(super) agents: Vec<Agent>,
}

impl World {
    /// Nothing happened yet.
    pub(super) fn new() -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let server = Server::start(SimulatedDisk::default(), &now);
        Self { now, server, agents: (0..NODES).map(Agent::new).collect() }
    }

    /// It is shortly after a tick.
    pub(super) fn set_time(&self, index: u64) -> Duration {
        let now = tick(index).unix_ms().0 + 50;
        self.now.store(now, Ordering::Relaxed);
        Duration::from_millis(now.cast_unsigned())
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
        self.server = Server::start(disk, &self.now);
    }

    /// Everything is delivered and becomes columns.
    pub(super) fn heal(&mut self, index: u64) {
        let elapsed = self.set_time(index);
        self.server.disk.leave_room(None);
        for agent in &mut self.agents {
            agent.cut_until = 0;
        }
        for round in 0..50u32 {
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
