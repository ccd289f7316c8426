//! Raw values to buckets of the coarser tiers, and back to what is known of each bucket.
//!
//! A gauge keeps of each bucket the number of its values, the least, the greatest, their sum and a
//! sketch. A counter that has a rate in the catalogue keeps the same of the rate, worked out at the
//! raw resolution; of itself every counter keeps it without a sketch, as between its least and its
//! greatest value in a bucket it only grows. Values that are no numbers are left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tally_proto::{metric::MetricName, tick::Tick};

use super::{
    codec::Malformed,
    point::{Point, Rate, Reading, Value, readings},
    series::{Field, Quantity, Row, Series, What},
    sketch::{self, Spread},
    timeline::Timeline,
};

/// What is known of one bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Its first tick.
    pub at: Tick,
    /// Number of values.
    pub count: u64,
    /// The least.
    pub least: Value,
    /// The greatest.
    pub greatest: Value,
    /// Their sum.
    pub sum: f64,
}

/// The last readings of a row, for the first rates of the next.
pub type LastReadings = BTreeMap<Arc<What>, Reading>;

/// The last reading of each counter of a row.
pub fn last_readings(row: &Row) -> LastReadings {
    let offsets = offsets(row);
    let counters = row.series.iter().filter(|series| counter(&series.what).is_some());
    let last = |series: &Series| {
        let reading = readings(series, offsets).last()?;
        Some((Arc::clone(&series.what), reading))
    };
    counters.filter_map(last).collect()
}

/// When a row's readings were made.
pub(super) fn offsets(row: &Row) -> Option<&Series> {
    row.series.iter().find(|series| *series.what == What::ReadOffset)
}

fn counter(what: &What) -> Option<&Quantity> {
    match what {
        What::Metric(quantity) if quantity.cumulative && !quantity.floating => Some(quantity),
        _ => None,
    }
}

/// A raw row in buckets of `bucket_s` seconds. `before` holds the readings before its first.
pub fn bucketed(row: &Row, before: &LastReadings, bucket_s: u64) -> Option<Row> {
    let mut found = BTreeMap::new();
    for series in &row.series {
        let What::Metric(quantity) = &*series.what else { continue };
        let values = series.timeline.iter().zip(&series.values);
        let points =
            values.map(|(at, value)| Point { at, value: Value::of(*value, quantity.floating) });
        push(quantity, points, bucket_s, &mut found);
        let rate = counter(&series.what).and_then(|counter| Rate::of_counter(&counter.metric));
        if let Some(rate) = rate
            && let Ok(metric) = MetricName::parse(rate.metric.metric().name)
        {
            let labels = quantity.labels.clone();
            let floating = rate.floating();
            let field = Field::Value;
            let quantity = Quantity { metric, labels, field, floating, cumulative: false };
            let before = before.get(&series.what).copied();
            let points = rate.points(series, offsets(row), before);
            push(&quantity, points.into_iter(), bucket_s, &mut found);
        }
    }
    push_stored_labels(row, bucket_s, &mut found);
    let series: Vec<Series> = found.into_values().collect();
    (!series.is_empty()).then(|| Row { life: Arc::clone(&row.life), series })
}

/// Adds which labels the entity had in the buckets that there are, and until when in each.
fn push_stored_labels(row: &Row, bucket_s: u64, found: &mut BTreeMap<Arc<What>, Series>) {
    if row.stored_labels().next().is_none() {
        return;
    }
    let starts: BTreeSet<Tick> = found.values().flat_map(|series| series.timeline.iter()).collect();
    for labels in row.stored_labels() {
        let mut last: BTreeMap<Tick, i64> = BTreeMap::new();
        for tick in labels.timeline.iter() {
            let after = tick.0 % bucket_s;
            last.insert(Tick(tick.0 - after), i64::try_from(after).unwrap_or(i64::MAX));
        }
        last.retain(|start, _| starts.contains(start));
        if !last.is_empty() {
            let what = Arc::clone(&labels.what);
            let timeline = Arc::new(Timeline::of(last.keys().copied()));
            let values = last.into_values().collect();
            let series = Series { what, timeline, values, sketches: Vec::new() };
            found.insert(Arc::clone(&series.what), series);
        }
    }
}

