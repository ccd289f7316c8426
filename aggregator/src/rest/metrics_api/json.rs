//! Objects in JSON, in the order of fields that Go writes them in.

use jiff::Timestamp;
use tally_proto::tick::UnixMs;

use super::{
    objects::{Amounts, Object, Resource, amounts},
    quantity::{self, Unit},
};
use crate::query::usage::{Usage, selector};

/// Whatever its resolution was.
const HEAPSTER_WINDOW_US: u64 = 60_000_000;

/// Whose objects they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Those of `metrics.k8s.io`.
    Kubernetes,
    /// Heapster's: without labels, CPU in thousandths of a core, nothing but CPU and memory. The
    /// timestamp is the tick, and the window the minute that Heapster always said.
    Heapster,
}

/// Writes objects.
#[derive(Debug)]
pub(super) struct Writer {
    dialect: Dialect,
    created: String,
    /// The last second that was written, with its text: most objects were read in the same few.
    last: (i64, String),
}

impl Writer {
    /// Objects that are made at this second.
    pub(super) fn new(dialect: Dialect, created_s: i64) -> Self {
        let created = stamp(created_s);
        Self { dialect, last: (created_s, created.clone()), created }
    }

    /// Appends an item of a list, which does not say its kind.
    pub(super) fn push_item(&mut self, object: &Object<'_>, out: &mut Vec<u8>) {
        out.push(b'{');
        self.push_fields(object, out);
    }

    /// Appends an object that says its kind.
    pub(super) fn push(
        &mut self,
        (api_version, kind): (&str, &str),
        object: &Object<'_>,
        out: &mut Vec<u8>,
    ) {
        push_type(api_version, kind, out);
        self.push_fields(object, out);
    }

    /// Appends the object as nothing but its metadata.
    pub(super) fn push_partial(&self, api_version: &str, object: &Object<'_>, out: &mut Vec<u8>) {
        push_type(api_version, "PartialObjectMetadata", out);
        self.push_metadata(object, out);
        out.push(b'}');
    }

    fn push_fields(&mut self, object: &Object<'_>, out: &mut Vec<u8>) {
        self.push_metadata(object, out);
        out.extend_from_slice(b",\"timestamp\":\"");
        let (at, window_us) = match self.dialect {
            Dialect::Kubernetes => (object.interval.end, object.interval.length_us),
            Dialect::Heapster => (object.interval.tick.unix_ms(), HEAPSTER_WINDOW_US),
        };
        out.extend_from_slice(self.stamp(at).as_bytes());
        out.extend_from_slice(b"\",\"window\":\"");
        quantity::push_duration(window_us, out);
        out.push(b'"');
        match object.amounts {
            Amounts::Whole(usage) => self.push_usage(usage, out),
            of_pod => {
                out.extend_from_slice(b",\"containers\":[");
                for (place, (name, usage)) in of_pod.containers().enumerate() {
                    out.extend_from_slice(if place == 0 { b"{\"name\":" } else { b",{\"name\":" });
                    push_text(name, out);
                    self.push_usage(usage, out);
                    out.push(b'}');
                }
                out.push(b']');
            }
        }
        out.push(b'}');
    }

    fn push_metadata(&self, object: &Object<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"metadata\":{\"name\":");
        push_text(object.name, out);
        if let Some(namespace) = object.namespace {
            out.extend_from_slice(b",\"namespace\":");
            push_text(namespace, out);
        }
        out.extend_from_slice(b",\"creationTimestamp\":\"");
        out.extend_from_slice(self.created.as_bytes());
        out.push(b'"');
        let mut before: &[u8] = b",\"labels\":{";
        if self.dialect == Dialect::Kubernetes {
            for (key, value) in selector::pairs(object.labels) {
                out.extend_from_slice(std::mem::replace(&mut before, b","));
                push_text(key, out);
                out.push(b':');
                push_text(value, out);
            }
        }
        out.extend_from_slice(if before == b"," { b"}}" } else { b"}" });
    }

    fn push_usage(&self, usage: &Usage, out: &mut Vec<u8>) {
        let mut before: &[u8] = b",\"usage\":{";
        for (resource, amount) in amounts(usage) {
            if self.dialect == Dialect::Heapster
                && !matches!(resource, Resource::Cpu | Resource::Memory)
            {
                continue;
            }
            out.extend_from_slice(std::mem::replace(&mut before, b","));
            out.push(b'"');
            out.extend_from_slice(resource.name().as_bytes());
            out.extend_from_slice(b"\":\"");
            match (self.dialect, resource) {
                (Dialect::Heapster, Resource::Cpu) => {
                    quantity::push_decimal(amount / 1_000_000, Unit::Thousandths, out);
                }
                _ => resource.push(amount, out),
            }
            out.push(b'"');
        }
        out.push(b'}');
    }

    fn stamp(&mut self, at: UnixMs) -> &str {
        let seconds = at.0.div_euclid(1000);
        if self.last.0 != seconds {
            self.last = (seconds, stamp(seconds));
        }
        &self.last.1
    }
}

