//! Whom a question is about.

use std::cmp::Ordering;

use tally_proto::name::{ContainerName, NamespaceName, NodeName, PodName, PodUid};

use super::life::{InPod, Who};

/// One entity or all of a kind, in all their lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The cluster.
    Cluster,
    /// A namespace, or all.
    Namespace(Option<NamespaceName>),
    /// A node, or all.
    Node(Option<NodeName>),
    /// A free container of a node, or all of them.
    FreeContainer(NodeName, Option<ContainerName>),
    /// A pod by its name, or all of a namespace: every pod that had it.
    Pod(NamespaceName, Option<PodName>),
    /// A container of the pods of a name, or all of them.
    PodContainer(NamespaceName, PodName, Option<ContainerName>),
    /// A pod by its uid.
    PodByUid(PodUid),
    /// A container of the pod of a uid, or all of them.
    ContainerByUid(PodUid, Option<ContainerName>),
}

impl Selection {
    /// One entity; of a pod or its container, those of the same uid.
    pub fn of(who: &Who) -> Self {
        match who {
            Who::Cluster => Self::Cluster,
            Who::Namespace(namespace) => Self::Namespace(Some(namespace.clone())),
            Who::Node(node) => Self::Node(Some(node.clone())),
            Who::FreeContainer(node, container) => {
                Self::FreeContainer(node.clone(), Some(container.clone()))
            }
            Who::InPod(InPod { uid, container: None, .. }) => Self::PodByUid(uid.clone()),
            Who::InPod(InPod { uid, container: Some(container), .. }) => {
                Self::ContainerByUid(uid.clone(), Some(container.clone()))
            }
        }
    }

    /// The uid it names.
    pub(super) fn uid(&self) -> Option<&PodUid> {
        match self {
            Self::PodByUid(uid) | Self::ContainerByUid(uid, _) => Some(uid),
            _ => None,
        }
    }

    /// Where `who` lies to what is selected, in the order of rows: what is selected lies between
    /// the last that is less and the first that is greater.
    pub(super) fn place(&self, who: &Who) -> Ordering {
        let by_kind = rank(who).cmp(&self.rank());
        by_kind.then_with(|| match (self, who) {
            (Self::Namespace(Some(mine)), Who::Namespace(name)) => name.cmp(mine),
            (Self::Node(Some(mine)), Who::Node(name)) => name.cmp(mine),
            (Self::FreeContainer(node, container), Who::FreeContainer(on, name)) => {
                on.cmp(node).then_with(|| compare(name, container.as_ref()))
            }
            (Self::Pod(namespace, pod), Who::InPod(one)) => {
                one.namespace.cmp(namespace).then_with(|| compare(&one.pod, pod.as_ref()))
            }
            (Self::PodContainer(namespace, pod, _), Who::InPod(one)) => {
                (&one.namespace, &one.pod).cmp(&(namespace, pod))
            }
            _ => Ordering::Equal,
        })
    }

    /// Whether `who` is selected.
    pub fn matches(&self, who: &Who) -> bool {
        if self.place(who).is_ne() {
            return false;
        }
        match (self, who) {
            (Self::Pod(..), Who::InPod(InPod { container, .. })) => container.is_none(),
            (Self::PodContainer(_, _, mine), Who::InPod(InPod { container, .. })) => {
                same_container(container.as_ref(), mine.as_ref())
            }
            (Self::PodByUid(mine), Who::InPod(InPod { uid, container, .. })) => {
                uid == mine && container.is_none()
            }
            (Self::ContainerByUid(mine, name), Who::InPod(InPod { uid, container, .. })) => {
                uid == mine && same_container(container.as_ref(), name.as_ref())
            }
            _ => true,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Cluster => 0,
            Self::Namespace(_) => 1,
            Self::Node(_) => 2,
            Self::FreeContainer(..) => 3,
            Self::Pod(..)
            | Self::PodContainer(..)
            | Self::PodByUid(_)
            | Self::ContainerByUid(..) => 4,
        }
    }
}

