//! What taking a frame costs: unpack, roll-up and store, without gRPC.
//! `cargo bench -p tally-tests --bench model`.

use std::{sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tally_aggregator::model::{Model, node::NodeSlot};
use tally_proto::{
    message::{BootId, Run},
    tick::{Resolution, Tick, UnixMs},
};
use tally_tests::swarm::{
    node::{Node, Said},
    shape::{NAMESPACES, Shape},
};

const NODES: u32 = 50;
const TICKS: u64 = 20;
const FIRST: u64 = 2_000_000_000;

fn cluster() -> Vec<(Node, Vec<Said>)> {
    let shape = Shape {
        seed: 1,
        nodes: NODES,
        pods: 30,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm: 0,
        resolution_s: 1,
    };
    let played = (0..NODES).map(|number| {
        let mut node = Node::new(shape, number).expect("names are valid");
        let said = (0..TICKS).map(|tick| node.say(Tick(FIRST + tick))).collect();
        (node, said)
    });
    played.collect()
}

fn apply(model: &Model, slot: &Arc<NodeSlot>, said: &Said) {
    let mut writer = slot.writer();
    if let Some(declarations) = &said.declarations {
        model.declare(&mut writer, declarations.clone());
    }
    model.apply(slot, &mut writer, Run(1), &said.frame, UnixMs(0)).expect("well formed");
}

/// A model in which every node has delivered its first frame.
fn begun(cluster: &[(Node, Vec<Said>)]) -> (Model, Vec<Arc<NodeSlot>>) {
    let resolution = Resolution::from_seconds(1).expect("1 s is one");
    let model = Model::new(resolution, 15_000);
    let slots = cluster.iter().map(|(node, said)| {
        let slot = model.node(&node.name);
        slot.writer().begin_stream(BootId([0; 16]), UnixMs(0), 0).expect("nobody speaks");
        if let Some(first) = said.first() {
            apply(&model, &slot, first);
        }
        slot
    });
    let slots = slots.collect();
    (model, slots)
}

fn model(criterion: &mut Criterion) {
    let cluster = cluster();
    let frames = u64::from(NODES) * (TICKS - 1);
    let mut group = criterion.benchmark_group("frame of 95 entities and 15 metrics");
    group.throughput(Throughput::Elements(frames));
    group.bench_function("apply", |bench| {
        bench.iter_batched(
            || begun(&cluster),
            |(model, slots)| {
                for tick in 1..usize::try_from(TICKS).expect("fits") {
                    for (slot, (_, said)) in slots.iter().zip(&cluster) {
                        if let Some(said) = said.get(tick) {
                            apply(&model, slot, said);
                        }
                    }
                }
                (model, slots)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(5)).sample_size(20);
    targets = model
}
criterion_main!(benches);
