//! Names of the metrics that an entity has.

use std::collections::BTreeSet;

use tally_proto::{
    catalogue::{self, MetricId},
    entity::Entity,
    metric::{Labels, MetricName, Source},
    name::NodeName,
};

use crate::{declared::MetricKey, model::past::View, recipe::recipe, schema::Schema};

/// The unlabelled metrics of an entity in one node's frames. A rate is there once it had two
/// readings.
pub(super) fn names(view: &View, entity: &Entity, found: &mut BTreeSet<MetricName>) {
    let mut seen: Option<&Schema> = None;
    for era in view.eras() {
        // An era that a resend or a reconnect ended has the schema of the one before.
        if !seen.is_some_and(|seen| std::ptr::eq(seen, &**era.schema)) {
            candidates(era.schema, entity, found);
        }
        seen = Some(era.schema);
    }
}

/// Whether a metric's first value needs two readings.
pub(super) fn needs_two_readings(metric: &MetricKey) -> bool {
    match metric {
        MetricKey::Known(id) => {
            matches!(id.metric().source, Source::RateOf(_))
                || *id == catalogue::CPU_NODE_UTILIZATION
        }
        MetricKey::Custom(_) => false,
    }
}

fn candidates(schema: &Schema, entity: &Entity, found: &mut BTreeSet<MetricName>) {
    let has =
        |metric: &MetricKey| !recipe(schema, entity, metric, &Labels::none()).terms.is_empty();
    let known = catalogue::all().filter(|id| id.metric().labels.is_empty()).map(MetricKey::Known);
    let custom = (0..schema.layout.columns.len())
        .filter_map(|index| schema.meaning(index))
        .filter(|meaning| {
            meaning.labels.is_empty() && matches!(meaning.metric, MetricKey::Custom(_))
        })
        .map(|meaning| meaning.metric.clone());
    let extended = extended(schema, entity).map(MetricKey::Custom);
    for metric in known.chain(custom).chain(extended).filter(has) {
        if let Ok(name) = MetricName::parse(metric.name()) {
            found.insert(name);
        }
    }
}

/// Requests of other resources than Heapster's three.
fn extended(schema: &Schema, entity: &Entity) -> impl Iterator<Item = MetricName> {
    let pod = match entity {
        Entity::Pod(namespace, pod) | Entity::PodContainer(namespace, pod, _) => {
            schema.roster.pod(namespace, pod)
        }
        _ => None,
    };
    let records = pod.and_then(|pod| pod.record.as_ref()).into_iter();
    records
        .flat_map(|record| &record.containers)
        .flat_map(|container| container.extended.iter().map(|(name, _)| name.clone()))
}

/// The id of each metric, for sums.
pub(super) fn of_sums(ids: impl Iterator<Item = MetricId>, found: &mut BTreeSet<MetricName>) {
    found.extend(ids.filter_map(|id| MetricName::parse(id.metric().name).ok()));
}

/// The node that an entity is part of, where its key says so.
pub(super) fn node_of(entity: &Entity) -> Option<&NodeName> {
    match entity {
        Entity::Node(node) | Entity::FreeContainer(node, _) => Some(node),
        Entity::Cluster | Entity::Namespace(_) | Entity::Pod(..) | Entity::PodContainer(..) => None,
    }
}
