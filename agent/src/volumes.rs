//! Finds out what pods and containers have on disk, in rounds, on a thread of its own.
//!
//! ```text
//! runtimes: layers ─┐
//! statfs: volumes that are mounted ─┴─> known ─> board
//! walk: directories, the longest unmeasured first ─^
//! ```
//! A round takes at most half of the time between two rounds for its walks, with pauses, at the lowest
//! priority, so that a volume with a million files costs no more than its share: what is over a bound has no
//! value, is counted, and said once. What could not be measured in this round keeps its last value for
//! [`ROUNDS_KEPT`] rounds.

mod pods;
mod statfs;
mod walk;

use std::{
    collections::{HashMap, HashSet},
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::warn;

pub use self::statfs::Spawn;
use self::{
    pods::{Found, FoundPod, FoundVolume, How, Mounts, Rank},
    statfs::{Asker, NoAnswer},
    walk::{NoSize, OutOfTime, Pace, Walk},
};
use crate::{
    disk_usage::{
        Board, ContainerPaths, ContainerUsage, DiskUsage, LayerQuestions, Layers, PodUsage, Room,
        Space, Volume,
    },
    host::facts,
};

/// Entries that are looked at between two pauses, and how long a pause is: 5,000 a second at most, for
/// which the kernel needs some 15 ms.
const ENTRIES_A_PAUSE: u32 = 500;
const PAUSE: Duration = Duration::from_millis(100);

/// Entries of one walk: 20 s, which is more than other walks should wait.
const ENTRIES_A_WALK: u32 = 100_000;

/// Files of one container's logs: runtimes keep a handful.
const ENTRIES_A_LOG: u32 = 1000;

/// Rounds for which a value holds that cannot be had anew.
pub const ROUNDS_KEPT: u64 = 5;

/// Rounds until what was over a bound is tried again.
const ROUNDS_RESTED: u64 = 10;

/// How long the runtimes may take: containerd reads each container's cgroup for it.
const LAYERS_WITHIN: Duration = Duration::from_secs(15);

/// The list of mounts of a node with thousands of them is below 1 MiB.
const MOUNTINFO_BYTES: u64 = 8 << 20;

/// The lowest priority, of the disk too: the kernel derives it.
const NICE: i32 = 19;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the host's root directory is seen.
    pub host_root: PathBuf,
    /// The kubelet's directory on the host.
    pub kubelet_dir: PathBuf,
    /// Where runtimes write the logs of pods, on the host.
    pub pod_logs_dir: PathBuf,
    /// Time between two rounds.
    pub interval: Duration,
}

/// How long the newest holds when there is nothing newer: as long as one value does, and the time
/// that a round takes.
pub fn kept(interval: Duration) -> Duration {
    let rounds = u32::try_from(ROUNDS_KEPT).unwrap_or(u32::MAX).saturating_add(1);
    interval.saturating_mul(rounds)
}

/// Whether to go on after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It is over.
    Over,
    /// The agent stops.
    Stopped,
}

/// Looks round by round until `pause` says that the agent stops.
pub fn run(
    options: Options,
    layers: &LayerQuestions,
    board: &Board,
    spawn: Spawn,
    mut pause: impl FnMut(Duration) -> Pause,
) {
    // Where it is forbidden the pauses must do.
    rustix::process::setpriority_process(None, NICE).unwrap_or(());
    let interval = options.interval;
    let mut watch = Watch::new(options, spawn);
    loop {
        let layers = layers.ask(LAYERS_WITHIN);
        watch.round(layers, board, &mut pause);
        if pause(interval) == Pause::Stopped {
            return;
        }
    }
}

/// What is known of one place.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// As it was measured last.
    space: Option<Space>,
    /// In which round.
    measured: u64,
    /// Not before this round is it tried again.
    rests_until: u64,
    /// Whether it was said that it cannot be measured.
    is_said: bool,
}

/// The state between rounds.
struct Watch {
    options: Options,
    asker: Asker,
    round: u64,
    /// By path.
    known: HashMap<String, Known>,
    layers: Layers,
    /// The round in which they were told.
    layers_told: u64,
    given_up: u64,
}

/// A walk that is to be done.
#[derive(Clone, Debug)]
struct Errand {
    path: String,
    what: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// Logs are small, so they come first.
    LogFile,
    Logs,
    Directory,
}

/// What one round sees.
struct Sight {
    found: Found,
    mounts: Mounts,
    /// Filesystems of layers, by directory on the host.
    rooms: HashMap<Box<str>, Option<Room>>,
}

impl Watch {
    fn new(options: Options, spawn: Spawn) -> Self {
        Self {
            options,
            asker: Asker::new(spawn),
            round: 0,
            known: HashMap::new(),
            layers: Layers::default(),
            layers_told: 0,
            given_up: 0,
        }
    }

