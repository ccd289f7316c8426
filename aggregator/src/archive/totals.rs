//! Sums of namespaces and of the cluster: the parts that a segment's frames add, and what history
//! has of the same ticks already, as rows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use tally_proto::{
    catalogue::{self, MetricId},
    metric::{Labels, MetricName, ValueType},
    name::NamespaceName,
    tick::Tick,
};

use super::{
    by_tick::{SumsByTick, Ticks},
    kept::Kept,
    span::Part,
};
use crate::{
    history::{
        error::HistoryError,
        life::{Life, Who},
        point::Value,
        selection::Selection,
        series::{Field, Quantity, Row, Series, What},
        timeline::Timeline,
    },
    rollup::{
        Plan,
        sums::{Addends, RATIOS, as_double, place_of, summed, thousandths},
    },
};

/// Sums by tick.
type ByTick = BTreeMap<Tick, Addends>;

/// What a segment's frames add up to.
#[derive(Debug, Default)]
pub(super) struct Totals {
    ticks: Ticks,
    /// What nodes themselves add, in no namespace.
    nodes: SumsByTick,
    namespaces: HashMap<NamespaceName, usize>,
    /// Of each namespace, by its number.
    sums: Vec<SumsByTick>,
    /// The last plan, and the numbers of its namespaces: the next frame mostly has the same.
    last: Option<(Arc<Plan>, Vec<usize>)>,
}

impl Totals {
    /// Adds a frame's part.
    pub(super) fn add(&mut self, tick: Tick, part: &Part) {
        let place = self.ticks.place(tick);
        self.nodes.add(place, &part.sums.node);
        let same = self.last.take().filter(|(plan, _)| Arc::ptr_eq(plan, &part.plan));
        let numbers = same.map_or_else(|| self.numbers(&part.plan), |(_, numbers)| numbers);
        for (number, addends) in numbers.iter().zip(&part.sums.namespaces) {
            if let Some(sums) = self.sums.get_mut(*number) {
                sums.add(place, addends);
            }
        }
        self.last = Some((Arc::clone(&part.plan), numbers));
    }

    /// The numbers of a plan's namespaces.
    fn numbers(&mut self, plan: &Plan) -> Vec<usize> {
        let Self { namespaces, sums, .. } = self;
        let number = |namespace: &NamespaceName| {
            *namespaces.entry(namespace.clone()).or_insert_with(|| {
                sums.push(SumsByTick::default());
                sums.len() - 1
            })
        };
        plan.namespaces.iter().map(number).collect()
    }

    /// The sums of the cluster: those of all nodes and of all namespaces.
    fn cluster(&self) -> SumsByTick {
        let mut cluster = self.nodes.clone();
        self.sums.iter().for_each(|sums| cluster.add_all(sums));
        cluster
    }

    /// The rows of the sums, with what history has of their ticks added.
    pub(super) fn rows(mut self, kept: &mut Kept) -> Result<Vec<Row>, HistoryError> {
        let kept_to = kept.newest_tick()?;
        let names = Names::new();
        let mut rows = Vec::with_capacity(self.namespaces.len() + 1);
        let cluster =
            with_kept(self.ticks.with(&self.cluster()), kept, &Selection::Cluster, kept_to)?;
        rows.extend(row(Who::Cluster, &cluster, &names));
        for (namespace, number) in self.namespaces {
            let sums = self.sums.get_mut(number).map(std::mem::take).unwrap_or_default();
            let of = Selection::Namespace(Some(namespace.clone()));
            let sums = with_kept(self.ticks.with(&sums), kept, &of, kept_to)?;
            rows.extend(row(Who::Namespace(namespace), &sums, &names));
        }
        Ok(rows)
    }
}