/// `{"kind":…,"apiVersion":…,`.
fn push_type(api_version: &str, kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"kind\":");
    push_text(kind, out);
    out.extend_from_slice(b",\"apiVersion\":");
    push_text(api_version, out);
    out.push(b',');
}

/// What comes before the items of a list.
pub(super) fn list_head(api_version: &str, kind: &str) -> Vec<u8> {
    let mut out = Vec::new();
    push_type(api_version, kind, &mut out);
    out.extend_from_slice(b"\"metadata\":{},\"items\":[");
    out
}

/// Appends a text in quotes.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    let is_plain = |byte: u8| 0x20 <= byte && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Texts can always be written, and memory takes everything.
        serde_json::to_writer(out, text).ok();
    }
}

/// A second in UTC; the epoch for what no calendar has.
fn stamp(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tally_proto::{name::ContainerName, tick::Tick};

    use super::*;
    use crate::query::usage::{ContainerUsage, Interval};

    const NODE: Usage = Usage {
        cpu_nanocores: 123_456_789,
        memory_bytes: 5 << 30,
        swap_bytes: Some(0),
        ephemeral_storage_bytes: Some(1025),
    };

    fn object<'a>(labels: &'a str, amounts: Amounts<'a>) -> Object<'a> {
        let (end, tick) = (UnixMs(1_795_423_515_999), Tick(1_795_423_510));
        let interval = Interval { end, tick, length_us: 14_200_000 };
        Object { namespace: None, name: "a\"b", labels, interval, amounts }
    }

    #[test]
    fn an_object_has_its_fields_in_go_s_order() {
        let mut out = Vec::new();
        let object = object("app:web,empty:", Amounts::Whole(&NODE));
        let mut writer = Writer::new(Dialect::Kubernetes, 1_795_423_516);
        writer.push(("metrics.k8s.io/v1", "NodeMetrics"), &object, &mut out);
        let expected = concat!(
            r#"{"kind":"NodeMetrics","apiVersion":"metrics.k8s.io/v1","metadata":{"name":"a\"b","#,
            r#""creationTimestamp":"2026-11-23T08:45:16Z","labels":{"app":"web","empty":""}},"#,
            r#""timestamp":"2026-11-23T08:45:15Z","window":"14.2s","#,
            r#""usage":{"cpu":"123456789n","ephemeral-storage":"1025","memory":"5Gi","swap":"0"}}"#,
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn heapster_knew_neither_labels_nor_more_than_two_resources() {
        let containers = [ContainerUsage { name: ContainerName::parse("c").unwrap(), usage: NODE }];
        let mut out = Vec::new();
        let pod =
            Object { namespace: Some("s"), ..object("app:web", Amounts::Containers(&containers)) };
        Writer::new(Dialect::Heapster, 0).push_item(&pod, &mut out);
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            read,
            json!({
                "metadata": {"name": "a\"b", "namespace": "s", "creationTimestamp": "1970-01-01T00:00:00Z"},
                "timestamp": "2026-11-23T08:45:10Z",
                "window": "1m0s",
                "containers": [{"name": "c", "usage": {"cpu": "123m", "memory": "5Gi"}}],
            })
        );
    }
}