    fn round(
        &mut self,
        layers: Option<Layers>,
        board: &Board,
        pause: &mut impl FnMut(Duration) -> Pause,
    ) {
        self.round += 1;
        if let Some(layers) = layers {
            (self.layers, self.layers_told) = (layers, self.round);
        } else if self.layers_told + ROUNDS_KEPT < self.round {
            self.layers = Layers::default();
        }
        let sight = self.look();
        self.ask_filesystems(&sight);
        let errands = self.errands(&sight.found);
        self.forget_gone(&sight.found, &errands);
        board.put(Arc::new(self.usage(&sight)));
        if !errands.is_empty() {
            self.walk_all(errands, &sight.mounts, pause);
            board.put(Arc::new(self.usage(&sight)));
        }
    }

    fn look(&mut self) -> Sight {
        let host_root = self.host_root().to_owned();
        let kubelet = below(&host_root, &self.options.kubelet_dir);
        // The list of mounts has no links in it.
        let kubelet = std::fs::canonicalize(&kubelet)
            .ok()
            .filter(|path| path.starts_with(&host_root))
            .unwrap_or(kubelet);
        let mounts = read_mounts(&host_root, &format!("{}/pods/", kubelet.display()));
        // Not knowing what is mounted, nothing can be touched.
        let found = match &mounts {
            Some(mounts) => {
                let logs = below(&host_root, &self.options.pod_logs_dir);
                Found::look(&kubelet, &logs, mounts)
            }
            None => Found { left_out: 1, ..Found::default() },
        };
        self.given_up += found.left_out;
        let mut rooms = HashMap::new();
        for layer in self.layers.measured.values().flatten() {
            if !rooms.contains_key(&layer.filesystem) {
                let asked = self.asker.ask(&format!("{host_root}{}", layer.filesystem), None);
                rooms.insert(layer.filesystem.clone(), asked.ok().and_then(|space| space.room));
            }
        }
        Sight { found, mounts: mounts.unwrap_or_default(), rooms }
    }

    fn host_root(&self) -> &str {
        self.options.host_root.to_str().unwrap_or_default().trim_end_matches('/')
    }

    fn ask_filesystems(&mut self, sight: &Sight) {
        for FoundVolume { path, how, .. } in volumes(&sight.found) {
            let How::Ask(device) = how else { continue };
            match self.asker.ask(path, *device) {
                Ok(space) => self.measured(path, space),
                Err(NoAnswer::Gone) => drop(self.known.remove(path)),
                Err(NoAnswer::Hangs) => {
                    self.failed(path, &"its filesystem does not answer", self.round);
                }
            }
        }
    }

    /// What is to be walked, in this order: what rests is not.
    fn errands(&self, found: &Found) -> Vec<Errand> {
        let of_volume = |volume: &FoundVolume| (volume.path.clone(), Target::Directory);
        let walked = volumes(found).filter(|volume| volume.how == How::Walk).map(of_volume);
        let logs = found.pods.values().flat_map(|pod| &pod.logs);
        let logs = logs.map(|(_, path)| (path.clone(), Target::Logs));
        let paths = self.layers.unmeasured.values();
        let layers = paths.clone().filter_map(|paths| paths.layer.as_deref());
        let layers = layers.map(|layer| (self.on_host(layer), Target::Directory));
        let log_files = paths.filter_map(|paths| paths.log.as_deref());
        let log_files = log_files.map(|log| (self.on_host(log), Target::LogFile));
        let all = walked.chain(logs).chain(layers).chain(log_files);
        let mut errands: Vec<Errand> = all.map(|(path, what)| Errand { path, what }).collect();
        errands.sort_by_cached_key(|errand| {
            let known = self.known.get(&errand.path);
            let is_large = errand.what == Target::Directory;
            (is_large, known.map_or(0, |known| known.measured), errand.path.clone())
        });
        errands
    }

    fn on_host(&self, path: &str) -> String {
        format!("{}{path}", self.host_root())
    }

    fn forget_gone(&mut self, found: &Found, errands: &[Errand]) {
        let asked = volumes(found).map(|volume| &*volume.path);
        let there: HashSet<&str> =
            asked.chain(errands.iter().map(|errand| &*errand.path)).collect();
        self.known.retain(|path, _| there.contains(&**path));
    }

    fn walk_all(
        &mut self,
        errands: Vec<Errand>,
        mounts: &Mounts,
        pause: &mut impl FnMut(Duration) -> Pause,
    ) {
        let pauses = self.options.interval.as_millis() / PAUSE.as_millis() / 2;
        let left = u32::try_from(pauses).unwrap_or(u32::MAX).saturating_mul(ENTRIES_A_PAUSE);
        let mut pace = Paced { left, until_pause: ENTRIES_A_PAUSE, pause };
        for Errand { path, what } in errands {
            if self.known.get(&path).is_some_and(|known| self.round < known.rests_until) {
                self.given_up += 1;
                continue;
            }
            let size = match what {
                Target::LogFile => walk::log_size(&path, ENTRIES_A_LOG, &mut pace),
                Target::Logs | Target::Directory => {
                    let entries_max =
                        if what == Target::Logs { ENTRIES_A_LOG } else { ENTRIES_A_WALK };
                    let mounts = &*mounts.below(&path);
                    walk::size(Walk { top: &path, mounts, entries_max }, &mut pace)
                }
            };
            match size {
                Ok(bytes) => {
                    let room = statfs::room(&path);
                    self.measured(&path, Space { used_bytes: Some(bytes), room });
                }
                Err(NoSize::Gone) => drop(self.known.remove(&path)),
                // It is the first in the next round.
                Err(NoSize::OutOfTime(OutOfTime)) => self.given_up += 1,
                Err(error) => {
                    self.failed(&path, &error, self.round + ROUNDS_RESTED);
                    self.known.entry(path).and_modify(|known| known.space = None);
                }
            }
        }
    }

