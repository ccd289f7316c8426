//! Pods of all nodes, looked at node by node on several cores, and put in order.
//!
//! With 150,000 pods most of the time is spent on waiting for memory. So what is made of a pod is made
//! while the numbers of its node are at hand, and what is put in order is small.

use std::{cmp::Ordering, collections::HashMap};

use rayon::prelude::*;
use tally_proto::{
    declaration::PodKey,
    name::{NamespaceName, PodName},
};

use super::{Interval, NodeView, PodsAsked, Queries, SeenPod};

/// Nodes that one core is given at least: half a millisecond of work, so that a few of them are not
/// shared.
const NODES_AT_ONCE: usize = 64;

/// Where the pod is that comes next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'v> {
    /// The node's place among those that were looked at.
    pub node: usize,
    /// The pod's place among those that the node has shown.
    pub pod: usize,
    key: &'v PodKey,
    /// How its name begins, so that names need not be looked at to tell most from each other.
    begins: u128,
    interval: Interval,
}

impl Queries {
    /// Shows the pods of some nodes, each with what was made of its node's pods so far, beginning with
    /// `start`. What was made of each node's, and where each pod is, by namespace and name.
    pub(super) fn in_order<'v, M: Send>(
        &self,
        views: &'v [NodeView],
        asked: PodsAsked<'_>,
        start: impl Fn() -> M + Sync,
        make: impl Fn(&mut M, &SeenPod<'v, '_>) + Sync,
    ) -> (Vec<M>, Vec<Place<'v>>) {
        let of_node = |(node, view): (usize, &'v NodeView)| {
            let (mut made, mut places) = (start(), Vec::new());
            self.see_pods(view, asked, |seen| {
                make(&mut made, seen);
                let (key, interval) = (seen.key, seen.interval);
                let begins = beginning(&key.name);
                places.push(Place { node, pod: places.len(), key, begins, interval });
            });
            (made, places)
        };
        let views = views.par_iter().with_min_len(NODES_AT_ONCE).enumerate();
        let (made, places): (Vec<M>, Vec<_>) = views.map(of_node).unzip();
        (made, sorted(places.into_iter().flatten()))
    }
}

/// A pod that moved may still be on its old node: the one that was read last is it.
fn sorted<'v>(places: impl Iterator<Item = Place<'v>>) -> Vec<Place<'v>> {
    // First by namespace: what is compared after that fits into a cache.
    let mut number_of: HashMap<&NamespaceName, usize> = HashMap::new();
    let mut of_namespaces: Vec<(&NamespaceName, Vec<Place<'v>>)> = Vec::new();
    let mut last = None;
    for place in places {
        let namespace = &place.key.namespace;
        let number = match last {
            Some((known, number)) if known == namespace => number,
            _ => *number_of.entry(namespace).or_insert_with(|| {
                of_namespaces.push((namespace, Vec::new()));
                of_namespaces.len() - 1
            }),
        };
        last = Some((namespace, number));
        if let Some((_, places)) = of_namespaces.get_mut(number) {
            places.push(place);
        }
    }
    of_namespaces.sort_unstable_by_key(|(namespace, _)| *namespace);
    of_namespaces.par_iter_mut().for_each(|(_, places)| {
        places.par_sort_unstable_by(|one, other| {
            by_name(one, other).then(other.interval.cmp(&one.interval))
        });
        places.dedup_by(|one, other| by_name(one, other) == Ordering::Equal);
    });
    of_namespaces.into_iter().flat_map(|(_, places)| places).collect()
}

fn by_name(one: &Place<'_>, other: &Place<'_>) -> Ordering {
    one.begins.cmp(&other.begins).then_with(|| one.key.name.cmp(&other.key.name))
}

/// The first bytes of a name, as a number of the same order.
fn beginning(name: &PodName) -> u128 {
    let mut first = [0; 16];
    first.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place = byte);
    u128::from_be_bytes(first)
}
