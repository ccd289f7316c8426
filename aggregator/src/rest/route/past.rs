//! Paths under /api/v1/historical: those of the model, pods by uid, and aggregations.

use tally_proto::{
    entity::Entity,
    name::{BadName, ContainerName, NamespaceName, NodeName, PodUid},
};

use super::{free_container, metric_name, pod, pod_container};
use crate::query::past::{PastList, PastSubject};

/// Whom a path names; `None` when nothing can have such a name, which is answered as any unknown
/// one.
pub(in crate::rest) type Subject = Option<PastSubject>;

/// What can be asked of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rest) enum PastQuestion {
    /// Names of objects.
    List(PastList),
    /// Names of somebody's metrics.
    MetricNames(Subject),
    /// One series.
    Series(Subject, String),
    /// One series of each of several pods, in the order of the request.
    SeriesList(Vec<Subject>, String),
    /// Aggregations, as the path names them, of a metric.
    Aggregate(Subject, String, String),
    /// The same of each of several pods, in the order of the request.
    AggregateList(Vec<Subject>, String, String),
}

impl PastQuestion {
    /// The route's pattern, for the server's own metrics.
    pub(super) fn pattern(&self) -> &'static str {
        match self {
            Self::List(PastList::Nodes) => "historical/nodes",
            Self::List(PastList::Namespaces) => "historical/namespaces",
            Self::List(PastList::Pods(_)) => "historical/pods",
            Self::List(PastList::Containers(..)) => "historical/containers",
            Self::List(PastList::ContainersOf(_)) => "historical/pod-id/containers",
            Self::List(PastList::FreeContainers(_)) => "historical/freecontainers",
            Self::MetricNames(_) => "historical/metrics",
            Self::Series(..) => "historical/metrics/{metric}",
            Self::SeriesList(..) => "historical/pod-list",
            Self::Aggregate(..) => "historical/metrics-aggregated",
            Self::AggregateList(..) => "historical/pod-list/metrics-aggregated",
        }
    }
}

/// What the segments after `historical` ask.
pub(super) fn historical(segments: &[&str]) -> Option<PastQuestion> {
    match *segments {
        ["nodes"] => list(PastList::Nodes),
        ["nodes", node, "freecontainers"] => list(PastList::FreeContainers(node.into())),
        ["nodes", node, "freecontainers", container, ref rest @ ..] => {
            numbers(named(free_container(node, container)), rest)
        }
        ["nodes", node, ref rest @ ..] => {
            numbers(named(NodeName::parse(node).map(Entity::Node)), rest)
        }
        ["namespaces", ref rest @ ..] => namespaces(rest),
        ["pod-id", uid, "containers"] => list(PastList::ContainersOf(uid.into())),
        ["pod-id", uid, "containers", container, ref rest @ ..] => {
            numbers(container_of(uid, container).ok(), rest)
        }
        ["pod-id", uid, ref rest @ ..] => numbers(pod_by(uid), rest),
        ["pod-id-list", uids, ref rest @ ..] => {
            numbers_of_each(|| uids.split(',').map(pod_by).collect(), rest)
        }
        ref rest => numbers(Some(PastSubject::Named(Entity::Cluster)), rest),
    }
}

fn namespaces(segments: &[&str]) -> Option<PastQuestion> {
    match *segments {
        [] => list(PastList::Namespaces),
        [namespace, "pods"] => list(PastList::Pods(namespace.into())),
        [namespace, "pods", pod, "containers"] => {
            list(PastList::Containers(namespace.into(), pod.into()))
        }
        [namespace, "pods", pod, "containers", container, ref rest @ ..] => {
            numbers(named(pod_container(namespace, pod, container)), rest)
        }
        [namespace, "pods", name, ref rest @ ..] => numbers(named(pod(namespace, name)), rest),
        [namespace, "pod-list", pods, ref rest @ ..] => {
            let pods = || pods.split(',').map(|name| named(pod(namespace, name))).collect();
            numbers_of_each(pods, rest)
        }
        [namespace, ref rest @ ..] => {
            numbers(named(NamespaceName::parse(namespace).map(Entity::Namespace)), rest)
        }
    }
}

fn list(list: PastList) -> Option<PastQuestion> {
    Some(PastQuestion::List(list))
}

/// What follows somebody's name.
fn numbers(subject: Subject, rest: &[&str]) -> Option<PastQuestion> {
    match *rest {
        ["metrics"] => Some(PastQuestion::MetricNames(subject)),
        ["metrics", ref metric @ ..] => Some(PastQuestion::Series(subject, metric_name(metric))),
        ["metrics-aggregated", aggregations, _, ..] => {
            let metric = metric_name(rest.get(2..).unwrap_or_default());
            Some(PastQuestion::Aggregate(subject, aggregations.into(), metric))
        }
        _ => None,
    }
}

/// What follows a list of pods.
fn numbers_of_each(subjects: impl Fn() -> Vec<Subject>, rest: &[&str]) -> Option<PastQuestion> {
    match *rest {
        ["metrics", _, ..] => {
            let metric = metric_name(rest.get(1..).unwrap_or_default());
            Some(PastQuestion::SeriesList(subjects(), metric))
        }
        ["metrics-aggregated", aggregations, _, ..] => {
            let metric = metric_name(rest.get(2..).unwrap_or_default());
            Some(PastQuestion::AggregateList(subjects(), aggregations.into(), metric))
        }
        _ => None,
    }
}

