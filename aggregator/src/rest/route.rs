//! From a request's path to what it is for.
//!
//! The path is split at its slashes *before* percent-decoding, so a name with a slash in it is
//! one segment when the client escapes it: `%2Fsystem.slice%2Fdocker.service`. The name of a
//! metric is all that follows `metrics/`, so there `%2F` and `/` are alike.

pub(super) mod past;

use tally_proto::{
    entity::Entity,
    name::{BadName, ContainerName, NamespaceName, NodeName, PodName},
};

use self::past::PastQuestion;
use super::{
    metrics_api::{self, MetricsQuestion},
    percent,
};
use crate::query::WorkloadKey;

/// What a path is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Is it working? For Heapster's probes.
    Healthz,
    /// Is it alive?
    Livez,
    /// Can it answer already?
    Readyz,
    /// The server's own metrics.
    OwnMetrics,
    /// A question to the API.
    Api(Question),
    /// A question to the resource metrics API.
    Metrics(MetricsQuestion),
}

/// What can be asked under /api/v1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The newest numbers of every entity.
    Export,
    /// What `Export` carries.
    ExportSchema,
    /// Names of objects.
    List(List),
    /// Names of an entity's metrics.
    MetricNames(Subject),
    /// One series.
    Series(Subject, String),
    /// One series of each of several pods, in the order of the request.
    PodList(Vec<Subject>, String),
    /// Names of a workload's metrics.
    WorkloadMetricNames(Option<WorkloadKey>),
    /// One series of a workload.
    WorkloadSeries(Option<WorkloadKey>, String),
    /// A question to history.
    Past(PastQuestion),
}

/// A list of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Every entity.
    Keys,
    /// Nodes.
    Nodes,
    /// Namespaces.
    Namespaces,
    /// Pods of a namespace.
    Pods(String),
    /// Containers of a pod, given by namespace and name.
    Containers(String, String),
    /// Free containers of a node.
    FreeContainers(String),
    /// Kinds of workloads in a namespace.
    WorkloadKinds(String),
    /// Workloads, given by namespace and kind.
    Workloads(String, String),
}

/// The entity a path names; `None` when nothing can have such a name (it is too long, say), which
/// is answered as any unknown one.
pub(super) type Subject = Option<Entity>;

impl Route {
    /// The route's pattern, for the server's own metrics.
    pub(super) fn pattern(&self) -> &'static str {
        match self {
            Self::Healthz => "healthz",
            Self::Livez => "livez",
            Self::Readyz => "readyz",
            Self::OwnMetrics => "metrics",
            Self::Api(question) => question.pattern(),
            Self::Metrics(question) => question.pattern(),
        }
    }
}

impl Question {
    fn pattern(&self) -> &'static str {
        match self {
            Self::Export => "metric-export",
            Self::ExportSchema => "metric-export-schema",
            Self::List(List::Keys) => "model/debug/allkeys",
            Self::List(List::Nodes) => "model/nodes",
            Self::List(List::Namespaces) => "model/namespaces",
            Self::List(List::Pods(_)) => "model/pods",
            Self::List(List::Containers(..)) => "model/containers",
            Self::List(List::FreeContainers(_)) => "model/freecontainers",
            Self::List(List::WorkloadKinds(_)) => "model/workload-kinds",
            Self::List(List::Workloads(..)) => "model/workloads",
            Self::MetricNames(_) => "model/metrics",
            Self::WorkloadMetricNames(_) => "model/workload-metrics",
            Self::WorkloadSeries(..) => "model/workload-metrics/{metric}",
            Self::Series(..) => "model/metrics/{metric}",
            Self::PodList(..) => "model/pod-list",
            Self::Past(question) => question.pattern(),
        }
    }
}

/// A path that is for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoute {
    /// There is no such path.
    #[error("no such path")]
    Unknown,
    /// It cannot be decoded.
    #[error("the path has a % without two hexadecimal digits after it: write %25 for a % itself")]
    Escape,
}

