//! What only the API server knows: requests, limits, labels, capacities, owners, and names by id.
//!
//! A pure table of records. It is fed by a file of LIST answers, or object by object as a [`feed`]
//! of a watch has them; each change says which nodes it touches. With no Kubernetes it stays empty
//! and nothing is made up.

pub mod feed;
mod gone;
mod objects;
mod owner;
mod quantity;
mod shared;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use self::{feed::Kind, gone::Gone, shared::Shared};
pub use objects::{BadObjects, LabelForm, Object, add_list};
use tally_proto::{
    declaration::PodKey,
    metric::{Labels, MetricName},
    name::{
        ContainerId, ContainerName, ImageName, Names, NamespaceName, NodeName, PodUid,
        WorkloadKind, WorkloadName,
    },
    tick::UnixMs,
};

/// Amounts of the three resources that Heapster knows; absent where the object names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_millicores: Option<i64>,
    /// Memory in bytes.
    pub memory_bytes: Option<i64>,
    /// Ephemeral storage in bytes.
    pub ephemeral_storage_bytes: Option<i64>,
}

/// A node as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its name.
    pub name: NodeName,
    /// Its host's own name: the last Hostname address, else the node's name.
    pub hostname: String,
    /// Its externalID; empty when it has none.
    pub host_id: String,
    /// Its labels in Heapster's form.
    pub labels: Arc<str>,
    /// All of its labels, `key:value` with commas between, whatever Heapster's form is.
    pub own_labels: Arc<str>,
    /// Those of its labels that are stored as labels of their own, under the names that they have
    /// there; none for most.
    pub stored_labels: Option<Arc<Labels>>,
    /// What it has.
    pub capacity: Resources,
    /// What it can give to pods.
    pub allocatable: Resources,
}

/// What a pod belongs to: a Deployment, StatefulSet, DaemonSet, CronJob, Job or the like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name; its namespace is its pods'.
    pub name: WorkloadName,
}

/// A pod as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// Namespace and name.
    pub key: PodKey,
    /// Its uid; of a static pod, its mirror's.
    pub uid: PodUid,
    /// Of a static pod, the uid that its node calls it by.
    pub static_uid: Option<PodUid>,
    /// The node that it was given to.
    pub node: Option<NodeName>,
    /// What it belongs to.
    pub workload: Option<Arc<Workload>>,
    /// Its labels in Heapster's form.
    pub labels: Arc<str>,
    /// All of its labels, `key:value` with commas between, whatever Heapster's form is.
    pub own_labels: Arc<str>,
    /// Those of its labels that are stored as labels of their own, and of its containers, under the
    /// names that they have there; none for most.
    pub stored_labels: Option<Arc<Labels>>,
    /// Its containers in the order of its specification.
    pub containers: Box<[ContainerRecord]>,
    /// Its init and debug containers: they have ids and names, and do not count.
    pub helpers: Box<[HelperRecord]>,
}

/// An init or debug container of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperRecord {
    /// Its name.
    pub name: ContainerName,
    /// The runtime's id of its present life.
    pub id: ContainerId,
}

/// A container as its pod's specification and status know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Its name.
    pub name: ContainerName,
    /// Its image.
    pub image: Option<ImageName>,
    /// The runtime's id of its present life.
    pub id: Option<ContainerId>,
    /// What it is guaranteed.
    pub requests: Resources,
    /// What it may not exceed.
    pub limits: Resources,
    /// Requests of other resources, as metrics: `nvidia.com/gpu/request`.
    pub extended: Vec<(MetricName, i64)>,
    /// How often it was restarted.
    pub restart_count: Option<i64>,
}

/// All records.
#[derive(Debug, Default)]
pub struct Inventory {
    nodes: HashMap<NodeName, Arc<NodeRecord>>,
    pods: HashMap<PodKey, Arc<PodRecord>>,
    /// By uid, static pods also by their nodes' uid.
    pods_by_uid: HashMap<PodUid, Arc<PodRecord>>,
    namespaces: HashMap<NamespaceName, Arc<str>>,
    /// Pods that are gone, for frames of before.
    gone: Gone,
    /// What many records say in the same words, each kept once.
    names: Names,
    labels: Shared<str>,
    stored_labels: Shared<Labels>,
    workloads: Shared<Workload>,
}

