//! Messages of `generated.proto` as others read them, and what they say as JSON.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};
use tally_proto::{
    name::ContainerName,
    tick::{Tick, UnixMs},
};

use super::*;
use crate::query::usage::{ContainerUsage, Interval};

/// The message in an envelope that says this kind.
#[track_caller]
pub(crate) fn opened(bytes: &[u8], api_version: &str, kind: &str) -> Vec<u8> {
    #[derive(Clone, PartialEq, Message)]
    struct TypeMeta {
        #[prost(string, tag = "1")]
        api_version: String,
        #[prost(string, tag = "2")]
        kind: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Unknown {
        #[prost(message, optional, tag = "1")]
        type_meta: Option<TypeMeta>,
        #[prost(bytes = "vec", tag = "2")]
        raw: Vec<u8>,
    }
    let envelope = Unknown::decode(bytes.strip_prefix(MAGIC).unwrap()).unwrap();
    let type_meta = envelope.type_meta.unwrap();
    assert_eq!((&*type_meta.api_version, &*type_meta.kind), (api_version, kind));
    envelope.raw
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(int64, tag = "1")]
    number: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(message, optional, tag = "8")]
    creation_timestamp: Option<Number>,
    #[prost(btree_map = "string, string", tag = "11")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Quantity {
    #[prost(string, tag = "1")]
    string: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetrics {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    usage: BTreeMap<String, Quantity>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodMetrics {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    timestamp: Option<Number>,
    #[prost(message, optional, tag = "3")]
    window: Option<Number>,
    #[prost(message, repeated, tag = "4")]
    containers: Vec<ContainerMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodMetricsList {
    #[prost(message, optional, tag = "1")]
    metadata: Option<()>,
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<PodMetrics>,
}

impl PodMetrics {
    /// What it says as JSON.
    pub(crate) fn json(&self) -> Value {
        let time = |time: &Option<Number>| {
            Timestamp::from_second(time.as_ref().unwrap().number).unwrap().to_string()
        };
        let metadata = self.metadata.as_ref().unwrap();
        let mut json = json!({
            "name": metadata.name,
            "namespace": metadata.namespace,
            "creationTimestamp": time(&metadata.creation_timestamp),
        });
        if !metadata.labels.is_empty() {
            json["labels"] = json!(metadata.labels);
        }
        let containers = self.containers.iter().map(|container| {
            let usage = container.usage.iter().map(|(name, amount)| (name, &amount.string));
            json!({"name": container.name, "usage": usage.collect::<BTreeMap<_, _>>()})
        });
        let mut window = Vec::new();
        let nanoseconds = u64::try_from(self.window.as_ref().unwrap().number).unwrap();
        super::super::quantity::push_duration(nanoseconds / 1000, &mut window);
        json!({
            "metadata": json,
            "timestamp": time(&self.timestamp),
            "window": String::from_utf8(window).unwrap(),
            "containers": containers.collect::<Vec<_>>(),
        })
    }
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(
        name in "[a-z]{1,300}",
        labels in prop::collection::btree_map("[a-z/]{1,80}", "[a-z]{0,63}", 0..20),
        end_s in -9i64..2_000_000_000,
        length_us in 1u64..1 << 40,
        containers in prop::collection::vec(("[a-z]{1,200}", any::<u64>(), any::<Option<u64>>()), 1..5),
    ) {
        let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        let text = text.join(",");
        let used: Vec<ContainerUsage> = containers.iter().map(|(name, cpu, swap)| ContainerUsage {
            name: ContainerName::parse(name).unwrap(),
            usage: Usage {
                cpu_nanocores: *cpu,
                memory_bytes: 1024,
                swap_bytes: *swap,
                ephemeral_storage_bytes: None,
            },
        }).collect();
        let object = Object {
            namespace: Some("ns"),
            name: &name,
            labels: &text,
            interval: Interval { end: UnixMs(end_s * 1000), tick: Tick(0), length_us },
            amounts: Amounts::Containers(&used),
        };
        let mut out = Vec::new();
        Writer::new(7).push(&object, &mut out);
        let read = PodMetrics::decode(out.as_slice()).unwrap();
        let metadata = read.metadata.unwrap();
        prop_assert_eq!((&metadata.name, &*metadata.namespace), (&name, "ns"));
        prop_assert_eq!(&metadata.labels, &labels);
        prop_assert_eq!(metadata.creation_timestamp, Some(Number { number: 7 }));
        prop_assert_eq!(read.timestamp, Some(Number { number: end_s }));
        prop_assert_eq!(read.window.unwrap().number.cast_unsigned(), length_us * 1000);
        for (read, (name, _, swap)) in read.containers.iter().zip(&containers) {
            prop_assert_eq!(&read.name, name);
            prop_assert_eq!(&read.usage["memory"].string, "1Ki");
            prop_assert_eq!(read.usage.len(), if swap.is_some() { 3 } else { 2 });
        }
        prop_assert_eq!(read.containers.len(), containers.len());
    }
}

#[test]
fn an_envelope_says_what_is_in_it() {
    let bytes = enveloped("v1", "Status", b"message");
    assert_eq!(opened(&bytes, "v1", "Status"), b"message");
}
