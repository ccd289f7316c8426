//! What nodes and pods use now, for those who scale and schedule by it.
//!
//! A number is what was really read: CPU over the time between the newest two readings, with the
//! moment of the later one. Whoever has no such number is left out, and so is what is gone: what
//! the newest frame of its node lacks, what the API server has no longer, and everything of a node
//! whose newest frame is too old to decide by.

mod newest_usage;
mod order;
pub mod selector;
pub mod written;

use std::{cell::OnceCell, sync::Arc};

use tally_proto::{
    declaration::PodKey,
    name::{ContainerName, NodeName},
    tick::{Tick, UnixMs},
};

use self::{
    newest_usage::UsageColumns,
    order::Place,
    selector::LabelSelector,
    written::{PodsOfNode, WrittenPods},
};
use super::{Queries, newest::Newest};
use crate::{
    inventory::Inventory,
    model::{node::NodeSlot, past::View},
    roster::Pod,
};

/// Resolutions after which a node's newest frame is too old: one under way, one lost, one late.
const USABLE_RESOLUTIONS: i64 = 3;

/// But never sooner than that: at 1 s resolution a stream that breaks and comes back must not take
/// its pods from an autoscaler's sight. An autoscaler looks every 15 s.
const USABLE_AT_LEAST_MS: i64 = 30_000;

/// What a node or a container uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// CPU in billionths of a core.
    pub cpu_nanocores: u64,
    /// Working set in bytes.
    pub memory_bytes: u64,
    /// Swap in bytes, where the kernel counts it.
    pub swap_bytes: Option<u64>,
    /// Writable layers and logs in bytes, where they are known.
    pub ephemeral_storage_bytes: Option<u64>,
}

/// The time that CPU usage is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// When the later reading was made.
    pub end: UnixMs,
    /// The tick of that reading.
    pub tick: Tick,
    /// Time between the two.
    pub length_us: u64,
}

/// What a node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeUsage {
    /// The node.
    pub name: NodeName,
    /// Its labels: `key:value` with commas between; empty where they are not known.
    pub labels: Arc<str>,
    /// The time of it.
    pub interval: Interval,
    /// The amounts.
    pub usage: Usage,
}

/// What a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodUsage {
    /// The pod.
    pub key: PodKey,
    /// Its labels: `key:value` with commas between; empty where they are not known.
    pub labels: Arc<str>,
    /// Of its containers' times the earliest.
    pub interval: Interval,
    /// Its containers, at least one: in the order of its specification, then others by name.
    pub containers: Box<[ContainerUsage]>,
}

/// What a container of a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerUsage<N = ContainerName> {
    /// The container.
    pub name: N,
    /// The amounts.
    pub usage: Usage,
}

/// Which pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodScope<'a> {
    /// All of them.
    Cluster,
    /// Those of a namespace.
    Namespace(&'a str),
    /// One, by namespace and name.
    One(&'a str, &'a str),
}

/// With which containers a pod is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containers {
    /// Those that have numbers, init and debug containers too.
    Measured,
    /// Those of its specification, all of them: without the numbers of one the pod is left out.
    Specified,
}

/// What is asked of pods.
#[derive(Clone, Copy)]
pub struct PodsAsked<'a> {
    /// Where they are.
    pub scope: PodScope<'a>,
    /// Which of them, by their labels.
    pub labels: &'a LabelSelector,
    /// Which of them, by namespace and name.
    pub chosen: &'a (dyn Fn(&str, &str) -> bool + Sync),
    /// With which containers.
    pub containers: Containers,
}

impl Queries {
    /// What nodes use, sorted by name: all, or the one of that name.
    pub fn node_usage(
        &self,
        name: Option<&str>,
        labels: &LabelSelector,
        now: UnixMs,
    ) -> Vec<NodeUsage> {
        let nodes: Vec<Arc<NodeSlot>> = match name {
            Some(name) => self.node(name).into_iter().collect(),
            None => self.model.directory().nodes.values().cloned().collect(),
        };
        let usable = self.usable_since(now);
        let usable = nodes.iter().filter(|node| usable <= node.newest());
        usable.filter_map(|node| self.usage_of_node(node, labels)).collect()
    }

    /// What pods use, sorted by namespace and name.
    pub fn pod_usage(&self, asked: PodsAsked<'_>, now: UnixMs) -> Vec<PodUsage> {
        let views = self.views_of(asked.scope, now);
        let keep = |kept: &mut Vec<Option<PodUsage>>, seen: &SeenPod<'_, '_>| {
            kept.push(Some(seen.kept()));
        };
        let (mut kept, places) = self.in_order(&views, asked, Vec::new, keep);
        let take = |place: Place<'_>| kept.get_mut(place.node)?.get_mut(place.pod)?.take();
        places.into_iter().filter_map(take).collect()
    }

    /// The same as it is written, one pod after the other. The pods of each node get a writer of their
    /// own, which appends them.
    pub fn write_pod_usage<W>(
        &self,
        asked: PodsAsked<'_>,
        now: UnixMs,
        writer: impl Fn() -> W + Sync,
    ) -> WrittenPods
    where
        W: FnMut(&SeenPod<'_, '_>, &mut Vec<u8>) + Send + Sync,
    {
        let views = self.views_of(asked.scope, now);
        let start = || (writer(), PodsOfNode::default());
        let (written, places) = self.in_order(&views, asked, start, |(write, of_node), seen| {
            of_node.push(|bytes| write(seen, bytes));
        });
        WrittenPods::new(written.into_iter().map(|(_, of_node)| of_node).collect(), &places)
    }