/// A container is one, and the one that is asked for.
fn same_container(container: Option<&ContainerName>, asked: Option<&ContainerName>) -> bool {
    container.is_some() && (asked.is_none() || container == asked)
}

fn compare<T: Ord>(name: &T, asked: Option<&T>) -> Ordering {
    asked.map_or(Ordering::Equal, |asked| name.cmp(asked))
}

fn rank(who: &Who) -> u8 {
    match who {
        Who::Cluster => 0,
        Who::Namespace(_) => 1,
        Who::Node(_) => 2,
        Who::FreeContainer(..) => 3,
        Who::InPod(_) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> NamespaceName {
        NamespaceName::parse(name).unwrap()
    }

    fn pod(name: &str) -> PodName {
        PodName::parse(name).unwrap()
    }

    fn container(name: &str) -> ContainerName {
        ContainerName::parse(name).unwrap()
    }

    fn in_pod(of: &str, name: &str, uid: &str, of_pod: Option<&str>) -> Who {
        Who::InPod(InPod {
            namespace: namespace(of),
            pod: pod(name),
            uid: PodUid::parse(uid).unwrap(),
            container: of_pod.map(container),
            node: NodeName::parse("n").unwrap(),
        })
    }

    fn everyone() -> Vec<Who> {
        let node = |name| NodeName::parse(name).unwrap();
        vec![
            Who::Cluster,
            Who::Namespace(namespace("a")),
            Who::Namespace(namespace("b")),
            Who::Node(node("n")),
            Who::Node(node("o")),
            Who::FreeContainer(node("n"), container("x")),
            Who::FreeContainer(node("n"), container("y")),
            Who::FreeContainer(node("o"), container("x")),
            in_pod("a", "p", "1", None),
            in_pod("a", "p", "1", Some("x")),
            in_pod("a", "p", "1", Some("y")),
            in_pod("a", "p", "2", None),
            in_pod("a", "q", "3", None),
            in_pod("b", "p", "4", None),
        ]
    }

    #[track_caller]
    fn check(selection: Selection, selected: &[usize]) {
        let everyone = everyone();
        assert!(everyone.is_sorted());
        assert!(everyone.iter().map(|who| selection.place(who)).is_sorted(), "{selection:?}");
        let places = (0..).zip(&everyone).filter(|(_, who)| selection.matches(who));
        assert_eq!(
            places.map(|(place, _)| place).collect::<Vec<usize>>(),
            selected,
            "{selection:?}"
        );
    }

    #[test]
    fn one_or_all_of_a_kind() {
        let node = NodeName::parse("n").unwrap();
        check(Selection::Cluster, &[0]);
        check(Selection::Namespace(None), &[1, 2]);
        check(Selection::Namespace(Some(namespace("b"))), &[2]);
        check(Selection::Node(None), &[3, 4]);
        check(Selection::Node(Some(node.clone())), &[3]);
        check(Selection::FreeContainer(node.clone(), None), &[5, 6]);
        check(Selection::FreeContainer(node, Some(container("y"))), &[6]);
    }

    #[test]
    fn pods_by_name_and_by_uid() {
        let uid = |uid| PodUid::parse(uid).unwrap();
        check(Selection::Pod(namespace("a"), None), &[8, 11, 12]);
        check(Selection::Pod(namespace("a"), Some(pod("p"))), &[8, 11]);
        check(Selection::PodContainer(namespace("a"), pod("p"), None), &[9, 10]);
        check(Selection::PodContainer(namespace("a"), pod("p"), Some(container("y"))), &[10]);
        check(Selection::PodByUid(uid("1")), &[8]);
        check(Selection::ContainerByUid(uid("1"), None), &[9, 10]);
        check(Selection::ContainerByUid(uid("2"), Some(container("x"))), &[]);
    }
}