/// The buckets of one series, under way.
#[derive(Default)]
struct Buckets {
    starts: Vec<Tick>,
    counts: Vec<i64>,
    least: Vec<i64>,
    greatest: Vec<i64>,
    excess: Vec<i64>,
    sketches: Vec<u8>,
}

fn push(
    quantity: &Quantity,
    points: impl Iterator<Item = Point>,
    bucket_s: u64,
    found: &mut BTreeMap<Arc<What>, Series>,
) {
    let mut buckets = Buckets::default();
    let mut open: Vec<Value> = Vec::new();
    let mut start = Tick(0);
    for point in points.filter(|point| !point.value.as_f64().is_nan()) {
        let of = Tick(point.at.0 - point.at.0 % bucket_s);
        if of != start && !open.is_empty() {
            buckets.close(start, &open, quantity);
            open.clear();
        }
        start = of;
        open.push(point.value);
    }
    if !open.is_empty() {
        buckets.close(start, &open, quantity);
    }
    if buckets.starts.is_empty() {
        return;
    }
    let timeline = Arc::new(Timeline::of(buckets.starts));
    let fields = [
        (Field::Count, false, buckets.counts, buckets.sketches),
        (Field::Least, quantity.floating, buckets.least, Vec::new()),
        (Field::Greatest, quantity.floating, buckets.greatest, Vec::new()),
        (Field::Excess, quantity.floating, buckets.excess, Vec::new()),
    ];
    for (field, floating, values, sketches) in fields {
        let quantity = Quantity { field, floating, ..quantity.clone() };
        let what = Arc::new(What::Metric(quantity));
        let timeline = Arc::clone(&timeline);
        found.insert(Arc::clone(&what), Series { what, timeline, values, sketches });
    }
}

impl Buckets {
    fn close(&mut self, start: Tick, values: &[Value], quantity: &Quantity) {
        let least = values.iter().copied().min_by(Value::order);
        let greatest = values.iter().copied().max_by(Value::order);
        let (Some(least), Some(greatest)) = (least, greatest) else { return };
        self.starts.push(start);
        self.counts.push(i64::try_from(values.len()).unwrap_or(i64::MAX));
        self.least.push(least.stored());
        self.greatest.push(greatest.stored());
        self.excess.push(match least {
            // A sum might not fit, by how much it exceeds the least does but for absurd counters.
            Value::Integer(least) => {
                let whole = |value: &Value| match value {
                    Value::Integer(value) => i128::from(*value) - i128::from(least),
                    Value::Float(_) => 0,
                };
                i64::try_from(values.iter().map(whole).sum::<i128>()).unwrap_or(i64::MAX)
            }
            Value::Float(_) => {
                Value::Float(values.iter().map(|value| value.as_f64()).sum()).stored()
            }
        });
        if !quantity.cumulative {
            let mut bins: Vec<i32> =
                values.iter().filter_map(|value| sketch::bin(value.as_f64())).collect();
            sketch::push(&mut bins, &mut self.sketches);
        }
    }
}

/// The four series of one metric in a tier.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// [`Field::Count`], with the sketches.
    pub count: Option<Series>,
    /// [`Field::Least`].
    pub least: Option<Series>,
    /// [`Field::Greatest`].
    pub greatest: Option<Series>,
    /// [`Field::Excess`].
    pub excess: Option<Series>,
}

/// How the values of a bucket are spread.
#[derive(Clone, Copy, Debug)]
pub struct Sketch<'a> {
    /// The bucket's sketch and those after it; none of a counter.
    bytes: Option<&'a [u8]>,
    summary: &'a Summary,
}

impl Sketch<'_> {
    /// Counts the bucket's values.
    pub fn add_to(&self, spread: &mut Spread) -> Result<(), Malformed> {
        match self.bytes {
            Some(mut bytes) => {
                spread.take(&mut bytes, self.summary.count, self.summary.least.as_f64())
            }
            None => {
                evenly(spread, self.summary);
                Ok(())
            }
        }
    }
}