    fn views_of(&self, scope: PodScope<'_>, now: UnixMs) -> Vec<NodeView> {
        let usable = self.usable_since(now);
        let nodes = self.nodes_of(scope).into_iter().filter(|node| usable <= node.newest());
        nodes.map(|node| NodeView::of(&node)).collect()
    }

    /// The tick that a node's newest frame must have reached to be used.
    fn usable_since(&self, now: UnixMs) -> Tick {
        let resolution_ms = i64::from(self.model.resolution().seconds()) * 1000;
        let usable_ms = (USABLE_RESOLUTIONS * resolution_ms).max(USABLE_AT_LEAST_MS);
        // A node that never delivered has tick 0.
        let since = now.0.saturating_sub(usable_ms).div_euclid(1000).max(1);
        Tick(u64::try_from(since).unwrap_or(1))
    }

    fn nodes_of(&self, scope: PodScope<'_>) -> Vec<Arc<NodeSlot>> {
        let mut nodes: Vec<Arc<NodeSlot>> = match scope {
            PodScope::Cluster => return self.model.directory().nodes.values().cloned().collect(),
            PodScope::Namespace(name) => self.namespace(name).map(|found| found.nodes()),
            PodScope::One(namespace, name) => self
                .namespace(namespace)
                .map(|found| found.places(name).into_iter().map(|place| place.node).collect()),
        }
        .unwrap_or_default();
        nodes.sort_by(|one, other| one.name.cmp(&other.name));
        nodes.dedup_by(|one, other| Arc::ptr_eq(one, other));
        nodes
    }

    fn usage_of_node(&self, node: &NodeSlot, labels: &LabelSelector) -> Option<NodeUsage> {
        let (tick, view) = (node.newest(), node.view());
        let newest = Newest::of(&view, tick, &newest_usage::needs)?;
        let roster = &newest.schema.roster;
        let known = match self.model.inventory() {
            Some(inventory) if roster.node_record.is_some() => {
                Some(Arc::clone(inventory.node(&node.name)?))
            }
            _ => roster.node_record.clone(),
        };
        let own_labels = known.map(|known| Arc::clone(&known.own_labels)).unwrap_or_default();
        if !labels.matches(&own_labels) {
            return None;
        }
        let (interval, usage) = UsageColumns::of(&newest).usage(roster.node?)?;
        Some(NodeUsage { name: node.name.clone(), labels: own_labels, interval, usage })
    }

    /// Shows the pods of a node, sorted as the roster is.
    fn see_pods<'v>(
        &self,
        NodeView { view, tick }: &'v NodeView,
        asked: PodsAsked<'_>,
        mut see: impl FnMut(&SeenPod<'v, '_>),
    ) {
        let PodsAsked { scope, labels, chosen, containers } = asked;
        let Some(newest) = Newest::of(view, *tick, &newest_usage::needs) else { return };
        let roster = &newest.schema.roster;
        let pods = match scope {
            PodScope::Cluster => &roster.pods,
            PodScope::Namespace(name) => roster.pods_of(name),
            PodScope::One(namespace, name) => {
                roster.pod(namespace, name).map_or(&[][..], std::slice::from_ref)
            }
        };
        let columns = OnceCell::new();
        let mut used = Vec::new();
        // Held for the pods of one node only.
        let inventory = self.model.inventory();
        for pod in pods.iter().filter(|pod| chosen(&pod.key.namespace, &pod.key.name)) {
            let Some(own) = own_labels(pod, inventory.as_deref()) else { continue };
            if !labels.matches(own.map_or("", |own| own)) {
                continue;
            }
            let columns = columns.get_or_init(|| UsageColumns::of(&newest));
            if let Some(interval) = columns.usage_of_pod(pod, containers, &mut used) {
                see(&SeenPod { key: &pod.key, labels: own, interval, containers: &used });
            }
        }
    }
}

/// A node at one moment.
struct NodeView {
    view: View,
    tick: Tick,
}

impl NodeView {
    fn of(node: &NodeSlot) -> Self {
        // In this order: the view has this tick, or a newer one too.
        let tick = node.newest();
        Self { view: node.view(), tick }
    }
}

/// What a pod uses, while the numbers of its node are at hand.
#[derive(Clone, Copy, Debug)]
pub struct SeenPod<'v, 'a> {
    /// The pod.
    pub key: &'v PodKey,
    /// Its labels as in [`PodUsage`], where they are known.
    pub labels: Option<&'a Arc<str>>,
    /// Of its containers' times the earliest.
    pub interval: Interval,
    /// Its containers, in the order of [`PodUsage`].
    pub containers: &'a [ContainerUsage<&'v ContainerName>],
}

impl SeenPod<'_, '_> {
    fn kept(&self) -> PodUsage {
        let kept = |one: &ContainerUsage<&ContainerName>| ContainerUsage {
            name: one.name.clone(),
            usage: one.usage,
        };
        PodUsage {
            key: self.key.clone(),
            labels: self.labels.cloned().unwrap_or_default(),
            interval: self.interval,
            containers: self.containers.iter().map(kept).collect(),
        }
    }
}

/// A pod's labels as they are now, if any are known; `None` when the API server knew the pod and has it
/// no longer.
fn own_labels<'a>(pod: &'a Pod, now: Option<&'a Inventory>) -> Option<Option<&'a Arc<str>>> {
    match (now, &pod.record) {
        (Some(inventory), Some(_)) => {
            inventory.pod_of_uid(&pod.uid).map(|known| Some(&known.own_labels))
        }
        (_, known) => Some(known.as_ref().map(|known| &known.own_labels)),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
