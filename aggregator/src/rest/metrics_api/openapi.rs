//! Paths and types of the API in OpenAPI 2 and 3, for `kubectl explain` and for the API server
//! that merges this document into its own. Types are described in full where they are used, so
//! that none can collide with one of the API server's.

use serde_json::{Map, Value, json};

use super::route::{GROUP, Version};

/// What describes a kind: name, and its fields beside those that both have.
const KINDS: [&str; 2] = ["NodeMetrics", "PodMetrics"];

/// Path below the version, the kind that it answers, and its names in the path.
const PATHS: [(&str, &str, &[&str]); 5] = [
    ("nodes", "NodeMetricsList", &[]),
    ("nodes/{name}", "NodeMetrics", &["name"]),
    ("pods", "PodMetricsList", &[]),
    ("namespaces/{namespace}/pods", "PodMetricsList", &["namespace"]),
    ("namespaces/{namespace}/pods/{name}", "PodMetrics", &["namespace", "name"]),
];

/// Parameters of lists.
const LIST_PARAMETERS: [(&str, &str); 2] = [
    ("labelSelector", "A selector to restrict the list of returned objects by their labels."),
    (
        "fieldSelector",
        "A selector to restrict the list by metadata.name and, of pods, metadata.namespace.",
    ),
];

/// The two generations of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    V2,
    V3,
}

