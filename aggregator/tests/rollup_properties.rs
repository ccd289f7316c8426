//! Roll-up equals the plain sum, in whatever order frames of different nodes come, whichever of
//! them are sent twice, and however late they are.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use proptest::prelude::*;
use tally_aggregator::{
    model::{Model, node::NodeSlot},
    query::{Point, Queries, TickRange, Value},
};
use tally_proto::{
    catalogue,
    columns::{Builder, Packer},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    entity::Entity,
    message::{BootId, Declarations, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

const NODES: u32 = 3;
const TICKS: u64 = 6;
const RESOLUTION_S: u64 = 10;
const MEMORY: ColumnNumber = ColumnNumber(1);
const CPU: ColumnNumber = ColumnNumber(2);

/// What one container of one node uses at each tick.
#[derive(Clone, Debug)]
struct Load {
    namespace: u8,
    memory: [i64; 6],
    cpu_ns: [i64; 6],
}

fn loads() -> impl Strategy<Value = Vec<Vec<Load>>> {
    let steps = prop::array::uniform6(0i64..5_000_000_000);
    let load = (0u8..3, prop::array::uniform6(0i64..1 << 40), steps).prop_map(
        |(namespace, memory, steps)| {
            let mut total = 0;
            let cpu_ns = steps.map(|step| {
                total += step;
                total
            });
            Load { namespace, memory, cpu_ns }
        },
    );
    prop::collection::vec(prop::collection::vec(load, 1..5), 3)
}

/// One node's stream, ready to be delivered frame by frame.
struct Sender {
    node: Arc<NodeSlot>,
    frames: Vec<PackedFrame>,
    next: usize,
}

impl Sender {
    fn new(model: &Model, number: u32, loads: &[Load]) -> Self {
        let node = model.node(&NodeName::parse(&format!("node-{number}")).unwrap());
        let mut writer = node.writer();
        writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).unwrap();
        model.declare(&mut writer, declarations(number, loads));
        drop(writer);
        let (mut builder, mut packer) = (Builder::new(), Packer::new());
        let frames = (0..TICKS).map(|tick| {
            builder.set(EntityNumber(0), ColumnNumber::READ_OFFSET, 0);
            for (place, load) in (1..).zip(loads) {
                let (pod, container) = (EntityNumber(place * 2 - 1), EntityNumber(place * 2));
                // Each is read a little later each time, so real elapsed time differs.
                let offset = i64::from(place) * i64::try_from(tick).unwrap();
                builder.set(pod, ColumnNumber::READ_OFFSET, offset);
                builder.set(container, ColumnNumber::READ_OFFSET, offset);
                let at = usize::try_from(tick).unwrap();
                builder.set(container, MEMORY, load.memory[at]);
                builder.set(container, CPU, load.cpu_ns[at]);
            }
            let mut columns = Vec::new();
            packer.pack(builder.finish(), &mut columns);
            PackedFrame {
                sequence: Sequence(tick + 1),
                tick: tick_of(tick),
                columns: Bytes::from(columns),
            }
        });
        Self { node, frames: frames.collect(), next: 0 }
    }

    /// Delivers the next frame.
    fn deliver(&mut self, model: &Model) {
        let Some(frame) = self.frames.get(self.next) else { return };
        self.next += 1;
        model.apply(&self.node, &mut self.node.writer(), Run(1), frame, UnixMs(0)).unwrap();
    }

    /// Connects anew and sends everything again, as after lost acknowledgements.
    fn resend(&mut self, model: &Model, number: u32, loads: &[Load]) {
        let delivered = self.next;
        *self = Self::new(model, number, loads);
        for _ in 0..delivered {
            self.deliver(model);
        }
    }
}

fn tick_of(index: u64) -> Tick {
    Tick(1_000_000 + index * RESOLUTION_S)
}

fn declarations(node: u32, loads: &[Load]) -> Declarations {
    let mut said = Declarations::default();
    let declare = |number, what| EntityDeclaration { number, start: Some(UnixMs(1)), what };
    said.entities.push(declare(EntityNumber(0), Declared::Node));
    for (place, load) in (1..).zip(loads) {
        let (pod, container) = (EntityNumber(place * 2 - 1), EntityNumber(place * 2));
        let name = format!("pod-{node}-{place}");
        let key = PodKey {
            namespace: NamespaceName::parse(&format!("ns-{}", load.namespace)).unwrap(),
            name: PodName::parse(&name).unwrap(),
        };
        let uid = PodUid::parse(&name).unwrap();
        said.entities.push(declare(pod, Declared::Pod { uid, key: Some(key), path: None }));
        said.entities.push(declare(
            container,
            Declared::PodContainer {
                pod,
                name: Some(ContainerName::parse("main").unwrap()),
                id: None,
                path: None,
                sandbox: false,
                image: None,
            },
        ));
    }
    for (number, id) in [(MEMORY, catalogue::MEMORY_USAGE), (CPU, catalogue::CPU_USAGE)] {
        said.columns.push(ColumnDeclaration {
            number,
            metric: MetricName::parse(id.metric().name).unwrap(),
            labels: Labels::none(),
            floating: false,
            cumulative: false,
        });
    }
    said
}

/// The sums by the book: namespace, metric, tick.
fn plain_sums(all: &[Vec<Load>]) -> BTreeMap<(u8, &'static str), BTreeMap<Tick, i64>> {
    let mut sums: BTreeMap<_, BTreeMap<Tick, i64>> = BTreeMap::new();
    for (place, load) in all.iter().flat_map(|loads| (1i64..).zip(loads)) {
        for index in 0..6usize {
            let tick = tick_of(u64::try_from(index).unwrap());
            let memory = sums.entry((load.namespace, "memory/usage")).or_default();
            *memory.entry(tick).or_default() += load.memory[index];
            if 0 < index {
                let grown = load.cpu_ns[index] - load.cpu_ns[index - 1];
                let rate = grown / (10_000_000 + place);
                let cpu = sums.entry((load.namespace, "cpu/usage_rate")).or_default();
                *cpu.entry(tick).or_default() += rate;
            }
        }
    }
    sums
}

fn points(series: Vec<Point>) -> BTreeMap<Tick, i64> {
    let number = |point: &Point| match point.value {
        Value::Integer(value) => value,
        Value::Float(value) => panic!("{value} should be an integer"),
    };
    series.iter().map(|point| (point.at, number(point))).collect()
}

proptest! {
    #[test]
    fn sums_are_the_plain_sums_in_any_order(
        loads in loads(),
        order in prop::collection::vec((0..NODES, any::<bool>()), 60),
    ) {
        let model = Arc::new(Model::new(Resolution::from_seconds(RESOLUTION_S).unwrap(), 600_000));
        let mut senders: Vec<Sender> =
            (0..).zip(&loads).map(|(number, loads)| Sender::new(&model, number, loads)).collect();
        for (node, resend) in order {
            let place = usize::try_from(node).unwrap();
            if resend {
                senders[place].resend(&model, node, &loads[place]);
            }
            senders[place].deliver(&model);
        }
        for sender in &mut senders {
            (0..TICKS).for_each(|_| sender.deliver(&model));
        }
        model.advance(UnixMs(2_000_000_000));

        let queries = Queries::new(Arc::clone(&model));
        let mut cluster: BTreeMap<&str, BTreeMap<Tick, i64>> = BTreeMap::new();
        for ((namespace, metric), expected) in plain_sums(&loads) {
            let entity = Entity::Namespace(NamespaceName::parse(&format!("ns-{namespace}")).unwrap());
            let series = queries.series(&entity, metric, &Labels::none(), TickRange::ALL);
            prop_assert_eq!(&points(series), &expected, "{} of ns-{}", metric, namespace);
            for (tick, value) in expected {
                *cluster.entry(metric).or_default().entry(tick).or_default() += value;
            }
        }
        for (metric, expected) in cluster {
            let series = queries.series(&Entity::Cluster, metric, &Labels::none(), TickRange::ALL);
            prop_assert_eq!(&points(series), &expected, "{} of the cluster", metric);
        }
        check_pods_add_up(&queries, &loads)?;
    }
}

/// What a reader adds up over pods is what the namespace says.
fn check_pods_add_up(queries: &Queries, loads: &[Vec<Load>]) -> Result<(), TestCaseError> {
    for namespace in queries.namespaces() {
        for metric in ["memory/usage", "cpu/usage_rate"] {
            let mut sum: BTreeMap<Tick, i64> = BTreeMap::new();
            for pod in queries.pods(&namespace) {
                let entity = Entity::Pod(namespace.clone(), pod);
                let series = queries.series(&entity, metric, &Labels::none(), TickRange::ALL);
                for (tick, value) in points(series) {
                    *sum.entry(tick).or_default() += value;
                }
            }
            let entity = Entity::Namespace(namespace.clone());
            let series = queries.series(&entity, metric, &Labels::none(), TickRange::ALL);
            prop_assert_eq!(points(series), sum, "{} of {}", metric, namespace);
        }
    }
    prop_assert!(!loads.is_empty());
    Ok(())
}
