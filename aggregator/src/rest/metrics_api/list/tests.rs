use proptest::prelude::*;
use prost::Message;
use serde_json::Value;
use tally_proto::{
    declaration::PodKey,
    name::{ContainerName, NamespaceName, PodName},
    tick::{Tick, UnixMs},
};

use super::{super::protobuf::tests as read, *};
use crate::query::usage::{ContainerUsage, Interval, PodUsage, Usage};

const ASKED: Asked = Asked {
    form: Form::JSON,
    dialect: Dialect::Kubernetes,
    include: Include::Metadata,
    pretty: false,
    of: ("metrics.k8s.io/v1", "PodMetrics"),
    created_s: 1_795_423_516,
};

fn pod(number: usize, cpu: u64, swap: Option<u64>) -> PodUsage {
    let container = |name: &str, swap_bytes| ContainerUsage {
        name: ContainerName::parse(name).unwrap(),
        usage: Usage {
            cpu_nanocores: cpu,
            memory_bytes: cpu << 10,
            swap_bytes,
            ephemeral_storage_bytes: None,
        },
    };
    PodUsage {
        key: PodKey {
            namespace: NamespaceName::parse("shop").unwrap(),
            name: PodName::parse(&format!("web-{number:06}")).unwrap(),
        },
        labels: if number.is_multiple_of(3) {
            "".into()
        } else {
            "app:web,pod-template-hash:7d9f8".into()
        },
        interval: Interval {
            end: UnixMs(1_795_423_515_000),
            tick: Tick(1_795_423_515),
            length_us: 15_000_000 + cpu % 7,
        },
        containers: Box::new([container("app", None), container("side", swap)]),
    }
}

fn pods(count: usize) -> Objects {
    let number = |at: usize| u64::try_from(at).unwrap();
    Objects::Pods((0..count).map(|at| pod(at, number(at) * 1_234_567, Some(number(at)))).collect())
}

/// All pieces of a list together, and how many they are.
fn written(objects: Objects, asked: Asked) -> (Vec<u8>, usize) {
    let pieces: Vec<Bytes> = match asked.form.encoding {
        Encoding::Protobuf => {
            let items = super::protobuf_items(&objects, asked);
            let (length, pieces) = protobuf_list(items.len(), std::iter::once(items), asked);
            let pieces: Vec<Bytes> = pieces.collect();
            assert_eq!(length, pieces.concat().len());
            pieces
        }
        _ => Unmade::new(objects, asked).collect(),
    };
    (pieces.concat(), pieces.len())
}

/// A list in JSON, of items that were written before, two to a piece.
fn written_before(objects: &Objects, asked: Asked) -> Vec<u8> {
    let mut writer = json::Writer::new(asked.dialect, asked.created_s);
    let mut items = Vec::new();
    for (place, object) in objects.iter().enumerate() {
        if place % 2 == 0 {
            items.push(Vec::new());
        }
        let piece = items.last_mut().unwrap();
        piece.push(b',');
        writer.push_item(&object, piece);
    }
    let bytes = items.concat().len();
    let (length, pieces) = json_list(bytes, items.into_iter(), asked);
    let written = pieces.collect::<Vec<Bytes>>().concat();
    assert_eq!(length, written.len());
    written
}

fn with(encoding: Encoding, shape: Shape) -> Asked {
    Asked { form: Form { encoding, shape }, ..ASKED }
}

fn protobuf_items(bytes: &[u8]) -> Vec<Value> {
    let raw = read::opened(bytes, "metrics.k8s.io/v1", "PodMetricsList");
    let list = read::PodMetricsList::decode(raw.as_slice()).unwrap();
    list.items.iter().map(read::PodMetrics::json).collect()
}

proptest! {
    #[test]
    fn json_and_protobuf_say_the_same(all in prop::collection::vec((any::<u64>(), any::<Option<u64>>()), 0..20)) {
        let objects = || Objects::Pods(all.iter().enumerate().map(|(at, (cpu, swap))| pod(at, cpu >> 10, *swap)).collect());
        let json: Value = serde_json::from_slice(&written(objects(), ASKED).0).unwrap();
        let (protobuf, _) = written(objects(), with(Encoding::Protobuf, Shape::Itself));
        prop_assert_eq!(&json["items"], &Value::Array(protobuf_items(&protobuf)));
    }
}

