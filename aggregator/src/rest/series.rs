//! Series as Heapster's clients know them, in JSON.

use serde::Serialize;

use super::time::rfc3339;
use crate::query::{Point, Value};

/// What Heapster said of a series without points: Go's zero time.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// One series.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Series {
    metrics: Vec<SeriesPoint>,
    latest_timestamp: String,
}

/// Several series, in the order of the request.
#[derive(Debug, Serialize)]
pub(super) struct SeriesList {
    /// The series.
    pub items: Vec<Series>,
}

/// One point of a series.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SeriesPoint {
    timestamp: String,
    /// Always there and an unsigned integer, because clients decode it as one.
    value: u64,
    /// The exact number, where `value` may have lost something.
    #[serde(skip_serializing_if = "Option::is_none")]
    float_value: Option<f64>,
}

impl Series {
    /// How many points it has.
    pub(super) fn points(&self) -> usize {
        self.metrics.len()
    }
}

impl From<Vec<Point>> for Series {
    fn from(points: Vec<Point>) -> Self {
        let latest_timestamp = latest(&points);
        Self { metrics: points.into_iter().map(SeriesPoint::from).collect(), latest_timestamp }
    }
}

/// When a series ends.
pub(super) fn latest(points: &[Point]) -> String {
    points.last().map_or_else(|| NO_TIME.to_owned(), |point| rfc3339(point.at))
}

impl From<Point> for SeriesPoint {
    fn from(point: Point) -> Self {
        let Point { at, value } = point;
        let (value, float_value) = match value {
            Value::Integer(value) => (u64::try_from(value).unwrap_or(0), None),
            Value::Float(value) => (truncated(value), value.is_finite().then_some(value)),
        };
        Self { timestamp: rfc3339(at), value, float_value }
    }
}

#[expect(clippy::as_conversions, reason = "cuts the fraction off; negatives and NaN become 0")]
fn truncated(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tally_proto::tick::Tick;

    use super::*;

    #[track_caller]
    fn check(values: &[Value], expected: serde_json::Value) {
        let points = values.iter().map(|value| Point { at: Tick(1_795_423_520), value: *value });
        let series = Series::from(points.collect::<Vec<_>>());
        assert_eq!(serde_json::to_value(series).unwrap(), expected);
    }

    #[test]
    fn an_empty_series_has_the_zero_time() {
        check(&[], json!({"metrics": [], "latestTimestamp": "0001-01-01T00:00:00Z"}));
    }

    #[test]
    fn a_float_is_cut_to_an_integer_and_given_exactly_beside_it() {
        let at = "2026-11-23T08:45:20Z";
        check(
            &[Value::Integer(7), Value::Float(12.75)],
            json!({
                "metrics": [
                    {"timestamp": at, "value": 7},
                    {"timestamp": at, "value": 12, "floatValue": 12.75},
                ],
                "latestTimestamp": at,
            }),
        );
    }

    #[test]
    fn a_value_is_never_negative_and_nan_is_no_number() {
        let at = "2026-11-23T08:45:20Z";
        check(
            &[Value::Integer(-7), Value::Float(-0.5), Value::Float(f64::NAN)],
            json!({
                "metrics": [
                    {"timestamp": at, "value": 0},
                    {"timestamp": at, "value": 0, "floatValue": -0.5},
                    {"timestamp": at, "value": 0},
                ],
                "latestTimestamp": at,
            }),
        );
    }
}
