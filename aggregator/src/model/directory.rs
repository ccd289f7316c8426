//! Where things are: which node, or which nodes one after the other, a pod's frames came from.
//!
//! It changes only when something comes or goes; frames do not touch it. Locks are held to copy
//! pointers and names, never while an answer is worked out or written.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, RwLock},
};

use tally_proto::{
    name::{NamespaceName, NodeName, PodName},
    tick::Tick,
};

use super::node::NodeSlot;
use crate::{rollup::sums::Sums, roster::Roster};

/// Nodes and namespaces by name.
#[derive(Debug, Default)]
pub struct Directory {
    /// Every node that delivered within the window.
    pub nodes: BTreeMap<NodeName, Arc<NodeSlot>>,
    /// Every namespace that had a pod within the window.
    pub namespaces: BTreeMap<NamespaceName, Arc<Namespace>>,
}

/// Sums that several nodes add to: held for one frame's additions, or to copy one series.
pub type SharedSums = Arc<Mutex<Sums>>;

/// A namespace: its sums, and where its pods are.
#[derive(Debug)]
pub struct Namespace {
    /// Its sums.
    pub sums: SharedSums,
    /// The nodes of each pod.
    pub pods: RwLock<BTreeMap<PodName, Vec<Place>>>,
}

/// One node that a pod is or was on.
#[derive(Clone, Debug)]
pub struct Place {
    /// The node.
    pub node: Arc<NodeSlot>,
    /// The first tick without the pod; `None` while it is there.
    pub gone: Option<Tick>,
}

impl Namespace {
    /// No pods, no sums.
    pub fn new(sums: Sums) -> Self {
        Self { sums: Arc::new(Mutex::new(sums)), pods: RwLock::default() }
    }

    /// The nodes that a pod is or was on.
    pub fn places(&self, pod: &str) -> Vec<Place> {
        super::read(&self.pods).get(pod).cloned().unwrap_or_default()
    }

    /// Names of the pods that a node has delivered since `recent`, sorted.
    pub fn present_pods(&self, recent: Tick) -> Vec<PodName> {
        let pods = super::read(&self.pods);
        let present = pods.iter().filter(|(_, places)| is_present(places, recent));
        present.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it has such a pod.
    pub fn has_present_pod(&self, recent: Tick) -> bool {
        super::read(&self.pods).values().any(|places| is_present(places, recent))
    }

    fn come(&self, pod: &PodName, node: &Arc<NodeSlot>) {
        let mut pods = super::write(&self.pods);
        // Most pods are on one node for all of their lives.
        let places = pods.entry(pod.clone()).or_insert_with(|| Vec::with_capacity(1));
        match places.iter_mut().find(|place| Arc::ptr_eq(&place.node, node)) {
            Some(place) => place.gone = None,
            None => places.push(Place { node: Arc::clone(node), gone: None }),
        }
    }

    fn go(&self, pod: &PodName, node: &Arc<NodeSlot>, tick: Tick) {
        let mut pods = super::write(&self.pods);
        let places = pods.get_mut(pod).into_iter().flatten();
        for place in places.filter(|place| Arc::ptr_eq(&place.node, node)) {
            place.gone = Some(tick);
        }
    }

    /// Forgets places that were left before `oldest`. Whether any pod remains.
    fn sweep(&self, oldest: Tick) -> bool {
        let mut pods = super::write(&self.pods);
        pods.retain(|_, places| {
            places.retain(|place| match place.gone {
                Some(gone) => oldest <= gone,
                // Before a node's first frame is stored its newest tick is 0.
                None => place.node.newest() == Tick(0) || oldest <= place.node.newest(),
            });
            !places.is_empty()
        });
        !pods.is_empty()
    }
}

impl Place {
    /// Whether the pod is there now: not gone, and its node has delivered since `recent`.
    pub fn is_present(&self, recent: Tick) -> bool {
        self.gone.is_none() && recent <= self.node.newest()
    }
}

fn is_present(places: &[Place], recent: Tick) -> bool {
    places.iter().any(|place| place.is_present(recent))
}

impl Directory {
    /// Notes that a node's roster changed at `tick`: which pods came and went.
    pub fn change_roster(
        &mut self,
        node: &Arc<NodeSlot>,
        before: Option<&Roster>,
        now: &Roster,
        tick: Tick,
        new_sums: impl Fn() -> Sums,
    ) {
        for pod in &now.pods {
            let namespace = self
                .namespaces
                .entry(pod.key.namespace.clone())
                .or_insert_with(|| Arc::new(Namespace::new(new_sums())));
            namespace.come(&pod.key.name, node);
        }
        for pod in before.map_or(&[][..], |before| &before.pods) {
            if now.pod(&pod.key.namespace, &pod.key.name).is_none()
                && let Some(namespace) = self.namespaces.get(&pod.key.namespace)
            {
                namespace.go(&pod.key.name, node, tick);
            }
        }
    }

    /// Forgets what left the window before `oldest`.
    pub fn sweep(&mut self, oldest: Tick) {
        self.namespaces.retain(|_, namespace| namespace.sweep(oldest));
        self.nodes.retain(|_, node| {
            let idle = Arc::strong_count(node) == 1;
            !idle || oldest <= node.newest()
        });
    }
}
