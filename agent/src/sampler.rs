//! Reads a whole host once a tick.
//!
//! ```text
//! trees: what came, what went -> population: who is there -> read every member -> emit into the frame
//! ```
//! Members are all read before the first value is put into the frame, so that a cgroup that vanishes
//! half-way is not half in it. What changes seldom is read every 15 s, each member at another tick, so
//! that no tick is heavier than the others; its last value is repeated in between.

mod aliases;
mod discovery;
mod disk_usage;
mod emit;
mod foreign;
mod load;
mod member;
mod numbers;
mod population;
mod processes;

use std::{
    io,
    path::{Path, PathBuf},
};

use tally_proto::{
    columns::Builder,
    declaration::EntityNumber,
    message::Declarations,
    tick::{Resolution, Tick},
};

use self::{
    discovery::Discovery, disk_usage::Watched, foreign::ForeignProcesses, population::Population,
};
use crate::{
    cgroup::Extent,
    columns::Columns,
    disk_usage::Board,
    host::{
        descriptors::Budget,
        facts,
        files::Files,
        mounts::{CgroupLayout, Hierarchies, NoHierarchies},
        unreadable::{Fault, Reason},
    },
    inquiry::Inquiry,
    network::HostNamespace,
    node::Node,
    own_cost::{Delivery, OwnCost},
};

/// How often what changes seldom is read.
const SLOW_SECONDS: u32 = 15;

/// Where a kubelet keeps volumes unless told otherwise.
pub const KUBELET_DIR: &str = "/var/lib/kubelet";

/// What to sample.
#[derive(Clone, Debug)]
pub struct SamplerOptions {
    /// Where the host's root directory is seen.
    pub host_root: PathBuf,
    /// Time between two ticks.
    pub resolution: Resolution,
    /// Whether to count the runnable tasks of each container: it looks at every task.
    pub container_load: bool,
    /// The kubelet's directory on the host.
    pub kubelet_dir: PathBuf,
    /// Descriptors that may be held; as many as the process may have when absent.
    pub open_files_max: Option<usize>,
}

impl SamplerOptions {
    /// Everything but the dear parts.
    pub fn new(host_root: impl Into<PathBuf>, resolution: Resolution) -> Self {
        Self {
            host_root: host_root.into(),
            resolution,
            container_load: false,
            kubelet_dir: KUBELET_DIR.into(),
            open_files_max: None,
        }
    }
}

/// A host that cannot be sampled at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Its list of mounts cannot be read.
    #[error("cannot read {path}: is the host's root directory mounted at --host-root?")]
    Mountinfo {
        /// The list.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has no cgroups.
    #[error("cannot find the cgroups in {path}")]
    NoHierarchies {
        /// The list of mounts.
        path: PathBuf,
        /// Why.
        source: NoHierarchies,
    },
    /// It has some, but not where this process could see them.
    #[error(
        "cannot see the cgroups in {0}: mount the host's root directory with all that is mounted \
         below it (/sys and /sys/fs/cgroup too) at --host-root"
    )]
    Unseen(Box<str>),
    /// The path of the host's root is no text.
    #[error("the host root {0:?} is not UTF-8")]
    HostRoot(PathBuf),
}

/// Tells the time within a tick.
pub trait Clock {
    /// Microseconds since the tick.
    fn since_tick_us(&mut self) -> i64;
}

impl<F: FnMut() -> i64> Clock for F {
    fn since_tick_us(&mut self) -> i64 {
        self()
    }
}

/// What all parts of a reading need.
#[derive(Debug)]
struct Host {
    hierarchies: Hierarchies,
    /// Trees to look for processes in, the most telling first.
    process_trees: Vec<Box<str>>,
    foreign: ForeignProcesses,
    files: Files,
    node: Node,
    namespace: HostNamespace,
    columns: Columns,
    /// Who can be asked what containers are called, if anybody can.
    inquiry: Option<Inquiry>,
}

/// Reads a host.
#[derive(Debug)]
pub struct Sampler {
    host: Host,
    discovery: Discovery,
    population: Population,
    own_cost: OwnCost,
    container_load: bool,
    slow_every: u32,
    turn: u32,
    /// How long the tick before took.
    read_time_us: Option<i64>,
    delivery: Option<Delivery>,
    disk_usage: Option<Watched>,
    /// Values without a column when that was last reported.
    refused_before: u64,
}

impl Sampler {
    /// Finds the host's hierarchies. Nothing is read yet.
    pub fn open(options: SamplerOptions) -> Result<Self, OpenError> {
        let root = options.host_root.to_str();
        let root = root.ok_or_else(|| OpenError::HostRoot(options.host_root.clone()))?;
        let root = root.trim_end_matches('/');
        let hierarchies = find_hierarchies(&options.host_root)?;
        if let Some(mount) = unseen(&hierarchies) {
            return Err(OpenError::Unseen(mount));
        }
        let kubelet_dir = options.kubelet_dir.to_str().unwrap_or(KUBELET_DIR);
        let node = Node::new(root, kubelet_dir);
        let budget = match options.open_files_max {
            Some(most) => Budget::new(most),
            None => Budget::of_process(),
        };
        let mut files = Files::new(budget);
        if facts::are_processes_hidden(root) {
            files.unreadable.count("processes", &format!("{root}/proc/1"), Reason::Hidden);
        }
        let slow_every = (SLOW_SECONDS / options.resolution.seconds()).max(1);
        Ok(Self {
            discovery: Discovery::new(&hierarchies),
            host: Host {
                process_trees: hierarchies.process_trees(),
                foreign: ForeignProcesses::find(node.proc()),
                namespace: HostNamespace::find(node.proc()),
                files,
                columns: Columns::default(),
                inquiry: None,
                hierarchies,
                node,
            },
            population: Population::default(),
            own_cost: OwnCost::default(),
            container_load: options.container_load,
            slow_every,
            turn: 0,
            read_time_us: None,
            delivery: None,
            disk_usage: None,
            refused_before: 0,
        })
    }

