//! What questions cost at 95,000 entities, without HTTP: `cargo bench -p tally-tests --bench query`.

use std::{hint::black_box, ops::ControlFlow, sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tally_aggregator::{
    model::Model,
    query::{
        Queries, TickRange,
        usage::{Containers, PodScope, PodsAsked, SeenPod, selector::LabelSelector},
    },
};
use tally_proto::{
    entity::Entity,
    message::{BootId, Run},
    metric::Labels,
    name::ContainerName,
    tick::{Resolution, Tick, UnixMs},
};
use tally_tests::swarm::{
    names,
    node::Node,
    shape::{NAMESPACES, Shape},
};

/// The aggregator's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const NODES: u32 = 1000;
const TICKS: u64 = 17;

/// Pods of a million that are replaced at each tick: nine of the 30,000.
const CHURN_PPM: u64 = 300;

/// 1,000 nodes, and the model that they deliver to.
struct Cluster {
    model: Arc<Model>,
    nodes: Vec<Node>,
    ticks: u64,
}

impl Cluster {
    /// Every node delivers the next tick.
    fn deliver(&mut self) {
        for node in &mut self.nodes {
            let slot = self.model.node(&node.name);
            let mut writer = slot.writer();
            let said = node.say(Tick(2_000_000_000 + self.ticks));
            self.model.declare(&mut writer, said.declarations.unwrap_or_default());
            let applied = self.model.apply(&slot, &mut writer, Run(1), &said.frame, UnixMs(0));
            applied.expect("well formed");
        }
        self.ticks += 1;
    }
}

/// A full window.
fn filled(node_count: u32, ticks: u64, churn_ppm: u64) -> Cluster {
    let shape = Shape {
        seed: 1,
        nodes: node_count,
        pods: 30,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm,
        resolution_s: 1,
    };
    let resolution = Resolution::from_seconds(1).expect("1 s is one");
    let model = Arc::new(Model::new(resolution, 15_000));
    let node = |number| Node::new(shape, number).expect("names are valid");
    let nodes: Vec<Node> = (0..node_count).map(node).collect();
    for node in &nodes {
        let slot = model.node(&node.name);
        slot.writer().begin_stream(BootId([0; 16]), UnixMs(0), 0).expect("nobody speaks");
    }
    let mut cluster = Cluster { model, nodes, ticks: 0 };
    (0..ticks).for_each(|_| cluster.deliver());
    cluster.model.advance(UnixMs(i64::MAX));
    cluster
}

/// Every name, when none has changed, when some have, and for the first time.
fn key_list(criterion: &mut Criterion) {
    let mut cluster = filled(NODES, TICKS, CHURN_PPM);
    let model = Arc::clone(&cluster.model);
    let queries = Queries::new(Arc::clone(&model));
    let mut group = criterion.benchmark_group("list of every key");
    group.sample_size(10);
    group.bench_function("unchanged", |bench| bench.iter(|| queries.key_list()));
    group.bench_function("nine pods replaced", |bench| {
        let next = || cluster.deliver();
        bench.iter_batched(next, |()| queries.key_list(), BatchSize::PerIteration);
    });
    group.bench_function("anew", |bench| {
        bench.iter(|| Queries::new(Arc::clone(&model)).key_list());
    });
    group.finish();
}

/// What all pods use, where there are 150,000.
fn usage_of_many(criterion: &mut Criterion) {
    const MANY: u32 = 5 * NODES;
    const FEW_TICKS: u64 = 3;
    const BYTES_OF_A_POD: usize = 160;
    const PODS_OF_A_PIECE: usize = 500;
    let queries = Queries::new(filled(MANY, FEW_TICKS, 0).model);
    let now = UnixMs(Tick(2_000_000_000 + FEW_TICKS).unix_ms().0);
    let labels = LabelSelector::default();
    let (scope, containers) = (PodScope::Cluster, Containers::Measured);
    let asked = PodsAsked { scope, labels: &labels, chosen: &|_, _| true, containers };
    assert_eq!(queries.pod_usage(asked, now).len(), 150_000, "every pod has usage");
    let mut group = criterion.benchmark_group("usage of 150,000 pods");
    group.bench_function("kept", |bench| bench.iter(|| queries.pod_usage(asked, now)));
    let write = |seen: &SeenPod<'_, '_>, out: &mut Vec<u8>| {
        out.extend_from_slice(seen.key.name.as_bytes());
        out.resize(out.len() + BYTES_OF_A_POD, 0);
    };
    group.bench_function("written", |bench| {
        bench.iter(|| {
            let pieces = queries.write_pod_usage(asked, now, || write).pieces(PODS_OF_A_PIECE);
            pieces.map(|piece| piece.len()).sum::<usize>()
        });
    });
    group.finish();
}

fn query(criterion: &mut Criterion) {
    let queries = Queries::new(filled(NODES, TICKS, 0).model);
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
    // A second after the last tick.
    let now = UnixMs(Tick(2_000_000_000 + TICKS).unix_ms().0);
    let all = LabelSelector::default();
    let usage = |scope: PodScope<'_>| {
        let containers = Containers::Measured;
        let asked = PodsAsked { scope, labels: &all, chosen: &|_, _| true, containers };
        queries.pod_usage(asked, now)
    };
    assert_eq!(usage(PodScope::Cluster).len(), 30_000, "every pod has usage");
    criterion.bench_function("usage of 30,000 pods", |bench| {
        bench.iter(|| usage(PodScope::Cluster));
    });
    criterion.bench_function("usage of a namespace's pods", |bench| {
        bench.iter(|| usage(PodScope::Namespace(&namespace)));
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
    targets = key_list, query, usage_of_many
}
criterion_main!(benches);
