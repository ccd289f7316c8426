//! What a request asks for, in the words in which permissions are given.
//!
//! As Kubernetes' API server takes its own paths apart, with two differences. A segment is decoded
//! *after* the path is split, as the router does it: else an escaped slash would be allowed as one
//! thing and answered as another. And what is below `/api/v1` is Heapster's: its resources are
//! `model`, `historical` and the like, as the path says, in the namespace that the path names; but
//! what follows them is no name and no subresource, because no role could allow all of those.

use crate::percent;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attributes {
    /// An object of an API, or several.
    Resource(Resource),
    /// Something else.
    Path {
        /// The method in small letters.
        verb: String,
        /// The whole path, decoded.
        path: String,
    },
}

/// An object of an API, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Resource {
    /// `get`, `list`, `watch`, `create`, ….
    pub verb: String,
    /// Empty for Heapster's.
    pub group: String,
    /// Of the API.
    pub version: String,
    /// The kind, in the plural.
    pub resource: String,
    /// Empty for none.
    pub subresource: String,
    /// Empty for all, or for what is in none.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
}

/// Verbs that can begin a path.
const PATH_VERBS: [&str; 2] = ["proxy", "watch"];

/// What follows a namespace's name and is no kind of object in it.
const OF_NAMESPACE: [&str; 2] = ["status", "finalize"];

impl Attributes {
    /// Of a request's method, path and query, as they were sent.
    pub fn of(method: &str, path: &str, query: &str) -> Self {
        let segments: Option<Vec<String>> =
            path.trim_matches('/').split('/').map(percent::decode).collect();
        let Some(segments) = segments else {
            return Self::Path { verb: method.to_ascii_lowercase(), path: path.to_owned() };
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let found = match segments.as_slice() {
            ["api", version, resource, rest @ ..] => {
                Some(heapster(method, version, resource, rest))
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                resource(method, (group, version), rest, query)
            }
            _ => None,
        };
        let slash = if path.len() > 1 && path.ends_with('/') { "/" } else { "" };
        found.map_or_else(
            || Self::Path {
                verb: method.to_ascii_lowercase(),
                path: format!("/{}{slash}", segments.join("/")),
            },
            Self::Resource,
        )
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Path { verb, path } => verb.len() + path.len(),
            Self::Resource(of) => [
                &of.verb,
                &of.group,
                &of.version,
                &of.resource,
                &of.subresource,
                &of.namespace,
                &of.name,
            ]
            .map(String::len)
            .iter()
            .sum(),
        }
    }
}

fn heapster(method: &str, version: &str, resource: &str, rest: &[&str]) -> Resource {
    let namespace = match *rest {
        ["namespaces", namespace, ..] => namespace,
        _ => "",
    };
    Resource {
        verb: verb(method).to_owned(),
        version: version.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        ..Resource::default()
    }
}

/// `None` where a verb in the path has nothing after it.
fn resource(
    method: &str,
    (group, version): (&str, &str),
    mut rest: &[&str],
    query: &str,
) -> Option<Resource> {
    let mut verb = verb(method);
    if let [first, after @ ..] = rest
        && let Some(of_path) = PATH_VERBS.into_iter().find(|verb| verb == first)
    {
        (verb, rest) = (of_path, after);
    }
    let mut namespace = "";
    if let ["namespaces", name, after @ ..] = rest {
        namespace = name;
        if after.first().is_some_and(|kind| !OF_NAMESPACE.contains(kind)) {
            rest = after;
        }
    }
    let resource = rest.first()?;
    let mut name = rest.get(1).copied().unwrap_or_default().to_owned();
    let subresource = rest.get(2).filter(|_| verb != "proxy").copied().unwrap_or_default();
    if name.is_empty() {
        verb = match verb {
            "get" if asks_to_watch(query) => "watch",
            "get" => "list",
            "delete" => "deletecollection",
            other => other,
        };
        if matches!(verb, "list" | "watch") && heeds_selectors(group, version) {
            name = name_selected(query).unwrap_or_default();
        }
    }
    Some(Resource {
        verb: verb.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        resource: (*resource).to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name,
    })
}

