//! What a cgroup is, by its path alone.
//!
//! The runtimes and the kubelet write pod uids and container ids into cgroup names, each in its own
//! form: bare (`cgroupfs` driver) or as systemd units (`systemd` driver). A path is read from the top
//! down. What is below a container, a scope or an unknown part of a pod belongs to it and is no entity:
//! docker in docker and systemd in a container count to the outer container. Below a service only
//! containers are entities: rootless podman and containerd's own children live there.
//!
//! Whether a pod's container is only its sandbox is not in the path, so it is not decided here.

mod container;
mod pod;

use std::fmt;

use tally_proto::name::{ContainerId, PodUid};

/// Who made a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, by CRI, `ctr` or nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Podman.
    Podman,
    /// LXC or LXD.
    Lxc,
}

impl fmt::Display for Runtime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
        })
    }
}

/// A runtime's container, as its cgroup's name tells it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// The runtime's id.
    pub id: ContainerId,
    /// Which runtime, where the name tells.
    pub runtime: Option<Runtime>,
}

/// What a cgroup is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The root: the node itself.
    Node,
    /// A pod.
    Pod(PodUid),
    /// A container of a pod, or its sandbox.
    PodContainer(PodUid, Container),
    /// A container that no pod owns.
    FreeContainer(Container),
    /// A service, scope, slice or any other group that no pod owns.
    Group,
    /// A part of the entity above it.
    Part,
}

/// An identity, and whether it is worth looking below.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identified {
    /// What the cgroup is.
    pub what: Identity,
    /// Whether cgroups below may be entities of their own.
    pub entities_below: bool,
}

/// What the cgroups above the next component are.
#[derive(Clone, Debug)]
enum Above {
    /// Slices and other groups.
    Open,
    /// A service: only containers are told apart in it.
    Service,
    /// A pod.
    Pod(PodUid),
    /// A container or scope: everything in it belongs to it.
    Closed,
}

/// Says what the cgroup of that path is. Paths begin with `/`; the root is `/`.
pub fn identify(path: &str) -> Identified {
    let mut above = Above::Open;
    let mut what = Identity::Node;
    let mut parents: &str = "";
    for component in path.split('/').filter(|component| !component.is_empty()) {
        (what, above) = step(&above, parents, component);
        let end = component.as_ptr().addr() - path.as_ptr().addr() + component.len();
        parents = path.get(..end).unwrap_or_default();
    }
    Identified { what, entities_below: !matches!(above, Above::Closed) }
}

/// `parents` is the path above `component`, without a slash at its end.
fn step(above: &Above, parents: &str, component: &str) -> (Identity, Above) {
    match above {
        Above::Closed => (Identity::Part, Above::Closed),
        Above::Pod(uid) => match container::in_pod(component) {
            Some(container) => (Identity::PodContainer(uid.clone(), container), Above::Closed),
            None => (Identity::Part, Above::Closed),
        },
        Above::Open | Above::Service => outside_pods(above, parents, component),
    }
}

fn outside_pods(above: &Above, parents: &str, component: &str) -> (Identity, Above) {
    if let Some(uid) = pod::uid(parents, component) {
        return (Identity::Pod(uid.clone()), Above::Pod(uid));
    }
    if let Some((slice, container)) = container::colon_form(component) {
        let what = match pod::uid("", slice) {
            Some(uid) => Identity::PodContainer(uid, container),
            None => Identity::FreeContainer(container),
        };
        return (what, Above::Closed);
    }
    if let Some(container) = container::free(parents, component) {
        return (Identity::FreeContainer(container), Above::Closed);
    }
    match above {
        Above::Service => (Identity::Part, Above::Service),
        _ if component.ends_with(".scope") => (Identity::Group, Above::Closed),
        // A container that systemd made: what runs in it belongs to it.
        _ if component.starts_with("systemd-nspawn@") => (Identity::Group, Above::Closed),
        _ if component.ends_with(".service") => (Identity::Group, Above::Service),
        _ => (Identity::Group, Above::Open),
    }
}

#[cfg(test)]
mod tests;
