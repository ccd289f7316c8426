//! What the files say of one question, and the points that this is.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use tally_proto::{
    metric::Labels,
    tick::{Tick, UnixMs},
};

use super::{
    error::{Budget, HistoryError},
    file::{Tier, read::OpenBlock},
    join::join,
    life::Life,
    plan::{Piece, raw_ranges},
    point::{Point, Rate, Reading, Value, readings},
    question::Question,
    series::{Field, Quantity, Row, Series, What},
    tier::{Fields, Sketch, Summary},
};

/// One series of an answer: a life and a label set.
pub(super) type Key = (Labels, Arc<Life>);

/// What was found of each series in one tier.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Raw parts by series, with the read offsets of their rows.
    raw: BTreeMap<Key, Vec<(Series, Option<Series>)>>,
    /// Summaries by series.
    buckets: BTreeMap<Key, Vec<Fields>>,
    /// What raw values answer for: what was read before is there for the first rates.
    raw_ranges: Vec<RangeInclusive<Tick>>,
    floating: bool,
    cumulative: bool,
}

/// What is taken of each row.
pub(super) struct Wanted<'a> {
    pub(super) question: &'a Question,
    pub(super) rate: Option<Rate>,
    pub(super) is_uptime: bool,
    pub(super) tier: Tier,
}

impl Wanted<'_> {
    pub(super) fn take(
        &self,
        open: &mut OpenBlock,
        row: usize,
        found: &mut Found,
        budget: &mut Budget,
    ) -> Result<(), HistoryError> {
        let Some(life) = open.names.rows.get(row).map(|named| Arc::clone(&named.life)) else {
            return Ok(());
        };
        let section = open.section(row, budget)?;
        let whats: Vec<Arc<What>> = section.whats(&open.columns).cloned().collect();
        let has_own = self.has_own(whats.iter());
        let offset_place = whats.iter().position(|what| **what == What::ReadOffset);
        for (place, what) in whats.iter().enumerate() {
            let Some(quantity) = self.wants(what, has_own) else { continue };
            let series = open.series(row, place, budget)?;
            budget.points(series.values.len())?;
            let (labels, field) = quantity;
            let key = (labels, Arc::clone(&life));
            if self.tier == Tier::Raw {
                found.note(what, false);
                let offsets = match offset_place.filter(|_| self.rate.is_some()) {
                    Some(place) => Some(open.series(row, place, budget)?),
                    None => None,
                };
                found.raw.entry(key).or_default().push((series, offsets));
            } else {
                found.note(what, field != Field::Least);
                let parts = found.buckets.entry(key).or_default();
                // A file has each field once, and they come in their order.
                if field == Field::Count {
                    parts.push(Fields::default());
                }
                if let Some(fields) = parts.last_mut() {
                    fields.set(field, series);
                }
            }
        }
        Ok(())
    }

    /// Takes what a row has that is in no file yet.
    pub(super) fn take_recent(&self, row: &Row, found: &mut Found) {
        let has_own = self.has_own(row.series.iter().map(|series| &series.what));
        let offsets = row.series.iter().find(|series| *series.what == What::ReadOffset);
        for series in &row.series {
            let Some((labels, _)) = self.wants(&series.what, has_own) else { continue };
            found.note(&series.what, false);
            let offsets = offsets.filter(|_| self.rate.is_some()).cloned();
            let key = (labels, Arc::clone(&row.life));
            found.raw.entry(key).or_default().push((series.clone(), offsets));
        }
    }

    /// Whether a row has the metric itself; then what that could be worked out of is not asked.
    fn has_own<'w>(&self, mut whats: impl Iterator<Item = &'w Arc<What>>) -> bool {
        let asked = &self.question.metric;
        whats.any(|what| matches!(&**what, What::Metric(quantity) if quantity.metric == *asked))
    }

    /// Whether a series belongs to the answer, with its labels and field.
    fn wants(&self, what: &What, has_own: bool) -> Option<(Labels, Field)> {
        let raw = self.tier == Tier::Raw;
        let Quantity { metric, labels, field, .. } = match what {
            What::ReadOffset if self.is_uptime && raw && !has_own => {
                return Some((Labels::none(), Field::Value));
            }
            What::ReadOffset | What::StoredLabels(_) => return None,
            What::Metric(quantity) => quantity,
        };
        let asked = &self.question.metric;
        let source = self.rate.filter(|_| raw && !has_own).map(|rate| rate.of.metric().name);
        let named = metric == asked || source == Some(metric.as_str());
        let asked = &self.question.labels;
        let has = |pair: (&str, &str)| labels.iter().any(|mine| mine == pair);
        (named && asked.iter().all(has)).then(|| (labels.clone(), *field))
    }
}

