//! A column may come to mean another volume: each sample stays with the one that it was said of.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

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
    name::{NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};

const POD: EntityNumber = EntityNumber(0);
const VOLUME: ColumnNumber = ColumnNumber(1);
const EPHEMERAL: ColumnNumber = ColumnNumber(2);

fn labels(volume: u8) -> Labels {
    Labels::new([("resource_id", format!("Volume:{volume}"))]).unwrap()
}

fn column(number: ColumnNumber, id: catalogue::MetricId, labels: Labels) -> ColumnDeclaration {
    let metric = MetricName::parse(id.metric().name).unwrap();
    ColumnDeclaration { number, metric, labels, floating: false, cumulative: false }
}

fn pod() -> EntityDeclaration {
    let key = PodKey {
        namespace: NamespaceName::parse("space").unwrap(),
        name: PodName::parse("web").unwrap(),
    };
    let what = Declared::Pod { uid: PodUid::parse("uid").unwrap(), key: Some(key), path: None };
    EntityDeclaration { number: POD, start: Some(UnixMs(1)), what }
}

/// The volume that the column means at each frame.
fn deliver(volumes: &[u8]) -> Queries {
    let model = Arc::new(Model::new(Resolution::from_seconds(1).unwrap(), 600_000));
    let node = model.node(&NodeName::parse("node").unwrap());
    let (mut builder, mut packer) = (Builder::new(), Packer::new());
    let mut writer = node.writer();
    writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).unwrap();
    let mut before = None;
    for (number, volume) in (1..).zip(volumes) {
        let ephemeral = column(EPHEMERAL, catalogue::EPHEMERAL_STORAGE_USAGE, Labels::none());
        let said = match before.replace(*volume) {
            None => Declarations {
                entities: vec![pod()],
                columns: vec![
                    column(VOLUME, catalogue::FILESYSTEM_USAGE, labels(*volume)),
                    ephemeral,
                ],
                retired: Vec::new(),
            },
            Some(before) if before == *volume => Declarations::default(),
            Some(_) => Declarations {
                columns: vec![column(VOLUME, catalogue::FILESYSTEM_USAGE, labels(*volume))],
                ..Declarations::default()
            },
        };
        if !said.is_empty() {
            model.declare(&mut writer, said);
        }
        let value = i64::try_from(number).unwrap();
        builder.set(POD, ColumnNumber::READ_OFFSET, 0);
        builder.set(POD, VOLUME, 100 + value);
        builder.set(POD, EPHEMERAL, 1000 + value);
        let mut columns = Vec::new();
        packer.pack(builder.finish(), &mut columns);
        let columns = Bytes::from(columns);
        let frame = PackedFrame { sequence: Sequence(number), tick: Tick(1_000 + number), columns };
        model.apply(&node, &mut writer, Run(1), &frame, UnixMs(0)).unwrap();
    }
    Queries::new(model)
}

#[track_caller]
fn check(volumes: &[u8]) {
    let queries = deliver(volumes);
    let namespace = NamespaceName::parse("space").unwrap();
    let pod = Entity::Pod(namespace.clone(), PodName::parse("web").unwrap());
    let ticks = |entity: &Entity, metric, labels: &Labels| -> Vec<u64> {
        let series = queries.series(entity, metric, labels, TickRange::ALL);
        series.iter().map(|point| point.at.0).collect()
    };
    let all: Vec<u64> = (1001..).take(volumes.len()).collect();
    for volume in 0..4 {
        let its = all.iter().zip(volumes).filter(|(_, of)| **of == volume);
        let its: Vec<u64> = its.map(|(tick, _)| *tick).collect();
        assert_eq!(
            ticks(&pod, "filesystem/usage", &labels(volume)),
            its,
            "{volume} of {volumes:?}"
        );
    }
    for entity in [pod, Entity::Namespace(namespace)] {
        assert_eq!(ticks(&entity, "ephemeral_storage/usage", &Labels::none()), all, "{entity:?}");
    }
}

#[test]
fn each_volume_has_the_samples_of_its_time() {
    check(&[0, 0, 1, 1, 0, 2]);
}

proptest! {
    #[test]
    fn whatever_a_column_comes_to_mean(volumes in prop::collection::vec(0u8..4, 1..30)) {
        check(&volumes);
    }
}
