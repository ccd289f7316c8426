//! Aggregations: which ones a path names, and their JSON.
//!
//! Heapster chose between `intValue` and `floatValue` by how the numbers of an answer happened to
//! print. Here the type says it: least, greatest and percentiles have the metric's own, in all
//! buckets alike; average and median are always `floatValue`.

use std::{collections::BTreeMap, num::NonZeroU64};

use serde::Serialize;

use super::time::{Moment, rfc3339_exact};
use crate::query::{Value, past::Summary};

/// Which aggregations are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Aggregations {
    count: bool,
    average: bool,
    maximum: bool,
    minimum: bool,
    median: bool,
    /// Of [`PERCENTILES`].
    percentiles: [bool; 3],
}

/// The percentiles of Heapster, as JSON names them.
const PERCENTILES: [&str; 3] = ["50", "95", "99"];

/// One that there is not. The wording is Heapster's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown aggregation {0:?}")]
pub(super) struct UnknownAggregation(String);

/// An answer's buckets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Aggregated {
    buckets: Vec<Bucket>,
    /// In nanoseconds; 0 when there is no size.
    bucket_size: u64,
}

/// Buckets of several, in the order of the request.
#[derive(Debug, Serialize)]
pub(super) struct AggregatedList {
    /// The buckets of each.
    pub items: Vec<Aggregated>,
}

#[derive(Debug, Serialize)]
struct Bucket {
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    average: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    median: Option<Number>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    percentiles: BTreeMap<&'static str, Number>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
enum Number {
    IntValue(i64),
    FloatValue(f64),
}

impl Aggregations {
    /// Reads a list with commas; order and repeats mean nothing.
    pub(super) fn parse(text: &str) -> Result<Self, UnknownAggregation> {
        let mut found = Self::default();
        let [half, most, nearly_all] = &mut found.percentiles;
        for word in text.split(',') {
            let which = match word {
                "average" => &mut found.average,
                "max" => &mut found.maximum,
                "min" => &mut found.minimum,
                "median" => &mut found.median,
                "count" => &mut found.count,
                "50-perc" => &mut *half,
                "95-perc" => &mut *most,
                "99-perc" => &mut *nearly_all,
                _ => return Err(UnknownAggregation(word.into())),
            };
            *which = true;
        }
        Ok(found)
    }

    /// The answer. Without a size there is one bucket, and its time is `start`.
    pub(super) fn answer(
        self,
        summaries: &[Summary],
        start: Moment,
        bucket_ms: Option<NonZeroU64>,
    ) -> Aggregated {
        let floating = summaries.iter().any(has_float);
        let bucket = |summary| self.bucket(summary, floating, start, bucket_ms.is_some());
        let buckets = summaries.iter().map(bucket).collect();
        let bucket_size = bucket_ms.map_or(0, |ms| ms.get().saturating_mul(1_000_000));
        Aggregated { buckets, bucket_size }
    }

