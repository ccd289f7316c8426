//! What pods and containers have on disk, as values that are repeated at each tick.
//!
//! It was measured between two ticks, up to a round before, and not when the entity's other values were
//! read. While nothing newer is there nothing is done here; what is too old is left out.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tally_proto::{
    catalogue::{self as metric, MetricId},
    declaration::EntityNumber,
    tick::Tick,
};

use super::{
    member::{Kind, Member},
    population::Population,
};
use crate::{
    columns::{Columns, ResourceNumber},
    disk_usage::{Board, ContainerUsage, DiskUsage, PodUsage, Room, Space},
    names::Called,
};

/// A writable layer, as Heapster calls it.
const LAYER: &str = "/";
/// The logs of a container, as Heapster calls them.
const LOGS: &str = "logs";

/// One value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gauge {
    pub(super) metric: MetricId,
    /// Its label, if it has one.
    pub(super) resource: Option<ResourceNumber>,
    pub(super) value: u64,
}

/// What was taken last.
#[derive(Debug)]
pub(super) struct Watched {
    board: Board,
    newest: Option<Arc<DiskUsage>>,
    taken: Tick,
    kept_s: u64,
    /// Whether it is too old.
    is_expired: bool,
}

impl Watched {
    pub(super) fn new(board: Board, kept_s: u64) -> Self {
        Self { board, newest: None, taken: Tick(0), kept_s, is_expired: false }
    }

    /// What holds now.
    pub(super) fn newest(&self) -> Option<&DiskUsage> {
        self.newest.as_deref().filter(|_| !self.is_expired)
    }

    /// Gives each member what is newest of it.
    pub(super) fn take(&mut self, tick: Tick, population: &mut Population, columns: &mut Columns) {
        let Some(newest) = self.board.newest() else { return };
        if !self.newest.as_ref().is_some_and(|taken| Arc::ptr_eq(taken, &newest)) {
            distribute(&newest, population, columns);
            (self.newest, self.taken, self.is_expired) = (Some(newest), tick, false);
        } else if !self.is_expired && self.kept_s <= tick.0.saturating_sub(self.taken.0) {
            population.members_mut().for_each(|member| member.disk_usage.clear());
            self.is_expired = true;
        }
    }
}

fn distribute(usage: &DiskUsage, population: &mut Population, columns: &mut Columns) {
    population.members_mut().for_each(|member| member.disk_usage.clear());
    let (layer, logs) = (columns.resource(LAYER), columns.resource(LOGS));
    let mut pods: BTreeMap<EntityNumber, (&PodUsage, Vec<ContainerUsage>)> = BTreeMap::new();
    for member in population.members() {
        if let Kind::Pod(uid) = &member.kind
            && let Some(pod) = usage.pods.get(uid)
        {
            pods.insert(member.number, (pod, Vec::new()));
        }
    }
    for member in population.members_mut() {
        let Some(mut container) = of_container(member, usage) else { continue };
        if let Kind::PodContainer { pod, .. } = &member.kind
            && let Some((pod, containers)) = pods.get_mut(pod)
        {
            container.logs = container.logs.or_else(|| logs_of(member, pod));
            containers.push(container);
        }
        put_space(&mut member.disk_usage, layer, container.layer);
        put_space(&mut member.disk_usage, logs, container.logs);
        put_ephemeral(&mut member.disk_usage, container.ephemeral_bytes());
    }
    let mut kept = HashSet::new();
    // Where there are too many names, what pods write in comes first.
    for holds_data in [true, false] {
        for (number, (pod, _)) in &pods {
            let Some(member) = population.get_mut(*number) else { continue };
            let volumes = pod.volumes.iter().flatten();
            for volume in volumes.filter(|volume| volume.holds_data == holds_data) {
                let resource = columns.volume(&volume.resource);
                kept.extend(resource);
                put_space(&mut member.disk_usage, resource, Some(volume.space));
            }
        }
    }
    columns.keep_volumes(&kept);
    for (number, (pod, containers)) in pods {
        let Some(member) = population.get_mut(number) else { continue };
        let ephemeral = pod.ephemeral_bytes(&containers).filter(|_| usage.knows_layers);
        put_ephemeral(&mut member.disk_usage, ephemeral);
    }
}

/// What its runtime told of a container; sandboxes have nothing.
fn of_container(member: &Member, usage: &DiskUsage) -> Option<ContainerUsage> {
    if let Kind::PodContainer { sandbox: true, .. } = member.kind {
        return None;
    }
    let known = usage.containers.get(member.container_id()?);
    Some(known.copied().unwrap_or_default())
}

fn logs_of(member: &Member, pod: &PodUsage) -> Option<Space> {
    match &member.called {
        Some(Called::InPod { name, .. }) => pod.logs.get(name).copied(),
        _ => None,
    }
}

fn put_space(gauges: &mut Vec<Gauge>, resource: Option<ResourceNumber>, space: Option<Space>) {
    let (Some(Space { used_bytes, room }), Some(_)) = (space, resource) else { return };
    // The size of a filesystem says nothing of a part of it that is not known.
    let Some(used_bytes) = used_bytes else { return };
    let mut put = |metric, value| gauges.push(Gauge { metric, resource, value });
    put(metric::FILESYSTEM_USAGE, used_bytes);
    let Some(Room { limit_bytes, available_bytes, inodes, inodes_free }) = room else { return };
    put(metric::FILESYSTEM_LIMIT, limit_bytes);
    put(metric::FILESYSTEM_AVAILABLE, available_bytes);
    put(metric::FILESYSTEM_INODES, inodes);
    put(metric::FILESYSTEM_INODES_FREE, inodes_free);
}

fn put_ephemeral(gauges: &mut Vec<Gauge>, bytes: Option<u64>) {
    let metric = metric::EPHEMERAL_STORAGE_USAGE;
    gauges.extend(bytes.map(|value| Gauge { metric, resource: None, value }));
}
