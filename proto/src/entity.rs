//! `Entity`: what a metric is about. The key of every table, never a formatted string.

use std::fmt;

use crate::name::{ContainerName, NamespaceName, NodeName, PodName};

/// What a metric is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// All namespaces together.
    Cluster,
    /// All pods of one namespace.
    Namespace(NamespaceName),
    /// One host.
    Node(NodeName),
    /// One pod; several pods may have had this name one after the other.
    Pod(NamespaceName, PodName),
    /// One container of a pod.
    PodContainer(NamespaceName, PodName, ContainerName),
    /// A container, service or slice of a node that no pod owns.
    FreeContainer(NodeName, ContainerName),
}

/// Heapster's key of a metric set, as `debug/allkeys` lists it.
impl fmt::Display for Entity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => out.write_str("cluster"),
            Self::Namespace(namespace) => write!(out, "namespace:{namespace}"),
            Self::Node(node) => write!(out, "node:{node}"),
            Self::Pod(namespace, pod) => write!(out, "namespace:{namespace}/pod:{pod}"),
            Self::PodContainer(namespace, pod, container) => {
                write!(out, "namespace:{namespace}/pod:{pod}/container:{container}")
            }
            Self::FreeContainer(node, container) => {
                write!(out, "node:{node}/container:{container}")
            }
        }
    }
}
