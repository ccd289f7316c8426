//! Answers of the historical API.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    super::{
        facts::Facts,
        question::{Question, Subject},
        recording::Case,
        rules::{self, Point},
    },
    every_point_has_its_float, points,
};

/// What both answers were asked with.
pub(super) struct Asked<'a> {
    metric: String,
    /// Ends of the range at which there may be more than was recorded.
    ends: Vec<Timestamp>,
    facts: &'a Facts,
}

/// Compares a series or aggregations, or a list of either.
pub(super) fn numbers(
    case: &Case,
    question: &Question,
    recorded: &Value,
    ours: &Value,
    facts: &Facts,
) -> Result<Vec<String>, String> {
    let metric = question.metric().ok_or("numbers without a metric")?;
    let asked = Asked { metric, ends: rules::past::ends(case, question), facts };
    let items = |value: &Value| value.get("items").and_then(Value::as_array).cloned();
    let Some(recorded_items) = items(recorded) else {
        return asked.one(&question.subject, recorded, ours);
    };
    let ours = items(ours).ok_or("no items")?;
    let subjects = question.listed_pods();
    if recorded_items.len() != ours.len() || subjects.len() != ours.len() {
        return Ok(vec![format!("{} items expected, got {}", subjects.len(), ours.len())]);
    }
    let mut found = Vec::new();
    for ((subject, recorded), ours) in subjects.iter().zip(&recorded_items).zip(&ours) {
        found.extend(asked.one(subject, recorded, ours)?);
    }
    Ok(found)
}

