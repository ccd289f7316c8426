//! Rows that are in no file yet: the live model's frames as history will have them.

use std::sync::Arc;

use tally_proto::{
    catalogue,
    declaration::EntityNumber,
    entity::Entity,
    metric::{Labels, MetricName, ValueType},
    tick::Tick,
};

use super::{PastQueries, TickRange};
use crate::{
    archive::rows::{self, Frames, SharedWhats, Wanted},
    history::{
        life::{Life, Who},
        selection::Selection,
        series::{Field, Quantity, Row, Series, What},
        timeline::Timeline,
    },
    model::{
        node::NodeSlot,
        past::{EraView, View},
        writer::Before,
    },
    point::{Point, Reading},
    recipe::Cell,
};

impl PastQueries {
    /// Rows of a selection that may be in no file yet, with what `metric` is worked out of; with
    /// all that there is when no metric is given.
    pub(super) fn recent(
        &self,
        of: &Selection,
        metric: Option<&MetricName>,
        range: TickRange,
    ) -> Vec<Row> {
        let unsealed = self.archive.as_ref().and_then(|archive| archive.unsealed_from());
        let Some(from) = unsealed.filter(|from| *from <= range.last) else { return Vec::new() };
        let range = TickRange { first: range.first.max(from), ..range };
        match of {
            Selection::Cluster => self.sums(Who::Cluster, Entity::Cluster, metric, range),
            Selection::Namespace(Some(name)) => {
                let entity = Entity::Namespace(name.clone());
                self.sums(Who::Namespace(name.clone()), entity, metric, range)
            }
            Selection::Namespace(None) => Vec::new(),
            _ => {
                let wanted = Wanted { of: Some(of), metric };
                let nodes = self.nodes(of);
                nodes.iter().flat_map(|node| of_node(node, wanted, range)).collect()
            }
        }
    }

    /// The sums of a namespace or of the cluster, as a row.
    fn sums(
        &self,
        who: Who,
        entity: Entity,
        metric: Option<&MetricName>,
        range: TickRange,
    ) -> Vec<Row> {
        let metrics = match metric {
            Some(metric) => vec![metric.clone()],
            None => self.live.metric_names(&entity),
        };
        let series = metrics.into_iter().filter_map(|metric| {
            let points = self.live.series(&entity, metric.as_str(), &Labels::none(), range);
            sum_series(metric, &points)
        });
        let series: Vec<Series> = series.collect();
        let life = Arc::new(Life { who, start: None });
        if series.is_empty() { Vec::new() } else { vec![Row { life, series }] }
    }

    /// The nodes whose frames may have a part of a selection.
    fn nodes(&self, of: &Selection) -> Vec<Arc<NodeSlot>> {
        let directory = self.live.model.directory();
        let places = |namespace: &str, pod: &str| {
            let namespace = directory.namespaces.get(namespace);
            let places = namespace.map(|namespace| namespace.places(pod)).unwrap_or_default();
            places.into_iter().map(|place| place.node).collect()
        };
        match of {
            Selection::Node(Some(node)) | Selection::FreeContainer(node, _) => {
                directory.nodes.get(node).cloned().into_iter().collect()
            }
            Selection::Pod(namespace, Some(pod)) | Selection::PodContainer(namespace, pod, _) => {
                places(namespace, pod)
            }
            // Nobody asks for values of all of a kind; by its uid a pod may be anywhere.
            _ => directory.nodes.values().cloned().collect(),
        }
    }
}

fn sum_series(metric: MetricName, points: &[Point]) -> Option<Series> {
    let known = catalogue::find(metric.as_str())?.metric();
    let what = What::Metric(Quantity {
        metric,
        labels: Labels::none(),
        field: Field::Value,
        floating: known.value == ValueType::Float,
        cumulative: false,
    });
    (!points.is_empty()).then(|| Series {
        what: Arc::new(what),
        timeline: Arc::new(Timeline::of(points.iter().map(|point| point.at))),
        values: points.iter().map(|point| point.value.stored()).collect(),
        sketches: Vec::new(),
    })
}

fn of_node(node: &NodeSlot, wanted: Wanted<'_>, range: TickRange) -> Vec<Row> {
    let view: View = node.view();
    let (mut found, mut shared) = (Vec::new(), SharedWhats::default());
    let mut before: Option<EraView<'_>> = None;
    for era in view.eras() {
        if era.frames.iter().any(|frame| range.contains(frame.tick)) {
            let planned = rows::plan(era.schema, &node.name, wanted, &mut shared);
            if !planned.is_empty() {
                let frames = EraFrames::new(&era, before.as_ref());
                let timeline = Arc::new(Timeline::of(frames.ticks.iter().copied()));
                found.extend(planned.iter().map(|row| row.fill(&frames, &timeline)));
            }
        }
        before = Some(era);
    }
    found
}

/// The frames of an era.
struct EraFrames<'a> {
    era: &'a EraView<'a>,
    ticks: Vec<Tick>,
    before: Option<&'a EraView<'a>>,
}

impl<'a> EraFrames<'a> {
    fn new(era: &'a EraView<'a>, before: Option<&'a EraView<'a>>) -> Self {
        Self { era, ticks: era.frames.iter().map(|frame| frame.tick).collect(), before }
    }
}

impl Frames for EraFrames<'_> {
    fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    fn values(&self, cell: Cell) -> Vec<i64> {
        self.era.values(0, cell.index, cell.position)
    }

    fn before(&self, entity: EntityNumber, cell: Cell) -> Option<Reading> {
        let era = self.before?;
        let before = Before {
            schema: Arc::clone(era.schema),
            tick: era.frames.last()?.tick,
            columns: era.newest(),
            same_stream: false,
        };
        rows::reading(self.era.schema, (entity, cell), &before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::point::Value;

    #[test]
    fn a_sum_is_stored_as_its_metric_is() {
        let point = |value| [Point { at: Tick(15), value }];
        let metric = |name| MetricName::parse(name).unwrap();
        let whole = sum_series(metric("memory/usage"), &point(Value::Integer(7))).unwrap();
        assert_eq!((whole.what.floating(), whole.values), (false, vec![7]));
        let rate = sum_series(metric("network/rx_rate"), &point(Value::Float(2.5))).unwrap();
        assert_eq!(Value::of(rate.values[0], rate.what.floating()), Value::Float(2.5));
        assert_eq!(sum_series(metric("memory/usage"), &[]), None);
    }
}
