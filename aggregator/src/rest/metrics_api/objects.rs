//! Usage as objects of the API, whatever they are written in.

use tally_proto::name::ContainerName;

use super::{
    quantity::{Unit, push_bytes, push_decimal},
    route::Subjects,
};
use crate::query::usage::{ContainerUsage, Interval, NodeUsage, PodUsage, SeenPod, Usage};

/// Nodes or pods.
#[derive(Debug)]
pub(super) enum Objects {
    Nodes(Vec<NodeUsage>),
    Pods(Vec<PodUsage>),
}

/// One node or pod.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a> {
    pub namespace: Option<&'a str>,
    pub name: &'a str,
    /// `key:value`, with commas between.
    pub labels: &'a str,
    pub interval: Interval,
    pub amounts: Amounts<'a>,
}

/// What an object uses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Amounts<'a> {
    Whole(&'a Usage),
    Containers(&'a [ContainerUsage]),
    Seen(&'a [ContainerUsage<&'a ContainerName>]),
}

/// What can be used, sorted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Resource {
    Cpu,
    EphemeralStorage,
    Memory,
    Swap,
}

impl Objects {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Nodes(nodes) => nodes.len(),
            Self::Pods(pods) => pods.len(),
        }
    }

    /// About how many bytes of memory they take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Nodes(nodes) => size_of_val(nodes.as_slice()),
            Self::Pods(pods) => {
                let containers = pods.iter().map(|pod| size_of_val(&*pod.containers));
                size_of_val(pods.as_slice()) + containers.sum::<usize>()
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Object<'_>> {
        match self {
            Self::Nodes(nodes) => nodes.get(index).map(|node| Object {
                namespace: None,
                name: &node.name,
                labels: &node.labels,
                interval: node.interval,
                amounts: Amounts::Whole(&node.usage),
            }),
            Self::Pods(pods) => pods.get(index).map(|pod| Object {
                namespace: Some(&pod.key.namespace),
                name: &pod.key.name,
                labels: &pod.labels,
                interval: pod.interval,
                amounts: Amounts::Containers(&pod.containers),
            }),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Object<'_>> {
        (0..self.len()).map_while(|index| self.get(index))
    }
}

impl Object<'_> {
    /// The whole of a resource, over all containers that have it.
    pub(super) fn total(&self, resource: Resource) -> Option<u64> {
        match self.amounts {
            Amounts::Whole(usage) => resource.of(usage),
            of_pod => {
                let amounts = of_pod.containers().filter_map(|(_, usage)| resource.of(usage));
                amounts.reduce(u64::saturating_add)
            }
        }
    }
}

impl<'a> From<&'a SeenPod<'_, '_>> for Object<'a> {
    fn from(seen: &'a SeenPod<'_, '_>) -> Self {
        Self {
            namespace: Some(&seen.key.namespace),
            name: &seen.key.name,
            labels: seen.labels.map_or("", |labels| labels),
            interval: seen.interval,
            amounts: Amounts::Seen(seen.containers),
        }
    }
}

impl<'a> Amounts<'a> {
    /// The containers of a pod, each by its name.
    pub(super) fn containers(self) -> impl Iterator<Item = (&'a str, &'a Usage)> {
        let (kept, seen): (&[ContainerUsage], &[ContainerUsage<&ContainerName>]) = match self {
            Self::Whole(_) => (&[], &[]),
            Self::Containers(kept) => (kept, &[]),
            Self::Seen(seen) => (&[], seen),
        };
        let kept = kept.iter().map(|one| (one.name.as_str(), &one.usage));
        kept.chain(seen.iter().map(|one| (one.name.as_str(), &one.usage)))
    }
}

impl Resource {
    pub(super) const ALL: [Self; 4] = [Self::Cpu, Self::EphemeralStorage, Self::Memory, Self::Swap];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::EphemeralStorage => "ephemeral-storage",
            Self::Memory => "memory",
            Self::Swap => "swap",
        }
    }

    pub(super) fn of(self, usage: &Usage) -> Option<u64> {
        match self {
            Self::Cpu => Some(usage.cpu_nanocores),
            Self::EphemeralStorage => usage.ephemeral_storage_bytes,
            Self::Memory => Some(usage.memory_bytes),
            Self::Swap => usage.swap_bytes,
        }
    }

    /// Appends an amount of it.
    pub(super) fn push(self, amount: u64, out: &mut Vec<u8>) {
        match self {
            Self::Cpu => push_decimal(amount, Unit::Billionths, out),
            Self::EphemeralStorage | Self::Memory | Self::Swap => push_bytes(amount, out),
        }
    }
}

/// What there is of each resource, sorted by name.
pub(super) fn amounts(usage: &Usage) -> impl Iterator<Item = (Resource, u64)> {
    Resource::ALL.into_iter().filter_map(|resource| Some((resource, resource.of(usage)?)))
}

impl Subjects {
    /// The kind of one of them.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nodes | Self::Node(_) => "NodeMetrics",
            Self::Pods | Self::PodsOf(_) | Self::Pod(..) => "PodMetrics",
        }
    }
}
