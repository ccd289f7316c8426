//! What the API server says reaches frames of streams that are open, and of no other node.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test, helpers included")]

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value as Json, json};
use tally_aggregator::{
    inventory::{
        Inventory, LabelForm, Object,
        feed::{Event, Feed, Kind},
    },
    model::{Model, node::NodeSlot},
    query::{Queries, TickRange, WorkloadKey},
};
use tally_proto::{
    columns::{Builder, Packer},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    entity::Entity,
    message::{BootId, Declarations, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::{CgroupPath, ContainerId, ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

const POD: EntityNumber = EntityNumber(1);
const CONTAINER: EntityNumber = EntityNumber(2);
const USAGE: ColumnNumber = ColumnNumber(1);

/// A node whose agent learnt no names: one pod with one container, by uid and id.
struct Node {
    slot: Arc<NodeSlot>,
    builder: Builder,
    packer: Packer,
    tick: u64,
    sequence: u64,
}

fn id() -> String {
    "ab".repeat(32)
}

impl Node {
    fn begin(model: &Model, name: &str) -> Self {
        let slot = model.node(&NodeName::parse(name).unwrap());
        let path =
            |rest: &str| Some(CgroupPath::parse(&format!("/kubepods/{name}{rest}")).unwrap());
        let pod = Declared::Pod {
            uid: PodUid::parse(&format!("uid-{name}")).unwrap(),
            key: None,
            path: path(""),
        };
        let container = Declared::PodContainer {
            pod: POD,
            name: None,
            id: Some(ContainerId::parse(&id()).unwrap()),
            path: path("/c"),
            sandbox: false,
            image: None,
        };
        let entity =
            |(number, what)| EntityDeclaration { number, start: Some(UnixMs(1_000)), what };
        let said = Declarations {
            entities: [(POD, pod), (CONTAINER, container)].map(entity).into(),
            columns: vec![ColumnDeclaration {
                number: USAGE,
                metric: MetricName::parse("memory/usage").unwrap(),
                labels: Labels::none(),
                floating: false,
                cumulative: false,
            }],
            ..Declarations::default()
        };
        let mut writer = slot.writer();
        writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).unwrap();
        model.declare(&mut writer, said);
        drop(writer);
        Self { slot, builder: Builder::new(), packer: Packer::new(), tick: 1_000_000, sequence: 0 }
    }

    /// Delivers the next frame: whether it means something else than the one before.
    fn deliver(&mut self, model: &Model) -> bool {
        self.tick += 1;
        self.deliver_of(model, self.tick)
    }

    /// Delivers a frame of that tick.
    fn deliver_of(&mut self, model: &Model, tick: u64) -> bool {
        self.sequence += 1;
        for number in [POD, CONTAINER] {
            self.builder.set(number, ColumnNumber::READ_OFFSET, 0);
        }
        self.builder.set(CONTAINER, USAGE, 7);
        let mut columns = Vec::new();
        self.packer.pack(self.builder.finish(), &mut columns);
        let frame = PackedFrame {
            sequence: Sequence(self.sequence),
            tick: Tick(tick),
            columns: Bytes::from(columns),
        };
        let mut writer = self.slot.writer();
        let now = Tick(tick).unix_ms();
        model.apply(&self.slot, &mut writer, Run(1), &frame, now).unwrap().new_schema
    }
}

fn pod(name: &str, node: &str, uid: &str, cpu: &str) -> Object {
    object(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid},
        "spec": {"nodeName": node, "containers": [
            {"name": "app", "image": "shop:1", "resources": {"requests": {"cpu": cpu}}},
            {"name": "side", "resources": {"limits": {"memory": "1Mi"}}},
        ]},
        "status": {"containerStatuses": [
            {"name": "app", "restartCount": 3, "containerID": format!("containerd://{}", id())},
        ]},
    }))
}

fn object(json: Json) -> Object {
    serde_json::from_value(json).unwrap()
}

fn say(model: &Model, kind: Kind, event: Event) {
    say_at(model, kind, event, 0);
}

/// Says something at a tick.
fn say_at(model: &Model, kind: Kind, event: Event, tick: u64) {
    let now = Tick(tick).unix_ms();
    let mut feed = Feed::new(kind, LabelForm::default());
    model.change_inventory(|inventory: &mut Inventory| feed.take(inventory, event, now)).unwrap();
}

