//! What packing and unpacking cost, a value: `cargo bench -p tally-tests --bench columns`.

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tally_proto::{
    columns::{Columns, Packer, delta_at, unpack},
    tick::Tick,
};
use tally_tests::swarm::{
    node::Node,
    recorded,
    shape::{NAMESPACES, Shape},
};

const TICKS: u64 = 200;

/// A node of 95 entities, unpacked again: about half of its values change at each tick.
fn swarm(number: u32) -> Vec<Columns> {
    let shape = Shape {
        seed: 1,
        nodes: 2,
        pods: 30,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm: 0,
        resolution_s: 1,
    };
    let mut node = Node::new(shape, number).expect("names are valid");
    let mut state = Columns::default();
    let frame = |tick| {
        let said = node.say(Tick(2_000_000_000 + tick));
        unpack(&mut state, &said.frame.columns).expect("just packed");
        state.clone()
    };
    (0..TICKS).map(frame).collect()
}

fn recorded_frames() -> Vec<Columns> {
    let series = recorded::series().expect("the recording is in its format");
    recorded::frames(&series, 1)
}

fn packed(frames: &[Columns]) -> Vec<Vec<u8>> {
    let mut packer = Packer::new();
    let pack = |frame| {
        let mut bytes = Vec::new();
        packer.pack(frame, &mut bytes);
        bytes
    };
    frames.iter().map(pack).collect()
}

fn columns(criterion: &mut Criterion) {
    let sets = [("swarm, v2", swarm(0)), ("swarm, v1", swarm(1)), ("recorded", recorded_frames())];
    for (name, frames) in &sets {
        let values: usize = frames.iter().map(|frame| frame.layout.cells()).sum();
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Elements(values.try_into().expect("fits")));
        let mut bytes = Vec::new();
        group.bench_function("pack", |bench| {
            bench.iter(|| {
                let mut packer = Packer::new();
                for frame in frames {
                    bytes.clear();
                    packer.pack(black_box(frame), &mut bytes);
                }
            });
        });
        let packed = packed(frames);
        let mut state = Columns::default();
        group.bench_function("unpack", |bench| {
            bench.iter(|| {
                for bytes in &packed {
                    unpack(&mut state, black_box(bytes)).expect("well formed");
                }
            });
        });
        group.finish();
        one_value(criterion, name, frames, &packed);
    }
}

/// One value of a frame without unpacking the rest, as a query of one series needs it.
fn one_value(criterion: &mut Criterion, name: &str, frames: &[Columns], packed: &[Vec<u8>]) {
    let (Some(frame), Some(bytes)) = (frames.last(), packed.last()) else { return };
    let columns = frame.layout.columns.len();
    let index = columns - 1;
    let rows = frame.layout.rows(index).len();
    criterion.bench_function(&format!("{name}/delta_at"), |bench| {
        bench.iter(|| delta_at(black_box(bytes), columns, index, rows, rows - 1));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(20);
    targets = columns
}
criterion_main!(benches);
