//! A small cluster for tests: two nodes, and what the API server says of their pods.
//!
//! Both nodes are read 250 ms after the tick, pods 500 ms, and the containers named `late` 750 ms.

use std::sync::Arc;

use bytes::Bytes;
use tally_proto::{
    columns::{Builder, Packer},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    message::{BootId, Declarations, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

use super::super::Queries;
use crate::{
    inventory::{Inventory, LabelForm, add_list},
    model::Model,
};

/// 2026-11-23T08:45:15Z, the tick of the newest frames.
pub(crate) const NEWEST: Tick = Tick(1_795_423_515);

const RESOLUTION_S: u64 = 15;

/// A second after the newest tick.
pub(crate) const NOW: UnixMs = UnixMs(1_795_423_516_000);

const COLUMNS: [(u32, &str); 4] = [
    (1, "cpu/usage"),
    (2, "memory/working_set"),
    (3, "memory/swap"),
    (4, "ephemeral_storage/usage"),
];

/// A row's values at a tick: microseconds after it, and its columns; absent ones are left out.
pub(crate) type Cells = (i64, [Option<i64>; 4]);

/// A container, by name, and its cells at the tick before the newest and at the newest.
pub(crate) struct Container(pub &'static str, pub [Option<Cells>; 2]);

/// A pod, by namespace and name, and its containers. It is there at a tick at which one of these is.
pub(crate) struct Pod(pub &'static str, pub &'static str, pub Vec<Container>);

/// A container that burns `millicores` and holds `memory`.
pub(crate) fn steady(name: &'static str, millicores: i64, memory: i64) -> Container {
    let offset = if name == "late" { 750_000 } else { 500_000 };
    let cells = |tick: i64| {
        Some((offset, [Some(millicores * 15_000_000 * tick), Some(memory), None, None]))
    };
    Container(name, [cells(7), cells(8)])
}

/// A node that burns half a core, with its pods.
pub(crate) fn deliver(model: &Model, node: &str, pods: &[Pod]) {
    let node = model.node(&NodeName::parse(node).unwrap());
    let mut writer = node.writer();
    writer.begin_stream(BootId([7; 16]), UnixMs(0), 0).unwrap();
    let mut packer = Packer::new();
    for (at, sequence) in [(0, 1), (1, 2)] {
        let tick = Tick(NEWEST.0 - RESOLUTION_S * (1 - u64::try_from(at).unwrap()));
        let mut builder = Builder::new();
        let mut said = declarations();
        let used = 7_500_000_000 * (7 + i64::try_from(at).unwrap());
        set(&mut builder, 0, (250_000, [Some(used), Some(1 << 30), Some(4096), None]));
        let mut row = 0;
        for Pod(namespace, name, containers) in pods {
            row += 1;
            let pod_row = row;
            let is_there = containers.iter().any(|Container(_, cells)| cells[at].is_some());
            if is_there {
                said.entities.push(entity(pod_row, pod(namespace, name)));
                set(&mut builder, pod_row, (500_000, [None, Some(1), None, None]));
            }
            for Container(name, cells) in containers {
                row += 1;
                if let Some(cells) = cells[at] {
                    said.entities.push(entity(row, container(pod_row, name)));
                    set(&mut builder, row, cells);
                }
            }
        }
        model.declare(&mut writer, said);
        let mut columns = Vec::new();
        packer.pack(builder.finish(), &mut columns);
        let frame =
            PackedFrame { sequence: Sequence(sequence), tick, columns: Bytes::from(columns) };
        model.apply(&node, &mut writer, Run(1), &frame, NOW).unwrap();
    }
}

fn set(builder: &mut Builder, row: u32, (offset, cells): Cells) {
    builder.set(EntityNumber(row), ColumnNumber::READ_OFFSET, offset);
    for ((number, _), value) in COLUMNS.iter().zip(cells) {
        if let Some(value) = value {
            builder.set(EntityNumber(row), ColumnNumber(*number), value);
        }
    }
}

fn declarations() -> Declarations {
    let column = |(number, metric): (u32, &str)| ColumnDeclaration {
        number: ColumnNumber(number),
        metric: MetricName::parse(metric).unwrap(),
        labels: Labels::none(),
        floating: false,
        cumulative: false,
    };
    Declarations {
        entities: vec![entity(0, Declared::Node)],
        columns: COLUMNS.map(column).into(),
        retired: Vec::new(),
    }
}

fn entity(number: u32, what: Declared) -> EntityDeclaration {
    EntityDeclaration { number: EntityNumber(number), start: Some(UnixMs(1)), what }
}

fn pod(namespace: &str, name: &str) -> Declared {
    let key = PodKey {
        namespace: NamespaceName::parse(namespace).unwrap(),
        name: PodName::parse(name).unwrap(),
    };
    Declared::Pod {
        uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
        key: Some(key),
        path: None,
    }
}

fn container(pod: u32, name: &str) -> Declared {
    let name = Some(ContainerName::parse(name).unwrap());
    let pod = EntityNumber(pod);
    Declared::PodContainer { pod, name, id: None, path: None, sandbox: false, image: None }
}

/// What the API server says: a list of nodes or pods, each by namespace, name and labels in JSON. All
/// pods but `job` have a container that never shows.
pub(crate) fn add(inventory: &mut Inventory, kind: &str, objects: &[(&str, &str, &str)]) {
    let item = |(namespace, name, labels): &(&str, &str, &str)| {
        let stub = if *name == "job" { "" } else { r#", {"name": "stub"}"# };
        format!(
            r#"{{"metadata": {{"namespace": "{namespace}", "name": "{name}", "uid": "uid-{name}", "labels": {labels}}},
                "spec": {{"containers": [{{"name": "app"}}{stub}]}}}}"#
        )
    };
    let items: Vec<String> = objects.iter().map(item).collect();
    let list = format!(r#"{{"kind": "{kind}", "items": [{}]}}"#, items.join(","));
    add_list(inventory, &list, &LabelForm::default()).unwrap();
}

/// Nothing yet.
pub(crate) fn model() -> Arc<Model> {
    Arc::new(Model::new(Resolution::from_seconds(15).unwrap(), 900_000))
}

/// Both nodes with their pods, as the API server knows them.
pub(crate) fn cluster() -> Queries {
    let model = model();
    let mut inventory = Inventory::default();
    let zone = r#"{"zone": "a", "kubernetes.io/os": "linux"}"#;
    add(&mut inventory, "NodeList", &[("", "node-a", zone), ("", "node-b", "{}")]);
    let web = r#"{"app": "web"}"#;
    let pods =
        [("shop", "web-1", web), ("shop", "web-2", web), ("batch", "job", r#"{"app": "job"}"#)];
    add(&mut inventory, "PodList", &pods);
    model.set_inventory(inventory);
    let both = (500_000, [Some(0), Some(4096), Some(8192), Some(12_345)]);
    let swapping = Container("app", [Some(both), Some(both)]);
    deliver(
        &model,
        "node-b",
        &[
            Pod("shop", "web-1", vec![steady("late", 250, 1 << 20), steady("app", 100, 123_457)]),
            Pod("batch", "job", vec![swapping]),
        ],
    );
    deliver(&model, "node-a", &[Pod("shop", "web-2", vec![steady("app", 1000, 3000 << 10)])]);
    Queries::new(model)
}
