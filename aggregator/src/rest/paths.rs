//! The paths that are answered, for those who ask for another one.

/// What all paths of history begin with.
const HISTORICAL: &str = "/api/v1/historical";

/// What paths of history go on with; `{aggregations}` is a list with commas.
const PAST: [&str; 34] = [
    "/nodes",
    "/nodes/{node}/metrics",
    "/nodes/{node}/metrics/{metric}",
    "/nodes/{node}/metrics-aggregated/{aggregations}/{metric}",
    "/nodes/{node}/freecontainers",
    "/nodes/{node}/freecontainers/{container}/metrics",
    "/nodes/{node}/freecontainers/{container}/metrics/{metric}",
    "/nodes/{node}/freecontainers/{container}/metrics-aggregated/{aggregations}/{metric}",
    "/namespaces",
    "/namespaces/{namespace}/metrics",
    "/namespaces/{namespace}/metrics/{metric}",
    "/namespaces/{namespace}/metrics-aggregated/{aggregations}/{metric}",
    "/namespaces/{namespace}/pods",
    "/namespaces/{namespace}/pods/{pod}/metrics",
    "/namespaces/{namespace}/pods/{pod}/metrics/{metric}",
    "/namespaces/{namespace}/pods/{pod}/metrics-aggregated/{aggregations}/{metric}",
    "/namespaces/{namespace}/pods/{pod}/containers",
    "/namespaces/{namespace}/pods/{pod}/containers/{container}/metrics",
    "/namespaces/{namespace}/pods/{pod}/containers/{container}/metrics/{metric}",
    "/namespaces/{namespace}/pods/{pod}/containers/{container}/metrics-aggregated/{aggregations}/{metric}",
    "/namespaces/{namespace}/pod-list/{pod,pod}/metrics/{metric}",
    "/namespaces/{namespace}/pod-list/{pod,pod}/metrics-aggregated/{aggregations}/{metric}",
    "/pod-id/{pod-id}/metrics",
    "/pod-id/{pod-id}/metrics/{metric}",
    "/pod-id/{pod-id}/metrics-aggregated/{aggregations}/{metric}",
    "/pod-id/{pod-id}/containers",
    "/pod-id/{pod-id}/containers/{container}/metrics",
    "/pod-id/{pod-id}/containers/{container}/metrics/{metric}",
    "/pod-id/{pod-id}/containers/{container}/metrics-aggregated/{aggregations}/{metric}",
    "/pod-id-list/{pod-id,pod-id}/metrics/{metric}",
    "/pod-id-list/{pod-id,pod-id}/metrics-aggregated/{aggregations}/{metric}",
    "/metrics",
    "/metrics/{metric}",
    "/metrics-aggregated/{aggregations}/{metric}",
];

