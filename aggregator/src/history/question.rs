//! Questions to a store: who was there, which metrics they had, and series.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tally_proto::{
    catalogue,
    metric::{Labels, MetricName},
    tick::Tick,
};

use super::{
    error::{Budget, HistoryError},
    file::{
        Tier, Window,
        read::{HistoryFile, OpenBlock},
    },
    found::{Found, Key, Wanted},
    join::{cut, join_rows},
    life::{Life, Who},
    plan::{Piece, plan, with_recent_days},
    point::{Point, Rate},
    selection::Selection,
    series::{Row, What},
    store::{Files, Store, of_day},
};

/// The longest time between two readings: what a rate at the first tick of a range may need of the
/// time before.
const LONGEST_STEP_S: u64 = 3_600;

/// Which numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Of whom.
    pub of: Selection,
    /// Which metric; a rate of a stored counter, and `uptime`, are worked out.
    pub metric: MetricName,
    /// Labels that a series has, among others. Without any, all label sets are meant.
    pub labels: Labels,
    /// From this tick on.
    pub first: Tick,
    /// Up to this tick, included.
    pub last: Tick,
}

/// Somebody that history knows, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who, in which life.
    pub life: Arc<Life>,
    /// The first tick that history has of it within what was asked.
    pub first: Tick,
    /// The last.
    pub last: Tick,
}

impl Store {
    /// Everybody of a selection that has a value in a range, in the order of rows.
    pub fn lives(
        &self,
        of: &Selection,
        first: Tick,
        last: Tick,
        budget: &mut Budget,
    ) -> Result<Vec<Seen>, HistoryError> {
        let files = self.files();
        let mut seen: BTreeMap<Arc<Life>, (Tick, Tick)> = BTreeMap::new();
        for day in days(&files, first, last) {
            for file in finest(&files, day) {
                // Of a bucket only its beginning is known.
                let bucket_s = file.name.tier.bucket_s().unwrap_or(1);
                let first = Tick(first.0 - first.0 % bucket_s);
                self.each_row(&file, of, first, last, budget, |open, row, _| {
                    let Some(named) = open.names.rows.get(row) else { return Ok(()) };
                    let ends = named.timeline.first().zip(named.timeline.last());
                    let Some((begin, end)) = ends else { return Ok(()) };
                    let (begin, end) = (begin.max(first), end.min(last));
                    let known = seen.entry(Arc::clone(&named.life)).or_insert((begin, end));
                    *known = (known.0.min(begin), known.1.max(end));
                    Ok(())
                })?;
            }
        }
        let seen = seen.into_iter().map(|(life, (first, last))| Seen { life, first, last });
        Ok(seen.collect())
    }

    /// The raw rows of a selection in a range, in the order of their lives, each life once.
    pub fn rows(
        &self,
        of: &Selection,
        first: Tick,
        last: Tick,
        budget: &mut Budget,
    ) -> Result<Vec<Row>, HistoryError> {
        let files = self.files();
        let mut found: BTreeMap<Arc<Life>, Vec<Row>> = BTreeMap::new();
        for day in days(&files, first, last) {
            for file in of_day(&files, Tier::Raw, day) {
                self.each_row(&file, of, first, last, budget, |open, row, budget| {
                    let row = open.row(row, budget)?;
                    if let Some(row) = cut(&row, first, last) {
                        found.entry(Arc::clone(&row.life)).or_default().push(row);
                    }
                    Ok(())
                })?;
            }
        }
        Ok(found.into_values().filter_map(join_rows).collect())
    }

    /// Whether somebody has raw values at a tick, in whatever life.
    pub fn has_tick(&self, who: &Who, tick: Tick) -> Result<bool, HistoryError> {
        let (files, of) = (self.files(), Selection::of(who));
        let mut has = false;
        for file in of_day(&files, Tier::Raw, Window::of(tick)) {
            let budget = &mut Budget::unlimited();
            self.each_row(&file, &of, tick, tick, budget, |open, row, _| {
                has |= open.names.rows.get(row).is_some_and(|named| named.life.who == *who);
                Ok(())
            })?;
        }
        Ok(has)
    }

    /// Names of the metrics that a selection has in a range, sorted; labelled ones and those that
    /// are worked out included.
    pub fn metrics(
        &self,
        of: &Selection,
        first: Tick,
        last: Tick,
        budget: &mut Budget,
    ) -> Result<Vec<MetricName>, HistoryError> {
        let files = self.files();
        let mut found: BTreeSet<MetricName> = BTreeSet::new();
        for day in days(&files, first, last) {
            for file in finest(&files, day) {
                self.each_row(&file, of, first, last, budget, |open, row, budget| {
                    let section = open.section(row, budget)?;
                    let named = open.names.rows.get(row);
                    let has_start = named.is_some_and(|named| named.life.start.is_some());
                    let twice = named.is_some_and(|named| 1 < named.timeline.len());
                    for what in section.whats(&open.columns) {
                        match &**what {
                            What::ReadOffset if has_start => {
                                found.extend(MetricName::parse(catalogue::UPTIME.metric().name));
                            }
                            What::ReadOffset | What::StoredLabels(_) => {}
                            What::Metric(quantity) => {
                                found.insert(quantity.metric.clone());
                                let rate = Rate::of_counter(&quantity.metric).filter(|_| twice);
                                let rate = rate.map(|rate| rate.metric.metric().name);
                                found.extend(rate.and_then(|name| MetricName::parse(name).ok()));
                            }
                        }
                    }
                    Ok(())
                })?;
            }
        }
        Ok(found.into_iter().collect())
    }

