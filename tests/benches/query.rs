//! What questions cost at 95,000 entities, without HTTP: `cargo bench -p tally-tests --bench query`.

use std::{hint::black_box, ops::ControlFlow, sync::Arc, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tally_aggregator::{
    model::Model,
    query::{Queries, TickRange},
};
use tally_proto::{
    entity::Entity,
    message::{BootId, Run},
    metric::Labels,
    name::ContainerName,
    tick::{Resolution, Tick, UnixMs},
};
use tally_tests::swarm::{names, node::Node, shape::Shape};

const NODES: u32 = 1000;
const TICKS: u64 = 17;

/// A full window of 1,000 nodes.
fn filled() -> Queries {
    let shape = Shape {
        seed: 1,
        nodes: NODES,
        pods: 30,
        containers: 2,
        free_containers: 4,
        metrics: 15,
        churn_ppm: 0,
        resolution_s: 1,
    };
    let resolution = Resolution::from_seconds(1).expect("1 s is one");
    let model = Arc::new(Model::new(resolution, 15_000));
    for number in 0..NODES {
        let mut node = Node::new(shape, number).expect("names are valid");
        let slot = model.node(&node.name);
        let mut writer = slot.writer();
        writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).expect("nobody speaks");
        for tick in 0..TICKS {
            let said = node.say(Tick(2_000_000_000 + tick));
            model.declare(&mut writer, said.declarations.unwrap_or_default());
            model.apply(&slot, &mut writer, Run(1), &said.frame, UnixMs(0)).expect("well formed");
        }
    }
    model.advance(UnixMs(i64::MAX));
    Queries::new(model)
}

fn query(criterion: &mut Criterion) {
    let queries = filled();
    let namespace = names::namespace(0);
    let pod = queries.pods(&namespace).pop().expect("30,000 pods are in 30 namespaces");
    let of_namespace = queries.namespaces().into_iter().find(|name| **name == *namespace);
    let of_namespace = of_namespace.expect("it has a pod");
    let app = ContainerName::parse("app").expect("a valid name");
    let series = |criterion: &mut Criterion, name: &str, entity: &Entity, metric: &str| {
        criterion.bench_function(name, |bench| {
            bench.iter(|| queries.series(entity, metric, &Labels::none(), TickRange::ALL));
        });
    };
    let container = Entity::PodContainer(of_namespace.clone(), pod.clone(), app);
    series(criterion, "series of a container", &container, "memory/working_set");
    let entity = Entity::Pod(of_namespace.clone(), pod.clone());
    series(criterion, "rate of a pod", &entity, "cpu/usage_rate");
    let entity = Entity::Namespace(of_namespace);
    series(criterion, "series of a namespace", &entity, "memory/usage");
    series(criterion, "series of the cluster", &Entity::Cluster, "memory/usage");
    criterion.bench_function("list of nodes", |bench| bench.iter(|| queries.nodes()));
    criterion.bench_function("list of pods", |bench| bench.iter(|| queries.pods(&namespace)));
    criterion.bench_function("list of containers", |bench| {
        bench.iter(|| queries.containers(&namespace, &pod));
    });
    criterion.bench_function("list of metrics", |bench| {
        bench.iter(|| queries.metric_names(&container));
    });
    let export = || {
        let mut bytes = 0;
        let whole = queries.export(|piece| {
            bytes += black_box(piece).len();
            ControlFlow::Continue(())
        });
        assert!(whole.is_continue(), "nothing breaks it off");
        bytes
    };
    let bytes = export();
    let mut group = criterion.benchmark_group("export");
    group.throughput(Throughput::Bytes(bytes.try_into().expect("fits"))).sample_size(10);
    group.bench_function("95,000 entities", |bench| {
        bench.iter(export);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3)).sample_size(20);
    targets = query
}
criterion_main!(benches);
