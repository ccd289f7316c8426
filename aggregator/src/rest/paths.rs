//! The paths that are answered, for those who ask for another one.

/// Every path; `{…}` stands for one name, `{metric}` for all that remains.
const PATHS: [&str; 26] = [
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
    "/api/v1/model/metrics",
    "/api/v1/model/metrics/{metric}",
    "/api/v1/model/debug/allkeys",
    "/api/v1/metric-export",
    "/api/v1/metric-export-schema",
    "/metrics",
    "/healthz",
    "/readyz",
    "/livez",
    "/healthz/healthz",
];

/// The paths that share most with `path`, which is none of them.
pub(super) fn nearest(path: &str) -> Vec<&'static str> {
    let most = PATHS.iter().map(|pattern| shared(pattern, path)).max().unwrap_or(0);
    PATHS.into_iter().filter(|pattern| shared(pattern, path) == most).collect()
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
        for path in PATHS {
            assert!(route(&path.replace(['{', '}'], "")).is_ok(), "{path}");
        }
    }

    #[test]
    fn without_any_beginning_all_paths_are_near() {
        check("/", &PATHS);
        check("/version", &PATHS);
        check("/api/v2", &PATHS[..21]);
    }

    #[test]
    fn what_an_object_has_is_near_the_object() {
        let node = &PATHS[1..6];
        check("/api/v1/model/nodes/n", node);
        check("/api/v1/model/nodes/n/metric", node);
        check("/api/v1/model/namespaces/s/pod-list/a,b", &PATHS[15..16]);
        check("/api/v1/model/Nodes", &PATHS[..19]);
    }
}