/// Everything in OpenAPI 2.
pub(super) fn v2() -> Value {
    let all = Version::ALL.into_iter();
    let paths: Map<String, Value> =
        all.clone().flat_map(|version| paths(version, Format::V2)).collect();
    let definitions: Map<String, Value> =
        all.flat_map(|version| definitions(version, Format::V2)).collect();
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

/// Where the descriptions in OpenAPI 3 are; each with its hash, so that it can be kept.
pub(super) fn v3_index(hash_of: impl Fn(Version) -> String) -> Value {
    let path = |version: Version| {
        let path = format!("apis/{}", version.group_version());
        let url = format!("/openapi/v3/{path}?hash={}", hash_of(version));
        (path, json!({ "serverRelativeURL": url }))
    };
    json!({ "paths": Version::ALL.into_iter().map(path).collect::<Map<_, _>>() })
}

/// A version in OpenAPI 3.
pub(super) fn v3(version: Version) -> Value {
    let paths: Map<String, Value> = paths(version, Format::V3).collect();
    let schemas: Map<String, Value> = definitions(version, Format::V3).collect();
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn info() -> Value {
    json!({ "title": "Tally", "version": concat!("v", env!("CARGO_PKG_VERSION")) })
}

fn name_of(version: Version, kind: &str) -> String {
    format!("io.k8s.metrics.pkg.apis.metrics.{}.{kind}", version.name())
}

fn reference(version: Version, kind: &str, format: Format) -> Value {
    let place = match format {
        Format::V2 => "#/definitions/",
        Format::V3 => "#/components/schemas/",
    };
    json!({ "$ref": format!("{place}{}", name_of(version, kind)) })
}

fn paths(version: Version, format: Format) -> impl Iterator<Item = (String, Value)> {
    PATHS.into_iter().map(move |(path, kind, names)| {
        let path = format!("/apis/{}/{path}", version.group_version());
        (path, json!({ "get": operation(version, format, kind, names) }))
    })
}

fn operation(version: Version, format: Format, kind: &str, names: &[&str]) -> Value {
    let produced = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    let is_list = kind.ends_with("List");
    let parameter = |place: &str, name: &str, description: &str| match format {
        Format::V2 => json!({
            "name": name, "in": place, "description": description,
            "required": place == "path", "type": "string", "uniqueItems": true,
        }),
        Format::V3 => json!({
            "name": name, "in": place, "description": description,
            "required": place == "path", "schema": { "type": "string", "uniqueItems": true },
        }),
    };
    let in_path = names.iter().map(|name| parameter("path", name, &format!("The {name}.")));
    let in_query = LIST_PARAMETERS.iter().filter(|_| is_list);
    let in_query = in_query.map(|(name, description)| parameter("query", name, description));
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let schema = reference(version, kind, format);
    let ok = match format {
        Format::V2 => json!({ "description": "OK", "schema": schema }),
        Format::V3 => {
            let content = produced.map(|media| (media.to_owned(), json!({ "schema": schema })));
            json!({ "description": "OK", "content": content.into_iter().collect::<Map<_, _>>() })
        }
    };
    let (action, scope) = match (is_list, names) {
        (true, ["namespace"]) => ("list", "Namespaced"),
        (true, _) => ("list", ""),
        (false, ["namespace", ..]) => ("read", "Namespaced"),
        (false, _) => ("read", ""),
    };
    let of = kind.trim_end_matches("List");
    let id = format!("{action}MetricsK8sIo{}{scope}{of}", version.name());
    let across = if kind == "PodMetricsList" && names.is_empty() { "ForAllNamespaces" } else { "" };
    let mut operation = json!({
        "description": format!("{action} {of}"),
        "operationId": format!("{id}{across}"),
        "tags": [format!("metrics_{}", version.name())],
        "parameters": parameters,
        "responses": { "200": ok },
        "x-kubernetes-action": if is_list { "list" } else { "get" },
        "x-kubernetes-group-version-kind": kind_of(version, of),
    });
    if format == Format::V2
        && let Some(operation) = operation.as_object_mut()
    {
        operation.insert("produces".to_owned(), json!(produced));
        operation.insert("schemes".to_owned(), json!(["https"]));
    }
    operation
}

fn kind_of(version: Version, kind: &str) -> Value {
    json!({ "group": GROUP, "version": version.name(), "kind": kind })
}

fn definitions(version: Version, format: Format) -> impl Iterator<Item = (String, Value)> {
    let lists = KINDS.map(|kind| (format!("{kind}List"), list(version, kind, format)));
    let whole = [
        ("NodeMetrics".to_owned(), object(version, "NodeMetrics", "usage", usage())),
        ("PodMetrics".to_owned(), {
            let items = reference(version, "ContainerMetrics", format);
            let description = "The containers that have numbers.";
            let containers = json!({ "description": description, "type": "array", "items": items });
            object(version, "PodMetrics", "containers", containers)
        }),
        ("ContainerMetrics".to_owned(), container()),
    ];
    whole
        .into_iter()
        .chain(lists)
        .map(move |(kind, described)| (name_of(version, &kind), described))
}

fn text(description: &str) -> Value {
    json!({ "description": description, "type": "string" })
}

fn usage() -> Value {
    json!({
        "description": "What is used: cpu, and bytes of memory (the working set); where they are known also of swap and ephemeral-storage.",
        "type": "object",
        "additionalProperties": { "description": "An amount, such as 250m or 12Ki.", "type": "string" },
    })
}

fn container() -> Value {
    json!({
        "description": "What a container of a pod uses.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": { "name": text("The container's name."), "usage": usage() },
    })
}

fn object(version: Version, kind: &str, field: &str, described: Value) -> Value {
    let time = |description: &str| json!({ "description": description, "type": "string", "format": "date-time" });
    let metadata = json!({
        "description": "Name, namespace and labels.",
        "type": "object",
        "properties": {
            "name": text("The name."),
            "namespace": text("The namespace, of a pod."),
            "creationTimestamp": time("When this object was made: now."),
            "labels": {
                "description": "The labels of the node or pod.",
                "type": "object",
                "additionalProperties": { "type": "string" },
            },
        },
    });
    let mut properties = Map::from_iter([
        ("apiVersion".to_owned(), text("The version of this object.")),
        ("kind".to_owned(), text("The kind of this object.")),
        ("metadata".to_owned(), metadata),
        ("timestamp".to_owned(), time("When it was read; CPU is of the window before.")),
        ("window".to_owned(), text("The time that CPU is of, such as 15s.")),
    ]);
    properties.insert(field.to_owned(), described);
    json!({
        "description": format!("{kind} says what a {} uses.", if kind == "NodeMetrics" { "node" } else { "pod" }),
        "type": "object",
        "required": ["timestamp", "window", field],
        "properties": properties,
        "x-kubernetes-group-version-kind": [kind_of(version, kind)],
    })
}

fn list(version: Version, kind: &str, format: Format) -> Value {
    let items = reference(version, kind, format);
    json!({
        "description": format!("A list of {kind}."),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text("The version of this object."),
            "kind": text("The kind of this object."),
            "metadata": { "description": "Nothing is in it.", "type": "object" },
            "items": { "description": "Sorted by namespace and name.", "type": "array", "items": items },
        },
        "x-kubernetes-group-version-kind": [kind_of(version, &format!("{kind}List"))],
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every `$ref` in a document.
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => (),
        }
    }

    #[track_caller]
    fn check(document: &Value, definitions: &str, count: usize) {
        let all = document.pointer(definitions).unwrap().as_object().unwrap();
        assert_eq!(all.len(), count);
        let mut found = BTreeSet::new();
        references(document, &mut found);
        for reference in found {
            let name = reference.strip_prefix(&format!("#{definitions}/")).unwrap();
            assert!(all.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_is_referred_to_is_described() {
        check(&v2(), "/definitions", 10);
        check(&v3(Version::V1), "/components/schemas", 5);
    }

    #[test]
    fn every_path_says_which_kind_it_answers_and_has_its_parameters() {
        let document = v2();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), 10);
        let mut ids = BTreeSet::new();
        for (path, described) in paths {
            let get = &described["get"];
            assert!(ids.insert(get["operationId"].as_str().unwrap()), "{path}");
            let parameters = get["parameters"].as_array().unwrap();
            for parameter in parameters.iter().filter(|parameter| parameter["in"] == "path") {
                let name = parameter["name"].as_str().unwrap();
                assert!(path.contains(&format!("{{{name}}}")), "{path}");
            }
            let names = path.matches('{').count();
            let expected = if get["x-kubernetes-action"] == "list" { names + 2 } else { names };
            assert_eq!(parameters.len(), expected, "{path}");
        }
    }

    #[test]
    fn the_index_leads_to_what_can_be_kept() {
        let index = v3_index(|version| format!("H{}", version.name()));
        let url = "/openapi/v3/apis/metrics.k8s.io/v1?hash=Hv1";
        assert_eq!(index["paths"]["apis/metrics.k8s.io/v1"]["serverRelativeURL"], url);
    }
}