    fn bucket(self, summary: &Summary, floating: bool, start: Moment, is_sized: bool) -> Bucket {
        let at = if is_sized { Moment::from_ms(summary.start_ms) } else { start };
        let own = |asked: bool, value: Option<Value>| {
            value.filter(|_| asked).and_then(|value| number(value, floating))
        };
        let float = |asked: bool, value: Option<f64>| {
            value.filter(|_| asked).and_then(|value| number(Value::Float(value), true))
        };
        let percentiles = PERCENTILES.iter().zip(self.percentiles).zip(summary.percentiles);
        let percentiles =
            percentiles.filter_map(|((name, asked), value)| Some((*name, own(asked, value)?)));
        Bucket {
            timestamp: rfc3339_exact(at),
            count: self.count.then_some(summary.count),
            average: float(self.average, summary.average),
            maximum: own(self.maximum, summary.greatest),
            minimum: own(self.minimum, summary.least),
            median: float(self.median, summary.median),
            percentiles: percentiles.collect(),
        }
    }
}

/// Whether the metric's own type is a double, so far as a bucket shows it.
fn has_float(summary: &Summary) -> bool {
    let values = [summary.greatest, summary.least].into_iter().chain(summary.percentiles);
    values.flatten().any(|value| matches!(value, Value::Float(_)))
}

/// `None` for what is no number.
fn number(value: Value, floating: bool) -> Option<Number> {
    match value {
        Value::Integer(value) if !floating => Some(Number::IntValue(value)),
        value => Some(value.as_f64()).filter(|value| value.is_finite()).map(Number::FloatValue),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::time, *};

    const ALL: &str = "average,max,min,median,count,50-perc,95-perc,99-perc";

    fn whole(start_ms: u64) -> Summary {
        Summary {
            start_ms,
            count: 3,
            average: Some(6_503_967_402.666_667),
            greatest: Some(Value::Integer(6_543_114_240)),
            least: Some(Value::Integer(6_459_228_160)),
            median: Some(6_509_559_808.0),
            percentiles: [1, 2, 3].map(|value| Some(Value::Integer(value))),
        }
    }

    #[track_caller]
    fn check(asked: &str, summaries: &[Summary], bucket_ms: u64, expected: &serde_json::Value) {
        let start = time::parse("2026-11-23T08:43:46.25Z").unwrap();
        let asked = Aggregations::parse(asked).unwrap();
        let answer = asked.answer(summaries, start, NonZeroU64::new(bucket_ms));
        assert_eq!(&serde_json::to_value(answer).unwrap(), expected);
    }

    #[test]
    fn the_fields_are_heapsters_in_its_order() {
        let asked = Aggregations::parse(ALL).unwrap();
        let start = time::parse("2026-11-23T08:43:46Z").unwrap();
        let size = NonZeroU64::new(30_000);
        let answer = asked.answer(&[whole(1_795_423_680_000)], start, size);
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"buckets":[{"timestamp":"2026-11-23T08:48:00Z","count":3,"average":{"floatValue":6503967402.666667},"maximum":{"intValue":6543114240},"minimum":{"intValue":6459228160},"median":{"floatValue":6509559808.0},"percentiles":{"50":{"intValue":1},"95":{"intValue":2},"99":{"intValue":3}}}],"bucketSize":30000000000}"#
        );
    }

    #[test]
    fn only_what_is_asked_for_is_there() {
        check(
            "max,max",
            &[whole(5)],
            0,
            &json!({"buckets": [{"timestamp": "2026-11-23T08:43:46.25Z", "maximum": {"intValue": 6_543_114_240_u64}}], "bucketSize": 0}),
        );
        check(
            "95-perc,count",
            &[whole(500)],
            500,
            &json!({"buckets": [{"timestamp": "1970-01-01T00:00:00.5Z", "count": 3, "percentiles": {"95": {"intValue": 2}}}], "bucketSize": 500_000_000}),
        );
        check(ALL, &[], 1000, &json!({"buckets": [], "bucketSize": 1_000_000_000}));
    }

    #[test]
    fn one_double_makes_all_buckets_of_the_metric_doubles() {
        let float = Summary { greatest: Some(Value::Float(0.5)), ..whole(1000) };
        check(
            "max",
            &[whole(0), float],
            1000,
            &json!({"buckets": [
                {"timestamp": "1970-01-01T00:00:00Z", "maximum": {"floatValue": 6_543_114_240.0}},
                {"timestamp": "1970-01-01T00:00:01Z", "maximum": {"floatValue": 0.5}},
            ], "bucketSize": 1_000_000_000}),
        );
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let nan = Summary { average: Some(f64::NAN), median: None, ..whole(0) };
        let expected =
            json!({"buckets": [{"timestamp": "2026-11-23T08:43:46.25Z"}], "bucketSize": 0});
        check("average,median", &[nan], 0, &expected);
    }

    #[test]
    fn an_unknown_aggregation_is_named() {
        for (text, unknown) in [
            ("sum", "sum"),
            ("max,sum,foo", "sum"),
            ("max,", ""),
            ("", ""),
            ("MAX", "MAX"),
            ("max, min", " min"),
        ] {
            let refused = Aggregations::parse(text).unwrap_err().to_string();
            assert_eq!(refused, format!("Unknown aggregation {unknown:?}"), "{text}");
        }
    }
}