/// Adds what is kept of the same ticks; there is none after `kept_to`.
fn with_kept(
    mut sums: ByTick,
    kept: &mut Kept,
    of: &Selection,
    kept_to: Option<Tick>,
) -> Result<ByTick, HistoryError> {
    let ends = sums.keys().next().zip(sums.keys().next_back());
    let Some((first, last)) = ends.map(|(first, last)| (*first, *last)) else { return Ok(sums) };
    let Some(last) = kept_to.map(|kept| kept.min(last)).filter(|last| first <= *last) else {
        return Ok(sums);
    };
    for row in kept.rows(of, first, last)? {
        for series in &row.series {
            let What::Metric(quantity) = &*series.what else { continue };
            let place = catalogue::find(quantity.metric.as_str()).and_then(place_of);
            let Some(place) = place else { continue };
            for (tick, value) in series.timeline.iter().zip(&series.values) {
                if let Some(addends) = sums.get_mut(&tick) {
                    let amount = match Value::of(*value, quantity.floating) {
                        Value::Integer(amount) => amount,
                        Value::Float(amount) => thousandths(amount),
                    };
                    addends.add(place, amount);
                }
            }
        }
    }
    Ok(sums)
}

/// What each summed metric and each ratio is called.
struct Names {
    sums: Vec<(MetricId, Arc<What>)>,
    ratios: Vec<(MetricId, MetricId, Arc<What>)>,
}

impl Names {
    fn new() -> Self {
        let what = |id: MetricId| {
            let metric = MetricName::parse(id.metric().name).ok()?;
            Some(Arc::new(What::Metric(Quantity {
                metric,
                labels: Labels::none(),
                field: Field::Value,
                floating: id.metric().value == ValueType::Float,
                cumulative: false,
            })))
        };
        let sums = summed().iter().filter_map(|id| Some((*id, what(*id)?)));
        let ratios =
            RATIOS.iter().filter_map(|(ratio, part, whole)| Some((*part, *whole, what(*ratio)?)));
        Self { sums: sums.collect(), ratios: ratios.collect() }
    }
}

fn row(who: Who, sums: &ByTick, names: &Names) -> Option<Row> {
    let is_cluster = who == Who::Cluster;
    let mut series = Vec::new();
    let mut timelines: Vec<Arc<Timeline>> = Vec::new();
    let mut push = |what: &Arc<What>, points: Vec<(Tick, i64)>| {
        if points.is_empty() {
            return;
        }
        let timeline = Timeline::of(points.iter().map(|(tick, _)| *tick));
        let known = timelines.iter().find(|known| ***known == timeline).cloned();
        let timeline = known.unwrap_or_else(|| {
            timelines.push(Arc::new(timeline));
            timelines.last().map(Arc::clone).unwrap_or_default()
        });
        let values = points.into_iter().map(|(_, value)| value).collect();
        series.push(Series { what: Arc::clone(what), timeline, values, sketches: Vec::new() });
    };
    for (id, what) in &names.sums {
        let Some(place) = place_of(*id) else { continue };
        let stored = |sum: i64| as_double(*id, sum).map_or(sum, |sum| Value::Float(sum).stored());
        let points = sums.iter().filter_map(|(tick, all)| Some((*tick, stored(all.get(place)?))));
        push(what, points.collect());
    }
    for (part, whole, what) in names.ratios.iter().filter(|_| is_cluster) {
        let amount = |all: &Addends, id: MetricId| {
            let sum = all.get(place_of(id)?)?;
            Some(as_double(id, sum).map_or(Value::Integer(sum), Value::Float).as_f64())
        };
        let points = sums.iter().filter_map(|(tick, all)| {
            let whole = amount(all, *whole).filter(|whole| *whole != 0.0)?;
            Some((*tick, Value::Float(amount(all, *part)? / whole).stored()))
        });
        push(what, points.collect());
    }
    series.sort_by(|a, b| a.what.cmp(&b.what));
    let life = Arc::new(Life { who, start: None });
    (!series.is_empty()).then_some(Row { life, series })
}
