//! What the export says is what the series say: the same values at the newest tick, of the same
//! metrics, whatever came, went, restarted or was late before.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::Arc,
};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;
use tally_aggregator::{
    inventory::{ContainerRecord, Inventory, PodRecord, Resources},
    model::Model,
    query::{Queries, TickRange, Value},
};
use tally_proto::{
    catalogue,
    columns::{Builder, Packer},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    entity::Entity,
    message::{BootId, Declarations, PackedFrame, Run, Sequence},
    metric::{Kind, Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

/// Node, pod `a` with containers `main` and `side`, pod `b` with `main`, and a free container.
const ENTITIES: u32 = 7;

/// Metric, device, whether its integers are the bits of doubles.
const COLUMNS: [(&str, Option<&str>, bool); 8] = [
    ("cpu/usage", None, false),
    ("memory/usage", None, false),
    ("memory/rss", None, true),
    ("disk/io_read_bytes", Some("sda"), false),
    ("disk/io_read_bytes", Some("s\"db"), false),
    ("disk/io_write_bytes", Some("sda"), false),
    ("filesystem/usage", Some("/"), false),
    ("network/rx", None, false),
];

/// One frame: whether a new stream begins with it, how far its tick is from the one before, each
/// entity's life, and the cells it has.
#[derive(Clone, Debug)]
struct Step {
    new_stream: bool,
    ahead: i64,
    lives: Vec<bool>,
    cells: Vec<(u32, usize, i64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cells = prop::collection::vec((0..ENTITIES, 0..COLUMNS.len(), 0i64..1 << 40), 0..60);
    let step =
        (prop::bool::weighted(0.15), -6i64..7, prop::collection::vec(any::<bool>(), 7), cells);
    let step =
        step.prop_map(|(new_stream, ahead, lives, cells)| Step { new_stream, ahead, lives, cells });
    // Frames of one layout follow each other, so that they share chunks.
    let run = (step, 1usize..12, 1i64..1 << 20);
    prop::collection::vec(run, 1..5).prop_map(|runs| {
        let mut steps = Vec::new();
        for (step, times, growth) in runs {
            for time in 0..times {
                let mut step = step.clone();
                step.new_stream &= time == 0;
                let grown = growth * i64::try_from(time).unwrap();
                step.cells.iter_mut().for_each(|(.., value)| *value += grown);
                steps.push(step);
            }
        }
        steps
    })
}

/// Numbers differ between streams.
fn number(stream: u64, entity: u32) -> EntityNumber {
    EntityNumber(if stream.is_multiple_of(2) { entity } else { 2 * (ENTITIES - entity) })
}

fn declarations(stream: u64, lives: &[bool]) -> Declarations {
    let pod = |name: &str| {
        let key = PodKey {
            namespace: NamespaceName::parse("ns").unwrap(),
            name: PodName::parse(name).unwrap(),
        };
        Declared::Pod { uid: PodUid::parse(name).unwrap(), key: Some(key), path: None }
    };
    let container = |pod, name: &str| Declared::PodContainer {
        pod: number(stream, pod),
        name: Some(ContainerName::parse(name).unwrap()),
        id: None,
        path: None,
        sandbox: false,
        image: None,
    };
    let free = Declared::FreeContainer {
        name: Some(ContainerName::parse("kubelet").unwrap()),
        id: None,
        path: None,
        image: None,
    };
    let what = [
        Declared::Node,
        pod("a"),
        container(1, "main"),
        container(1, "side"),
        pod("b"),
        container(4, "main"),
        free,
    ];
    let entities = (0..).zip(what).zip(lives).map(|((entity, what), life)| EntityDeclaration {
        number: number(stream, entity),
        start: Some(UnixMs(if *life { 1_000 } else { 86_500_000 })),
        what,
    });
    let columns =
        (1..).zip(COLUMNS).map(|(column, (metric, device, floating))| ColumnDeclaration {
            number: ColumnNumber(column),
            metric: MetricName::parse(metric).unwrap(),
            labels: Labels::new(device.map(|device| ("resource_id", device))).unwrap(),
            floating,
            cumulative: false,
        });
    Declarations {
        entities: entities.collect(),
        columns: columns.collect(),
        ..Declarations::default()
    }
}

/// Delivers all of it.
fn played(steps: &[Step]) -> Queries {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 3_600_000));
    model.set_inventory(inventory());
    let node = model.node(&NodeName::parse("node").unwrap());
    let (mut builder, mut packer) = (Builder::new(), Packer::new());
    let (mut stream, mut sequence, mut tick) = (0, 0, 1_000_000);
    for (place, step) in steps.iter().enumerate() {
        let mut writer = node.writer();
        let ahead = if step.new_stream { step.ahead } else { step.ahead.abs().max(1) };
        tick += ahead;
        if step.new_stream || place == 0 {
            (stream, sequence) = (stream + 1, 0);
            (builder, packer) = (Builder::new(), Packer::new());
            writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).unwrap();
            model.declare(&mut writer, declarations(stream, &step.lives));
        }
        sequence += 1;
        for entity in 0..ENTITIES {
            let offset = i64::from(entity) * 100 + tick % 7;
            builder.set(number(stream, entity), ColumnNumber::READ_OFFSET, offset);
        }
        for (entity, column, value) in &step.cells {
            let floating = COLUMNS[*column].2;
            let value =
                if floating { (f64::from(*entity) + 0.5).to_bits().cast_signed() } else { *value };
            let column = ColumnNumber(u32::try_from(*column).unwrap() + 1);
            builder.set(number(stream, *entity), column, value);
        }
        let mut columns = Vec::new();
        packer.pack(builder.finish(), &mut columns);
        let frame = PackedFrame {
            sequence: Sequence(sequence),
            tick: Tick(u64::try_from(tick).unwrap()),
            columns: Bytes::from(columns),
        };
        model.apply(&node, &mut writer, Run(stream), &frame, UnixMs(0)).unwrap();
    }
    Queries::new(model)
}

