//! Turns directories that came and went into entities that are declared and retired.
//!
//! The first tree is looked at every tick, the others when it changed and every slow turn: runtimes
//! make a container's directory in all of them. What only another tree has, such as a service with
//! nothing but a CPU limit, stands high in it, so that there the upper directories are looked at every
//! tick too. Which path an entity retired from is not
//! looked at again in the same tick: the runtime may be half-way through removing it.

mod naming;

use tally_proto::{
    declaration::EntityNumber,
    message::Declarations,
    name::CgroupPath,
    tick::{Tick, UnixMs},
};

use self::naming::{Name, Waiting, name_of};
use super::{
    Host,
    member::{Kind, OwnNetwork},
    population::Population,
    processes::first_processes,
};
use crate::{
    cgroup::Cgroup,
    host::{
        files::Location,
        mounts::Hierarchies,
        tree::{Change, Tree, path_of},
        unreadable::Reason,
    },
    identity::{Identity, identify},
    names::Called,
    parse::{
        proc_stat,
        process_stat::{self, ProcessStat},
    },
};

/// Depth to which every tree is looked at every tick: the root, and the slices in it.
const SHALLOW: usize = 1;

/// The only process of a sandbox.
const PAUSE: &[u8] = b"pause";

/// A runtime's process before it becomes the container's.
const RUNTIMES: [&[u8]; 2] = [b"runc:", b"crun"];

/// Watches the trees.
#[derive(Debug)]
pub(super) struct Discovery {
    trees: Vec<Tree>,
    changes: Vec<Change>,
    /// Members whose cgroup vanished while they were read.
    pub gone: Vec<EntityNumber>,
    /// Paths that retired in this tick.
    retired: Vec<(String, Tick)>,
    /// Containers that wait one tick for their process.
    held_back: Vec<(String, Tick)>,
    /// Who waits for a name, pods before their containers.
    waiting: Vec<Waiting>,
}

impl Discovery {
    /// Nothing is known yet.
    pub(super) fn new(hierarchies: &Hierarchies) -> Self {
        let watches = |path: &str| identify(path).entities_below;
        let trees = hierarchies.trees();
        Self {
            trees: trees.iter().map(|mount| Tree::new(mount, watches)).collect(),
            changes: Vec::new(),
            gone: Vec::new(),
            retired: Vec::new(),
            held_back: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Looks at the trees, declares what came and retires what went.
    pub(super) fn look(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        tick: Tick,
        is_full: bool,
    ) {
        self.retired.retain(|(_, retired)| *retired == tick);
        if population.at("/").is_none() {
            admit_node(host, population, said);
        }
        for (place, tree) in self.trees.iter_mut().enumerate() {
            let depth = match place == 0 || is_full || !self.changes.is_empty() {
                true => usize::MAX,
                false => SHALLOW,
            };
            tree.look(depth, &host.files.budget, &mut host.files.unreadable, &mut self.changes);
        }
        self.name_late(host, population, said);
        if self.changes.is_empty() && self.waiting.is_empty() {
            return;
        }
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Came(path) => {
                    let new = Waiting { path, since: tick };
                    self.admit(host, population, said, tick, new);
                }
                Change::Went(path) => {
                    population.retire(&path, said);
                    self.stop_waiting_below(host, &path);
                    self.retire(path, tick);
                }
            }
        }
        self.admit_waiting(host, population, said, tick);
        population.give_aliases(said);
        self.forget_gone(host, population);
        self.plan(host, population);
    }

    fn plan(&self, host: &mut Host, population: &Population) {
        let watched: usize = self.trees.iter().map(Tree::watched).sum();
        let members = population.members().count();
        // One more for each member's interfaces.
        host.files.budget.plan(members * (Cgroup::hot_files(&host.hierarchies) + 1) + watched);
    }

    /// Retires the members that vanished while they were read; says whether there were any.
    pub(super) fn retire_gone(
        &mut self,
        population: &mut Population,
        said: &mut Declarations,
    ) -> bool {
        let gone = std::mem::take(&mut self.gone);
        for number in &gone {
            let Some(member) = population.get_mut(*number) else { continue };
            let (path, tick) = (member.path.clone(), member.read_at);
            if let (Some(path), Some(tick)) = (path, tick) {
                population.retire(&path, said);
                self.retire(path.to_string(), tick);
            }
        }
        !gone.is_empty()
    }

    fn retire(&mut self, path: String, tick: Tick) {
        for tree in &mut self.trees {
            tree.forget(&path);
        }
        self.retired.push((path, tick));
    }

    fn admit(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        tick: Tick,
        new: Waiting,
    ) {
        let path = &*new.path;
        if let Some(member) = population.at(path).and_then(|known| population.get_mut(known)) {
            // Another tree has it now too.
            member.try_again();
            return;
        }
        host.foreign.expire();
        if self.retired.iter().any(|(retired, _)| retired == path) {
            self.trees.iter_mut().for_each(|tree| tree.forget(path));
            return;
        }
        let what = identify(path).what;
        let called = match name_of(host.inquiry.as_ref(), &what, tick, new.since) {
            Name::Is(called) => called,
            Name::Waits => {
                if self.waiting.iter().all(|waiting| waiting.path != path) {
                    self.waiting.push(new);
                }
                return;
            }
        };
        let is_nameless = matches!(what, Identity::PodContainer(..)) && called.is_none();
        if is_nameless && new.since == tick && self.is_held_back(host, tick, path) {
            self.trees.iter_mut().for_each(|tree| tree.forget(path));
            return;
        }
        let Some(kind) = self.kind_of(host, population, said, (path, what), called.as_ref()) else {
            return;
        };
        let called = called.filter(|called| match called {
            Called::Free { name, .. } => !population.is_free_name_taken(name),
            _ => true,
        });
        self.admit_as(host, population, said, path, (kind, called));
    }

