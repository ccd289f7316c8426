//! A small history for tests: two days of a node, and pods that came and went.

use std::sync::Arc;

use tally_proto::{
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

use super::{PastQueries, Queries};
use crate::{
    history::{
        cache::Cache,
        disk::simulated::SimulatedDisk,
        life::{InPod, Life, Who},
        series::{Field, Quantity, Row, Series, What},
        store::Store,
        timeline::Timeline,
    },
    model::Model,
};

/// 2026-11-23T00:00:00Z.
pub(crate) const BEGIN: u64 = 1_795_392_000;

/// What a row of a test has.
pub(crate) fn row(
    who: Who,
    (metric, labels): (&str, &[(&str, &str)]),
    (floating, cumulative): (bool, bool),
    points: &[(u64, i64)],
) -> Row {
    let quantity = Quantity {
        metric: MetricName::parse(metric).unwrap(),
        labels: Labels::new(labels.iter().copied()).unwrap(),
        field: Field::Value,
        floating,
        cumulative,
    };
    let series = Series {
        what: Arc::new(What::Metric(quantity)),
        timeline: Arc::new(Timeline::of(points.iter().map(|(after, _)| Tick(BEGIN + after)))),
        values: points.iter().map(|(_, value)| *value).collect(),
        sketches: Vec::new(),
    };
    Row { life: Arc::new(Life { who, start: Some(UnixMs(7)) }), series: vec![series] }
}

/// A gauge of whole numbers.
pub(crate) fn gauge(who: Who, metric: &str, points: &[(u64, i64)]) -> Row {
    row(who, (metric, &[]), (false, false), points)
}

/// A pod of the namespace `default` on `node-a`, or a container of it.
pub(crate) fn pod(name: &str, uid: &str, container: Option<&str>) -> Who {
    Who::InPod(InPod {
        namespace: NamespaceName::parse("default").unwrap(),
        pod: PodName::parse(name).unwrap(),
        uid: PodUid::parse(uid).unwrap(),
        container: container.map(|name| ContainerName::parse(name).unwrap()),
        node: NodeName::parse("node-a").unwrap(),
    })
}

/// The node.
pub(crate) fn node() -> Who {
    Who::Node(NodeName::parse("node-a").unwrap())
}

/// Rows of everybody.
pub(crate) fn rows() -> Vec<Row> {
    let float = |value: f64| value.to_bits().cast_signed();
    let slash = [("resource_id", "/"), ("kind", "disk")];
    let free = ContainerName::parse("/a/b").unwrap();
    vec![
        gauge(Who::Cluster, "memory/usage", &[(10, 100)]),
        gauge(Who::Namespace(NamespaceName::parse("default").unwrap()), "memory/usage", &[(10, 9)]),
        gauge(node(), "memory/usage", &[(10, 1), (20, 2), (30, 3), (40, 10), (86_400 + 10, 7)]),
        row(
            node(),
            ("cpu/node_utilization", &[]),
            (true, false),
            &[(10, float(0.5)), (20, float(2.0))],
        ),
        row(node(), ("cpu/usage", &[]), (false, true), &[(10, 0), (20, 5_000_000_000)]),
        row(node(), ("filesystem/usage", &slash), (false, false), &[(10, 50), (20, 60)]),
        row(node(), ("filesystem/usage", &[("resource_id", "/data")]), (false, false), &[(10, 70)]),
        gauge(
            Who::FreeContainer(NodeName::parse("node-a").unwrap(), free),
            "memory/usage",
            &[(10, 4)],
        ),
        gauge(pod("web", "u-1", None), "memory/usage", &[(10, 1), (20, 2)]),
        gauge(pod("web", "u-1", Some("app")), "memory/usage", &[(10, 1)]),
        gauge(pod("web", "u-2", None), "memory/usage", &[(30, 3)]),
        gauge(pod("web", "u-2", Some("other")), "memory/usage", &[(30, 3)]),
        gauge(pod("gone", "u-3", None), "memory/usage", &[(10, 8)]),
    ]
}

/// Questions to `store` and an empty live model.
pub(crate) fn queries(store: Store) -> PastQueries {
    PastQueries::of_store(Arc::new(store), live())
}

/// Questions to an empty model.
pub(crate) fn live() -> Queries {
    Queries::new(Arc::new(Model::new(Resolution::from_seconds(10).unwrap(), 900_000)))
}

/// A store with `rows`, and its disk.
pub(crate) fn store(rows: Vec<Row>) -> (Store, SimulatedDisk) {
    let disk = SimulatedDisk::default();
    let (store, _) = Store::open(Arc::new(disk.clone()), Cache::default()).unwrap();
    store.write(rows).unwrap();
    (store, disk)
}
