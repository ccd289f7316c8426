//! Paths of the resource metrics API, and of the documents that say what is in it.

/// The group.
pub(super) const GROUP: &str = "metrics.k8s.io";

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rest) enum MetricsQuestion {
    /// Every group.
    Groups,
    /// The group.
    Group,
    /// The resources of a version.
    Resources(Version),
    /// What this server is.
    ServerVersion,
    /// All paths and types, in OpenAPI 2.
    OpenApiV2,
    /// The versions that are described in OpenAPI 3.
    OpenApiV3,
    /// Paths and types of a version, in OpenAPI 3.
    OpenApiV3Of(Version),
    /// What nodes or pods use.
    Usage(Version, Subjects),
    /// The same, as Heapster said it.
    HeapsterUsage(Subjects),
    /// Something below the group that there is not.
    Unknown,
}

/// A version of the group; both have the same types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rest) enum Version {
    V1,
    V1Beta1,
}

/// Whose usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rest) enum Subjects {
    /// All nodes.
    Nodes,
    /// One node.
    Node(String),
    /// All pods.
    Pods,
    /// The pods of a namespace.
    PodsOf(String),
    /// One pod, by namespace and name.
    Pod(String, String),
}

impl Version {
    /// The preferred one first. Whoever knows `v1` asks for it by name; who takes what is
    /// preferred may be too old to know it.
    pub(super) const ALL: [Self; 2] = [Self::V1Beta1, Self::V1];

    /// As paths have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }

    /// As objects have it.
    pub(super) fn group_version(self) -> &'static str {
        match self {
            Self::V1 => "metrics.k8s.io/v1",
            Self::V1Beta1 => "metrics.k8s.io/v1beta1",
        }
    }
}

impl Subjects {
    /// The resource.
    pub(super) fn resource(&self) -> &'static str {
        match self {
            Self::Nodes | Self::Node(_) => "nodes",
            Self::Pods | Self::PodsOf(_) | Self::Pod(..) => "pods",
        }
    }
}

impl MetricsQuestion {
    /// For the server's own metrics.
    pub(in crate::rest) fn pattern(&self) -> &'static str {
        match self {
            Self::Groups => "apis",
            Self::Group => "apis/metrics.k8s.io",
            Self::Resources(_) => "apis/metrics.k8s.io/{version}",
            Self::ServerVersion => "version",
            Self::OpenApiV2 => "openapi/v2",
            Self::OpenApiV3 => "openapi/v3",
            Self::OpenApiV3Of(_) => "openapi/v3/{version}",
            Self::Usage(_, Subjects::Nodes) => "apis/metrics.k8s.io/nodes",
            Self::Usage(_, Subjects::Node(_)) => "apis/metrics.k8s.io/nodes/{node}",
            Self::Usage(_, Subjects::Pods) => "apis/metrics.k8s.io/pods",
            Self::Usage(_, Subjects::PodsOf(_)) => "apis/metrics.k8s.io/namespaces/pods",
            Self::Usage(_, Subjects::Pod(..)) => "apis/metrics.k8s.io/namespaces/pods/{pod}",
            Self::HeapsterUsage(_) => "apis/metrics/v1alpha1",
            Self::Unknown => "apis/metrics.k8s.io/unknown",
        }
    }
}

/// What a path is for that is not below `/api`; `None` when it is none of these.
pub(in crate::rest) fn question(segments: &[&str]) -> Option<MetricsQuestion> {
    let segments = match segments {
        [rest @ .., ""] => rest,
        all => all,
    };
    Some(match *segments {
        ["apis"] => MetricsQuestion::Groups,
        ["version"] => MetricsQuestion::ServerVersion,
        ["openapi", "v2"] => MetricsQuestion::OpenApiV2,
        ["openapi", "v3"] => MetricsQuestion::OpenApiV3,
        ["openapi", "v3", "apis", GROUP, version] => {
            MetricsQuestion::OpenApiV3Of(known_version(version)?)
        }
        // Where Heapster had it: the one in its code, the other as it was recorded.
        ["apis", "metrics" | GROUP, "v1alpha1", ref rest @ ..] => {
            MetricsQuestion::HeapsterUsage(subjects(rest)?)
        }
        ["apis", GROUP] => MetricsQuestion::Group,
        ["apis", GROUP, ref rest @ ..] => in_group(rest).unwrap_or(MetricsQuestion::Unknown),
        _ => return None,
    })
}