    /// A series, ascending by time; several label sets, lives and uids are joined, each with its
    /// own points. `step_s` is the time between points that is wanted: the coarsest tier that is
    /// no coarser is read, and a point is the mean of its bucket, of a counter its greatest value.
    /// `recent` are rows that may be in no file yet; what they say counts.
    pub fn series(
        &self,
        question: &Question,
        step_s: u64,
        recent: &[Row],
        budget: &mut Budget,
    ) -> Result<Vec<Point>, HistoryError> {
        let files = self.files();
        let tier = Tier::ALL
            .into_iter()
            .rev()
            .find(|tier| tier.bucket_s().is_none_or(|bucket_s| bucket_s <= step_s));
        let pieces = plan(&files, question.first, question.last, tier.unwrap_or(Tier::Raw));
        let found = self.find(&files, question, (pieces, recent), budget)?;
        let mut points: Vec<(&Key, Point)> = Vec::new();
        for (key, own) in found.raw_points(question, budget)? {
            points.extend(own.into_iter().map(|point| (key, point)));
        }
        found.each_summary(question, budget, |key, summary, _| {
            points.push((key, found.mean(summary)));
        })?;
        points.sort_by(|(a_key, a), (b_key, b)| (a.at, a_key).cmp(&(b.at, b_key)));
        // Of two lives of one name with the same tick, the one that began later counts.
        points.reverse();
        points.dedup_by(|(a_key, a), (b_key, b)| a.at == b.at && same_name(a_key, b_key));
        points.reverse();
        Ok(points.into_iter().map(|(_, point)| point).collect())
    }

    /// Reads what the pieces say of a question, and what is recent.
    pub(super) fn find(
        &self,
        files: &Files,
        question: &Question,
        (pieces, recent): (Vec<Piece>, &[Row]),
        budget: &mut Budget,
    ) -> Result<Found, HistoryError> {
        let pieces = with_recent_days(pieces, recent, (question.first, question.last));
        let mut found = Found::of(&pieces);
        let rate = Rate::named(question.metric.as_str());
        let is_uptime = question.metric.as_str() == catalogue::UPTIME.metric().name;
        for piece in &pieces {
            let wanted = Wanted { question, rate, is_uptime, tier: piece.tier };
            // Rates need the reading before their first tick, which may be of the day before.
            let early = rate.is_some() && piece.tier == Tier::Raw;
            let first = Tick(piece.first.0.saturating_sub(if early { LONGEST_STEP_S } else { 0 }));
            let day_before = Window::of(first);
            let is_read = |other: &Piece| other.tier == Tier::Raw && other.window == day_before;
            let mut read = of_day(files, piece.tier, piece.window);
            if day_before < piece.window && !pieces.iter().any(is_read) {
                read.splice(0..0, of_day(files, Tier::Raw, day_before));
            }
            for file in read {
                self.each_row(
                    &file,
                    &question.of,
                    first,
                    piece.last,
                    budget,
                    |open, row, budget| wanted.take(open, row, &mut found, budget),
                )?;
            }
        }
        let wanted = Wanted { question, rate, is_uptime, tier: Tier::Raw };
        recent.iter().for_each(|row| wanted.take_recent(row, &mut found));
        Ok(found)
    }

    /// Calls `each` for every row of a file that is selected and may have a value in the range.
    pub(super) fn each_row(
        &self,
        file: &Arc<HistoryFile>,
        of: &Selection,
        first: Tick,
        last: Tick,
        budget: &mut Budget,
        mut each: impl FnMut(&mut OpenBlock, usize, &mut Budget) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        let index = file.index(&self.cache, budget)?;
        let places = match of.uid() {
            Some(uid) => file.blocks_of_uid(uid, &index, budget)?,
            None => {
                let before =
                    index.blocks.partition_point(|block| of.place(&block.first.who).is_lt());
                let reached = |place: &usize| {
                    let block = index.blocks.get(*place);
                    block.is_some_and(|block| of.place(&block.first.who).is_le())
                };
                (before.saturating_sub(1)..index.blocks.len()).take_while(reached).collect()
            }
        };
        for place in places {
            let Some(block) = index.blocks.get(place).filter(|block| block.touches(first, last))
            else {
                continue;
            };
            // Names that are in memory take nothing from the budget.
            budget.go_on()?;
            let names = file.names(place, block, &self.cache, budget)?;
            let rows = names.rows.iter().enumerate();
            let rows =
                rows.filter(|(_, named)| of.matches(&named.life.who) && named.touches(first, last));
            let rows: Vec<usize> = rows.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            budget.points(rows.len())?;
            let mut open = file.block(place, block, &self.cache, budget)?;
            for row in rows {
                each(&mut open, row, budget)?;
            }
        }
        Ok(())
    }
}

/// Whether two series are of one name: what differs is the life alone.
fn same_name(a: &Key, b: &Key) -> bool {
    a.0 == b.0 && a.1.who == b.1.who
}

/// The days of a range for which there is any file.
pub(super) fn days(files: &Files, first: Tick, last: Tick) -> Vec<Window> {
    let (first, last) = (Window::of(first), Window::of(last));
    let days = files.keys().map(|name| name.window).filter(|day| first <= *day && *day <= last);
    days.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The files of a day in the finest tier that it has.
fn finest(files: &Files, day: Window) -> Vec<Arc<HistoryFile>> {
    let tiers = Tier::ALL.into_iter().map(|tier| of_day(files, tier, day));
    tiers.into_iter().find(|files| !files.is_empty()).unwrap_or_default()
}
