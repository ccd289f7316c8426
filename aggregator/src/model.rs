//! The live model: the last minutes of every metric of every entity, in memory.
//!
//! Each node's frames are kept as they came (`past`), sums of namespaces and of the cluster are
//! added up as frames arrive (`rollup`), and the directory says where a pod's frames are. What a
//! reader asks for is worked out from these when it asks.

mod arena;
pub mod directory;
pub mod node;
pub mod past;
pub mod vocabulary;
pub mod writer;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tally_proto::{
    message::{Declarations, PackedFrame, Run},
    name::NodeName,
    tick::{Resolution, Tick, UnixMs},
};

use crate::{
    inventory::{Inventory, Touched},
    rollup::{FrameSums, progress::Progress, sums::Sums},
    roster::Roster,
};
use arena::Arena;
use directory::{Directory, SharedSums};
use node::NodeSlot;
use vocabulary::Vocabulary;
use writer::{BadFrame, Known, NodeWriter, Unpacked};

/// How many ticks a node may lag behind the newest before lists leave it out: one for a frame
/// under way, one for a frame that was lost.
const RECENT_TICKS: u64 = 2;

/// The live model.
#[derive(Debug)]
pub struct Model {
    resolution: Resolution,
    window_ticks: usize,
    directory: RwLock<Directory>,
    cluster: Mutex<Cluster>,
    inventory: RwLock<Inventory>,
    /// Whether the inventory is complete: until then what was recorded of a node stands in.
    complete: AtomicBool,
    vocabulary: Mutex<Vocabulary>,
    arena: Arena,
    /// The newest tick that was recorded before this process began.
    recorded_before: AtomicU64,
}

/// What all nodes share: held for one frame's additions, or to copy one series.
#[derive(Debug)]
pub struct Cluster {
    /// The sums over all namespaces and nodes.
    pub sums: Sums,
    /// Which ticks are complete.
    pub progress: Progress,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Values in it.
    pub samples: usize,
    /// Whether its tick was counted before, or its frame recorded.
    pub duplicate: bool,
    /// Whether it is older than the window: history alone has it.
    pub too_old: bool,
    /// Whether what its numbers mean is another than of the frame before.
    pub new_schema: bool,
    /// Whether its tick was closed already; it counts all the same.
    pub late: bool,
    /// The newest tick that any node has delivered.
    pub newest: Tick,
}

impl Model {
    /// An empty model of `window_ms` at a resolution.
    pub fn new(resolution: Resolution, window_ms: u64) -> Self {
        let ticks = window_ms / 1000 / u64::from(resolution.seconds()) + 1;
        // One more than the window holds, for the tick that is arriving.
        let window_ticks = usize::try_from(ticks).unwrap_or(usize::MAX).saturating_add(1);
        Self {
            resolution,
            window_ticks,
            directory: RwLock::default(),
            cluster: Mutex::new(Cluster {
                sums: Sums::new(resolution, window_ticks),
                progress: Progress::new(resolution, window_ticks),
            }),
            inventory: RwLock::default(),
            complete: AtomicBool::new(true),
            vocabulary: Mutex::default(),
            arena: Arena::default(),
            recorded_before: AtomicU64::new(0),
        }
    }

    /// Says that history has ticks up to this one.
    pub fn set_recorded_before(&self, tick: Tick) {
        self.recorded_before.fetch_max(tick.0, Ordering::Relaxed);
    }

    /// Time between ticks.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Replaces what is known from the API server.
    pub fn set_inventory(&self, inventory: Inventory) {
        *write(&self.inventory) = inventory;
        self.touch_all();
    }

    /// Changes what is known from the API server. The nodes that are touched have it with their
    /// next frame; the others notice nothing.
    pub fn change_inventory<E>(
        &self,
        change: impl FnOnce(&mut Inventory) -> Result<Touched, E>,
    ) -> Result<(), E> {
        let Touched { nodes, namespaces } = change(&mut write(&self.inventory))?;
        for node in nodes {
            if let Some(node) = self.directory().nodes.get(&node) {
                node.touch();
            }
        }
        if !namespaces.is_empty() {
            // A frame is taken before this or after it, so none misses what changed.
            let has = |node: &NodeSlot| {
                let writer = node.writer();
                namespaces.iter().any(|namespace| writer.has_namespace(namespace))
            };
            self.all_nodes().iter().filter(|node| has(node)).for_each(|node| node.touch());
        }
        Ok(())
    }

