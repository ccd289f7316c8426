//! What history costs: blocks written and read, and thirty days of one series asked:
//! `cargo bench -p tally-tests --bench history`.

use std::{hint::black_box, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tally_aggregator::history::{
    block::{BlockError, Columns, Names, Section, decode_row, encode},
    cache::Cache,
    disk::real::Directory,
    error::Budget,
    life::Who,
    question::Question,
    selection::Selection,
    series::Row,
    store::Store,
};
use tally_proto::{
    metric::{Labels, MetricName},
    tick::Tick,
};
use tally_tests::{
    history::{recorded, swarm::Player},
    swarm::shape::{NAMESPACES, Shape},
};

const DAYS: u64 = 30;
const DAY_S: u64 = 86_400;

fn blocks(criterion: &mut Criterion) {
    let series = recorded::series().expect("the recording is in its format");
    for (name, step, end) in [("10 minutes at 1 s", 1, 600), ("24 minutes at 15 s", 15, 1440)] {
        let rows = recorded::rows(&series, 0, end, step, false);
        let samples: usize = rows.iter().map(Row::samples).sum();
        let encoded = encode(&mut rows.clone()).expect("rows are even").expect("there are rows");
        let sections = Bytes::from(encoded.sections.clone());
        let mut group = criterion.benchmark_group(format!("recorded, {name}"));
        group.throughput(Throughput::Elements(samples.try_into().expect("fits")));
        // It takes the rows' values.
        let fresh = || rows.clone();
        group.bench_function("encode", |bench| {
            bench.iter_batched_ref(fresh, |rows| encode(black_box(rows)), BatchSize::LargeInput);
        });
        group.bench_function("decode", |bench| {
            bench.iter(|| {
                let names = Names::decode(&encoded.names).expect("just encoded");
                let columns = Columns::decode(&encoded.columns).expect("just encoded");
                let section = |row: usize| -> Result<Arc<Section>, BlockError> {
                    let range = names.rows.get(row).expect("a row").section.clone();
                    Section::decode(sections.slice(range), row, &columns).map(Arc::new)
                };
                for row in 0..names.rows.len() {
                    black_box(decode_row(&names, &columns, section, row).expect("just encoded"));
                }
            });
        });
        group.finish();
    }
}

/// Thirty days of a node of 95 entities at 15 s, written by the hour and merged by the day.
fn month(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a directory");
    let directory = Directory::take(folder.path(), std::process::id()).expect("it is new");
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).expect("it is empty");
    let shape = Shape {
        seed: 1,
        nodes: 2,
        pods: 30,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 3,
        churn_ppm: 0,
        resolution_s: 15,
    };
    let mut player = Player::new(shape, 0, Tick(recorded::BEGIN)).expect("names are valid");
    let mut container = None;
    for _ in 0..DAYS * 24 {
        let rows = player.rows(240).expect("what was declared");
        let whose = |row: &Row| match &row.life.who {
            Who::InPod(in_pod) if in_pod.container.is_some() => Some(in_pod.clone()),
            _ => None,
        };
        container = rows.iter().find_map(whose);
        store.write(rows).expect("there is room");
    }
    let end = Tick(recorded::BEGIN + DAYS * DAY_S);
    while store.merge(Tick(end.0 + DAY_S), || u64::MAX).expect("there is room").is_some() {}
    let container = container.expect("a container");
    let of = Selection::PodContainer(container.namespace, container.pod, container.container);
    let hour = NonZeroU64::new(3_600_000);
    let asked =
        [(30, "one bucket", None), (30, "by the hour", hour), (10, "one bucket, exact", None)];
    for metric in ["memory/usage", "cpu/usage_rate"] {
        for (days, buckets, size) in asked {
            let metric = MetricName::parse(metric).expect("a name");
            let (of, first) = (of.clone(), Tick(end.0 - days * DAY_S));
            let question =
                Question { of, metric, labels: Labels::none(), first, last: Tick(end.0 - 1) };
            let name = format!("{days} days at 15 s, {}, percentiles, {buckets}", question.metric);
            criterion.bench_function(&name, |bench| {
                bench.iter(|| {
                    let found = store.aggregate(&question, size, &[], &mut Budget::default());
                    let buckets = found.expect("it is small");
                    buckets.iter().map(|bucket| bucket.percentile(99)).collect::<Vec<_>>()
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(20);
    targets = blocks, month
}
criterion_main!(benches);