/// The specification of pod `a`: a limit for `main`, and a container that never shows.
fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    let container = |name, cpu_millicores| ContainerRecord {
        name: ContainerName::parse(name).unwrap(),
        image: None,
        id: None,
        requests: Resources::default(),
        limits: Resources { cpu_millicores, ..Resources::default() },
        extended: Vec::new(),
        restart_count: Some(3),
    };
    let key = PodKey {
        namespace: NamespaceName::parse("ns").unwrap(),
        name: PodName::parse("a").unwrap(),
    };
    inventory.add_pod(PodRecord {
        key,
        uid: PodUid::parse("a").unwrap(),
        static_uid: None,
        node: None,
        workload: None,
        labels: "app:a,tier:\"x\"".into(),
        own_labels: "app:a,tier:\"x\"".into(),
        stored_labels: None,
        containers: Box::new([container("main", Some(500)), container("stub", Some(20))]),
        helpers: Box::default(),
    });
    inventory
}

/// Entity, metric, labels and value as text.
type Said = BTreeMap<(String, String, String), String>;

fn text_of(value: Value) -> String {
    match value {
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => float_text(value),
    }
}

/// The JSON reader of this test may be off in the last digit.
fn float_text(value: f64) -> String {
    format!("{value:.9e}")
}

fn exported(queries: &Queries) -> Json {
    let mut document = Vec::new();
    let whole = queries.export(|piece| {
        document.extend_from_slice(&piece);
        ControlFlow::Continue(())
    });
    assert!(whole.is_continue());
    serde_json::from_slice(&document).unwrap()
}

/// What the document says, its times checked.
fn of_document(document: &Json, newest: Tick) -> Said {
    let time = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap();
        jiff::Timestamp::from_second(seconds).unwrap().to_string()
    };
    let starts = [time(1), time(86_500), time(newest.0)];
    let mut said = Said::new();
    for entity in document.as_array().unwrap() {
        let label = |key: &str| entity["labels"][key].as_str().unwrap_or_default();
        let key = match label("type") {
            "node" => "node:node".to_owned(),
            "pod" => format!("namespace:ns/pod:{}", label("pod_name")),
            "pod_container" => format!(
                "namespace:ns/pod:{}/container:{}",
                label("pod_name"),
                label("container_name")
            ),
            "sys_container" => format!("node:node/container:{}", label("container_name")),
            other => panic!("{other}"),
        };
        for (metric, points) in entity["metrics"].as_object().unwrap() {
            for point in points.as_array().unwrap() {
                assert_eq!(point["end"], *time(newest.0));
                let start = point["start"].as_str().unwrap();
                let cumulative = catalogue::find(metric).unwrap().metric().kind == Kind::Cumulative;
                assert!(starts.iter().any(|one| one == start), "{start}");
                assert!(cumulative || start == starts[2], "{metric}: {start}");
                let labels = point.get("labels").map(Json::to_string).unwrap_or_default();
                let place = (key.clone(), metric.clone(), labels);
                let value = match &point["value"] {
                    Json::Number(number) if number.is_f64() => float_text(number.as_f64().unwrap()),
                    other => other.to_string(),
                };
                assert!(said.insert(place, value).is_none(), "twice");
            }
        }
    }
    said
}

/// What series say at the newest tick.
fn of_series(queries: &Queries, newest: Tick) -> Said {
    let range = TickRange { first: newest, last: newest };
    let label_sets: BTreeSet<Option<&str>> = COLUMNS.iter().map(|(_, device, _)| *device).collect();
    let mut said = Said::new();
    for entity in queries.keys() {
        if matches!(entity, Entity::Cluster | Entity::Namespace(_)) {
            continue;
        }
        for id in catalogue::all().filter(|id| id.metric().exported) {
            for device in &label_sets {
                let labels = Labels::new(device.map(|device| ("resource_id", device))).unwrap();
                let series = queries.series(&entity, id.metric().name, &labels, range);
                let Some(point) = series.first() else { continue };
                let labels =
                    device.map(|device| serde_json::json!({"resource_id": device}).to_string());
                let place =
                    (entity.to_string(), id.metric().name.to_owned(), labels.unwrap_or_default());
                said.insert(place, text_of(point.value));
            }
        }
    }
    said
}

proptest! {
    #[test]
    fn the_export_says_what_series_say(steps in steps()) {
        let queries = played(&steps);
        let newest = queries.newest_tick().unwrap();
        let document = exported(&queries);
        prop_assert_eq!(of_document(&document, newest), of_series(&queries, newest));
        let entities = document.as_array().unwrap().len();
        // Seven of the stream, and the one that only its specification names.
        prop_assert_eq!(entities, 8);
    }
}
