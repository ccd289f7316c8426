//! What is true: who is on a node at a tick, and every value. Nothing is remembered from tick to tick.

use std::sync::Arc;

use tally_proto::{
    columns::Builder,
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    message::Declarations,
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, PodName, PodUid},
    tick::{Tick, UnixMs},
};

use super::chance::Chance;
use crate::inventory::{ContainerRecord, Inventory, PodRecord, Resources};

pub(super) const NODES: usize = 3;
pub(super) const STEP_S: u64 = 15;
/// Ten to midnight, so that every run crosses a day.
pub(super) const BEGIN: u64 = 20_781 * 86_400 - 40 * STEP_S;

/// Any number that belongs to its arguments.
pub(super) fn noise(node: usize, tick: u64, what: u64) -> i64 {
    let mut chance = Chance(1 + u64::try_from(node).unwrap() * 7_919 + tick * 104_729 + what * 31);
    for _ in 0..4 {
        chance.below(2);
    }
    i64::try_from(chance.below(1 << 30)).unwrap()
}

/// Which pod of the second kind a node has at a tick; there is none in every third span.
pub(super) fn generation(node: usize, index: u64) -> Option<u64> {
    let generation = (index + u64::try_from(node).unwrap() * 3) / 7;
    (generation % 3 != 2).then_some(generation)
}

const COLUMNS: [(u32, &str, bool); 3] =
    [(1, "memory/usage", false), (2, "cpu/usage", true), (3, "network/rx", true)];

pub(super) fn declarations(node: usize, index: u64) -> Declarations {
    let of = |number, start: u64, what| EntityDeclaration {
        number: EntityNumber(number),
        start: Some(UnixMs(i64::try_from(start).unwrap())),
        what,
    };
    let pod = |name: String, namespace: &str| Declared::Pod {
        uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
        key: Some(PodKey {
            namespace: NamespaceName::parse(namespace).unwrap(),
            name: PodName::parse(&name).unwrap(),
        }),
        path: None,
    };
    let container = |pod, name: &str| Declared::PodContainer {
        pod: EntityNumber(pod),
        name: Some(ContainerName::parse(name).unwrap()),
        id: None,
        path: None,
        sandbox: false,
        image: None,
    };
    let free = Declared::FreeContainer {
        name: Some(ContainerName::parse("/system.slice/sshd").unwrap()),
        id: None,
        path: None,
        image: None,
    };
    let mut entities = vec![
        of(0, 1, Declared::Node),
        of(6, 1, free),
        of(1, 1, pod(format!("web-{node}"), "default")),
        of(2, 1, container(1, "app")),
    ];
    if let Some(generation) = generation(node, index) {
        entities.push(of(3, 1 + generation, pod(format!("job-{node}-{generation}"), "batch")));
        entities.push(of(4, 1 + generation, container(3, "main")));
        entities.push(of(5, 1 + generation, container(3, "sidecar")));
    }
    let column = |(number, metric, _): (u32, &str, bool)| ColumnDeclaration {
        number: ColumnNumber(number),
        metric: MetricName::parse(metric).unwrap(),
        labels: Labels::none(),
        floating: false,
        cumulative: false,
    };
    Declarations { entities, columns: COLUMNS.map(column).into(), retired: Vec::new() }
}

/// All values of a node at a tick. Gauges that are measured again are others: what was said first
/// counts.
pub(super) fn fill(builder: &mut Builder, node: usize, index: u64, is_again: bool) {
    let rows: &[u32] = match generation(node, index) {
        Some(_) => &[0, 1, 2, 3, 4, 5, 6],
        None => &[0, 1, 2, 6],
    };
    for row in rows {
        let row_wide = u64::from(*row);
        let offset = noise(node, index, 100 + row_wide) % 40_000;
        builder.set(EntityNumber(*row), ColumnNumber::READ_OFFSET, offset);
        for (number, metric, counts) in COLUMNS {
            // The first pod has no CPU of its own: it is what its container uses.
            if metric == "cpu/usage" && *row == 1
                || metric == "network/rx" && !matches!(row, 0 | 1 | 3)
            {
                continue;
            }
            let what = row_wide * 10 + u64::from(number);
            let value = if counts {
                let grown = i64::try_from(index).unwrap() * 1_000_000_000;
                grown + noise(node, index, what) % 1_000_000_000
            } else {
                noise(node, index, what) + i64::from(is_again)
            };
            builder.set(EntityNumber(*row), ColumnNumber(number), value);
        }
    }
}

pub(super) fn tick(index: u64) -> Tick {
    Tick(BEGIN + index * STEP_S)
}

pub(super) fn inventory() -> Inventory {
    let mut inventory = Inventory::default();
    for node in 0..NODES {
        let name = format!("web-{node}");
        let container = ContainerRecord {
            name: ContainerName::parse("app").unwrap(),
            image: None,
            id: None,
            requests: Resources { cpu_millicores: Some(100), ..Resources::default() },
            limits: Resources::default(),
            extended: Vec::new(),
            restart_count: Some(2),
        };
        inventory.add_pod(PodRecord {
            key: PodKey {
                namespace: NamespaceName::parse("default").unwrap(),
                name: PodName::parse(&name).unwrap(),
            },
            uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
            static_uid: None,
            node: None,
            workload: None,
            labels: "".into(),
            own_labels: "".into(),
            stored_labels: Some(Arc::new(Labels::new([("app", name)]).unwrap())),
            containers: Box::new([container]),
            helpers: Box::default(),
        });
    }
    inventory
}