impl Asked<'_> {
    fn one(
        &self,
        subject: &Subject,
        recorded: &Value,
        ours: &Value,
    ) -> Result<Vec<String>, String> {
        if recorded.get("buckets").is_some() {
            self.buckets(subject, recorded, ours)
        } else {
            self.series(subject, recorded, ours)
        }
    }

    fn series(
        &self,
        subject: &Subject,
        recorded: &Value,
        ours: &Value,
    ) -> Result<Vec<String>, String> {
        let expected = rules::negative_rates_are_absent(subject, points(recorded)?);
        let facts = self.facts;
        let expected =
            rules::host_network_pods_count_themselves(subject, &self.metric, facts, expected);
        let got = points(ours)?;
        let mut found = Vec::new();
        if rules::has_float_values(&self.metric) && !every_point_has_its_float(ours) {
            found.push("points without floatValue".to_owned());
        }
        let latest = ours.get("latestTimestamp").and_then(Value::as_str).unwrap_or_default();
        let last = got.last().map_or("0001-01-01T00:00:00Z", |point| &point.at);
        if latest != last {
            found.push(format!("latestTimestamp is {latest}, the last point is of {last}"));
        }
        if !got.is_sorted_by(|one, other| one.at <= other.at) {
            found.push("points do not ascend".to_owned());
        }
        found.extend(self.same_points(expected, got));
        Ok(found)
    }

    /// Several label sets have points at the same time.
    fn same_points(&self, mut expected: Vec<Point>, mut got: Vec<Point>) -> Vec<String> {
        let is_end = |at: &str| at.parse().is_ok_and(|at| self.ends.contains(&at));
        got.retain(|point| expected.iter().any(|other| other.at == point.at) || !is_end(&point.at));
        if rules::value_depends_on_heapsters_clock(&self.metric) {
            expected.iter_mut().chain(&mut got).for_each(|point| point.value = None);
        }
        let any: Vec<String> = expected
            .iter()
            .filter(|point| point.value.is_none())
            .map(|point| point.at.clone())
            .collect();
        got.iter_mut().filter(|point| any.contains(&point.at)).for_each(|point| point.value = None);
        let key = |point: &Point| (point.at.clone(), point.value);
        expected.sort_by_key(key);
        got.sort_by_key(key);
        if expected == got {
            Vec::new()
        } else {
            vec![format!("{expected:?} expected, got {got:?}")]
        }
    }

    fn buckets(
        &self,
        subject: &Subject,
        recorded: &Value,
        ours: &Value,
    ) -> Result<Vec<String>, String> {
        let size = recorded.get("bucketSize").and_then(Value::as_i64).ok_or("no bucketSize")?;
        let mut found = Vec::new();
        if ours.get("bucketSize").and_then(Value::as_i64) != Some(size) {
            found.push(format!("bucketSize {size} expected, got {:?}", ours.get("bucketSize")));
        }
        let list = |value: &Value| value.get("buckets").and_then(Value::as_array).cloned();
        let expected = list(recorded).ok_or("no buckets in the recording")?;
        let mut got = list(ours).ok_or("no buckets")?;
        if size != 0 {
            let times: Vec<Option<Timestamp>> = expected.iter().map(time).collect();
            // One that only an end of the range is in.
            got.retain(|one| times.contains(&time(one)) || self.ends_in(one, size) == 0);
        }
        if expected.len() != got.len() {
            found.push(format!("{} buckets expected, got {ours}", expected.len()));
            return Ok(found);
        }
        for (expected, got) in expected.iter().zip(&got) {
            found.extend(self.bucket(subject, size, expected, got));
        }
        Ok(found)
    }

    fn bucket(&self, subject: &Subject, size: i64, expected: &Value, got: &Value) -> Vec<String> {
        let mut found = Vec::new();
        // "a single bucket's time: `start` when no bucket is given".
        let at = if size == 0 { self.ends.first().copied() } else { time(expected) };
        if time(got) != at {
            found.push(format!("{at:?} expected, got {got}"));
        }
        let empty = Map::new();
        let fields = |value: &Value| value.as_object().unwrap_or(&empty).clone();
        let (expected, fields_got) = (fields(expected), fields(got));
        if expected.keys().ne(fields_got.keys()) {
            found.push(format!("fields {:?} expected, got {got}", expected.keys()));
            return found;
        }
        let count = |fields: &Map<String, Value>| fields.get("count").and_then(Value::as_u64);
        let (count, count_got) = (count(&expected), count(&fields_got));
        let more = self.ends_in(got, size);
        let in_between = count.zip(count_got).is_some_and(|(count, got)| got != count);
        let free = rules::past::host_network_is_in_it(subject, &self.metric, self.facts)
            || (0 < more && (in_between || count.is_none()));
        if in_between
            && !count
                .zip(count_got)
                .is_some_and(|(count, got)| got - count.min(got) <= more && count < got)
        {
            found.push(format!("count {count:?} expected, got {count_got:?}"));
        }
        for (name, expected) in &expected {
            let Some(got) = fields_got.get(name) else { continue };
            match name.as_str() {
                "timestamp" | "count" => (),
                "percentiles" => {
                    let (expected, got) = (fields(expected), fields(got));
                    if expected.keys().ne(got.keys()) {
                        found.push(format!("percentiles {:?}", got.keys()));
                    }
                    for (percent, expected) in &expected {
                        let got = got.get(percent).unwrap_or(&Value::Null);
                        found.extend(self.number(percent, expected, got, free));
                    }
                }
                _ => found.extend(self.number(name, expected, got, free)),
            }
        }
        found
    }

    /// Whatever Heapster called it, the number is the same, under the name that its type has.
    fn number(&self, field: &str, expected: &Value, got: &Value, free: bool) -> Option<String> {
        let kind = rules::past::number_is(field, &self.metric);
        let any = expected.as_object()?.values().next()?.as_f64()?;
        let number = got.get(kind).and_then(Value::as_f64);
        let alone = got.as_object().is_some_and(|fields| fields.len() == 1);
        let free = free || rules::past::is_negative_rate(any);
        let same = number.is_some_and(|number| free || (number - any).abs() <= any.abs() * 1e-9);
        (!same || !alone).then(|| format!("{field}: {any} as {kind} expected, got {got}"))
    }

    /// Ends of the range in a bucket, and batches at them.
    fn ends_in(&self, bucket: &Value, size: i64) -> u64 {
        let Some(from) = time(bucket) else { return 0 };
        let is_batch =
            |at: &&Timestamp| self.facts.free_containers.keys().any(|(_, batch)| batch == *at);
        let inside = |at: &&Timestamp| {
            let after = at.as_nanosecond() - from.as_nanosecond();
            size == 0 || (0..i128::from(size)).contains(&after)
        };
        u64::try_from(self.ends.iter().filter(is_batch).filter(inside).count()).unwrap_or(0)
    }
}

fn time(bucket: &Value) -> Option<Timestamp> {
    bucket.get("timestamp")?.as_str()?.parse().ok()
}

/// Whether a difference between two lists of names of history is right: names of a pod's metrics
/// that only its containers have, and containers that are gone, which Heapster's model left out.
pub(super) fn is_right(question: &Question, difference: &str) -> bool {
    let lacking = difference.strip_prefix("- ");
    let is_only_of_containers =
        lacking.is_some_and(|name| rules::past::is_only_of_containers(&question.subject, name));
    let is_gone = difference.starts_with('+')
        && question.rest.last().is_some_and(|last| last == "containers");
    question.is_past && (is_only_of_containers || is_gone)
}