/// What `path` is for.
pub(super) fn route(path: &str) -> Result<Route, NoRoute> {
    let segments = path.strip_prefix('/').ok_or(NoRoute::Unknown)?.split('/');
    let segments = segments.map(percent::decode).collect::<Option<Vec<String>>>();
    let segments = segments.ok_or(NoRoute::Escape)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["healthz"] | ["healthz", "healthz"] => Ok(Route::Healthz),
        ["livez"] => Ok(Route::Livez),
        ["readyz"] => Ok(Route::Readyz),
        ["metrics"] => Ok(Route::OwnMetrics),
        ["api", "v1", rest @ .., ""] | ["api", "v1", rest @ ..] => {
            api(rest).map(Route::Api).ok_or(NoRoute::Unknown)
        }
        rest => metrics_api::question(rest).map(Route::Metrics).ok_or(NoRoute::Unknown),
    }
}

/// Where a path with empty, `.` or `..` segments should have gone, as Go's router tells clients
/// that glue `/` to `/`. `None` when the path is clean.
pub(super) fn cleaned(path: &str) -> Option<String> {
    let inner = path.strip_prefix('/')?;
    let odd = |segment: &str| matches!(segment, "." | "..");
    if !inner.contains("//") && !inner.starts_with('/') && !inner.split('/').any(odd) {
        return None;
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in inner.split('/') {
        match segment {
            "" | "." => (),
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let slash = if path.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", kept.join("/")))
}

fn api(segments: &[&str]) -> Option<Question> {
    match segments {
        ["metric-export"] => Some(Question::Export),
        ["metric-export-schema"] => Some(Question::ExportSchema),
        ["model", rest @ ..] => model(rest),
        ["historical", rest @ ..] => past::historical(rest).map(Question::Past),
        _ => None,
    }
}

fn model(segments: &[&str]) -> Option<Question> {
    let list = |list| Some(Question::List(list));
    match *segments {
        ["debug", "allkeys"] => list(List::Keys),
        ["metrics", ref metric @ ..] => metrics(Ok(Entity::Cluster), metric),
        ["nodes"] => list(List::Nodes),
        ["nodes", node, "metrics", ref metric @ ..] => {
            metrics(NodeName::parse(node).map(Entity::Node), metric)
        }
        ["nodes", node, "freecontainers"] => list(List::FreeContainers(node.into())),
        ["nodes", node, "freecontainers", container, "metrics", ref metric @ ..] => {
            metrics(free_container(node, container), metric)
        }
        ["namespaces", ref rest @ ..] => namespaces(rest),
        _ => None,
    }
}

fn namespaces(segments: &[&str]) -> Option<Question> {
    let list = |list| Some(Question::List(list));
    match *segments {
        [] => list(List::Namespaces),
        [namespace, "metrics", ref metric @ ..] => {
            metrics(NamespaceName::parse(namespace).map(Entity::Namespace), metric)
        }
        [namespace, "pods"] => list(List::Pods(namespace.into())),
        [namespace, "pods", name, "metrics", ref metric @ ..] => {
            metrics(pod(namespace, name), metric)
        }
        [namespace, "pods", pod, "containers"] => {
            list(List::Containers(namespace.into(), pod.into()))
        }
        [namespace, "pods", pod, "containers", container, "metrics", ref metric @ ..] => {
            metrics(pod_container(namespace, pod, container), metric)
        }
        [namespace, "pod-list", pods, "metrics", ref metric @ ..] if !metric.is_empty() => {
            let pods = pods.split(',').map(|name| pod(namespace, name).ok()).collect();
            Some(Question::PodList(pods, metric_name(metric)))
        }
        [namespace, "workloads"] => list(List::WorkloadKinds(namespace.into())),
        [namespace, "workloads", kind] => list(List::Workloads(namespace.into(), kind.into())),
        [namespace, "workloads", kind, name, "metrics", ref metric @ ..] => {
            let key = WorkloadKey::parse(namespace, kind, name).ok();
            Some(match metric {
                [] => Question::WorkloadMetricNames(key),
                metric => Question::WorkloadSeries(key, metric_name(metric)),
            })
        }
        _ => None,
    }
}

fn metrics(subject: Result<Entity, BadName>, metric: &[&str]) -> Option<Question> {
    let subject = subject.ok();
    if metric.is_empty() {
        Some(Question::MetricNames(subject))
    } else {
        Some(Question::Series(subject, metric_name(metric)))
    }
}

fn pod(namespace: &str, pod: &str) -> Result<Entity, BadName> {
    Ok(Entity::Pod(NamespaceName::parse(namespace)?, PodName::parse(pod)?))
}

fn pod_container(namespace: &str, pod: &str, container: &str) -> Result<Entity, BadName> {
    let (namespace, pod) = (NamespaceName::parse(namespace)?, PodName::parse(pod)?);
    Ok(Entity::PodContainer(namespace, pod, ContainerName::parse(container)?))
}

fn free_container(node: &str, container: &str) -> Result<Entity, BadName> {
    Ok(Entity::FreeContainer(NodeName::parse(node)?, ContainerName::parse(container)?))
}

/// Joins the segments. Heapster's oldest names are translated, as it did wherever a metric is named.
fn metric_name(segments: &[&str]) -> String {
    let name = match segments.join("/").as_str() {
        "cpu-usage" => "cpu/usage_rate",
        "cpu-limit" => "cpu/limit",
        "memory-limit" => "memory/limit",
        "memory-usage" => "memory/usage",
        "memory-working" => "memory/working_set",
        name => return name.into(),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Option<Route>) {
        assert_eq!(route(path), expected.ok_or(NoRoute::Unknown), "{path}");
    }

    /// Under /api/v1 a trailing slash changes nothing.
    #[track_caller]
    fn check_model(path: &str, expected: Question) {
        check(&format!("/api/v1/model/{path}"), Some(Route::Api(expected.clone())));
        check(&format!("/api/v1/model/{path}/"), Some(Route::Api(expected)));
    }

    fn node(name: &str) -> Subject {
        Some(Entity::Node(NodeName::parse(name).unwrap()))
    }

    fn free(container: &str) -> Subject {
        free_container("n", container).ok()
    }

    fn series(subject: Subject, metric: &str) -> Question {
        Question::Series(subject, metric.into())
    }

    #[test]
    fn every_list_has_its_path() {
        check_model("debug/allkeys", Question::List(List::Keys));
        check_model("nodes", Question::List(List::Nodes));
        check_model("nodes/n/freecontainers", Question::List(List::FreeContainers("n".into())));
        check_model("namespaces", Question::List(List::Namespaces));
        check_model("namespaces/s/pods", Question::List(List::Pods("s".into())));
        let containers = List::Containers("s".into(), "p".into());
        check_model("namespaces/s/pods/p/containers", Question::List(containers));
    }

    #[test]
    fn every_level_has_metric_names_and_series() {
        let levels = [
            ("", Some(Entity::Cluster)),
            ("nodes/n/", node("n")),
            ("nodes/n/freecontainers/c/", free("c")),
            ("namespaces/s/", Some(Entity::Namespace(NamespaceName::parse("s").unwrap()))),
            ("namespaces/s/pods/p/", pod("s", "p").ok()),
            ("namespaces/s/pods/p/containers/c/", pod_container("s", "p", "c").ok()),
        ];
        for (prefix, subject) in levels {
            check_model(&format!("{prefix}metrics"), Question::MetricNames(subject.clone()));
            check_model(&format!("{prefix}metrics/cpu/usage"), series(subject, "cpu/usage"));
        }
    }

    #[test]
    fn workloads_have_lists_by_kind_and_metrics() {
        check_model("namespaces/s/workloads", Question::List(List::WorkloadKinds("s".into())));
        let of_kind = List::Workloads("s".into(), "deployment".into());
        check_model("namespaces/s/workloads/deployment", Question::List(of_kind));
        let key = WorkloadKey::parse("s", "deployment", "web").ok();
        let path = "namespaces/s/workloads/deployment/web/metrics";
        check_model(path, Question::WorkloadMetricNames(key.clone()));
        let series = Question::WorkloadSeries(key, "cpu/usage_rate".into());
        check_model(&format!("{path}/cpu-usage"), series);
        check("/api/v1/model/namespaces/s/workloads/deployment/web", None);
    }

    #[test]
    fn a_slash_in_a_name_is_escaped() {
        let subject = free("/system.slice/docker.service");
        check_model(
            "nodes/n/freecontainers/%2Fsystem.slice%2Fdocker.service/metrics/memory%2Fusage",
            series(subject, "memory/usage"),
        );
        check("/api/v1/model/nodes/n/freecontainers/system.slice/docker.service/metrics", None);
        check_model("nodes/n/freecontainers/%252Fa/metrics", Question::MetricNames(free("%2Fa")));
    }

    #[test]
    fn a_metric_name_is_all_that_remains() {
        check_model(
            "metrics/custom/requests/total",
            series(Some(Entity::Cluster), "custom/requests/total"),
        );
        check_model("metrics/cpu%2Fusage", series(Some(Entity::Cluster), "cpu/usage"));
    }

    #[test]
    fn the_oldest_metric_names_are_translated() {
        for (old, new) in [
            ("cpu-usage", "cpu/usage_rate"),
            ("cpu-limit", "cpu/limit"),
            ("memory-limit", "memory/limit"),
            ("memory-usage", "memory/usage"),
            ("memory-working", "memory/working_set"),
        ] {
            check_model(&format!("nodes/n/metrics/{old}"), series(node("n"), new));
        }
    }

    #[test]
    fn a_pod_list_keeps_order_repeats_and_gaps() {
        let pods = vec![None, pod("s", "b").ok(), pod("s", "a").ok(), pod("s", "b").ok()];
        let expected = Question::PodList(pods, "memory/usage".into());
        check_model("namespaces/s/pod-list/,b,a%2Cb/metrics/memory-usage", expected);
        check("/api/v1/model/namespaces/s/pod-list/a/metrics", None);
        check("/api/v1/model/namespaces/s/pod-list/a/metrics/", None);
        check("/api/v1/model/namespaces/s/pod-list/a", None);
    }

    #[test]
    fn a_name_that_nothing_can_have_is_an_unknown_one() {
        check_model(&format!("nodes/{}/metrics", "x".repeat(254)), Question::MetricNames(None));
    }

    #[test]
    fn objects_themselves_and_roots_ask_nothing() {
        for path in [
            "",
            "/",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v1/model",
            "/api/v1/model/",
            "/api/v1/model/nodes/n",
            "/api/v1/model/namespaces/s",
            "/api/v1/model/Nodes",
            "/api/v1/model/namespaces/s/pods/p",
            "/api/v1/metric-export/x",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn a_path_that_cannot_be_decoded_is_a_bad_request_and_other_bytes_name_nothing() {
        assert_eq!(route("/api/v1/model/nodes/%zz/metrics"), Err(NoRoute::Escape));
        assert_eq!(route("/100%"), Err(NoRoute::Escape));
        check_model("nodes/%ff/metrics", Question::MetricNames(node("\u{fffd}")));
    }

    #[test]
    fn only_the_api_forgives_a_trailing_slash() {
        check("/api/v1/metric-export/", Some(Route::Api(Question::Export)));
        check("/api/v1/metric-export-schema/", Some(Route::Api(Question::ExportSchema)));
        check("/healthz", Some(Route::Healthz));
        check("/healthz/healthz", Some(Route::Healthz));
        check("/healthz/", None);
        check("/healthz/ping", None);
        check("/metrics", Some(Route::OwnMetrics));
        check("/metrics/", None);
    }

    #[test]
    fn a_path_with_empty_or_dotted_segments_has_a_clean_form() {
        for (path, clean) in [
            ("/api/v1/model/nodes/", None),
            ("/", None),
            ("//api//v1/model/nodes/", Some("/api/v1/model/nodes/")),
            (
                "/api/v1/model/namespaces/s/pod-list//metrics/x",
                Some("/api/v1/model/namespaces/s/pod-list/metrics/x"),
            ),
            ("/a/./b/../c", Some("/a/c")),
            ("/..", Some("/")),
            ("//", Some("/")),
        ] {
            assert_eq!(cleaned(path).as_deref(), clean, "{path}");
        }
    }
}