    fn admit_as(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        path: &str,
        (kind, called): (Kind, Option<Called>),
    ) -> Option<EntityNumber> {
        let Ok(name) = CgroupPath::parse(path) else {
            host.files.unreadable.count("cgroup", path, Reason::BadName);
            return None;
        };
        let is_sandbox = matches!(kind, Kind::PodContainer { sandbox: true, .. });
        let (start, parent) = (self.start_of(host, population, path), population.above(path));
        let admitted = population.admit(host, kind, Some(name), said, |member| {
            member.start = start;
            member.parent = parent;
            member.called = called;
        });
        match (admitted, parent.and_then(|pod| population.get_mut(pod))) {
            (None, _) => host.files.unreadable.count("entities", path, Reason::TooMany),
            // A new sandbox has a new network.
            (Some(_), Some(pod)) if is_sandbox => pod.network = OwnNetwork::Unknown,
            _ => (),
        }
        admitted
    }

    /// What an entity at that path is; `None` when there is none.
    fn kind_of(
        &mut self,
        host: &mut Host,
        population: &mut Population,
        said: &mut Declarations,
        (path, what): (&str, Identity),
        called: Option<&Called>,
    ) -> Option<Kind> {
        match what {
            Identity::Node | Identity::Part => None,
            Identity::Pod(uid) => Some(Kind::Pod(uid)),
            Identity::FreeContainer(container) => Some(Kind::Free(Some(container))),
            Identity::Group => Some(Kind::Free(None)),
            Identity::PodContainer(uid, container) => {
                let pod = self.pod_of_container(host, population, said, uid, called)?;
                let sandbox = match called {
                    Some(called) => matches!(called, Called::Sandbox(_)),
                    None => is_pause(host, path),
                };
                Some(Kind::PodContainer { pod, container, sandbox })
            }
        }
    }

    /// Whether a container's process is not its own yet, so that nobody can tell what it is. It waits
    /// for one tick, no longer.
    fn is_held_back(&mut self, host: &mut Host, tick: Tick, path: &str) -> bool {
        self.held_back.retain(|(_, since)| tick.0.saturating_sub(since.0) <= 3600);
        if let Some((_, since)) = self.held_back.iter().find(|(held, _)| held == path) {
            return *since == tick;
        }
        let is_starting = match &process_names(host, path)[..] {
            [] => true,
            names => {
                names.iter().any(|name| RUNTIMES.iter().any(|prefix| name.starts_with(prefix)))
            }
        };
        if is_starting {
            self.held_back.push((path.to_owned(), tick));
        }
        is_starting
    }

    /// When a cgroup began: the earliest time of its directories, or of its processes. A directory's
    /// time is that of its first look-up, which for cgroups that nobody looked at is ours, so what
    /// runs in them since before that tells better.
    fn start_of(&self, host: &mut Host, population: &mut Population, path: &str) -> Option<UnixMs> {
        let times = self.trees.iter().filter_map(|tree| {
            let stat = rustix::fs::stat(path_of(tree.mount(), path)).ok()?;
            let ms = i64::try_from(stat.st_mtime_nsec / 1_000_000).ok()?;
            stat.st_mtime.checked_mul(1000)?.checked_add(ms)
        });
        let made = times.min().map(UnixMs)?;
        let boot = population.at("/").and_then(|node| population.get_mut(node)?.start);
        let oldest = process_stats(host, path, |stat| stat.start_cs).into_iter().flatten().min();
        let began = boot.zip(oldest).and_then(|(boot, oldest_cs)| {
            let since_boot_ms = i64::try_from(oldest_cs).ok()?.checked_mul(10)?;
            Some(UnixMs(boot.0.checked_add(since_boot_ms)?))
        });
        Some(began.map_or(made, |began| made.min(began)))
    }
}

/// Whether the only process is a sandbox's.
fn is_pause(host: &mut Host, path: &str) -> bool {
    matches!(&process_names(host, path)[..], [name] if name == PAUSE)
}

/// The names of some of a group's processes.
fn process_names(host: &mut Host, path: &str) -> Vec<Vec<u8>> {
    process_stats(host, path, |stat| stat.name.to_vec())
}

/// Something of some of a group's processes.
fn process_stats<T>(host: &mut Host, path: &str, take: impl Fn(ProcessStat<'_>) -> T) -> Vec<T> {
    let processes = first_processes(host, path);
    let one = |process: u32| {
        let directory = format!("/{process}");
        let at = Location { mount: host.node.proc(), directory: &directory, name: "stat" };
        host.files.read_once(at, |text| Ok(take(process_stat::parse(text)?)))
    };
    processes.into_iter().filter_map(one).collect()
}

fn admit_node(host: &mut Host, population: &mut Population, said: &mut Declarations) {
    let at = Location { mount: host.node.proc(), directory: "/", name: "stat" };
    let booted = host.files.read_once(at, |text| Ok(proc_stat::parse(text)?.boot_unix_s));
    let start = booted.flatten().and_then(|seconds| i64::try_from(seconds).ok()?.checked_mul(1000));
    let Ok(path) = CgroupPath::parse("/") else { return };
    population.admit(host, Kind::Node, Some(path), said, |member| {
        member.start = start.map(UnixMs);
    });
}