fn named(entity: Result<Entity, BadName>) -> Subject {
    entity.ok().map(PastSubject::Named)
}

fn pod_by(uid: &str) -> Subject {
    PodUid::parse(uid).ok().map(PastSubject::Pod)
}

fn container_of(uid: &str, container: &str) -> Result<PastSubject, BadName> {
    Ok(PastSubject::Container(PodUid::parse(uid)?, ContainerName::parse(container)?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{NoRoute, Question, Route, route},
        *,
    };

    #[track_caller]
    fn check(path: &str, expected: Option<PastQuestion>) {
        let expected = expected.map(|past| Route::Api(Question::Past(past)));
        for slash in ["", "/"] {
            let path = format!("/api/v1/historical/{path}{slash}");
            assert_eq!(route(&path), expected.clone().ok_or(NoRoute::Unknown), "{path}");
        }
    }

    fn free(container: &str) -> Subject {
        named(free_container("n", container))
    }

    fn by_uid(uid: &str) -> Subject {
        Some(PastSubject::Pod(PodUid::parse(uid).unwrap()))
    }

    /// Every level, by what its paths begin with.
    fn levels() -> Vec<(&'static str, Subject)> {
        let node = NodeName::parse("n").map(Entity::Node);
        let namespace = NamespaceName::parse("s").map(Entity::Namespace);
        vec![
            ("", named(Ok(Entity::Cluster))),
            ("nodes/n/", named(node)),
            ("nodes/n/freecontainers/c/", free("c")),
            ("namespaces/s/", named(namespace)),
            ("namespaces/s/pods/p/", named(pod("s", "p"))),
            ("namespaces/s/pods/p/containers/c/", named(pod_container("s", "p", "c"))),
            ("pod-id/u/", by_uid("u")),
            ("pod-id/u/containers/c/", container_of("u", "c").ok()),
        ]
    }

    #[test]
    fn every_list_has_its_path() {
        for (path, list) in [
            ("nodes", PastList::Nodes),
            ("nodes/n/freecontainers", PastList::FreeContainers("n".into())),
            ("namespaces", PastList::Namespaces),
            ("namespaces/s/pods", PastList::Pods("s".into())),
            ("namespaces/s/pods/p/containers", PastList::Containers("s".into(), "p".into())),
            ("pod-id/u/containers", PastList::ContainersOf("u".into())),
        ] {
            check(path, Some(PastQuestion::List(list)));
        }
    }

    #[test]
    fn every_level_has_metric_names_series_and_aggregations() {
        for (prefix, subject) in levels() {
            let names = PastQuestion::MetricNames(subject.clone());
            check(&format!("{prefix}metrics"), Some(names));
            let series = PastQuestion::Series(subject.clone(), "memory/usage".into());
            check(&format!("{prefix}metrics/memory-usage"), Some(series));
            let max = PastQuestion::Aggregate(subject, "max,sum".into(), "custom/a/b".into());
            check(&format!("{prefix}metrics-aggregated/max%2Csum/custom%2Fa/b"), Some(max));
        }
    }

    #[test]
    fn aggregations_need_a_metric_and_objects_alone_ask_nothing() {
        for (prefix, _) in levels() {
            check(&format!("{prefix}metrics-aggregated"), None);
            check(&format!("{prefix}metrics-aggregated/max"), None);
        }
        for path in ["nodes/n", "namespaces/s", "namespaces/s/pods/p", "pod-id/u", "pod-id", "x"] {
            check(path, None);
        }
        check("debug/allkeys", None);
        assert_eq!(route("/api/v1/historical"), Err(NoRoute::Unknown));
        assert_eq!(route("/api/v1/historical/"), Err(NoRoute::Unknown));
    }

    #[test]
    fn lists_of_pods_keep_order_repeats_and_gaps() {
        let pods: Vec<Subject> = vec![None, named(pod("s", "b")), named(pod("s", "b"))];
        let uids: Vec<Subject> = vec![None, by_uid("b"), by_uid("b")];
        for (prefix, items) in
            [("namespaces/s/pod-list/,b%2Cb/", pods), ("pod-id-list/,b,b/", uids)]
        {
            let series = PastQuestion::SeriesList(items.clone(), "cpu/usage_rate".into());
            check(&format!("{prefix}metrics/cpu-usage"), Some(series));
            let max = PastQuestion::AggregateList(items, "max".into(), "cpu/usage".into());
            check(&format!("{prefix}metrics-aggregated/max/cpu/usage"), Some(max));
            for rest in ["metrics", "metrics-aggregated", "metrics-aggregated/max"] {
                check(&format!("{prefix}{rest}"), None);
            }
            check(prefix.trim_end_matches('/'), None);
        }
    }

    #[test]
    fn a_slash_in_a_name_is_escaped() {
        let series = PastQuestion::Series(free("/a/b"), "memory/usage".into());
        check("nodes/n/freecontainers/%2Fa%2Fb/metrics/memory%2Fusage", Some(series));
        check("nodes/n/freecontainers/a/b/metrics", None);
    }

    #[test]
    fn a_name_that_nothing_can_have_is_an_unknown_one() {
        let long = "x".repeat(254);
        check(&format!("nodes/{long}/metrics"), Some(PastQuestion::MetricNames(None)));
        check(&format!("pod-id/{long}/metrics"), Some(PastQuestion::MetricNames(None)));
    }
}
