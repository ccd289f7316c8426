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
    pub pods: RwLock<BTreeMap<PodName, Places>>,
}

/// The nodes that a pod is or was on: most are on one for all of their lives.
#[derive(Debug)]
pub enum Places {
    /// Only one.
    One(Place),
    /// Several, or none any longer.
    Many(Box<[Place]>),
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
        super::read(&self.pods).get(pod).map(|places| places.all().to_vec()).unwrap_or_default()
    }

    /// The node of each pod; of one that was on several, each.
    pub fn nodes(&self) -> Vec<Arc<NodeSlot>> {
        let pods = super::read(&self.pods);
        pods.values().flat_map(Places::all).map(|place| Arc::clone(&place.node)).collect()
    }

    /// Names of the pods that a node has delivered since `recent`, sorted.
    pub fn present_pods(&self, recent: Tick) -> Vec<PodName> {
        let pods = super::read(&self.pods);
        let present = pods.iter().filter(|(_, places)| places.is_present(recent));
        present.map(|(name, _)| name.clone()).collect()
    }

    /// Pods that it has or had within the window.
    pub fn pods_so_far(&self) -> usize {
        super::read(&self.pods).len()
    }

    /// Whether it has such a pod.
    pub fn has_present_pod(&self, recent: Tick) -> bool {
        super::read(&self.pods).values().any(|places| places.is_present(recent))
    }

    fn come(&self, pod: &PodName, node: &Arc<NodeSlot>) {
        let mut pods = super::write(&self.pods);
        let place = Place { node: Arc::clone(node), gone: None };
        match pods.get_mut(pod) {
            Some(places) => places.add(place),
            None => {
                pods.insert(pod.clone(), Places::One(place));
            }
        }
    }

    fn go(&self, pod: &PodName, node: &Arc<NodeSlot>, tick: Tick) {
        let mut pods = super::write(&self.pods);
        if let Some(place) = pods.get_mut(pod).and_then(|places| places.on(node)) {
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
            })
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

impl Places {
    fn all(&self) -> &[Place] {
        match self {
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }

    fn is_present(&self, recent: Tick) -> bool {
        self.all().iter().any(|place| place.is_present(recent))
    }

    fn on(&mut self, node: &Arc<NodeSlot>) -> Option<&mut Place> {
        let places = match self {
            Self::One(place) => std::slice::from_mut(place),
            Self::Many(places) => places,
        };
        places.iter_mut().find(|place| Arc::ptr_eq(&place.node, node))
    }

    /// Adds a place, or takes it for the one on the same node.
    fn add(&mut self, new: Place) {
        match self.on(&new.node) {
            Some(known) => *known = new,
            None => *self = Self::Many(self.all().iter().cloned().chain([new]).collect()),
        }
    }

    /// Forgets the places that are not to `keep`. Whether any remains.
    fn retain(&mut self, keep: impl Fn(&Place) -> bool) -> bool {
        if self.all().iter().all(&keep) {
            return true;
        }
        let mut left: Vec<Place> = self.all().iter().filter(|place| keep(place)).cloned().collect();
        *self = match (left.pop(), left.is_empty()) {
            (Some(only), true) => Self::One(only),
            (last, _) => Self::Many(left.into_iter().chain(last).collect()),
        };
        !self.all().is_empty()
    }
}

impl Directory {
    /// Whether all namespaces of a roster are known, as [`Self::change_roster`] needs them.
    pub fn knows(&self, roster: &Roster) -> bool {
        roster.pods.iter().all(|pod| self.namespaces.contains_key(&pod.key.namespace))
    }

    /// Adds the namespaces of a roster that are new.
    pub fn add_namespaces(&mut self, roster: &Roster, new_sums: impl Fn() -> Sums) {
        for namespace in roster.pods.iter().map(|pod| &pod.key.namespace) {
            if !self.namespaces.contains_key(namespace) {
                let new = Arc::new(Namespace::new(new_sums()));
                self.namespaces.insert(namespace.clone(), new);
            }
        }
    }

