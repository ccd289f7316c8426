//! Who is declared by its id and named later has one series, under its name, as if it had been named
//! from the beginning.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tally_aggregator::{
    model::Model,
    query::{Queries, TickRange},
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
    name::{CgroupPath, ContainerId, ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

const POD: EntityNumber = EntityNumber(0);
const CONTAINER: EntityNumber = EntityNumber(1);
const FREE: EntityNumber = EntityNumber(2);
const CPU: ColumnNumber = ColumnNumber(1);

fn declare(number: EntityNumber, what: Declared) -> EntityDeclaration {
    EntityDeclaration { number, start: Some(UnixMs(1)), what }
}

/// All three by their ids, or by their names.
fn declarations(is_named: bool) -> Declarations {
    let name = |text: &str| is_named.then(|| ContainerName::parse(text).unwrap());
    let path = |text: &str| CgroupPath::parse(text).ok();
    let key = is_named.then(|| PodKey {
        namespace: NamespaceName::parse("space").unwrap(),
        name: PodName::parse("web").unwrap(),
    });
    let uid = PodUid::parse("uid").unwrap();
    let pod = Declared::Pod { uid, key, path: path("/kubepods/poduid") };
    let container = Declared::PodContainer {
        pod: POD,
        name: name("app"),
        id: ContainerId::parse("aa").ok(),
        path: path("/kubepods/poduid/aa"),
        sandbox: false,
        image: None,
    };
    let free = Declared::FreeContainer {
        name: name("db"),
        id: ContainerId::parse("bb").ok(),
        path: path("/docker/bb"),
        image: None,
    };
    Declarations {
        entities: vec![declare(POD, pod), declare(CONTAINER, container), declare(FREE, free)],
        columns: vec![ColumnDeclaration {
            number: CPU,
            metric: MetricName::parse(catalogue::CPU_USAGE.metric().name).unwrap(),
            labels: Labels::none(),
            floating: false,
            cumulative: false,
        }],
        retired: Vec::new(),
    }
}

/// A node whose agent is named `is_named` before each frame; a new stream begins where asked.
fn deliver(frames: &[(bool, bool)]) -> Queries {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 600_000));
    let node = model.node(&NodeName::parse("node").unwrap());
    let (mut builder, mut packer) = (Builder::new(), Packer::new());
    let mut before = None;
    for (number, (is_named, begins_stream)) in (1..).zip(frames) {
        let mut writer = node.writer();
        if *begins_stream || before.is_none() {
            writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).unwrap();
            packer = Packer::new();
            before = None;
        }
        if before != Some(*is_named) {
            model.declare(&mut writer, declarations(*is_named));
            before = Some(*is_named);
        }
        for entity in [POD, CONTAINER, FREE] {
            builder.set(entity, ColumnNumber::READ_OFFSET, 0);
            builder.set(entity, CPU, 5_000_000 * i64::try_from(number).unwrap());
        }
        let mut columns = Vec::new();
        packer.pack(builder.finish(), &mut columns);
        let columns = Bytes::from(columns);
        let frame = PackedFrame { sequence: Sequence(number), tick: Tick(1_000 + number), columns };
        model.apply(&node, &mut writer, Run(1), &frame, UnixMs(0)).unwrap();
    }
    Queries::new(model)
}

/// Points of the pod's container and of the free one, for a counter and for its rate.
#[track_caller]
fn check(frames: &[(bool, bool)], points: usize, rates: usize) {
    let queries = deliver(frames);
    let texts = |names: Vec<ContainerName>| -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    };
    assert_eq!(texts(queries.free_containers("node")), ["db"]);
    assert_eq!(texts(queries.containers("space", "web")), ["app"]);
    let (namespace, pod) = (NamespaceName::parse("space").unwrap(), PodName::parse("web").unwrap());
    let free = |name: &str| {
        Entity::FreeContainer(NodeName::parse("node").unwrap(), ContainerName::parse(name).unwrap())
    };
    let count = |entity: &Entity, metric| {
        queries.series(entity, metric, &Labels::none(), TickRange::ALL).len()
    };
    let container = Entity::PodContainer(namespace, pod, ContainerName::parse("app").unwrap());
    for entity in [container, free("db")] {
        let found = [count(&entity, "cpu/usage"), count(&entity, "cpu/usage_rate")];
        assert_eq!(found, [points, rates], "{entity:?}");
    }
    for path in ["/docker/bb", "/kubepods/poduid", "/kubepods/poduid/aa"] {
        assert_eq!(count(&free(path), "cpu/usage"), 0, "{path}");
    }
}

const BY_ID: (bool, bool) = (false, false);
const BY_NAME: (bool, bool) = (true, false);
const BY_NAME_ANEW: (bool, bool) = (true, true);
const BY_ID_ANEW: (bool, bool) = (false, true);

#[test]
fn whoever_is_named_late_has_one_series_without_a_gap() {
    check(&[BY_NAME, BY_NAME, BY_NAME], 3, 2);
    check(&[BY_ID, BY_NAME], 2, 1);
    check(&[BY_ID, BY_ID, BY_ID, BY_NAME, BY_NAME], 5, 4);
}

#[test]
fn an_agent_that_knows_names_only_after_its_restart_goes_on_with_the_same_series() {
    check(&[BY_ID, BY_ID, BY_NAME_ANEW, BY_NAME], 4, 3);
    check(&[BY_ID, BY_ID_ANEW, BY_NAME], 3, 2);
    check(&[BY_NAME, BY_ID_ANEW, BY_NAME], 3, 2);
}

proptest! {
    #[test]
    fn however_names_come_and_streams_begin_there_is_one_series(
        mut frames in prop::collection::vec(any::<(bool, bool)>(), 0..30),
    ) {
        frames.push(BY_NAME);
        check(&frames, frames.len(), frames.len() - 1);
    }
}
