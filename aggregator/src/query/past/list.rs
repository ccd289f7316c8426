//! Lists of names: who was there.

use std::ops::Deref;

use tally_proto::name::{NamespaceName, NodeName, PodName, PodUid};

use super::{PastQueries, TickRange};
use crate::history::{life::Who, selection::Selection};

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastList {
    /// Nodes.
    Nodes,
    /// Namespaces.
    Namespaces,
    /// Pods of a namespace.
    Pods(String),
    /// Containers of the pods of a namespace and name.
    Containers(String, String),
    /// Containers of the pod of a uid.
    ContainersOf(String),
    /// Free containers of a node.
    FreeContainers(String),
}

impl PastList {
    /// Whom to look for; `None` when nothing can have such a name.
    pub(super) fn selection(&self) -> Option<Selection> {
        Some(match self {
            Self::Nodes => Selection::Node(None),
            Self::Namespaces => Selection::Namespace(None),
            Self::Pods(namespace) => Selection::Pod(NamespaceName::parse(namespace).ok()?, None),
            Self::Containers(namespace, pod) => Selection::PodContainer(
                NamespaceName::parse(namespace).ok()?,
                PodName::parse(pod).ok()?,
                None,
            ),
            Self::ContainersOf(uid) => Selection::ContainerByUid(PodUid::parse(uid).ok()?, None),
            Self::FreeContainers(node) => {
                Selection::FreeContainer(NodeName::parse(node).ok()?, None)
            }
        })
    }

    /// What the list calls one that was found.
    pub(super) fn name_of<'a>(&self, who: &'a Who) -> Option<&'a str> {
        match (self, who) {
            (Self::Nodes, Who::Node(node)) => Some(node),
            (Self::Namespaces, Who::Namespace(namespace)) => Some(namespace),
            (Self::Pods(_), Who::InPod(in_pod)) => Some(&in_pod.pod),
            (Self::Containers(..) | Self::ContainersOf(_), Who::InPod(in_pod)) => {
                in_pod.container.as_deref()
            }
            (Self::FreeContainers(_), Who::FreeContainer(_, container)) => Some(container),
            _ => None,
        }
    }
}

impl PastQueries {
    /// Whether what is present in the live model is in a range.
    pub(super) fn reaches_now(&self, range: TickRange) -> bool {
        let present = self.live.recent_range();
        present.is_some_and(|present| range.first <= present.last && present.first <= range.last)
    }

    /// Names that the live model has.
    pub(super) fn live_names(&self, list: &PastList) -> Vec<String> {
        match list {
            PastList::Nodes => texts(self.live.nodes()),
            PastList::Namespaces => texts(self.live.namespaces()),
            PastList::Pods(namespace) => texts(self.live.pods(namespace)),
            PastList::Containers(namespace, pod) => texts(self.live.containers(namespace, pod)),
            PastList::ContainersOf(uid) => {
                let pod = PodUid::parse(uid).ok().and_then(|uid| self.present_pod(&uid));
                pod.map_or_else(Vec::new, |(_, containers)| texts(containers))
            }
            PastList::FreeContainers(node) => texts(self.live.free_containers(node)),
        }
    }
}

fn texts<N: Deref<Target = str>>(names: Vec<N>) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}
