//! What a stream's numbers mean: entities and columns, as types.

use crate::{
    metric::{Labels, MetricName},
    name::{CgroupPath, ContainerId, ContainerName, ImageName, NamespaceName, PodName, PodUid},
    tick::UnixMs,
};

/// The number by which frames name an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityNumber(pub u32);

/// The number by which frames name a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnNumber(pub u32);

impl ColumnNumber {
    /// When each entity was read, in microseconds after the tick. Needs no declaration; an
    /// entity without a value in it is not part of the frame.
    pub const READ_OFFSET: ColumnNumber = ColumnNumber(0);
}

/// A namespace's and a pod's name: agents learn both or neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// The namespace.
    pub namespace: NamespaceName,
    /// The pod.
    pub name: PodName,
}

/// What an entity of a node is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Declared {
    /// The node itself.
    Node,
    /// A pod.
    Pod {
        /// Its uid, from the cgroup's path.
        uid: PodUid,
        /// Its names, if the agent could learn them.
        key: Option<PodKey>,
        /// Its cgroup.
        path: Option<CgroupPath>,
    },
    /// A container of a pod.
    PodContainer {
        /// The pod.
        pod: EntityNumber,
        /// Its name, if the agent could learn it.
        name: Option<ContainerName>,
        /// The runtime's id.
        id: Option<ContainerId>,
        /// Its cgroup.
        path: Option<CgroupPath>,
        /// Whether it only holds the pod's namespaces.
        sandbox: bool,
        /// Its image, if the agent could learn it.
        image: Option<ImageName>,
    },
    /// A container, service or slice that no pod owns.
    FreeContainer {
        /// The runtime's name for it.
        name: Option<ContainerName>,
        /// The runtime's id.
        id: Option<ContainerId>,
        /// Its cgroup.
        path: Option<CgroupPath>,
        /// Its image, if the agent could learn it.
        image: Option<ImageName>,
    },
    /// Of a kind that only newer versions know: its values are passed over.
    Unknown,
}

/// The meaning of an entity number, in one life of the entity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityDeclaration {
    /// The number.
    pub number: EntityNumber,
    /// When this life began, if known.
    pub start: Option<UnixMs>,
    /// What it is.
    pub what: Declared,
}

/// The meaning of a column number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnDeclaration {
    /// The number; never [`ColumnNumber::READ_OFFSET`].
    pub number: ColumnNumber,
    /// The metric.
    pub metric: MetricName,
    /// Its labels; empty for a plain metric.
    pub labels: Labels,
    /// Whether its integers are the bits of doubles.
    pub floating: bool,
    /// Whether a metric that the catalogue does not know is cumulative.
    pub cumulative: bool,
}
