//! Aggregations over a range, in one bucket or in many.
//!
//! Over raw values they are exact: percentiles are nearest-rank values of real points, the median
//! interpolates. Where values are too many, or gone, whole days come from the coarser tiers: count,
//! average, least and greatest stay exact, percentiles and median are within
//! [`RELATIVE_ERROR`](super::sketch::RELATIVE_ERROR).

use std::{collections::BTreeMap, num::NonZeroU64};

use tally_proto::tick::Tick;

use super::{
    error::{Budget, HistoryError},
    file::{Tier, Window},
    plan::{Piece, plan},
    point::{Point, Value},
    question::{Question, days},
    series::Row,
    sketch::Spread,
    store::{Files, Store},
    tier::Summary,
};

/// Values up to which an answer is worked out exactly where raw values are there: ten days at 15 s,
/// which takes up to 5 ms. Thirty days would take up to 15.
pub const EXACT_VALUES: u64 = 60_000;

/// Buckets of one answer at most: a year by the hour has 8,760.
pub const BUCKETS_PER_ANSWER: u64 = 50_000;

/// What is known of one bucket of an answer.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Its beginning, in milliseconds since the epoch; the range's without a bucket size.
    pub start_ms: u64,
    /// Values as numbers in the same order: sorting these is several times as fast.
    keys: Vec<i64>,
    /// Set where coarser tiers have a part in it.
    spread: Option<Spread>,
    count: u64,
    /// The sum of whole numbers, exactly, and that of all others.
    whole: i128,
    sum: f64,
    least: Option<(Value, Tick)>,
    greatest: Option<(Value, Tick)>,
    floating: bool,
}

impl Bucket {
    fn new(start_ms: u64, floating: bool) -> Self {
        Self {
            start_ms,
            keys: Vec::new(),
            spread: None,
            count: 0,
            whole: 0,
            sum: 0.0,
            least: None,
            greatest: None,
            floating,
        }
    }

    fn add_points(&mut self, points: &[Point]) {
        for point in points {
            match point.value {
                Value::Integer(value) => self.whole += i128::from(value),
                Value::Float(value) => self.sum += value,
            }
            self.widen(point.at, point.value, point.value);
        }
        self.count += u64::try_from(points.len()).unwrap_or(u64::MAX);
        let floating = self.floating;
        self.keys.extend(points.iter().map(|point| key_of(point.value, floating)));
    }

    fn add_summary(&mut self, summary: &Summary) {
        self.count += summary.count;
        self.sum += summary.sum;
        self.widen(summary.at, summary.least, summary.greatest);
    }

    fn widen(&mut self, at: Tick, least: Value, greatest: Value) {
        if self.least.is_none_or(|(known, _)| least.order(&known).is_lt()) {
            self.least = Some((least, at));
        }
        if self.greatest.is_none_or(|(known, _)| greatest.order(&known).is_gt()) {
            self.greatest = Some((greatest, at));
        }
    }