/// Who must hear of a change: frames of these nodes mean something else from now on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// These nodes.
    pub nodes: Vec<NodeName>,
    /// Every node that has a pod of these namespaces.
    pub namespaces: Vec<NamespaceName>,
}

impl Inventory {
    /// Adds or replaces a node.
    pub fn add_node(&mut self, node: NodeRecord) -> Touched {
        if self.nodes.get(&node.name).is_some_and(|known| **known == node) {
            return Touched::default();
        }
        let touched = Touched { nodes: vec![node.name.clone()], ..Touched::default() };
        self.nodes.insert(node.name.clone(), Arc::new(node));
        touched
    }

    /// Removes a node; its pods stay until they are removed.
    pub fn remove_node(&mut self, name: &NodeName) -> Touched {
        let gone = self.nodes.remove(name).map(|node| node.name.clone());
        Touched { nodes: gone.into_iter().collect(), ..Touched::default() }
    }

    /// Adds a pod.
    pub fn add_pod(&mut self, pod: PodRecord) -> Touched {
        self.add_pod_at(pod, None)
    }

    /// Adds a pod, in place of any that had its name, which is gone since `now` if it was another.
    fn add_pod_at(&mut self, mut pod: PodRecord, now: Option<UnixMs>) -> Touched {
        let known = self.pods.get(&pod.key).cloned();
        if known.as_ref().is_some_and(|known| **known == pod) {
            return Touched::default();
        }
        let mut touched = Touched::default();
        if let Some(known) = known {
            let other = now.filter(|_| known.uid != pod.uid);
            touched = self.forget(&known, other);
        }
        self.share(&mut pod);
        let pod = Arc::new(pod);
        for uid in [Some(&pod.uid), pod.static_uid.as_ref()].into_iter().flatten() {
            self.pods_by_uid.insert(uid.clone(), Arc::clone(&pod));
        }
        self.pods.insert(pod.key.clone(), Arc::clone(&pod));
        touched.add_node(pod.node.clone());
        touched
    }

    /// Removes a pod, unless another has its name by now.
    fn remove_pod(&mut self, key: &PodKey, uid: &PodUid, now: UnixMs) -> Touched {
        match self.pods.get(key).filter(|pod| pod.uid == *uid).cloned() {
            Some(pod) => self.forget(&pod, Some(now)),
            None => Touched::default(),
        }
    }

    /// Takes a pod out; it is remembered as one that is gone since then.
    fn forget(&mut self, pod: &Arc<PodRecord>, gone: Option<UnixMs>) -> Touched {
        if let Some(gone) = gone {
            self.gone.add(Arc::clone(pod), gone);
        }
        self.pods.remove(&pod.key);
        for uid in [Some(&pod.uid), pod.static_uid.as_ref()].into_iter().flatten() {
            // A static pod's mirror is made anew with another uid, the node's stays the same.
            if self.pods_by_uid.get(uid).is_some_and(|known| known.key == pod.key) {
                self.pods_by_uid.remove(uid);
            }
        }
        let mut touched = Touched::default();
        touched.add_node(pod.node.clone());
        touched
    }

    /// Adds or replaces a namespace.
    pub fn add_namespace(&mut self, name: NamespaceName, uid: Arc<str>) -> Touched {
        if self.namespaces.get(&name) == Some(&uid) {
            return Touched::default();
        }
        self.namespaces.insert(name.clone(), uid);
        Touched { namespaces: vec![name], ..Touched::default() }
    }

    /// Removes a namespace.
    pub fn remove_namespace(&mut self, name: &NamespaceName) -> Touched {
        let gone = self.namespaces.remove(name).map(|_| name.clone());
        Touched { namespaces: gone.into_iter().collect(), ..Touched::default() }
    }