impl Fields {
    /// Takes one of the four.
    pub fn set(&mut self, field: Field, series: Series) {
        let place = match field {
            Field::Count => &mut self.count,
            Field::Least => &mut self.least,
            Field::Greatest => &mut self.greatest,
            Field::Excess => &mut self.excess,
            Field::Value => return,
        };
        *place = Some(series);
    }

    /// Gives what is known of each bucket to `each`, ascending.
    pub fn each(
        &self,
        floating: bool,
        mut each: impl FnMut(&Summary, Sketch<'_>),
    ) -> Result<(), Malformed> {
        let (Some(count), Some(least), Some(greatest), Some(excess)) =
            (&self.count, &self.least, &self.greatest, &self.excess)
        else {
            return Ok(());
        };
        let mut sketches = Some(count.sketches.as_slice()).filter(|bytes| !bytes.is_empty());
        let numbers = count.values.iter().zip(&least.values).zip(&greatest.values);
        let numbers = count.timeline.iter().zip(numbers.zip(&excess.values));
        for (at, (((count, least), greatest), excess)) in numbers {
            let count = u64::try_from(*count).unwrap_or(0);
            let (least, greatest) = (Value::of(*least, floating), Value::of(*greatest, floating));
            let sum = sum(least, count, *excess);
            let summary = Summary { at, count, least, greatest, sum };
            each(&summary, Sketch { bytes: sketches, summary: &summary });
            if let Some(bytes) = &mut sketches {
                Spread::skip(bytes)?;
            }
        }
        Ok(())
    }
}

#[expect(clippy::as_conversions, reason = "sums are doubles in answers")]
fn sum(least: Value, count: u64, excess: i64) -> f64 {
    match least {
        Value::Integer(least) => {
            (i128::from(least) * i128::from(count) + i128::from(excess)) as f64
        }
        Value::Float(_) => f64::from_bits(excess.cast_unsigned()),
    }
}

/// A counter grows from the least to the greatest: its values are taken to lie evenly.
#[expect(clippy::as_conversions, reason = "the counts of one bucket are small")]
fn evenly(spread: &mut Spread, summary: &Summary) {
    let (least, greatest) = (summary.least.as_f64(), summary.greatest.as_f64());
    let steps = summary.count.saturating_sub(1).max(1) as f64;
    for place in 0..summary.count {
        spread.add_value(least + (greatest - least) * (place as f64 / steps), 1);
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "small numbers of a plain calculation")]
mod tests {
    use proptest::prelude::*;
    use tally_proto::metric::Labels;

    use super::*;
    use crate::history::life::{Life, Who};

    fn quantity(metric: &str, floating: bool, cumulative: bool) -> Quantity {
        let metric = MetricName::parse(metric).unwrap();
        Quantity { metric, labels: Labels::none(), field: Field::Value, floating, cumulative }
    }

    fn row(quantity: Quantity, points: &[(u64, i64)]) -> Row {
        let series = Series {
            what: Arc::new(What::Metric(quantity)),
            timeline: Arc::new(Timeline::of(points.iter().map(|(tick, _)| Tick(*tick)))),
            values: points.iter().map(|(_, value)| *value).collect(),
            sketches: Vec::new(),
        };
        Row { life: Arc::new(Life { who: Who::Cluster, start: None }), series: vec![series] }
    }

    fn summaries(row: &Row, metric: &str, floating: bool) -> (Vec<Summary>, Spread) {
        let mut fields = Fields::default();
        for series in &row.series {
            if let What::Metric(quantity) = &*series.what
                && quantity.metric.as_str() == metric
            {
                fields.set(quantity.field, series.clone());
            }
        }
        let (mut all, mut spread) = (Vec::new(), Spread::default());
        let each = |summary: &Summary, sketch: Sketch<'_>| {
            all.push(summary.clone());
            sketch.add_to(&mut spread).unwrap();
        };
        fields.each(floating, each).unwrap();
        (all, spread)
    }