/// The newest value of a pod's or a container's series.
fn newest(queries: &Queries, container: Option<&str>, metric: &str) -> Option<f64> {
    let namespace = NamespaceName::parse("shop").unwrap();
    let pod = PodName::parse("web").unwrap();
    let entity = match container {
        None => Entity::Pod(namespace, pod),
        Some(name) => Entity::PodContainer(namespace, pod, ContainerName::parse(name).unwrap()),
    };
    let points = queries.series(&entity, metric, &Labels::none(), TickRange::ALL);
    points.last().map(|point| point.value.as_f64())
}

#[test]
fn a_change_reaches_the_next_frame_of_its_node_and_no_other() {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 60_000));
    let queries = Queries::new(Arc::clone(&model));
    let (mut a, mut b) = (Node::begin(&model, "a"), Node::begin(&model, "b"));
    let mut deliver = || (a.deliver(&model), b.deliver(&model));
    assert_eq!(deliver(), (true, true));
    assert_eq!(deliver(), (false, false));
    assert!(queries.namespaces().is_empty());
    assert_eq!(queries.free_containers("a").len(), 2, "what has no name is called by its path");

    say(&model, Kind::Pod, Event::Changed(pod("web", "a", "uid-a", "250m")));
    assert_eq!(deliver(), (true, false));
    assert_eq!(queries.pods("shop").len(), 1);
    assert_eq!(newest(&queries, Some("app"), "memory/usage"), Some(7.0));
    assert_eq!(newest(&queries, Some("app"), "cpu/request"), Some(250.0));
    assert_eq!(newest(&queries, Some("app"), "restart_count"), Some(3.0));
    assert_eq!(newest(&queries, Some("side"), "memory/limit"), Some(1_048_576.0));
    assert_eq!(newest(&queries, None, "memory/usage"), Some(7.0));
    assert!(queries.free_containers("a").is_empty());

    assert_eq!(deliver(), (false, false));
    say(&model, Kind::Pod, Event::Changed(pod("web", "a", "uid-a", "500m")));
    assert_eq!(deliver(), (true, false));
    assert_eq!(newest(&queries, None, "cpu/request"), Some(500.0));

    let namespace = || object(json!({"metadata": {"name": "shop", "uid": "n1"}}));
    say(&model, Kind::Namespace, Event::Changed(namespace()));
    assert_eq!(deliver(), (true, false));
    say(&model, Kind::Namespace, Event::Changed(namespace()));
    assert_eq!(deliver(), (false, false));

    say(&model, Kind::Node, Event::Changed(object(json!({"metadata": {"name": "b"}}))));
    assert_eq!(deliver(), (false, true));

    say(&model, Kind::Pod, Event::Deleted(pod("web", "a", "uid-a", "500m")));
    assert_eq!(deliver(), (true, false));
    assert!(queries.pods("shop").is_empty());
    assert_eq!(queries.free_containers("a").len(), 2);
}