    /// Removes all nodes but these.
    fn keep_nodes(&mut self, listed: &HashSet<NodeName>) -> Touched {
        let gone = self.nodes.keys().filter(|name| !listed.contains(*name));
        let gone: Vec<NodeName> = gone.cloned().collect();
        let removed = gone.iter().map(|name| self.remove_node(name));
        removed.fold(Touched::default(), Touched::and)
    }

    /// Removes all namespaces but these.
    fn keep_namespaces(&mut self, listed: &HashSet<NamespaceName>) -> Touched {
        let gone = self.namespaces.keys().filter(|name| !listed.contains(*name));
        let gone: Vec<NamespaceName> = gone.cloned().collect();
        let removed = gone.iter().map(|name| self.remove_namespace(name));
        removed.fold(Touched::default(), Touched::and)
    }

    /// Removes all pods but these.
    fn keep_pods(&mut self, listed: &HashSet<PodKey>, now: UnixMs) -> Touched {
        let gone = self.pods.values().filter(|pod| !listed.contains(&pod.key));
        let gone: Vec<Arc<PodRecord>> = gone.cloned().collect();
        let mut nodes = HashSet::new();
        for pod in gone {
            nodes.extend(self.forget(&pod, Some(now)).nodes);
        }
        Touched { nodes: nodes.into_iter().collect(), ..Touched::default() }
    }

    /// Takes what others say too from them.
    fn share(&mut self, pod: &mut PodRecord) {
        pod.key.namespace.share(&mut self.names);
        if let Some(node) = &mut pod.node {
            node.share(&mut self.names);
        }
        for container in &mut pod.containers {
            container.name.share(&mut self.names);
            if let Some(image) = &mut container.image {
                image.share(&mut self.names);
            }
        }
        for helper in &mut pod.helpers {
            helper.name.share(&mut self.names);
        }
        self.labels.share(&mut pod.labels);
        self.labels.share(&mut pod.own_labels);
        if let Some(stored) = &mut pod.stored_labels {
            self.stored_labels.share(stored);
        }
        if let Some(workload) = &mut pod.workload {
            self.workloads.share(workload);
        }
    }

    /// Forgets pods that are gone for long, and words that no record says any longer; to be called
    /// once in a while.
    pub fn sweep(&mut self, now: UnixMs) {
        self.gone.sweep(now);
        self.names.sweep();
        self.labels.sweep();
        self.stored_labels.sweep();
        self.workloads.sweep();
    }

    /// How many objects of a kind are known.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Node => self.nodes.len(),
            Kind::Namespace => self.namespaces.len(),
            Kind::Pod => self.pods.len(),
        }
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Arc<NodeRecord>> {
        self.nodes.get(name)
    }

    /// The pod of that namespace and name.
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<PodRecord>> {
        self.pods.get(key)
    }

    /// The pod of that uid: the API server's, or of a static pod its node's.
    pub fn pod_of_uid(&self, uid: &PodUid) -> Option<&Arc<PodRecord>> {
        self.pods_by_uid.get(uid)
    }

    /// The pod of that uid that was gone at some time, and since when.
    pub fn gone_pod(&self, uid: &PodUid) -> Option<(&Arc<PodRecord>, UnixMs)> {
        self.gone.get(uid)
    }

    /// The uid of a namespace.
    pub fn namespace_uid(&self, name: &NamespaceName) -> Option<&Arc<str>> {
        self.namespaces.get(name)
    }
}

impl Touched {
    fn add_node(&mut self, node: Option<NodeName>) {
        let new = node.filter(|node| !self.nodes.contains(node));
        self.nodes.extend(new);
    }

    /// With what another change touches.
    pub fn and(mut self, other: Self) -> Self {
        self.nodes.extend(other.nodes);
        self.namespaces.extend(other.namespaces);
        self
    }
}

impl PodRecord {
    /// The name of the container with that id, whichever kind it is.
    pub fn container_name(&self, id: &ContainerId) -> Option<&ContainerName> {
        let container = self.containers.iter().find(|container| container.id.as_ref() == Some(id));
        let helper = || self.helpers.iter().find(|helper| helper.id == *id);
        container.map(|known| &known.name).or_else(|| helper().map(|known| &known.name))
    }
}
