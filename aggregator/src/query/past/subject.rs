//! Whom a question to history is about.

use tally_proto::{
    entity::Entity,
    name::{ContainerName, PodUid},
};

use super::PastQueries;
use crate::{history::selection::Selection, model::node::NodeSlot};

/// Whom a question to history is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastSubject {
    /// By name: everybody who had it.
    Named(Entity),
    /// The pod of a uid.
    Pod(PodUid),
    /// A container of the pod of a uid.
    Container(PodUid, ContainerName),
}

impl PastSubject {
    pub(super) fn selection(&self) -> Selection {
        match self.clone() {
            Self::Named(Entity::Cluster) => Selection::Cluster,
            Self::Named(Entity::Namespace(namespace)) => Selection::Namespace(Some(namespace)),
            Self::Named(Entity::Node(node)) => Selection::Node(Some(node)),
            Self::Named(Entity::Pod(namespace, pod)) => Selection::Pod(namespace, Some(pod)),
            Self::Named(Entity::PodContainer(namespace, pod, container)) => {
                Selection::PodContainer(namespace, pod, Some(container))
            }
            Self::Named(Entity::FreeContainer(node, container)) => {
                Selection::FreeContainer(node, Some(container))
            }
            Self::Pod(uid) => Selection::PodByUid(uid),
            Self::Container(uid, container) => Selection::ContainerByUid(uid, Some(container)),
        }
    }
}

impl PastQueries {
    /// The entity of the live model that is meant; `None` when no present pod has the uid.
    pub(super) fn entity(&self, subject: &PastSubject) -> Option<Entity> {
        match subject {
            PastSubject::Named(entity) => Some(entity.clone()),
            PastSubject::Pod(uid) => self.present_pod(uid).map(|(pod, _)| pod),
            PastSubject::Container(uid, container) => match self.present_pod(uid)?.0 {
                Entity::Pod(namespace, pod) => {
                    Some(Entity::PodContainer(namespace, pod, container.clone()))
                }
                _ => None,
            },
        }
    }

    /// The present pod of a uid, and its containers. The model knows pods by name, so this looks
    /// at each of them: a millisecond where there are a hundred thousand.
    pub(super) fn present_pod(&self, uid: &PodUid) -> Option<(Entity, Vec<ContainerName>)> {
        self.live.recent_nodes().iter().find_map(|node| pod_on(node, uid))
    }
}

fn pod_on(node: &NodeSlot, uid: &PodUid) -> Option<(Entity, Vec<ContainerName>)> {
    let schema = node.schema()?;
    let pod = schema.roster.pods.iter().find(|pod| pod.uid == *uid)?;
    let entity = Entity::Pod(pod.key.namespace.clone(), pod.key.name.clone());
    Some((entity, pod.containers.iter().map(|container| container.name.clone()).collect()))
}