#[test]
fn a_list_of_any_length_is_whole_in_every_form() {
    for count in [0, 1, 499, 500, 501, 1000, 1001] {
        let (json, pieces) = written(pods(count), ASKED);
        assert_eq!(pieces, count.div_ceil(ITEMS_OF_A_PIECE).max(1), "{count}");
        assert!(written_before(&pods(count), ASKED) == json, "{count}");
        let heapsters = Asked { dialect: Dialect::Heapster, ..ASKED };
        let as_taken = written(pods(count), heapsters).0;
        assert!(written_before(&pods(count), heapsters) == as_taken, "{count}");
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["kind"], "PodMetricsList");
        let items = json["items"].as_array().unwrap();
        assert_eq!(items.len(), count);
        let (protobuf, _) = written(pods(count), with(Encoding::Protobuf, Shape::Itself));
        assert!(protobuf_items(&protobuf) == *items, "{count}");
        let (table, _) = written(pods(count), with(Encoding::Json, Shape::Table("v1")));
        let table: Value = serde_json::from_slice(&table).unwrap();
        assert_eq!(table["rows"].as_array().unwrap().len(), count);
    }
}

#[test]
fn yaml_says_what_json_says() {
    for count in [0, 1, 25, 26, 60] {
        let (yaml, pieces) = written(pods(count), with(Encoding::Yaml, Shape::Itself));
        assert_eq!(pieces, count.div_ceil(YAML_ITEMS_OF_A_PIECE).max(1), "{count}");
        let yaml: Value = serde_saphyr::from_str(std::str::from_utf8(&yaml).unwrap()).unwrap();
        let json: Value = serde_json::from_slice(&written(pods(count), ASKED).0).unwrap();
        assert_eq!(yaml, json);
    }
}

#[test]
fn a_long_list_can_be_indented() {
    let pretty = written(pods(700), Asked { pretty: true, ..ASKED }).0;
    assert!(
        pretty.starts_with(b"{\n  \"kind\": \"PodMetricsList\",\n") && pretty.ends_with(b"]\n}\n")
    );
    let json: Value = serde_json::from_slice(&written(pods(700), ASKED).0).unwrap();
    assert!(serde_json::from_slice::<Value>(&pretty).unwrap() == json);
}

#[test]
fn one_object_says_its_kind() {
    let json: Value = serde_json::from_slice(&one(pods(1), ASKED)).unwrap();
    assert_eq!(
        (&json["kind"], &json["apiVersion"]),
        (&"PodMetrics".into(), &"metrics.k8s.io/v1".into())
    );
    let bytes = one(pods(1), with(Encoding::Protobuf, Shape::Itself));
    let raw = read::opened(&bytes, "metrics.k8s.io/v1", "PodMetrics");
    let item = read::PodMetrics::decode(raw.as_slice()).unwrap().json();
    assert_eq!((&item["metadata"], &item["containers"]), (&json["metadata"], &json["containers"]));
    let yaml = one(pods(1), with(Encoding::Yaml, Shape::Itself));
    assert_eq!(serde_saphyr::from_str::<Value>(std::str::from_utf8(&yaml).unwrap()).unwrap(), json);
    let table: Value =
        serde_json::from_slice(&one(pods(1), with(Encoding::Json, Shape::Table("v1")))).unwrap();
    assert_eq!((&table["kind"], table["rows"].as_array().unwrap().len()), (&"Table".into(), 1));
}

#[test]
fn a_list_of_heapsters_says_no_kind_and_of_nothing_null() {
    let asked = Asked { dialect: Dialect::Heapster, ..ASKED };
    assert_eq!(written(pods(0), asked).0, b"{\"metadata\":{},\"items\":null}");
    let json: Value = serde_json::from_slice(&written(pods(2), asked).0).unwrap();
    assert_eq!((json["items"].as_array().unwrap().len(), json.get("kind")), (2, None));
}