/// Whether lists of that version are of the fields that are selected, and of no more. Heapster ignored
/// selectors: there a name would allow what it does not name.
fn heeds_selectors(group: &str, version: &str) -> bool {
    group == "metrics.k8s.io" && matches!(version, "v1" | "v1beta1")
}

fn verb(method: &str) -> &'static str {
    match method {
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

fn asks_to_watch(query: &str) -> bool {
    let watch = values(query).find(|(key, _)| *key == "watch");
    // An empty value is a yes, as for a flag without one.
    watch.is_some_and(|(_, value)| !matches!(&*value.to_ascii_lowercase(), "false" | "0"))
}

/// The one name that a list is of: whoever may read that object alone may ask for this list. A
/// query that others might read differently gives none.
fn name_selected(query: &str) -> Option<String> {
    let selectors = values(query)
        .filter(|(key, _)| percent::decode(key).is_none_or(|key| key == "fieldSelector"));
    let selectors: Vec<_> = selectors.collect();
    let [("fieldSelector", selector)] = *selectors else { return None };
    let selector = percent::decode(&selector.replace('+', " "))?;
    if selector.contains('\\') {
        return None;
    }
    let named = selector.split(',').find_map(|term| term.strip_prefix("metadata.name"))?;
    let name = named.strip_prefix("==").or_else(|| named.strip_prefix('='))?;
    let is_segment = !matches!(name, "" | "." | "..") && !name.contains(['/', '%', '=', '!', ';']);
    is_segment.then(|| name.to_owned())
}

fn values(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A resource as `verb group/version namespace resource/subresource name`, `-` for nothing.
    fn told(attributes: Attributes) -> String {
        match attributes {
            Attributes::Path { verb, path } => format!("{verb} {path}"),
            Attributes::Resource(of) => {
                let or =
                    |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
                let sub = if of.subresource.is_empty() {
                    String::new()
                } else {
                    format!("/{}", of.subresource)
                };
                format!(
                    "{} {}/{} {} {}{sub} {}",
                    or(&of.verb),
                    or(&of.group),
                    of.version,
                    or(&of.namespace),
                    of.resource,
                    or(&of.name)
                )
            }
        }
    }

    #[track_caller]
    fn check(method: &str, target: &str, expected: &str) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        assert_eq!(told(Attributes::of(method, path, query)), expected, "{method} {target}");
    }

    const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

    #[track_caller]
    fn check_metrics(method: &str, below: &str, expected: &str) {
        let (verb, rest) = expected.split_once(' ').unwrap();
        let expected = format!("{verb} metrics.k8s.io/v1beta1 {rest}");
        check(method, &format!("{METRICS}{below}"), &expected);
    }

    #[test]
    fn objects_of_an_api_are_resources() {
        check_metrics("GET", "/nodes", "list - nodes -");
        check_metrics("HEAD", "/nodes", "list - nodes -");
        check_metrics("GET", "/nodes/", "list - nodes -");
        check_metrics("GET", "/nodes/a", "get - nodes a");
        check_metrics("GET", "/pods", "list - pods -");
        check_metrics("GET", "/namespaces/shop/pods", "list shop pods -");
        check_metrics("GET", "/namespaces/shop/pods/web", "get shop pods web");
        check_metrics("GET", "/namespaces/shop/pods/web/log", "get shop pods/log web");
        check_metrics("GET", "/namespaces/shop", "get shop namespaces shop");
        check_metrics("GET", "/namespaces/shop/status", "get shop namespaces/status shop");
        check_metrics("GET", "/namespaces", "list - namespaces -");
        check_metrics("GET", "/nodes/a%2Fb", "get - nodes a/b");
    }

    #[test]
    fn methods_are_verbs() {
        check_metrics("POST", "/nodes", "create - nodes -");
        check_metrics("PUT", "/nodes/a", "update - nodes a");
        check_metrics("PATCH", "/nodes/a", "patch - nodes a");
        check_metrics("DELETE", "/nodes/a", "delete - nodes a");
        check_metrics("DELETE", "/nodes", "deletecollection - nodes -");
        check_metrics("OPTIONS", "/nodes", "- - nodes -");
    }

    #[test]
    fn watches_are_told_from_lists() {
        check_metrics("GET", "/nodes?watch=true", "watch - nodes -");
        check_metrics("GET", "/nodes?a=b&watch", "watch - nodes -");
        check_metrics("GET", "/nodes?watch=false", "list - nodes -");
        check_metrics("GET", "/nodes?watch=0", "list - nodes -");
        check_metrics("GET", "/watch/namespaces/shop/pods", "watch shop pods -");
        check_metrics("GET", "/proxy/namespaces/shop/pods/web/x", "proxy shop pods web");
        check("GET", &format!("{METRICS}/watch"), "get /apis/metrics.k8s.io/v1beta1/watch");
    }

    #[test]
    fn a_list_of_one_name_is_asked_for_by_that_name() {
        let selected = |selector: &str| format!("/nodes?fieldSelector={selector}");
        check_metrics("GET", &selected("metadata.name=a"), "list - nodes a");
        check_metrics("GET", &selected("metadata.name%3D%3Da"), "list - nodes a");
        check_metrics("GET", &selected("x=y,metadata.name=a"), "list - nodes a");
        check_metrics("GET", &selected("metadata.name!=a"), "list - nodes -");
        check_metrics("GET", &selected("metadata.namespace=a"), "list - nodes -");
        check_metrics("GET", &selected("metadata.name=a%2Fb"), "list - nodes -");
        check_metrics("GET", &selected("metadata.name=a%5C,b"), "list - nodes -");
        check_metrics("GET", &selected("metadata.name=a&fieldSelector="), "list - nodes -");
        check_metrics("GET", &selected("metadata.name=a&field%53elector="), "list - nodes -");
        let heapster = "/apis/metrics/v1alpha1/nodes?fieldSelector=metadata.name=a";
        check("GET", heapster, "list metrics/v1alpha1 - nodes -");
        let heapster = "/apis/metrics.k8s.io/v1alpha1/nodes?fieldSelector=metadata.name=a";
        check("GET", heapster, "list metrics.k8s.io/v1alpha1 - nodes -");
    }

    #[test]
    fn heapsters_api_has_resources_that_a_role_can_allow() {
        check("GET", "/api/v1/model", "get -/v1 - model -");
        check("GET", "/api/v1/model/nodes/a/metrics/cpu/usage", "get -/v1 - model -");
        check("GET", "/api/v1/model/namespaces/", "get -/v1 - model -");
        check("GET", "/api/v1/model/namespaces/shop/pods", "get -/v1 shop model -");
        check("GET", "/api/v1/historical/namespaces/shop/metrics", "get -/v1 shop historical -");
        check("GET", "/api/v1/metric-export", "get -/v1 - metric-export -");
        check("POST", "/api/v1/model/nodes", "create -/v1 - model -");
    }

    #[test]
    fn everything_else_is_a_path() {
        for path in
            ["/", "/metrics", "/api", "/api/v1", "/apis", "/apis/a", "/apis/a/v1", "/apis/a/v1/"]
        {
            check("GET", path, &format!("get {path}"));
        }
        check("POST", "/openapi/v2", "post /openapi/v2");
        check("GET", "/a%20b", "get /a b");
        check("GET", "/apis/a/v1/%zz", "get /apis/a/v1/%zz");
    }

    #[test]
    fn an_escaped_slash_hides_no_namespace() {
        check(
            "GET",
            "/apis%2Fmetrics.k8s.io/v1beta1/nodes",
            "get /apis/metrics.k8s.io/v1beta1/nodes",
        );
        check_metrics("GET", "/namespaces/shop%2Fpods/web", "list shop/pods web -");
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_panics(method in ".{0,8}", path in "[/%a-z0-9.]{0,40}|.{0,40}", query in ".{0,40}") {
            Attributes::of(&method, &path, &query);
        }

        /// So a role for one namespace never opens another.
        #[test]
        fn the_namespace_is_the_paths(namespace in "[a-z0-9-]{1,12}", kind in "[a-z]{1,8}", name in "[a-z0-9.-]{0,12}") {
            prop_assume!(!OF_NAMESPACE.contains(&&*kind));
            let path = format!("{METRICS}/namespaces/{namespace}/{kind}/{name}");
            let Attributes::Resource(of) = Attributes::of("GET", &path, "") else { panic!("a path") };
            prop_assert_eq!((of.namespace, of.resource, of.name), (namespace, kind, name));
        }
    }
}
