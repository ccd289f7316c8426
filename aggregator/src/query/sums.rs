//! Series of namespaces and of the cluster: sums over closed ticks.

use std::collections::BTreeSet;

use tally_proto::{
    catalogue::MetricId,
    metric::{Labels, MetricName},
    tick::Tick,
};

use super::{Point, TickRange, Value, names};
use crate::{
    declared::MetricKey,
    model::{Model, directory::Namespace},
    rollup::sums::{RATIOS, Sums, as_double, place_of},
};

/// One series of a namespace.
pub(super) fn namespace_series(
    model: &Model,
    namespace: &Namespace,
    metric: &MetricKey,
    labels: &Labels,
    range: TickRange,
) -> Vec<Point> {
    let Some((id, range)) = closed(model, metric, labels, range) else { return Vec::new() };
    series(&crate::model::lock(&namespace.sums), id, range)
}

/// One series of the cluster.
pub(super) fn cluster_series(
    model: &Model,
    metric: &MetricKey,
    labels: &Labels,
    range: TickRange,
) -> Vec<Point> {
    let Some((id, range)) = closed(model, metric, labels, range) else { return Vec::new() };
    let cluster = model.cluster();
    match RATIOS.iter().find(|(ratio, ..)| *ratio == id) {
        None => series(&cluster.sums, id, range),
        Some((_, part, whole)) => {
            ratio(&series(&cluster.sums, *part, range), &series(&cluster.sums, *whole, range))
        }
    }
}

/// Names of a namespace's metrics.
pub(super) fn namespace_names(namespace: &Namespace, found: &mut BTreeSet<MetricName>) {
    names::of_sums(crate::model::lock(&namespace.sums).metrics(), found);
}

/// Names of the cluster's metrics.
pub(super) fn cluster_names(model: &Model, found: &mut BTreeSet<MetricName>) {
    let summed: Vec<MetricId> = model.cluster().sums.metrics().collect();
    let has = |id: &MetricId| summed.contains(id);
    let ratios = RATIOS.iter().filter(|(_, part, whole)| has(part) && has(whole));
    names::of_sums(summed.iter().copied().chain(ratios.map(|(ratio, ..)| *ratio)), found);
}

/// Sums have no labels, and end at the newest closed tick.
fn closed(
    model: &Model,
    metric: &MetricKey,
    labels: &Labels,
    range: TickRange,
) -> Option<(MetricId, TickRange)> {
    let MetricKey::Known(id) = *metric else { return None };
    let last = range.last.min(model.cluster().progress.closed()?);
    labels.is_empty().then_some((id, TickRange { last, ..range }))
}

fn series(sums: &Sums, id: MetricId, range: TickRange) -> Vec<Point> {
    let Some(place) = place_of(id) else { return Vec::new() };
    let ticks = sums.ticks().into_iter().filter(|tick| range.contains(*tick));
    ticks
        .filter_map(|at| {
            let sum = sums.get(at, place)?;
            let value = as_double(id, sum).map_or(Value::Integer(sum), Value::Float);
            Some(Point { at, value })
        })
        .collect()
}

fn ratio(parts: &[Point], wholes: &[Point]) -> Vec<Point> {
    let whole_at = |at: Tick| {
        let place = wholes.binary_search_by_key(&at, |whole| whole.at).ok()?;
        wholes.get(place).map(|whole| whole.value.as_f64()).filter(|whole| *whole != 0.0)
    };
    let ratios = parts.iter().filter_map(|part| {
        let value = Value::Float(part.value.as_f64() / whole_at(part.at)?);
        Some(Point { at: part.at, value })
    });
    ratios.collect()
}
