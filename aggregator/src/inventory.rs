//! What only the API server knows: requests, limits, labels, capacities, and names by id.
//!
//! A pure table of records. What feeds it (a file of LIST answers, later a watch) builds a new
//! one and swaps it in; with no Kubernetes it stays empty and nothing is made up.

mod objects;
mod quantity;

use std::{collections::HashMap, sync::Arc};

pub use objects::{BadObjects, add_list};
use tally_proto::{
    declaration::PodKey,
    metric::MetricName,
    name::{ContainerId, ContainerName, ImageName, NamespaceName, NodeName, PodUid},
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
    pub labels: String,
    /// What it has.
    pub capacity: Resources,
    /// What it can give to pods.
    pub allocatable: Resources,
}

/// A pod as the API server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// Namespace and name.
    pub key: PodKey,
    /// Its uid; of a static pod, its mirror's.
    pub uid: PodUid,
    /// Its labels in Heapster's form.
    pub labels: String,
    /// Its containers in the order of its specification.
    pub containers: Vec<ContainerRecord>,
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
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    nodes: HashMap<NodeName, Arc<NodeRecord>>,
    pods: HashMap<PodKey, Arc<PodRecord>>,
    keys: HashMap<PodUid, PodKey>,
    namespaces: HashMap<NamespaceName, Arc<str>>,
}

impl Inventory {
    /// Adds or replaces a node.
    pub fn add_node(&mut self, node: NodeRecord) {
        self.nodes.insert(node.name.clone(), Arc::new(node));
    }

    /// Adds or replaces a pod.
    pub fn add_pod(&mut self, pod: PodRecord) {
        self.keys.insert(pod.uid.clone(), pod.key.clone());
        self.pods.insert(pod.key.clone(), Arc::new(pod));
    }

    /// Adds or replaces a namespace.
    pub fn add_namespace(&mut self, name: NamespaceName, uid: Arc<str>) {
        self.namespaces.insert(name, uid);
    }

    /// The node of that name.
    pub fn node(&self, name: &NodeName) -> Option<&Arc<NodeRecord>> {
        self.nodes.get(name)
    }

    /// The pod of that namespace and name.
    pub fn pod(&self, key: &PodKey) -> Option<&Arc<PodRecord>> {
        self.pods.get(key)
    }

    /// The pod of that uid.
    pub fn pod_of_uid(&self, uid: &PodUid) -> Option<&Arc<PodRecord>> {
        self.pods.get(self.keys.get(uid)?)
    }

    /// The uid of a namespace.
    pub fn namespace_uid(&self, name: &NamespaceName) -> Option<&Arc<str>> {
        self.namespaces.get(name)
    }
}
