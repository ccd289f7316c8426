//! Objects as rows of a table, as `kubectl get` shows them: the name, each resource that any of
//! them has, and the window.

use std::fmt;

use serde_json::json;

use super::{
    json::{self, Writer},
    objects::{Object, Objects, Resource},
    quantity,
};

/// What rows carry of their objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Include {
    /// Nothing.
    None,
    /// Their metadata.
    #[default]
    Metadata,
    /// All of them.
    Object,
}

/// A value of `includeObject` that there is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadInclude(String);

impl fmt::Display for BadInclude {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "includeObject: {:?} is none of None, Metadata and Object", self.0)
    }
}

impl Include {
    /// Reads the parameter.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, BadInclude> {
        match text {
            None => Ok(Self::default()),
            Some("None") => Ok(Self::None),
            Some("Metadata") => Ok(Self::Metadata),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(BadInclude(other.to_owned())),
        }
    }
}

/// A table that is written row by row.
#[derive(Debug)]
pub(super) struct Table {
    /// The version of `meta.k8s.io`.
    version: &'static str,
    include: Include,
    /// Which columns there are.
    resources: Vec<Resource>,
    /// Version and kind of the objects.
    of: (&'static str, &'static str),
}

impl Table {
    /// A table of `objects`.
    pub(super) fn new(
        version: &'static str,
        include: Include,
        of: (&'static str, &'static str),
        objects: &Objects,
    ) -> Self {
        let mut missing = vec![Resource::EphemeralStorage, Resource::Swap];
        for object in objects.iter() {
            missing.retain(|resource| object.total(*resource).is_none());
            if missing.is_empty() {
                break;
            }
        }
        let resources = Resource::ALL.into_iter().filter(|resource| !missing.contains(resource));
        Self { version, include, resources: resources.collect(), of }
    }

    /// What comes before the rows.
    pub(super) fn head(&self) -> Vec<u8> {
        let column = |name: &str, format: &str, description: &str| {
            json!({
                "name": name,
                "type": "string",
                "format": format,
                "description": description,
                "priority": 0,
            })
        };
        let resources =
            self.resources.iter().map(|resource| column(resource.name(), "quantity", ""));
        let columns: Vec<_> = [column("Name", "name", "Name of the resource")]
            .into_iter()
            .chain(resources)
            .chain([column("Window", "duration", "")])
            .collect();
        let version = self.version;
        let head = format!(
            r#"{{"kind":"Table","apiVersion":"meta.k8s.io/{version}","metadata":{{}},"columnDefinitions":{},"rows":["#,
            json!(columns)
        );
        head.into_bytes()
    }

    /// Appends a row.
    pub(super) fn push_row(&self, object: &Object<'_>, writer: &mut Writer, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"cells\":[");
        json::push_text(object.name, out);
        for resource in &self.resources {
            match object.total(*resource) {
                Some(amount) => {
                    out.extend_from_slice(b",\"");
                    resource.push(amount, out);
                    out.push(b'"');
                }
                None => out.extend_from_slice(b",null"),
            }
        }
        out.extend_from_slice(b",\"");
        quantity::push_duration(object.interval.length_us, out);
        out.extend_from_slice(b"\"],\"object\":");
        match self.include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Metadata => {
                let version =
                    if self.version == "v1" { "meta.k8s.io/v1" } else { "meta.k8s.io/v1beta1" };
                writer.push_partial(version, object, out);
            }
            Include::Object => writer.push(self.of, object, out),
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tally_proto::{
        name::NodeName,
        tick::{Tick, UnixMs},
    };

    use super::super::json::Dialect;
    use super::*;
    use crate::query::usage::{Interval, NodeUsage, Usage};

    fn node(name: &str, swap_bytes: Option<u64>) -> NodeUsage {
        NodeUsage {
            name: NodeName::parse(name).unwrap(),
            labels: "".into(),
            interval: Interval { end: UnixMs(0), tick: Tick(0), length_us: 1_500_000 },
            usage: Usage {
                cpu_nanocores: 1,
                memory_bytes: 2048,
                swap_bytes,
                ephemeral_storage_bytes: None,
            },
        }
    }

    fn table(include: Include, nodes: Vec<NodeUsage>) -> Value {
        let objects = Objects::Nodes(nodes);
        let table = Table::new("v1", include, ("metrics.k8s.io/v1", "NodeMetrics"), &objects);
        let mut out = table.head();
        let mut writer = Writer::new(Dialect::Kubernetes, 0);
        for (place, object) in objects.iter().enumerate() {
            out.extend_from_slice(if place == 0 { b"" } else { b"," });
            table.push_row(&object, &mut writer, &mut out);
        }
        out.extend_from_slice(b"]}");
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn there_is_a_column_for_each_resource_that_anyone_has() {
        let table = table(Include::None, vec![node("a", None), node("b", Some(0))]);
        let columns = table["columnDefinitions"].as_array().unwrap();
        let columns: Vec<_> =
            columns.iter().map(|column| (&column["name"], &column["format"])).collect();
        let expected = [
            ("Name", "name"),
            ("cpu", "quantity"),
            ("memory", "quantity"),
            ("swap", "quantity"),
            ("Window", "duration"),
        ];
        assert_eq!(json!(columns), json!(expected));
        assert_eq!(
            table["rows"][0],
            json!({"cells": ["a", "1n", "2Ki", null, "1.5s"], "object": null})
        );
        assert_eq!(table["rows"][1]["cells"][3], "0");
    }

    #[test]
    fn rows_carry_what_is_asked_for() {
        let of = |include| table(include, vec![node("a", None)])["rows"][0]["object"].clone();
        assert_eq!(
            of(Include::default()),
            json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"name": "a", "creationTimestamp": "1970-01-01T00:00:00Z"},
            })
        );
        assert_eq!(
            (&of(Include::Object)["kind"], &of(Include::Object)["usage"]["cpu"]),
            (&json!("NodeMetrics"), &json!("1n"))
        );
        assert_eq!(Include::parse(Some("None")), Ok(Include::None));
        let bad = Include::parse(Some("none")).unwrap_err().to_string();
        assert_eq!(bad, "includeObject: \"none\" is none of None, Metadata and Object");
    }

    #[test]
    fn a_table_of_nothing_has_its_columns() {
        let table = table(Include::None, Vec::new());
        assert_eq!(
            (table["columnDefinitions"].as_array().unwrap().len(), &table["rows"]),
            (4, &json!([]))
        );
    }
}
