//! Rows of history as series of numbers, for every format alike.

use std::{collections::BTreeMap, sync::Arc};

use tally_proto::{
    metric::{Labels, MetricName},
    tick::Tick,
};

use super::stored_labels::StoredLabels;
use crate::history::{
    error::HistoryError,
    file::Tier,
    life::Life,
    point::{Point, Value},
    scan::join_parts,
    series::{Field, Quantity, Row, What},
    tier::{Fields, Summary},
};

/// Which number of a bucket; of raw samples, the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aggregate {
    /// A sample.
    Value,
    /// How many samples a bucket has.
    Count,
    /// The least of them.
    Min,
    /// The greatest.
    Max,
    /// All together.
    Sum,
}

impl Aggregate {
    /// Those of a tier.
    pub(super) fn of(tier: Tier) -> &'static [Self] {
        match tier {
            Tier::Raw => &[Self::Value],
            Tier::FiveMinutes | Tier::Hour => &[Self::Count, Self::Min, Self::Max, Self::Sum],
        }
    }

    /// As exports say it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
        }
    }
}

/// The numbers of one metric of one entity, ascending by time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    pub(super) life: Arc<Life>,
    pub(super) metric: MetricName,
    /// The metric's own.
    pub(super) labels: Labels,
    /// Those of Kubernetes that the entity had then and that are shown beside.
    pub(super) stored: Labels,
    pub(super) aggregate: Aggregate,
    pub(super) cumulative: bool,
    pub(super) points: Vec<Point>,
}

/// The numbers of parts of one life, or of several lives of one entity, series by series.
pub(super) fn numbers(
    tier: Tier,
    parts: Vec<Row>,
    (first, last): (Tick, Tick),
) -> Result<Vec<Numbers>, HistoryError> {
    match tier {
        Tier::Raw => Ok(join_parts(parts, first, last).map_or(Vec::new(), |row| raw(&row))),
        Tier::FiveMinutes | Tier::Hour => buckets(&parts, first, last),
    }
}

fn raw(row: &Row) -> Vec<Numbers> {
    let mut found = Vec::with_capacity(row.series.len());
    let had = StoredLabels::of([row]);
    for series in &row.series {
        let What::Metric(quantity) = &*series.what else { continue };
        let values = series.timeline.iter().zip(&series.values);
        let value = |stored: &i64| Value::of(*stored, quantity.floating);
        let points = values.map(|(at, stored)| Point { at, value: value(stored) }).collect();
        let split = had.split(points, &quantity.labels).into_iter();
        found.extend(split.map(|(stored, points)| Numbers {
            life: Arc::clone(&row.life),
            metric: quantity.metric.clone(),
            labels: quantity.labels.clone(),
            stored,
            aggregate: Aggregate::Value,
            cumulative: quantity.cumulative,
            points,
        }));
    }
    found
}

/// What tells the metrics of a tier apart.
type Key = (MetricName, Labels, bool);

/// Buckets of several parts with the same beginning are one: late samples have files of their own.
fn buckets(parts: &[Row], first: Tick, last: Tick) -> Result<Vec<Numbers>, HistoryError> {
    let mut found: BTreeMap<Key, BTreeMap<Tick, Summary>> = BTreeMap::new();
    for row in parts {
        for (key, (fields, floating)) in fields(row) {
            let of_key = found.entry(key).or_default();
            let each = fields.each(floating, |summary, _| {
                if first <= summary.at && summary.at <= last {
                    match of_key.get_mut(&summary.at) {
                        Some(known) => add(known, summary),
                        None => drop(of_key.insert(summary.at, summary.clone())),
                    }
                }
            });
            each.map_err(HistoryError::of_sketch)?;
        }
    }
    let Some(life) = parts.last().map(|row| &row.life) else { return Ok(Vec::new()) };
    let (mut numbers, had) = (Vec::new(), StoredLabels::of(parts));
    for ((metric, labels, cumulative), summaries) in found {
        for aggregate in Aggregate::of(Tier::Hour) {
            let points = summaries.values();
            let points = points.map(|summary| point(summary, *aggregate)).collect();
            let split = had.split(points, &labels).into_iter();
            numbers.extend(split.map(|(stored, points)| Numbers {
                life: Arc::clone(life),
                metric: metric.clone(),
                labels: labels.clone(),
                stored,
                aggregate: *aggregate,
                cumulative,
                points,
            }));
        }
    }
    Ok(numbers)
}

/// The metrics of a row of a tier, each with its four fields and whether they are doubles.
fn fields(row: &Row) -> BTreeMap<Key, (Fields, bool)> {
    let mut found: BTreeMap<Key, (Fields, bool)> = BTreeMap::new();
    for series in &row.series {
        let What::Metric(Quantity { metric, labels, field, floating, cumulative }) = &*series.what
        else {
            continue;
        };
        let key = (metric.clone(), labels.clone(), *cumulative);
        let (fields, is_floating) = found.entry(key).or_default();
        fields.set(*field, series.clone());
        // A count is a whole number whatever it counts.
        *is_floating |= *floating && *field != Field::Count;
    }
    found
}

fn add(known: &mut Summary, other: &Summary) {
    known.count += other.count;
    known.sum += other.sum;
    if other.least.order(&known.least).is_lt() {
        known.least = other.least;
    }
    if other.greatest.order(&known.greatest).is_gt() {
        known.greatest = other.greatest;
    }
}

fn point(summary: &Summary, aggregate: Aggregate) -> Point {
    let value = match aggregate {
        Aggregate::Count | Aggregate::Value => {
            Value::Integer(i64::try_from(summary.count).unwrap_or(i64::MAX))
        }
        Aggregate::Min => summary.least,
        Aggregate::Max => summary.greatest,
        Aggregate::Sum => Value::Float(summary.sum),
    };
    Point { at: summary.at, value }
}

/// A metric's labels, and the stored ones behind them, as one text: `key=value`, separated by commas. A
/// backslash stands before each `\`, `,` and `=` within a key or value.
pub(super) fn labels_text(labels: &Labels, stored: &Labels) -> Option<String> {
    let mut text = String::new();
    let push = |part: &str, text: &mut String| {
        for letter in part.chars() {
            if matches!(letter, '\\' | ',' | '=') {
                text.push('\\');
            }
            text.push(letter);
        }
    };
    for (key, value) in labels.iter().chain(stored.iter()) {
        if !text.is_empty() {
            text.push(',');
        }
        push(key, &mut text);
        text.push('=');
        push(value, &mut text);
    }
    (!text.is_empty()).then_some(text)
}
