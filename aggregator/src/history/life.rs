//! Whose numbers a series holds: an entity in one of its lives.

use tally_proto::{
    limits::{NAME_BYTES, PATH_BYTES},
    name::{BadName, ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::UnixMs,
};

use super::codec::{
    Malformed,
    bytes::{push_signed, push_text, take_byte, take_signed, take_text},
};

/// An entity, so far as history tells them apart. Ordered so that what is listed together lies
/// together: namespaces, nodes, a node's free containers, a pod and then its containers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// All namespaces together.
    Cluster,
    /// All pods of one namespace.
    Namespace(NamespaceName),
    /// One host.
    Node(NodeName),
    /// A container, service or slice of a node that no pod owns.
    FreeContainer(NodeName, ContainerName),
    /// A pod or one of its containers.
    InPod(InPod),
}

/// A pod or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InPod {
    /// The pod's namespace.
    pub namespace: NamespaceName,
    /// The pod's name.
    pub pod: PodName,
    /// What tells it from others that had its name.
    pub uid: PodUid,
    /// The container; the pod itself without one.
    pub container: Option<ContainerName>,
    /// Where it ran.
    pub node: NodeName,
}

/// An entity in one of its lives: counters never go back within one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Life {
    /// The entity.
    pub who: Who,
    /// When this life began, if known.
    pub start: Option<UnixMs>,
}

impl Who {
    /// The host that it was on.
    pub fn node(&self) -> Option<&NodeName> {
        match self {
            Self::Cluster | Self::Namespace(_) => None,
            Self::Node(node) | Self::FreeContainer(node, _) => Some(node),
            Self::InPod(in_pod) => Some(&in_pod.node),
        }
    }

    /// The pod that it is, or is of.
    pub fn in_pod(&self) -> Option<&InPod> {
        match self {
            Self::InPod(in_pod) => Some(in_pod),
            _ => None,
        }
    }
}

const CLUSTER: u8 = 0;
const NAMESPACE: u8 = 1;
const NODE: u8 = 2;
const FREE_CONTAINER: u8 = 3;
const POD: u8 = 4;
const POD_CONTAINER: u8 = 5;
/// Set when the start is known.
const HAS_START: u8 = 0x80;

impl Life {
    /// Appends it.
    pub(super) fn push_to(&self, out: &mut Vec<u8>) {
        let kind = match &self.who {
            Who::Cluster => CLUSTER,
            Who::Namespace(_) => NAMESPACE,
            Who::Node(_) => NODE,
            Who::FreeContainer(..) => FREE_CONTAINER,
            Who::InPod(InPod { container: None, .. }) => POD,
            Who::InPod(_) => POD_CONTAINER,
        };
        out.push(if self.start.is_some() { kind | HAS_START } else { kind });
        match &self.who {
            Who::Cluster => {}
            Who::Namespace(namespace) => push_text(namespace, out),
            Who::Node(node) => push_text(node, out),
            Who::FreeContainer(node, container) => {
                push_text(node, out);
                push_text(container, out);
            }
            Who::InPod(InPod { namespace, pod, uid, container, node }) => {
                push_text(namespace, out);
                push_text(pod, out);
                push_text(&uid.to_string(), out);
                if let Some(container) = container {
                    push_text(container, out);
                }
                push_text(node, out);
            }
        }
        if let Some(UnixMs(start)) = self.start {
            push_signed(start, out);
        }
    }

    /// Takes one from the front.
    pub(super) fn take_from(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let head = take_byte(bytes, "a kind")?;
        let who = match head & !HAS_START {
            CLUSTER => Who::Cluster,
            NAMESPACE => Who::Namespace(name(bytes, NamespaceName::parse)?),
            NODE => Who::Node(name(bytes, NodeName::parse)?),
            FREE_CONTAINER => Who::FreeContainer(
                name(bytes, NodeName::parse)?,
                long_name(bytes, ContainerName::parse)?,
            ),
            kind @ (POD | POD_CONTAINER) => Who::InPod(InPod {
                namespace: name(bytes, NamespaceName::parse)?,
                pod: name(bytes, PodName::parse)?,
                uid: name(bytes, PodUid::parse)?,
                container: match kind {
                    POD => None,
                    _ => Some(long_name(bytes, ContainerName::parse)?),
                },
                node: name(bytes, NodeName::parse)?,
            }),
            _ => return Err(Malformed::Range("a kind")),
        };
        let start = if head & HAS_START == 0 { None } else { Some(take_signed(bytes, "a start")?) };
        Ok(Self { who, start: start.map(UnixMs) })
    }
}

fn name<T>(bytes: &mut &[u8], parse: impl Fn(&str) -> Result<T, BadName>) -> Result<T, Malformed> {
    parse(take_text(bytes, NAME_BYTES, "a name")?).map_err(|_| Malformed::Range("a name"))
}

fn long_name<T>(
    bytes: &mut &[u8],
    parse: impl Fn(&str) -> Result<T, BadName>,
) -> Result<T, Malformed> {
    parse(take_text(bytes, PATH_BYTES, "a name")?).map_err(|_| Malformed::Range("a name"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(name: &str, uid: &str, container: Option<&str>) -> Who {
        Who::InPod(InPod {
            namespace: NamespaceName::parse("default").unwrap(),
            pod: PodName::parse(name).unwrap(),
            uid: PodUid::parse(uid).unwrap(),
            container: container.map(|name| ContainerName::parse(name).unwrap()),
            node: NodeName::parse("node-a").unwrap(),
        })
    }

    fn all() -> Vec<Who> {
        let node = NodeName::parse("node-a").unwrap();
        vec![
            Who::Cluster,
            Who::Namespace(NamespaceName::parse("default").unwrap()),
            Who::Node(node.clone()),
            Who::FreeContainer(node, ContainerName::parse("/system.slice").unwrap()),
            pod("web", "u-1", None),
            pod("web", "u-1", Some("app")),
            pod("web", "u-2", None),
            pod("web-1", "u-0", None),
        ]
    }

    #[test]
    fn every_kind_comes_back_with_and_without_a_start() {
        for who in all() {
            for start in [None, Some(UnixMs(-5)), Some(UnixMs(1_790_000_000_000))] {
                let (life, mut bytes) = (Life { who: who.clone(), start }, Vec::new());
                life.push_to(&mut bytes);
                assert_eq!(Life::take_from(&mut bytes.as_slice()), Ok(life));
            }
        }
    }

    #[test]
    fn a_pod_lies_before_its_containers_and_beside_its_namesakes() {
        assert!(all().is_sorted());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _unread = Life::take_from(&mut bytes.as_slice());
        }
    }
}