/// Every other path; `{…}` stands for one name, `{metric}` for all that remains.
const PATHS: [&str; 54] = [
    "/api/v1/model/nodes",
    "/api/v1/model/nodes/{node}/metrics",
    "/api/v1/model/nodes/{node}/metrics/{metric}",
    "/api/v1/model/nodes/{node}/freecontainers",
    "/api/v1/model/nodes/{node}/freecontainers/{container}/metrics",
    "/api/v1/model/nodes/{node}/freecontainers/{container}/metrics/{metric}",
    "/api/v1/model/namespaces",
    "/api/v1/model/namespaces/{namespace}/metrics",
    "/api/v1/model/namespaces/{namespace}/metrics/{metric}",
    "/api/v1/model/namespaces/{namespace}/pods",
    "/api/v1/model/namespaces/{namespace}/pods/{pod}/metrics",
    "/api/v1/model/namespaces/{namespace}/pods/{pod}/metrics/{metric}",
    "/api/v1/model/namespaces/{namespace}/pods/{pod}/containers",
    "/api/v1/model/namespaces/{namespace}/pods/{pod}/containers/{container}/metrics",
    "/api/v1/model/namespaces/{namespace}/pods/{pod}/containers/{container}/metrics/{metric}",
    "/api/v1/model/namespaces/{namespace}/pod-list/{pod,pod}/metrics/{metric}",
    "/api/v1/model/namespaces/{namespace}/workloads",
    "/api/v1/model/namespaces/{namespace}/workloads/{kind}",
    "/api/v1/model/namespaces/{namespace}/workloads/{kind}/{workload}/metrics",
    "/api/v1/model/namespaces/{namespace}/workloads/{kind}/{workload}/metrics/{metric}",
    "/api/v1/model/metrics",
    "/api/v1/model/metrics/{metric}",
    "/api/v1/model/debug/allkeys",
    "/api/v1/metric-export",
    "/api/v1/metric-export-schema",
    "/apis",
    "/apis/metrics.k8s.io",
    "/apis/metrics.k8s.io/v1",
    "/apis/metrics.k8s.io/v1/nodes",
    "/apis/metrics.k8s.io/v1/nodes/{node}",
    "/apis/metrics.k8s.io/v1/pods",
    "/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods",
    "/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods/{pod}",
    "/apis/metrics.k8s.io/v1beta1",
    "/apis/metrics.k8s.io/v1beta1/nodes",
    "/apis/metrics.k8s.io/v1beta1/nodes/{node}",
    "/apis/metrics.k8s.io/v1beta1/pods",
    "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
    "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/{pod}",
    "/apis/metrics/v1alpha1/nodes",
    "/apis/metrics/v1alpha1/nodes/{node}",
    "/apis/metrics/v1alpha1/pods",
    "/apis/metrics/v1alpha1/namespaces/{namespace}/pods",
    "/apis/metrics/v1alpha1/namespaces/{namespace}/pods/{pod}",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/apis/metrics.k8s.io/v1",
    "/openapi/v3/apis/metrics.k8s.io/v1beta1",
    "/version",
    "/metrics",
    "/healthz",
    "/readyz",
    "/livez",
    "/healthz/healthz",
];

/// The paths that share most with `path`, which is none of them.
pub(super) fn nearest(path: &str) -> Vec<String> {
    let most = all().map(|pattern| shared(&pattern, path)).max().unwrap_or(0);
    all().filter(|pattern| shared(pattern, path) == most).collect()
}

/// Whether `path` is history's, known or not.
pub(super) fn is_historical(path: &str) -> bool {
    path.strip_prefix(HISTORICAL).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn all() -> impl Iterator<Item = String> {
    let past = PAST.iter().map(|rest| format!("{HISTORICAL}{rest}"));
    PATHS.into_iter().map(str::to_owned).chain(past)
}

/// How many segments at the beginning are alike.
fn shared(pattern: &str, path: &str) -> usize {
    let (pattern, path) = (pattern.split('/').skip(1), path.split('/').skip(1));
    let alike = |(pattern, segment): &(&str, &str)| {
        !segment.is_empty() && (pattern.starts_with('{') || pattern == segment)
    };
    pattern.zip(path).take_while(alike).count()
}

#[cfg(test)]
mod tests {
    use super::{super::route::route, *};

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        assert_eq!(nearest(path), expected, "{path}");
    }

    #[test]
    fn every_path_is_answered() {
        for path in all() {
            assert!(route(&path.replace(['{', '}'], "")).is_ok(), "{path}");
        }
    }

    #[test]
    fn without_any_beginning_all_paths_are_near() {
        let every: Vec<String> = all().collect();
        assert_eq!(nearest("/"), every);
        assert_eq!(nearest("/versions"), every);
        let api: Vec<String> = all().filter(|path| path.starts_with("/api/")).collect();
        assert_eq!(nearest("/api/v2"), api);
    }

    #[test]
    fn what_an_object_has_is_near_the_object() {
        let node = &PATHS[1..6];
        check("/api/v1/model/nodes/n", node);
        check("/api/v1/model/nodes/n/metric", node);
        check("/api/v1/model/namespaces/s/pod-list/a,b", &PATHS[15..16]);
        check("/api/v1/model/Nodes", &PATHS[..23]);
        let lists = [29, 30].map(|at| format!("{HISTORICAL}{}", PAST[at]));
        assert_eq!(nearest("/api/v1/historical/pod-id-list/u"), lists);
    }

    #[test]
    fn history_has_a_prefix_of_its_own() {
        assert!(is_historical("/api/v1/historical") && is_historical("/api/v1/historical/x"));
        assert!(!is_historical("/api/v1/historically") && !is_historical("/api/v1/model"));
    }
}
