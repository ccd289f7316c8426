//! Questions to history: what is on disk, joined with what only the live model has so far. REST
//! sees this and nothing behind it.
//!
//! ```text
//! subject, list   who is meant, which names          error, limits   what is too much
//! door            whether there is a history yet     summary         a bucket of an aggregation
//! recent          what is in no file yet
//! ```
//! Long ranges are read a few days at a time, so that what an answer needs of memory is the answer
//! and a few days of what it is made of.

mod door;
mod error;
mod limits;
mod list;
mod recent;
mod subject;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU64,
    sync::Arc,
};

use tally_proto::{
    catalogue,
    metric::{Labels, MetricName},
    tick::Tick,
};

use self::limits::Quota;
pub use self::{
    door::{Past, PastState},
    error::PastError,
    limits::PastLimits,
    list::PastList,
    subject::PastSubject,
    summary::Summary,
};
use super::{Point, Queries, TickRange};
use crate::archive::upkeep::Archive;
pub use crate::history::error::Stop;
use crate::history::{
    error::Budget,
    file::{WINDOW_S, Window},
    point::Rate,
    question::Question,
    selection::Selection,
    series::{Row, What},
    store::Store,
};

/// Days that are read at once. A day at a second has 86,400 points of a series.
const DAYS_AT_ONCE: u64 = 4;

/// Every raw value, where there are any: Heapster's series know no step.
const RAW_STEP_S: u64 = 1;

/// Answers questions from history and the live model. Cheap to clone. It reads files, so it is
/// asked on threads that may wait.
#[derive(Clone, Debug)]
pub struct PastQueries {
    store: Arc<Store>,
    /// What says which ticks may be in no file yet.
    archive: Option<Arc<Archive>>,
    live: Queries,
    limits: PastLimits,
}

/// Numbers of somebody.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Which metric.
    pub metric: &'a str,
    /// Labels that a series has, among others. Without any, all label sets are meant.
    pub labels: &'a Labels,
    /// When.
    pub range: TickRange,
}

impl PastQueries {
    /// Questions to what `archive` keeps, and to `live` for what is in no file yet.
    pub fn new(archive: Arc<Archive>, live: Queries) -> Self {
        let store = Arc::clone(archive.store());
        Self { store, archive: Some(archive), live, limits: PastLimits::default() }
    }

    /// Questions to a store that nobody writes to.
    pub fn of_store(store: Arc<Store>, live: Queries) -> Self {
        Self { store, archive: None, live, limits: PastLimits::default() }
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: PastLimits) -> Self {
        Self { limits, ..self }
    }

    /// Names of those that were there at any time of a range, sorted.
    pub fn list(
        &self,
        list: &PastList,
        range: TickRange,
        stop: &Stop,
    ) -> Result<Vec<String>, PastError> {
        let Some(selection) = list.selection() else { return Ok(Vec::new()) };
        let mut found: BTreeSet<String> = BTreeSet::new();
        let mut budget = self.budget(stop);
        for part in self.held(range, &[]).into_iter().flat_map(parts) {
            for seen in self.store.lives(&selection, part.first, part.last, &mut budget)? {
                if let Some(name) =
                    list.name_of(&seen.life.who).filter(|name| !found.contains(*name))
                {
                    found.insert(name.to_owned());
                }
            }
            self.limits.names().take(found.len())?;
        }
        if self.reaches_now(range) {
            found.extend(self.live_names(list));
        }
        self.limits.names().take(found.len())?;
        Ok(found.into_iter().collect())
    }

    /// Names of the metrics that somebody has in a range, sorted; labelled ones included.
    pub fn metric_names(
        &self,
        subject: &PastSubject,
        range: TickRange,
        stop: &Stop,
    ) -> Result<Vec<MetricName>, PastError> {
        let selection = subject.selection();
        let mut budget = self.budget(stop);
        let mut found: BTreeSet<MetricName> = BTreeSet::new();
        for part in self.held(range, &[]).into_iter().flat_map(parts) {
            found.extend(self.store.metrics(&selection, part.first, part.last, &mut budget)?);
        }
        for row in self.recent(&selection, None, range) {
            add_metrics_of(&row, &mut found);
        }
        if self.reaches_now(range)
            && let Some(entity) = self.entity(subject)
        {
            found.extend(self.live.metric_names(&entity));
        }
        Ok(found.into_iter().collect())
    }

    /// One series, ascending by time. Lives, uids and label sets are joined, each with its own
    /// points; empty when nothing is known.
    pub fn series(
        &self,
        subject: &PastSubject,
        asked: Asked<'_>,
        stop: &Stop,
    ) -> Result<Vec<Point>, PastError> {
        let mut left = self.limits.points();
        self.series_within(subject, asked, &mut self.budget(stop), &mut left)
    }

    /// One series of each of several; of those whose name nothing can have, an empty one. All
    /// together take what one question may.
    pub fn several_series(
        &self,
        subjects: &[Option<PastSubject>],
        asked: Asked<'_>,
        stop: &Stop,
    ) -> Result<Vec<Vec<Point>>, PastError> {
        self.limits.items().take(subjects.len())?;
        let (mut budget, mut left) = (self.budget(stop), self.limits.list_points());
        let series = |subject: &Option<PastSubject>| match subject {
            Some(subject) => self.series_within(subject, asked, &mut budget, &mut left),
            None => Ok(Vec::new()),
        };
        subjects.iter().map(series).collect()
    }