    /// Says whether the inventory is complete. Until it is, a node has what was recorded of it
    /// before this process began.
    pub fn set_complete(&self, complete: bool) {
        if self.complete.swap(complete, Ordering::AcqRel) != complete {
            self.touch_all();
        }
    }

    /// What the API server says now; `None` until that is complete.
    pub fn inventory(&self) -> Option<RwLockReadGuard<'_, Inventory>> {
        self.complete.load(Ordering::Acquire).then(|| read(&self.inventory))
    }

    fn touch_all(&self) {
        self.all_nodes().iter().for_each(|node| node.touch());
    }

    fn all_nodes(&self) -> Vec<Arc<NodeSlot>> {
        self.directory().nodes.values().cloned().collect()
    }

    /// Where things are.
    pub fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        read(&self.directory)
    }

    /// Sums and progress of the cluster.
    pub fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }

    /// The node's place, made when it is new.
    pub fn node(&self, name: &NodeName) -> Arc<NodeSlot> {
        if let Some(node) = self.directory().nodes.get(name) {
            return Arc::clone(node);
        }
        let new = || {
            let before = Tick(self.recorded_before.load(Ordering::Relaxed));
            // What was recorded of a node that is not here was recorded while others' ticks were.
            let recorded_to = self.cluster().progress.newest().max(Some(before));
            let writer = NodeWriter::new(
                name.clone(),
                self.resolution,
                self.window_ticks,
                recorded_to.unwrap_or(before),
            );
            Arc::new(NodeSlot::new(name.clone(), writer))
        };
        Arc::clone(write(&self.directory).nodes.entry(name.clone()).or_insert_with(new))
    }

    /// Takes what a stream says its numbers mean.
    pub fn declare(&self, writer: &mut NodeWriter, said: Declarations) {
        writer.declare(said, &mut lock(&self.vocabulary));
    }

    /// The oldest tick of the window, as the newest frame of any node has it.
    pub fn oldest(&self, newest: Tick) -> Tick {
        let ticks = u64::try_from(self.window_ticks).unwrap_or(u64::MAX).saturating_sub(2);
        Tick(newest.0.saturating_sub(ticks.saturating_mul(u64::from(self.resolution.seconds()))))
    }

    /// The oldest tick whose node still counts as present.
    pub fn recent(&self, newest: Tick) -> Tick {
        Tick(newest.0.saturating_sub(RECENT_TICKS * u64::from(self.resolution.seconds())))
    }

    /// Takes one frame of a node: unpacks it, stores it, and adds it to the sums of its own tick,
    /// however late it comes.
    pub fn apply(
        &self,
        node: &Arc<NodeSlot>,
        writer: &mut NodeWriter,
        run: Run,
        frame: &PackedFrame,
        now: UnixMs,
    ) -> Result<Applied, BadFrame> {
        let known = frame.sequence <= writer.recorded(run);
        let changed = node.take_touch();
        let then = writer.known_then().filter(|_| !self.complete.load(Ordering::Acquire)).cloned();
        let now_known = Known::Now { inventory: &self.inventory, changed };
        let what_is_known = then.as_ref().map_or(now_known, Known::Then);
        self.take(node, writer, frame, &what_is_known, (!known, now))
    }

    /// Takes a frame of the past: with what was known of its pods then. One that does not count
    /// is only what the next goes on from.
    pub fn replay(
        &self,
        node: &Arc<NodeSlot>,
        writer: &mut NodeWriter,
        frame: &PackedFrame,
        known: &Arc<Inventory>,
        counts: bool,
    ) -> Result<Applied, BadFrame> {
        self.take(node, writer, frame, &Known::Then(known), (counts, frame.tick.unix_ms()))
    }

    fn take(
        &self,
        node: &Arc<NodeSlot>,
        writer: &mut NodeWriter,
        frame: &PackedFrame,
        known: &Known<'_>,
        (may_count, now): (bool, UnixMs),
    ) -> Result<Applied, BadFrame> {
        let newest = self.cluster().progress.newest().max(Some(frame.tick)).unwrap_or(frame.tick);
        let oldest = self.oldest(newest);
        let duplicate = !may_count || writer.is_counted(frame.tick);
        // A frame older than the window has no place in the live model.
        let too_old = frame.tick < oldest;
        let counts = !duplicate && !too_old;
        let unpacked = writer.unpack(frame, known, counts)?;
        let new_schema = unpacked.new_schema;
        let namespaces =
            new_schema.then(|| self.change_roster(node, writer, &unpacked, frame.tick));
        let samples = unpacked.schema.layout.cells();
        if counts {
            writer.store(&unpacked.schema, frame, oldest, &self.arena);
            node.deliver(&unpacked.schema, frame.tick);
        }
        let sums = writer.finish(frame, unpacked, namespaces, (counts, now));
        let late = sums.is_some_and(|sums| self.add(writer, frame.tick, &sums));
        Ok(Applied { samples, duplicate, too_old, new_schema, late, newest })
    }

    /// Adds a frame's part to all sums. Whether its tick was closed already.
    fn add(&self, writer: &mut NodeWriter, tick: Tick, sums: &FrameSums) -> bool {
        for (namespace, addends) in writer.namespaces().iter().zip(&sums.namespaces) {
            lock(namespace).add(tick, addends);
        }
        let mut cluster = self.cluster();
        if !std::mem::replace(&mut writer.joined, true) {
            cluster.progress.join();
        }
        cluster.sums.add(tick, &sums.cluster());
        let late = cluster.progress.closed().is_some_and(|closed| tick <= closed);
        cluster.progress.deliver(tick);
        late
    }

    /// Notes which pods came and went; the sums of the namespaces that the frames add to from now on.
    fn change_roster(
        &self,
        node: &Arc<NodeSlot>,
        writer: &NodeWriter,
        unpacked: &Unpacked,
        tick: Tick,
    ) -> Vec<SharedSums> {
        let roster = &unpacked.schema.roster;
        let directory = if writer.roster().is_none_or(|before| before.pods != roster.pods) {
            let directory = self.directory_with_namespaces(roster);
            let before = node.schema();
            let before = before.as_ref().map(|schema| &*schema.roster);
            directory.change_roster(node, before, roster, tick);
            directory
        } else {
            self.directory()
        };
        let names = unpacked.plan.namespaces.iter();
        let sums =
            |name| directory.namespaces.get(name).map(|namespace| Arc::clone(&namespace.sums));
        names.filter_map(sums).collect()
    }

    /// The directory, once it has all namespaces of a roster.
    fn directory_with_namespaces(&self, roster: &Roster) -> RwLockReadGuard<'_, Directory> {
        loop {
            let directory = self.directory();
            if directory.knows(roster) {
                return directory;
            }
            drop(directory);
            let new_sums = || Sums::new(self.resolution, self.window_ticks);
            write(&self.directory).add_namespaces(roster, new_sums);
            // A namespace without pods may be forgotten before this looks again.
        }
    }

    /// A stream ended: nobody waits for its node, unless a newer stream speaks for it.
    pub fn end_stream(&self, node: &NodeSlot, turn: u64) {
        let mut writer = node.writer();
        if writer.end_stream(turn) && std::mem::take(&mut writer.joined) {
            self.cluster().progress.leave();
        }
    }

    /// Closes ticks whose grace is over; to be called a few times a second. How many ticks were
    /// closed since it was last called.
    pub fn advance(&self, now: UnixMs) -> u64 {
        self.cluster().progress.advance(now)
    }

    /// Forgets objects that left the window; to be called once in a while. How many entities of
    /// nodes remain.
    pub fn sweep(&self) -> usize {
        let newest = self.cluster().progress.newest();
        if let Some(newest) = newest {
            let oldest = self.oldest(newest);
            let silent = |node: &&Arc<NodeSlot>| node.newest() < oldest;
            self.all_nodes().iter().filter(silent).for_each(|node| node.writer().forget(oldest));
            write(&self.directory).sweep(oldest);
            write(&self.inventory).sweep(newest.unix_ms());
        }
        lock(&self.vocabulary).sweep();
        self.all_nodes().iter().map(|node| node.entities()).sum()
    }
}

/// Locks; a panic elsewhere leaves whole values behind, so its poison is passed over.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