#[test]
fn a_workload_is_the_sum_of_its_pods_wherever_they_are() {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 60_000));
    let queries = Queries::new(Arc::clone(&model));
    let (mut a, mut b) = (Node::begin(&model, "a"), Node::begin(&model, "b"));
    let mut deliver = |tick: u64| {
        assert_eq!((a.tick, b.tick), (tick, tick));
        a.deliver(&model);
        b.deliver(&model);
        model.advance(UnixMs(Tick(tick + 60).unix_ms().0));
    };
    let owned = |name: &str, node: &str, uid: &str, cpu: &str, owner: Json| {
        let json = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": uid,
                "labels": {"pod-template-hash": "7d9f"}, "ownerReferences": [owner]},
            "spec": {"nodeName": node, "containers": [
                {"name": "app", "resources": {"requests": {"cpu": cpu}}}]},
            "status": {"containerStatuses": [
                {"name": "app", "containerID": format!("containerd://{}", id())}]},
        });
        object(json)
    };
    let replicas = json!({"kind": "ReplicaSet", "name": "web-7d9f", "controller": true});
    let web =
        |node: &str, uid: &str| owned(&format!("web-{node}"), node, uid, "250m", replicas.clone());
    say(&model, Kind::Pod, Event::Changed(web("a", "uid-a")));
    say(&model, Kind::Pod, Event::Changed(web("b", "uid-b")));
    deliver(1_000_000);
    let key = WorkloadKey::parse("shop", "deployment", "web").unwrap();
    let names = |kind: &str| {
        let names = queries.workloads("shop", kind).into_iter();
        names.map(|name| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(queries.workload_kinds("shop").len(), 1);
    assert_eq!(names("deployment"), ["web"]);
    assert!(names("statefulset").is_empty());
    let series = |key: &WorkloadKey, metric: &str| {
        let points = queries.workload_series(key, metric, &Labels::none(), TickRange::ALL);
        points.iter().map(|point| (point.at.0, point.value.as_f64())).collect::<Vec<_>>()
    };
    assert_eq!(series(&key, "cpu/request"), [(1_000_001, 500.0)]);
    assert_eq!(series(&key, "memory/usage"), [(1_000_001, 14.0)]);
    // What is not summed for a namespace is not summed here either.
    assert_eq!(series(&key, "uptime"), []);
    let found = queries.workload_metric_names(&key);
    assert!(found.iter().any(|name| name.as_str() == "memory/usage"), "{found:?}");
    assert!(found.iter().all(|name| name.as_str() != "uptime"), "{found:?}");

    // The pod of node b has gone to a StatefulSet; for the ticks before it still counts.
    let set = json!({"kind": "StatefulSet", "name": "db", "controller": true});
    say(&model, Kind::Pod, Event::Deleted(web("b", "uid-b")));
    say(&model, Kind::Pod, Event::Changed(owned("db-0", "b", "uid-b", "1", set)));
    deliver(1_000_001);
    assert_eq!(names("statefulset"), ["db"]);
    assert_eq!(series(&key, "cpu/request"), [(1_000_001, 500.0), (1_000_002, 250.0)]);
    let set = WorkloadKey::parse("shop", "statefulset", "db").unwrap();
    assert_eq!(series(&set, "cpu/request"), [(1_000_002, 1_000.0)]);
    assert_eq!(series(&set, "memory/usage"), [(1_000_002, 7.0)]);
}

#[test]
fn a_frame_that_comes_late_has_what_was_known_of_a_pod_that_is_gone() {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 60_000));
    let queries = Queries::new(Arc::clone(&model));
    say(&model, Kind::Pod, Event::Changed(pod("web", "a", "uid-a", "250m")));
    let mut node = Node::begin(&model, "a");
    node.deliver_of(&model, 1_001);
    // The agent is cut off, and the pod goes.
    say_at(&model, Kind::Pod, Event::Deleted(pod("web", "a", "uid-a", "250m")), 1_004);
    for tick in [1_006, 1_002, 1_003, 1_004, 1_005] {
        node.deliver_of(&model, tick);
    }
    let entity = Entity::Pod(NamespaceName::parse("shop").unwrap(), PodName::parse("web").unwrap());
    for metric in ["cpu/request", "memory/usage"] {
        let points = queries.series(&entity, metric, &Labels::none(), TickRange::ALL);
        let ticks: Vec<u64> = points.iter().map(|point| point.at.0).collect();
        assert_eq!(ticks, [1_001, 1_002, 1_003], "{metric}");
    }
    model.sweep();
}

#[test]
fn until_the_inventory_is_complete_what_was_recorded_stands_in() {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 60_000));
    let queries = Queries::new(Arc::clone(&model));
    let mut known = Inventory::default();
    let form = LabelForm::default();
    known.add_pod(pod("web", "a", "uid-a", "250m").pod(&form).unwrap());
    let mut node = Node::begin(&model, "a");
    model.set_complete(false);
    // One frame as it was recorded, and what was known of it then.
    (node.tick, node.sequence) = (node.tick + 1, 1);
    for number in [POD, CONTAINER] {
        node.builder.set(number, ColumnNumber::READ_OFFSET, 0);
    }
    let mut columns = Vec::new();
    node.packer.pack(node.builder.finish(), &mut columns);
    let frame =
        PackedFrame { sequence: Sequence(1), tick: Tick(node.tick), columns: Bytes::from(columns) };
    let mut writer = node.slot.writer();
    model.replay(&node.slot, &mut writer, &frame, &Arc::new(known), true).unwrap();
    drop(writer);

    node.deliver(&model);
    assert_eq!(newest(&queries, None, "cpu/request"), Some(250.0));
    say(&model, Kind::Pod, Event::Changed(pod("web", "a", "uid-a", "500m")));
    node.deliver(&model);
    assert_eq!(newest(&queries, None, "cpu/request"), Some(250.0));
    model.set_complete(true);
    assert!(node.deliver(&model));
    assert_eq!(newest(&queries, None, "cpu/request"), Some(500.0));
    assert!(!node.deliver(&model));
}