    /// Asks there what containers are called, from now on. Before, everything goes by its id.
    pub fn ask_names(&mut self, inquiry: Inquiry) {
        self.host.inquiry = Some(inquiry);
    }

    /// Takes from there what pods and containers have on disk. It is repeated for so many seconds until
    /// something newer comes.
    pub fn watch_disk_usage(&mut self, board: Board, kept_s: u64) {
        self.disk_usage = Some(Watched::new(board, kept_s));
    }

    /// Reads the whole host once into `frame`. What is returned must be said before that frame.
    pub fn read(
        &mut self,
        tick: Tick,
        clock: &mut impl Clock,
        frame: &mut Builder,
    ) -> Declarations {
        let begun_us = clock.since_tick_us();
        let mut said = Declarations::default();
        self.population.begin_frame();
        self.host.foreign.begin(tick);
        let is_full_look = self.turn.is_multiple_of(self.slow_every);
        self.discovery.look(&mut self.host, &mut self.population, &mut said, tick, is_full_look);
        self.read_members(tick, clock);
        if self.discovery.look_for_names(&mut self.host, &mut self.population, &mut said, tick) {
            self.read_members(tick, clock);
        }
        if self.discovery.retire_gone(&mut self.population, &mut said) {
            // Where one went another may have come: the count of links is then the same as before.
            self.discovery.look(&mut self.host, &mut self.population, &mut said, tick, true);
            self.read_members(tick, clock);
        }
        self.population.add_up_processes();
        self.population.find_networks(&mut self.host, self.turn, self.slow_every);
        if let Some(watched) = &mut self.disk_usage {
            watched.take(tick, &mut self.population, &mut self.host.columns);
        }
        self.emit(frame);
        said.columns = self.host.columns.take_new();
        self.turn = self.turn.wrapping_add(1);
        self.read_time_us = Some(clock.since_tick_us().saturating_sub(begun_us));
        said
    }

    /// Reads every member that was not read in this tick.
    fn read_members(&mut self, tick: Tick, clock: &mut impl Clock) {
        for member in self.population.members_mut() {
            if member.read_at == Some(tick) {
                continue;
            }
            let turn = self.turn.wrapping_add(member.number.0);
            let is_slow_turn = member.read_at.is_none() || turn.is_multiple_of(self.slow_every);
            let extent = if is_slow_turn { Extent::Everything } else { Extent::Hot };
            member.read_at = Some(tick);
            member.read_offset_us = clock.since_tick_us();
            if member.read(&mut self.host, extent).is_err() {
                self.discovery.gone.push(member.number);
            } else if self.container_load {
                member.read_load(&mut self.host);
            }
        }
    }

    /// Notes how delivery goes; the agent reports the numbers.
    pub fn set_delivery(&mut self, delivery: Delivery) {
        self.delivery = Some(delivery);
    }

    /// What could not be read so far, one of each kind.
    pub fn unreadable(&self) -> &[Fault] {
        self.host.files.unreadable.faults()
    }

    /// How often something could not be read.
    pub fn unreadable_count(&self) -> u64 {
        self.host.files.unreadable.total()
    }

    /// Descriptors that are held.
    pub fn open_files(&self) -> usize {
        self.host.files.budget.held()
    }

    /// Files read and files opened so far: what the benches count.
    pub fn readings_and_opens(&self) -> (u64, u64) {
        (self.host.files.readings, self.host.files.opened)
    }

    /// How the host lays its cgroups out.
    pub fn layout(&self) -> CgroupLayout {
        self.host.hierarchies.layout()
    }

    /// Entities that are there.
    pub fn entities(&self) -> impl Iterator<Item = EntityNumber> {
        self.population.members().map(|member| member.number)
    }
}

/// The host's first process sees all mounts; where its list is forbidden, the own one must do.
fn find_hierarchies(host_root: &Path) -> Result<Hierarchies, OpenError> {
    let path = host_root.join("proc/1/mountinfo");
    let text = std::fs::read(&path)
        .or_else(|error| std::fs::read(host_root.join("proc/self/mountinfo")).map_err(|_| error));
    let text = text.map_err(|source| OpenError::Mountinfo { path: path.clone(), source })?;
    Hierarchies::find(&text, host_root).map_err(|source| OpenError::NoHierarchies { path, source })
}

/// The first hierarchy, if none of them can be seen. Every cgroup has a list of its processes.
fn unseen(hierarchies: &Hierarchies) -> Option<Box<str>> {
    let trees = hierarchies.trees();
    let is_seen = |mount: &str| match std::fs::metadata(format!("{mount}/cgroup.procs")) {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
    };
    if trees.iter().any(|mount| is_seen(mount)) { None } else { trees.into_iter().next() }
}
