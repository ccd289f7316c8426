//! What nodes and pods use now, for those who scale and schedule by it.
//!
//! A number is what was really read: CPU over the time between the newest two readings, with the
//! moment of the later one. Whoever has no such number is left out, and so is what is gone: what
//! the newest frame of its node lacks, what the API server has no longer, and everything of a node
//! whose newest frame is too old to decide by.

mod newest_usage;
pub mod selector;

use std::{collections::HashMap, sync::Arc};

use tally_proto::{
    declaration::PodKey,
    name::{ContainerName, NodeName},
    tick::{Tick, UnixMs},
};

use self::{newest_usage::UsageColumns, selector::LabelSelector};
use super::{Queries, newest::Newest};
use crate::{
    inventory::{Inventory, PodRecord},
    model::node::NodeSlot,
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
pub struct ContainerUsage {
    /// The container.
    pub name: ContainerName,
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
    pub chosen: &'a dyn Fn(&str, &str) -> bool,
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
        let usable = self.usable_since(now);
        let nodes = self.nodes_of(asked.scope).into_iter();
        let nodes = nodes.filter(|node| usable <= node.newest());
        let of_nodes = nodes.map(|node| {
            let pods = self.pods_of_node(&node, asked);
            (node, pods)
        });
        match asked.scope {
            PodScope::Cluster => self.sorted(of_nodes.collect()),
            _ => sorted(of_nodes.flat_map(|(_, pods)| pods).collect()),
        }
    }

    /// The pods of many nodes, each node's sorted, in one list. The directory has the pods of all nodes
    /// sorted, so nearly each is the next one of its node, and nothing has to be compared with others.
    fn sorted(&self, of_nodes: Vec<(Arc<NodeSlot>, Vec<PodUsage>)>) -> Vec<PodUsage> {
        let mut found = Vec::with_capacity(of_nodes.iter().map(|(_, pods)| pods.len()).sum());
        let mut left: HashMap<*const NodeSlot, _> = of_nodes
            .into_iter()
            .map(|(node, pods)| (Arc::as_ptr(&node), pods.into_iter().peekable()))
            .collect();
        let directory = self.model.directory();
        let namespaces = directory.namespaces.iter();
        let namespaces: Vec<_> =
            namespaces.map(|(name, of)| (name.clone(), Arc::clone(of))).collect();
        drop(directory);
        for (namespace, of) in namespaces {
            of.for_each_pod(|name, places| {
                let is_it =
                    |pod: &PodUsage| pod.key.name == *name && pod.key.namespace == namespace;
                let of_places = places
                    .iter()
                    .filter_map(|place| left.get_mut(&Arc::as_ptr(&place.node))?.next_if(is_it));
                found.extend(of_places.max_by_key(|pod| pod.interval));
            });
        }
        let in_order = found.len();
        // What the directory does not have yet, or no longer, and what is behind it.
        found.extend(left.into_values().flatten());
        if found.len() == in_order { found } else { sorted(found) }
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

    /// Sorted, as the roster is.
    fn pods_of_node(&self, node: &NodeSlot, asked: PodsAsked<'_>) -> Vec<PodUsage> {
        let PodsAsked { scope, labels, chosen, containers } = asked;
        // In this order: the view has this tick, or a newer one too.
        let (tick, view) = (node.newest(), node.view());
        let Some(newest) = Newest::of(&view, tick, &newest_usage::needs) else {
            return Vec::new();
        };
        let roster = &newest.schema.roster;
        let pods = match scope {
            PodScope::Cluster => &roster.pods,
            PodScope::Namespace(name) => roster.pods_of(name),
            PodScope::One(namespace, name) => {
                roster.pod(namespace, name).map_or(&[][..], std::slice::from_ref)
            }
        };
        let pods = pods.iter().filter(|pod| chosen(&pod.key.namespace, &pod.key.name));
        let labelled: Vec<(&Pod, Arc<str>)> = {
            // Held for the pods of one node only.
            let inventory = self.model.inventory();
            let labelled =
                pods.filter_map(|pod| Some((pod, own_labels(pod, inventory.as_deref())?)));
            labelled.filter(|(_, own)| labels.matches(own)).collect()
        };
        if labelled.is_empty() {
            return Vec::new();
        }
        let columns = UsageColumns::of(&newest);
        let pods = labelled.into_iter().filter_map(|(pod, labels)| {
            let (interval, containers) = columns.usage_of_pod(pod, containers)?;
            Some(PodUsage { key: pod.key.clone(), labels, interval, containers })
        });
        pods.collect()
    }
}

/// A pod that moved may still be on its old node: the one that was read last is it.
fn sorted(mut found: Vec<PodUsage>) -> Vec<PodUsage> {
    found.sort_by(|one, other| one.key.cmp(&other.key).then(other.interval.cmp(&one.interval)));
    found.dedup_by(|one, other| one.key == other.key);
    found
}

/// A pod's labels as they are now; `None` when the API server knew the pod and has it no longer.
fn own_labels(pod: &Pod, now: Option<&Inventory>) -> Option<Arc<str>> {
    let labels = |known: &Arc<PodRecord>| Arc::clone(&known.own_labels);
    match (now, &pod.record) {
        (Some(inventory), Some(_)) => inventory.pod_of_uid(&pod.uid).map(labels),
        (_, known) => Some(known.as_ref().map(labels).unwrap_or_default()),
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
