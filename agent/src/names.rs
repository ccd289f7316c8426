//! What containers are called: by their runtime, which the cgroup's path does not tell.
//!
//! Names are asked for, never collected: a container that was never seen before is a question, and
//! nothing else makes one. So a host in which nothing begins asks nothing, and what is kept is bounded
//! by what is waited for. [`questions`] says what is asked when and when to give up, [`cri`] and
//! [`docker`] what the answers mean; who carries them is `runtimes`. [`heapster`] has names that nobody
//! needs to be asked for.
//!
//! The runtimes' streams of events are not used. containerd before 2.0 and CRI-O hand each event to
//! one listener only, so that whoever listens takes it away from the kubelet. containerd 2 gives it to all, but
//! does not go on starting containers while any of them has a hundred not yet taken: an agent that stands
//! still would hold up its node.

pub mod cri;
pub mod docker;
pub mod heapster;
pub mod questions;

use tally_proto::{
    declaration::PodKey,
    name::{ContainerName, ImageName},
};

use crate::identity::{Container, Runtime};

/// What a runtime calls a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The sandbox of a pod.
    Sandbox(PodKey),
    /// A container of a pod.
    InPod {
        /// The pod.
        pod: PodKey,
        /// Its name in the pod's specification.
        name: ContainerName,
        /// Its image, where it has a name.
        image: Option<ImageName>,
    },
    /// A container that no pod owns.
    Free {
        /// Its name.
        name: ContainerName,
        /// Its image.
        image: Option<ImageName>,
    },
}

impl Called {
    /// The pod's names.
    pub fn into_pod(self) -> Option<PodKey> {
        match self {
            Self::Sandbox(pod) | Self::InPod { pod, .. } => Some(pod),
            Self::Free { .. } => None,
        }
    }

    /// The container's own name, and its image's. A sandbox has neither.
    pub fn into_container(self) -> (Option<ContainerName>, Option<ImageName>) {
        match self {
            Self::Sandbox(_) => (None, None),
            Self::InPod { name, image, .. } | Self::Free { name, image } => (Some(name), image),
        }
    }
}

/// Who is asked for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// The Container Runtime Interface, which names pods and their containers.
    Cri,
    /// Docker's, which podman speaks too.
    Docker,
}

impl Api {
    /// Who knows a container that no pod owns. What `ctr`, nerdctl and LXC make is called what its
    /// cgroup is called.
    pub fn of_free(container: &Container) -> Option<Self> {
        match container.runtime {
            None | Some(Runtime::Docker | Runtime::Podman) => Some(Self::Docker),
            Some(Runtime::Containerd | Runtime::CriO | Runtime::Lxc) => None,
        }
    }
}