    /// Notes that a node's roster changed at `tick`: which pods came and went.
    pub fn change_roster(
        &self,
        node: &Arc<NodeSlot>,
        before: Option<&Roster>,
        now: &Roster,
        tick: Tick,
    ) {
        for pod in &now.pods {
            if let Some(namespace) = self.namespaces.get(&pod.key.namespace) {
                namespace.come(&pod.key.name, node);
            }
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

#[cfg(test)]
mod tests {
    use tally_proto::{
        declaration::{EntityNumber, PodKey},
        name::PodUid,
        tick::Resolution,
    };

    use super::*;
    use crate::{model::writer::NodeWriter, roster::Pod};

    fn node(name: &str) -> Arc<NodeSlot> {
        let name = NodeName::parse(name).unwrap();
        let resolution = Resolution::from_seconds(1).unwrap();
        let writer = NodeWriter::new(name.clone(), resolution, 3, Tick(0));
        Arc::new(NodeSlot::new(name, writer))
    }

    /// The nodes of the pod `p`, and since when it is gone from them.
    #[track_caller]
    fn check(namespace: &Namespace, expected: &[(&str, Option<u64>)]) {
        let places = namespace.places("p");
        let found = places.iter().map(|place| (&*place.node.name, place.gone.map(|tick| tick.0)));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_namespace_is_added_once_and_keeps_its_sums() {
        let pod = |namespace: &str| Pod {
            key: PodKey {
                namespace: NamespaceName::parse(namespace).unwrap(),
                name: PodName::parse("p").unwrap(),
            },
            uid: PodUid::parse("u").unwrap(),
            namespace_uid: None,
            record: None,
            row: EntityNumber(0),
            containers: Vec::new(),
        };
        let roster = |namespaces: &[&str]| Roster {
            pods: namespaces.iter().map(|namespace| pod(namespace)).collect(),
            ..Roster::default()
        };
        let new_sums = || Sums::new(Resolution::from_seconds(1).unwrap(), 3);
        let (mut directory, one, two) =
            (Directory::default(), roster(&["shop"]), roster(&["batch", "shop"]));
        assert!(directory.knows(&roster(&[])) && !directory.knows(&one));
        directory.add_namespaces(&one, new_sums);
        assert!(directory.knows(&one) && !directory.knows(&two));
        let sums = Arc::clone(&directory.namespaces.get("shop").unwrap().sums);
        directory.change_roster(&node("a"), None, &one, Tick(1));
        directory.add_namespaces(&two, new_sums);
        assert!(directory.knows(&two));
        let shop = directory.namespaces.get("shop").unwrap();
        assert!(Arc::ptr_eq(&shop.sums, &sums));
        check(shop, &[("a", None)]);
    }

    #[test]
    fn a_pod_that_moves_is_on_each_node_until_that_left_the_window() {
        let namespace = Namespace::new(Sums::new(Resolution::from_seconds(1).unwrap(), 3));
        let (pod, nodes) = (PodName::parse("p").unwrap(), ["a", "b", "c"].map(node));
        let [a, b, c] = &nodes;
        namespace.come(&pod, a);
        namespace.come(&pod, a);
        check(&namespace, &[("a", None)]);
        namespace.go(&pod, a, Tick(5));
        namespace.come(&pod, b);
        namespace.go(&pod, b, Tick(7));
        namespace.come(&pod, c);
        check(&namespace, &[("a", Some(5)), ("b", Some(7)), ("c", None)]);
        assert!(namespace.sweep(Tick(5)));
        check(&namespace, &[("a", Some(5)), ("b", Some(7)), ("c", None)]);
        assert!(namespace.sweep(Tick(6)));
        check(&namespace, &[("b", Some(7)), ("c", None)]);
        namespace.come(&pod, b);
        check(&namespace, &[("b", None), ("c", None)]);
        namespace.go(&pod, c, Tick(8));
        assert!(namespace.sweep(Tick(9)));
        check(&namespace, &[("b", None)]);
        namespace.go(&pod, b, Tick(9));
        assert!(!namespace.sweep(Tick(10)));
        check(&namespace, &[]);
    }
}