    /// The buckets that have values, ascending, of each of several; one bucket without a size. All
    /// together take what one question may.
    pub fn aggregates(
        &self,
        subjects: &[Option<PastSubject>],
        asked: Asked<'_>,
        bucket_ms: Option<NonZeroU64>,
        stop: &Stop,
    ) -> Result<Vec<Vec<Summary>>, PastError> {
        self.limits.items().take(subjects.len())?;
        let (mut budget, mut left) = (self.budget(stop), self.limits.buckets());
        let buckets = |subject: &Option<PastSubject>| match subject {
            Some(subject) => {
                self.aggregate_within(subject, asked, bucket_ms, &mut budget, &mut left)
            }
            None => Ok(Vec::new()),
        };
        subjects.iter().map(buckets).collect()
    }

    fn series_within(
        &self,
        subject: &PastSubject,
        asked: Asked<'_>,
        budget: &mut Budget,
        left: &mut Quota,
    ) -> Result<Vec<Point>, PastError> {
        let Ok(metric) = MetricName::parse(asked.metric) else { return Ok(Vec::new()) };
        let selection = subject.selection();
        let recent = self.recent(&selection, Some(&metric), asked.range);
        let mut points: Vec<Point> = Vec::new();
        let mut question = question(selection, metric, asked);
        for part in self.held(asked.range, &recent).into_iter().flat_map(parts) {
            (question.first, question.last) = (part.first, part.last);
            let found = self.stored_series(&question, &recent, budget)?;
            left.take(found.len())?;
            points.extend(found);
        }
        Ok(points)
    }

    fn aggregate_within(
        &self,
        subject: &PastSubject,
        asked: Asked<'_>,
        bucket_ms: Option<NonZeroU64>,
        budget: &mut Budget,
        left: &mut Quota,
    ) -> Result<Vec<Summary>, PastError> {
        let Ok(metric) = MetricName::parse(asked.metric) else { return Ok(Vec::new()) };
        let selection = subject.selection();
        let recent = self.recent(&selection, Some(&metric), asked.range);
        let Some(held) = self.held(asked.range, &recent) else { return Ok(Vec::new()) };
        let question = question(selection, metric, Asked { range: held, ..asked });
        let found = self.stored_aggregate(&question, bucket_ms, &recent, budget)?;
        left.take(found.len())?;
        Ok(found.iter().map(Summary::of).collect())
    }

    /// The part of a range in which there can be anything, so that a question that begins in 1970
    /// asks for no more than there is.
    fn held(&self, range: TickRange, recent: &[Row]) -> Option<TickRange> {
        let held = self.store.held();
        let ticks = recent.iter().flat_map(|row| &row.series).flat_map(|series| {
            let timeline = &series.timeline;
            [timeline.first(), timeline.last()].into_iter().flatten()
        });
        let stored = [held.first.map(Window::first), held.last.map(Window::last)];
        let ticks: Vec<Tick> = ticks.chain(stored.into_iter().flatten()).collect();
        let first = range.first.max(*ticks.iter().min()?);
        let last = range.last.min(*ticks.iter().max()?);
        (first <= last).then_some(TickRange { first, last })
    }

    fn budget(&self, stop: &Stop) -> Budget {
        Budget::new(self.limits.bytes, self.limits.points_read).until(stop.clone())
    }

    /// What the store says of a question, joined with rows that may not be in it yet.
    fn stored_series(
        &self,
        question: &Question,
        recent: &[Row],
        budget: &mut Budget,
    ) -> Result<Vec<Point>, PastError> {
        Ok(self.store.series(question, RAW_STEP_S, recent, budget)?)
    }

    /// As [`stored_series`](Self::stored_series).
    fn stored_aggregate(
        &self,
        question: &Question,
        bucket_ms: Option<NonZeroU64>,
        recent: &[Row],
        budget: &mut Budget,
    ) -> Result<Vec<crate::history::aggregate::Bucket>, PastError> {
        Ok(self.store.aggregate(question, bucket_ms, recent, budget)?)
    }
}

fn question(of: Selection, metric: MetricName, asked: Asked<'_>) -> Question {
    let TickRange { first, last } = asked.range;
    Question { of, metric, labels: asked.labels.clone(), first, last }
}

/// A range in parts of a few whole days, ascending.
fn parts(range: TickRange) -> impl Iterator<Item = TickRange> {
    let mut next = Some(range.first);
    std::iter::from_fn(move || {
        let first = next.filter(|first| *first <= range.last)?;
        let whole = Tick(Window::of(first).first().0.saturating_add(DAYS_AT_ONCE * WINDOW_S - 1));
        let last = whole.min(range.last);
        next = last.0.checked_add(1).map(Tick);
        Some(TickRange { first, last })
    })
}

/// Names of the metrics of a row, those that are worked out included.
fn add_metrics_of(row: &Row, found: &mut BTreeSet<MetricName>) {
    let mut counters: BTreeMap<&MetricName, usize> = BTreeMap::new();
    for series in &row.series {
        match &*series.what {
            What::ReadOffset if row.life.start.is_some() => {
                found.extend(MetricName::parse(catalogue::UPTIME.metric().name));
            }
            What::ReadOffset | What::StoredLabels(_) => {}
            What::Metric(quantity) => {
                found.insert(quantity.metric.clone());
                *counters.entry(&quantity.metric).or_default() += series.values.len();
            }
        }
    }
    for (counter, _) in counters.into_iter().filter(|(_, readings)| 1 < *readings) {
        let rate = Rate::of_counter(counter).map(|rate| rate.metric.metric().name);
        found.extend(rate.and_then(|name| MetricName::parse(name).ok()));
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