    fn measured(&mut self, path: &str, space: Space) {
        let (measured, rests_until) = (self.round, 0);
        let known = Known { space: Some(space), measured, rests_until, is_said: false };
        self.known.insert(path.to_owned(), known);
    }

    fn failed(&mut self, path: &str, reason: &dyn std::fmt::Display, rests_until: u64) {
        self.given_up += 1;
        let none = Known { space: None, measured: 0, rests_until: 0, is_said: false };
        let known = self.known.entry(path.to_owned()).or_insert(none);
        known.rests_until = rests_until;
        if !std::mem::replace(&mut known.is_said, true) {
            warn!(path, %reason, "its size is not measured");
        }
    }

    fn space(&self, path: &str) -> Option<Space> {
        let known = self.known.get(path)?;
        known.space.filter(|_| self.round <= known.measured + ROUNDS_KEPT)
    }

    /// All that is known now.
    fn usage(&self, sight: &Sight) -> DiskUsage {
        let pods = sight.found.pods.iter();
        let measured = self.layers.measured.iter().map(|(id, layer)| {
            let layer = layer.as_ref().map(|layer| Space {
                used_bytes: Some(layer.used_bytes),
                room: sight.rooms.get(&layer.filesystem).copied().flatten(),
            });
            (id.clone(), ContainerUsage { layer, logs: None })
        });
        let unmeasured =
            self.layers.unmeasured.iter().map(|(id, ContainerPaths { layer, log })| {
                let space = |path: &str| self.space(&self.on_host(path));
                let layer = layer.as_deref().and_then(space);
                (id.clone(), ContainerUsage { layer, logs: log.as_deref().and_then(space) })
            });
        DiskUsage {
            pods: pods.map(|(uid, pod)| (uid.clone(), self.pod(pod))).collect(),
            containers: unmeasured.chain(measured).collect(),
            knows_layers: self.layers.has_cri,
            images_bytes: self.layers.images_bytes,
            given_up: self.given_up,
        }
    }

    fn pod(&self, pod: &FoundPod) -> PodUsage {
        let volume = |volume: &FoundVolume| Volume {
            resource: volume.resource.clone(),
            space: self.space(&volume.path).unwrap_or_default(),
            is_ephemeral: volume.is_ephemeral,
            holds_data: volume.rank == Rank::Data,
        };
        let volumes = pod.volumes.as_ref().map(|volumes| volumes.iter().map(volume).collect());
        let logs = pod.logs.iter();
        let logs =
            logs.map(|(name, path)| (name.clone(), self.space(path).unwrap_or_default())).collect();
        PodUsage { volumes, logs }
    }
}

fn volumes(found: &Found) -> impl Iterator<Item = &FoundVolume> {
    found.pods.values().flat_map(|pod| pod.volumes.iter().flatten())
}

fn below(host_root: &str, path: &Path) -> PathBuf {
    format!("{host_root}/{}", path.to_str().unwrap_or_default().trim_start_matches('/')).into()
}

/// What is mounted below a directory: as this process sees it, for that may hang it, and as the host has
/// it, for not all of that need be seen here. `None` when the host does not tell.
fn read_mounts(host_root: &str, directory: &str) -> Option<Mounts> {
    let mut mounts = Mounts::default();
    mounts.add(&read_mountinfo("/proc/self/mountinfo")?, "", directory).ok()?;
    let process = facts::visible_process(host_root);
    let of_host = read_mountinfo(&format!("{host_root}/proc{process}/mountinfo"))?;
    mounts.add(&of_host, host_root, directory).ok()?;
    Some(mounts)
}

fn read_mountinfo(path: &str) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    let read = file.take(MOUNTINFO_BYTES).read_to_end(&mut text).ok()?;
    // One that breaks off would hide mounts.
    (u64::try_from(read).ok()? < MOUNTINFO_BYTES).then_some(text)
}

/// Walks with pauses, until the round's time is over.
struct Paced<'a, P> {
    /// Entries that may still be looked at.
    left: u32,
    until_pause: u32,
    pause: &'a mut P,
}

impl<P: FnMut(Duration) -> Pause> Pace for Paced<'_, P> {
    fn entry(&mut self) -> Result<(), OutOfTime> {
        self.left = self.left.checked_sub(1).ok_or(OutOfTime)?;
        self.until_pause -= 1;
        if self.until_pause == 0 {
            self.until_pause = ENTRIES_A_PAUSE;
            if (self.pause)(PAUSE) == Pause::Stopped {
                self.left = 0;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
