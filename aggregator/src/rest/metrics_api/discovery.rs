//! Documents that say what is in the API, as an API server gives them: the group, its versions,
//! their resources.

use serde_json::{Value, json};

use super::route::{GROUP, Version};

/// Name and kind of each resource, and whether it is in namespaces.
const RESOURCES: [(&str, &str, bool); 2] =
    [("nodes", "NodeMetrics", false), ("pods", "PodMetrics", true)];

/// What this server runs on, in Go's words.
const PLATFORM: &str = if cfg!(target_arch = "x86_64") {
    "linux/amd64"
} else if cfg!(target_arch = "aarch64") {
    "linux/arm64"
} else {
    "linux"
};

const VERBS: [&str; 2] = ["get", "list"];

/// All groups: one.
pub(super) fn groups() -> Value {
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [described()] })
}

/// The group.
pub(super) fn group() -> Value {
    let Value::Object(mut group) = described() else { return Value::Null };
    group.insert("kind".to_owned(), "APIGroup".into());
    group.insert("apiVersion".to_owned(), "v1".into());
    Value::Object(group)
}

fn described() -> Value {
    let version = |version: Version| json!({ "groupVersion": version.group_version(), "version": version.name() });
    let versions = Version::ALL.map(version);
    json!({ "name": GROUP, "versions": versions, "preferredVersion": versions[0] })
}

/// The resources of a version.
pub(super) fn resources(version: Version) -> Value {
    let resource = |(name, kind, namespaced)| {
        json!({
            "name": name,
            "singularName": "",
            "namespaced": namespaced,
            "kind": kind,
            "verbs": VERBS,
        })
    };
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version.group_version(),
        "resources": RESOURCES.map(resource),
    })
}

/// Groups, versions and resources at once.
pub(super) fn aggregated(api_version: &str) -> Value {
    let resource = |version: Version, (name, kind, namespaced): (&str, &str, bool)| {
        json!({
            "resource": name,
            "responseKind": { "group": GROUP, "version": version.name(), "kind": kind },
            "scope": if namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": "",
            "verbs": VERBS,
        })
    };
    let version = |version: Version| {
        json!({
            "version": version.name(),
            "resources": RESOURCES.map(|of| resource(version, of)),
            "freshness": "Current",
        })
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{api_version}"),
        "metadata": {},
        "items": [{
            "metadata": { "name": GROUP, "creationTimestamp": null },
            "versions": Version::ALL.map(version),
        }],
    })
}

/// What this server is.
pub(super) fn server_version() -> Value {
    json!({
        "major": env!("CARGO_PKG_VERSION_MAJOR"),
        "minor": env!("CARGO_PKG_VERSION_MINOR"),
        "gitVersion": concat!("v", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "",
        "goVersion": "",
        "compiler": "rustc",
        "platform": PLATFORM,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_prefers_the_version_that_everybody_knows() {
        let group = group();
        assert_eq!((&group["kind"], &group["apiVersion"]), (&json!("APIGroup"), &json!("v1")));
        let preferred = json!({"groupVersion": "metrics.k8s.io/v1beta1", "version": "v1beta1"});
        assert_eq!(group["preferredVersion"], preferred);
        let other = json!({"groupVersion": "metrics.k8s.io/v1", "version": "v1"});
        assert_eq!(group["versions"], json!([preferred, other]));
        assert_eq!(groups()["groups"][0]["versions"], group["versions"]);
        assert!(groups()["groups"][0].get("kind").is_none());
    }

    #[test]
    fn a_version_has_nodes_and_pods_to_get_and_list() {
        let expected = json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1",
            "resources": [
                {"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": ["get", "list"]},
                {"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"]},
            ],
        });
        assert_eq!(resources(Version::V1), expected);
    }

    #[test]
    fn aggregated_discovery_says_all_of_it_at_once() {
        let all = aggregated("v2");
        assert_eq!(all["apiVersion"], "apidiscovery.k8s.io/v2");
        let version = &all["items"][0]["versions"][1];
        assert_eq!((&version["version"], &version["freshness"]), (&json!("v1"), &json!("Current")));
        let expected = json!({
            "resource": "pods", "scope": "Namespaced", "singularResource": "", "verbs": ["get", "list"],
            "responseKind": {"group": "metrics.k8s.io", "version": "v1", "kind": "PodMetrics"},
        });
        assert_eq!(version["resources"][1], expected);
    }
}
