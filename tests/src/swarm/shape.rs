//! How large the cluster is, and how much it changes.

/// The most namespaces that pods are spread over: a large cluster has about as many.
pub const NAMESPACES: u64 = 30;

/// A cluster to play. It and the ticks decide every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Decides every name and value.
    pub seed: u64,
    /// Nodes.
    pub nodes: u32,
    /// Pods on each node.
    pub pods: u32,
    /// Containers in each pod.
    pub containers: u32,
    /// Containers of each node that no pod owns.
    pub free_containers: u32,
    /// Namespaces that the pods are spread over, at most [`NAMESPACES`].
    pub namespaces: u64,
    /// Metrics of each entity.
    pub metrics: usize,
    /// Of a million pods, how many are replaced at each tick.
    pub churn_ppm: u64,
    /// Seconds from tick to tick.
    pub resolution_s: u32,
}

impl Shape {
    /// Entities of one node, itself included.
    pub fn entities_per_node(&self) -> u32 {
        1 + self.pods * (1 + self.containers) + self.free_containers
    }

    /// Entities of all nodes.
    pub fn entities(&self) -> u64 {
        u64::from(self.nodes) * u64::from(self.entities_per_node())
    }
}