impl Found {
    /// What pieces will say.
    pub(super) fn of(pieces: &[Piece]) -> Self {
        Self { raw_ranges: raw_ranges(pieces), ..Self::default() }
    }

    /// Raw points in the range, by series, ascending.
    pub(super) fn raw_points(
        &self,
        question: &Question,
        budget: &mut Budget,
    ) -> Result<Vec<(&Key, Vec<Point>)>, HistoryError> {
        let mut found = Vec::with_capacity(self.raw.len());
        for (key, parts) in &self.raw {
            let mut points = self.own_points(question, key, parts);
            self.keep_inside(&mut points);
            budget.points(points.len())?;
            found.push((key, points));
        }
        Ok(found)
    }

    /// Leaves out what was only read for the first rates.
    fn keep_inside(&self, points: &mut Vec<Point>) {
        if let [range] = self.raw_ranges.as_slice() {
            points.truncate(points.partition_point(|point| point.at <= *range.end()));
            points.drain(..points.partition_point(|point| point.at < *range.start()));
        } else {
            points.retain(|point| self.raw_ranges.iter().any(|range| range.contains(&point.at)));
        }
    }

    fn own_points(
        &self,
        question: &Question,
        key: &Key,
        parts: &[(Series, Option<Series>)],
    ) -> Vec<Point> {
        let own: Vec<&Series> = parts.iter().map(|(series, _)| series).collect();
        let Some(series) = join(&own) else { return Vec::new() };
        if *series.what == What::ReadOffset {
            let start = key.1.start;
            return start.map_or(Vec::new(), |start| uptime(&series, start));
        }
        let stored = |quantity: &Quantity| quantity.metric == question.metric;
        let is_stored = matches!(&*series.what, What::Metric(quantity) if stored(quantity));
        let rate = Rate::named(question.metric.as_str()).filter(|_| !is_stored);
        if let Some(rate) = rate {
            let offsets: Vec<&Series> =
                parts.iter().filter_map(|(_, offsets)| offsets.as_ref()).collect();
            return rate.points(&series, join(&offsets).as_deref(), None);
        }
        let floating = series.what.floating();
        let values = series.timeline.iter().zip(&series.values);
        values.map(|(at, value)| Point { at, value: Value::of(*value, floating) }).collect()
    }

    /// Gives what is known of each bucket in the range to `each`.
    pub(super) fn each_summary<'a>(
        &'a self,
        question: &Question,
        budget: &mut Budget,
        mut each: impl FnMut(&'a Key, &Summary, Sketch<'_>),
    ) -> Result<(), HistoryError> {
        for (key, parts) in &self.buckets {
            for fields in parts {
                let mut count = 0;
                let given = fields.each(self.floating, |summary, sketch| {
                    if question.first <= summary.at && summary.at <= question.last {
                        count += 1;
                        each(key, summary, sketch);
                    }
                });
                given.map_err(HistoryError::of_sketch)?;
                budget.points(count)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, what: &What, only_kind: bool) {
        if let What::Metric(quantity) = what {
            self.cumulative = quantity.cumulative;
            if !only_kind {
                self.floating = quantity.floating;
            }
        }
    }

    /// Whether the values that are answered are doubles.
    pub(super) fn is_floating(&self, question: &Question) -> bool {
        let is_rate = Rate::named(question.metric.as_str());
        self.floating || is_rate.is_some_and(Rate::floating)
    }

    /// A bucket as one point.
    #[expect(
        clippy::as_conversions,
        reason = "a mean of whole numbers is cut to one, as rates are"
    )]
    pub(super) fn mean(&self, summary: &Summary) -> Point {
        let mean = summary.sum / summary.count.max(1) as f64;
        let value = match (self.cumulative, self.floating) {
            (true, _) => summary.greatest,
            (false, true) => Value::Float(mean),
            (false, false) => Value::Integer(mean as i64),
        };
        Point { at: summary.at, value }
    }
}

/// Milliseconds since the start, at each reading.
fn uptime(offsets: &Series, start: UnixMs) -> Vec<Point> {
    let at = |reading: Reading| {
        let since = reading.tick.unix_ms().since(start);
        let value = Value::Integer(since.saturating_add(reading.total / 1000));
        Point { at: reading.tick, value }
    };
    readings(offsets, None).map(at).collect()
}