    #[test]
    fn a_gauge_keeps_count_least_greatest_sum_and_spread() {
        let raw = row(quantity("memory/usage", false, false), &[(0, -5), (299, 7), (300, 100)]);
        let tier = bucketed(&raw, &LastReadings::new(), 300).unwrap();
        let (found, spread) = summaries(&tier, "memory/usage", false);
        let integer = Value::Integer;
        assert_eq!(
            found,
            [
                Summary {
                    at: Tick(0),
                    count: 2,
                    least: integer(-5),
                    greatest: integer(7),
                    sum: 2.0
                },
                Summary {
                    at: Tick(300),
                    count: 1,
                    least: integer(100),
                    greatest: integer(100),
                    sum: 100.0
                },
            ]
        );
        assert_eq!(spread.total(), 3);
        assert!((spread.at_rank(1).unwrap() + 5.0).abs() < 0.051);
    }

    #[test]
    fn a_counter_keeps_its_rate_too_from_the_reading_before() {
        let raw = row(quantity("network/rx", false, true), &[(0, 1000), (10, 3000)]);
        let earlier = row(quantity("network/rx", false, true), &[(1, 0)]);
        let mut before = last_readings(&earlier);
        let first = summaries(&bucketed(&raw, &before, 300).unwrap(), "network/rx_rate", true);
        assert_eq!(
            first.0.first().map(|one| one.count),
            Some(1),
            "the reading before is not earlier"
        );
        before.clear();
        let raw = row(quantity("network/rx", false, true), &[(2, 1000), (12, 3000)]);
        let before = last_readings(&earlier);
        let tier = bucketed(&raw, &before, 300).unwrap();
        let (rates, spread) = summaries(&tier, "network/rx_rate", true);
        assert_eq!(rates.first().map(|one| (one.count, one.sum)), Some((2, 1200.0)));
        assert_eq!(spread.total(), 2);
        let (totals, _) = summaries(&tier, "network/rx", false);
        assert_eq!(totals.first().map(|one| (one.count, one.sum)), Some((2, 4000.0)));
    }

    #[test]
    fn a_bucket_says_until_when_which_labels_were_there() {
        let nothing = f64::NAN.to_bits().cast_signed();
        let points = [(0, 0), (100, 0), (200, 0), (310, 0), (650, nothing)];
        let mut raw = row(quantity("cpu/node_utilization", true, false), &points);
        let whats = ["a", "b"]
            .map(|value| Arc::new(What::StoredLabels(Labels::new([("app", value)]).unwrap())));
        for (what, ticks) in whats.iter().zip([[0, 200, 310], [100, 290, 650]]) {
            let timeline = Arc::new(Timeline::of(ticks.map(Tick)));
            let (what, values, sketches) = (Arc::clone(what), vec![0; 3], Vec::new());
            raw.series.insert(0, Series { what, timeline, values, sketches });
        }
        raw.series.sort_by(|a, b| a.what.cmp(&b.what));
        let tier = bucketed(&raw, &LastReadings::new(), 300).unwrap();
        let found: Vec<Vec<(u64, i64)>> = tier
            .stored_labels()
            .map(|one| one.timeline.iter().map(|tick| tick.0).zip(one.values.clone()).collect())
            .collect();
        // Of the third bucket nothing is kept.
        assert_eq!(found, [vec![(0, 200), (300, 10)], vec![(0, 290)]]);
        raw.series.retain(|one| one.what.is_stored_labels());
        assert_eq!(bucketed(&raw, &LastReadings::new(), 300), None);
    }

    proptest! {
        #[test]
        fn buckets_say_what_their_values_say(values in prop::collection::vec(any::<i32>(), 1..400)) {
            let points: Vec<(u64, i64)> =
                (0..).map(|n| n * 7).zip(values.iter().map(|value| i64::from(*value))).collect();
            let raw = row(quantity("memory/usage", false, false), &points);
            let tier = bucketed(&raw, &LastReadings::new(), 300).unwrap();
            for summary in summaries(&tier, "memory/usage", false).0 {
                let inside = points.iter().filter(|(at, _)| at - at % 300 == summary.at.0);
                let inside: Vec<i64> = inside.map(|(_, value)| *value).collect();
                prop_assert_eq!(summary.count, inside.len() as u64);
                prop_assert_eq!(summary.least, Value::Integer(*inside.iter().min().unwrap()));
                prop_assert_eq!(summary.greatest, Value::Integer(*inside.iter().max().unwrap()));
                prop_assert_eq!(summary.sum, inside.iter().sum::<i64>() as f64);
            }
        }
    }
}