    /// Sorts; ranks can be asked for from then on.
    fn close(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        match &mut self.spread {
            Some(spread) => {
                let values = keys.iter().map(|key| value_of(*key, self.floating).as_f64());
                values.for_each(|value| spread.add_value(value, 1));
            }
            None => {
                self.keys = keys;
                self.keys.sort_unstable();
            }
        }
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean.
    #[expect(clippy::as_conversions, reason = "counts are far below what a double holds")]
    pub fn average(&self) -> Option<f64> {
        (self.count != 0).then(|| (self.whole as f64 + self.sum) / self.count as f64)
    }

    /// The least, and when it was first seen.
    pub fn least(&self) -> Option<(Value, Tick)> {
        self.least
    }

    /// The greatest, and when it was first seen.
    pub fn greatest(&self) -> Option<(Value, Tick)> {
        self.greatest
    }

    /// Whether percentiles and median are of all values, not of sketches.
    pub fn is_exact(&self) -> bool {
        self.spread.is_none()
    }

    /// The value of the rank that is nearest to so many percent of all, of two the higher: the
    /// eleventh of twelve for 95, as Heapster's InfluxDB had it.
    pub fn percentile(&self, percent: u64) -> Option<Value> {
        let rank = self.count.saturating_mul(percent).saturating_add(50) / 100;
        self.at_rank(rank.clamp(1, self.count.max(1)))
    }

    /// The value in the middle; of an even number the mean of the middle two.
    pub fn median(&self) -> Option<f64> {
        let low = self.at_rank(self.count.div_ceil(2).max(1))?.as_f64();
        let high = self.at_rank(self.count / 2 + 1)?.as_f64();
        Some(if low == high { low } else { low + (high - low) / 2.0 })
    }

    fn at_rank(&self, rank: u64) -> Option<Value> {
        let Some(spread) = &self.spread else {
            let key = self.keys.get(usize::try_from(rank - 1).ok()?)?;
            return Some(value_of(*key, self.floating));
        };
        let near = spread.at_rank(rank)?;
        // The ends are known exactly, and no value is beyond them.
        let near = near.max(self.least?.0.as_f64()).min(self.greatest?.0.as_f64());
        Some(if self.floating { Value::Float(near) } else { Value::Integer(whole(near)) })
    }
}

fn key_of(value: Value, floating: bool) -> i64 {
    if floating { in_order(value.as_f64().to_bits().cast_signed()) } else { value.stored() }
}

fn value_of(key: i64, floating: bool) -> Value {
    Value::of(if floating { in_order(key) } else { key }, floating)
}

/// Bits of a double as a number in the order of doubles; its own reverse.
fn in_order(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[expect(clippy::as_conversions, reason = "saturates")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}

impl Store {
    /// The buckets of a range that have values, ascending. Without a size there is one. `recent` are
    /// rows that may be in no file yet; what they say counts.
    pub fn aggregate(
        &self,
        question: &Question,
        bucket_ms: Option<NonZeroU64>,
        recent: &[Row],
        budget: &mut Budget,
    ) -> Result<Vec<Bucket>, HistoryError> {
        if let Some(size) = bucket_ms {
            let range_ms = question.last.0.saturating_sub(question.first.0).saturating_mul(1000);
            if BUCKETS_PER_ANSWER < range_ms / size {
                return Err(HistoryError::TooMuch { what: "buckets", limit: BUCKETS_PER_ANSWER });
            }
        }
        let files = self.files();
        let pieces = self.exact_enough(&files, question, bucket_ms, budget)?;
        let found = self.find(&files, question, (pieces, recent), budget)?;
        let start_of = |at: Tick| match bucket_ms {
            None => question.first.0.saturating_mul(1000),
            Some(size) => at.0.saturating_mul(1000) / size * size.get(),
        };
        let floating = found.is_floating(question);
        let mut buckets: BTreeMap<u64, Bucket> = BTreeMap::new();
        let mut at = |tick: Tick, change: &mut dyn FnMut(&mut Bucket)| {
            let start = start_of(tick);
            change(buckets.entry(start).or_insert_with(|| Bucket::new(start, floating)));
        };
        for (_, points) in found.raw_points(question, budget)? {
            let mut rest = points.as_slice();
            while let Some(point) = rest.first() {
                let start = start_of(point.at);
                let count = rest.partition_point(|point| start_of(point.at) == start);
                let (same, others) = rest.split_at(count);
                at(point.at, &mut |bucket| bucket.add_points(same));
                rest = others;
            }
        }
        let mut fault = None;
        found.each_summary(question, budget, |_, summary, sketch| {
            at(summary.at, &mut |bucket| {
                bucket.add_summary(summary);
                let spread = bucket.spread.get_or_insert_default();
                fault = sketch.add_to(spread).err().or(fault.take());
            });
        })?;
        fault.map_or(Ok(()), |source| Err(HistoryError::of_sketch(source)))?;
        let mut buckets: Vec<Bucket> = buckets.into_values().collect();
        buckets.iter_mut().for_each(Bucket::close);
        Ok(buckets)
    }

    /// Raw values, unless they are too many; then the coarsest tier whose buckets fit into the
    /// answer's.
    fn exact_enough(
        &self,
        files: &Files,
        question: &Question,
        bucket_ms: Option<NonZeroU64>,
        budget: &mut Budget,
    ) -> Result<Vec<Piece>, HistoryError> {
        let raw = || plan(files, question.first, question.last, Tier::Raw);
        if self.values_about(files, question, budget)? <= self.exact_values {
            return Ok(raw());
        }
        let fits = |tier: &Tier| {
            let bucket = tier.bucket_s().map(|seconds| seconds.saturating_mul(1000));
            bucket.is_none_or(|tier| bucket_ms.is_none_or(|mine| mine.get().is_multiple_of(tier)))
        };
        let coarsest = Tier::ALL.into_iter().rev().find(fits).unwrap_or(Tier::Raw);
        Ok(plan(files, question.first, question.last, coarsest))
    }

    /// How many raw values an answer has, told from one day of it.
    fn values_about(
        &self,
        files: &Files,
        question: &Question,
        budget: &mut Budget,
    ) -> Result<u64, HistoryError> {
        let days = days(files, question.first, question.last);
        let count = u64::try_from(days.len()).unwrap_or(u64::MAX);
        let Some(middle) = days.get(days.len() / 2) else { return Ok(0) };
        let (first, last) = (question.first.max(middle.first()), question.last.min(middle.last()));
        let ticks = self.raw_ticks(files, question, *middle, (first, last), budget)?;
        Ok(ticks.saturating_mul(count))
    }

    fn raw_ticks(
        &self,
        files: &Files,
        question: &Question,
        day: Window,
        (first, last): (Tick, Tick),
        budget: &mut Budget,
    ) -> Result<u64, HistoryError> {
        let mut ticks = 0;
        for file in super::store::of_day(files, Tier::Raw, day) {
            self.each_row(&file, &question.of, first, last, budget, |open, row, _| {
                let named = open.names.rows.get(row);
                ticks += named.map_or(0, |named| u64::try_from(named.timeline.len()).unwrap_or(0));
                Ok(())
            })?;
        }
        Ok(ticks)
    }
}