fn in_group(segments: &[&str]) -> Option<MetricsQuestion> {
    match *segments {
        [version] => Some(MetricsQuestion::Resources(known_version(version)?)),
        [version, ref rest @ ..] => {
            Some(MetricsQuestion::Usage(known_version(version)?, subjects(rest)?))
        }
        [] => None,
    }
}

fn known_version(name: &str) -> Option<Version> {
    Version::ALL.into_iter().find(|version| version.name() == name)
}

fn subjects(segments: &[&str]) -> Option<Subjects> {
    Some(match *segments {
        ["nodes"] => Subjects::Nodes,
        ["nodes", node] => Subjects::Node(node.into()),
        ["pods"] => Subjects::Pods,
        ["namespaces", namespace, "pods"] => Subjects::PodsOf(namespace.into()),
        ["namespaces", namespace, "pods", pod] => Subjects::Pod(namespace.into(), pod.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<MetricsQuestion>) {
        let segments: Vec<&str> = path.split('/').collect();
        assert_eq!(question(&segments), expected, "{path}");
    }

    #[test]
    fn every_version_has_nodes_and_pods() {
        for (name, version) in [("v1", Version::V1), ("v1beta1", Version::V1Beta1)] {
            let usage = |path: &str, subjects| {
                let expected = Some(MetricsQuestion::Usage(version, subjects));
                check(&format!("apis/metrics.k8s.io/{name}/{path}"), expected.clone());
                check(&format!("apis/metrics.k8s.io/{name}/{path}/"), expected);
            };
            usage("nodes", Subjects::Nodes);
            usage("nodes/n", Subjects::Node("n".into()));
            usage("pods", Subjects::Pods);
            usage("namespaces/s/pods", Subjects::PodsOf("s".into()));
            usage("namespaces/s/pods/p", Subjects::Pod("s".into(), "p".into()));
            let path = format!("apis/metrics.k8s.io/{name}");
            check(&path, Some(MetricsQuestion::Resources(version)));
        }
    }

    #[test]
    fn heapsters_version_is_where_heapster_had_it_and_in_the_group() {
        for root in ["apis/metrics/v1alpha1", "apis/metrics.k8s.io/v1alpha1"] {
            let expected = MetricsQuestion::HeapsterUsage(Subjects::PodsOf("s".into()));
            check(&format!("{root}/namespaces/s/pods/"), Some(expected));
        }
        check("apis/metrics/v1alpha1", None);
        check("apis/metrics.k8s.io/v1alpha1/", None);
        check("apis/metrics", None);
    }

    #[test]
    fn documents_have_their_paths() {
        check("apis", Some(MetricsQuestion::Groups));
        check("apis/", Some(MetricsQuestion::Groups));
        check("apis/metrics.k8s.io", Some(MetricsQuestion::Group));
        check("version", Some(MetricsQuestion::ServerVersion));
        check("openapi/v2", Some(MetricsQuestion::OpenApiV2));
        check("openapi/v3", Some(MetricsQuestion::OpenApiV3));
        let of = Some(MetricsQuestion::OpenApiV3Of(Version::V1));
        check("openapi/v3/apis/metrics.k8s.io/v1", of);
        check("openapi/v3/apis/metrics.k8s.io/v2", None);
    }

    #[test]
    fn below_the_group_everything_else_is_unknown_to_the_group() {
        for path in ["v2", "v2/nodes", "v1/secrets", "v1/namespaces/s", "v1/nodes/n/x"] {
            check(&format!("apis/metrics.k8s.io/{path}"), Some(MetricsQuestion::Unknown));
        }
        check("apis/apps/v1", None);
    }
}
