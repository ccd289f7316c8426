//! The query part of a request: `start`, `end` and `labels` of a series, `bucket` of an aggregation,
//! `pretty` of any answer.
//!
//! As in Heapster, unknown parameters are ignored, the first of repeated ones counts, an empty
//! value is an absent one, and a pair with a bad escape or a semicolon does not exist.

use std::{collections::BTreeMap, num::NonZeroU64};

use tally_proto::{
    metric::Labels,
    tick::{Tick, UnixMs},
};

use super::{
    aggregation::{Aggregations, UnknownAggregation},
    bucket::{self, BadBucket},
    percent,
    time::{self, BadTime, Moment},
};
use crate::query::TickRange;

/// The pairs of a query, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters(Vec<(String, String)>);

/// What a request for series asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeriesParameters {
    /// From start to end, both included.
    pub range: TickRange,
    /// The labels to match, empty for the series without; `None` when nothing can have them, for
    /// there are too many or one is too long.
    pub labels: Option<Labels>,
}

/// What a request for aggregations asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AggregationParameters {
    /// When and which labels.
    pub series: SeriesParameters,
    /// The beginning of the range, as it was asked for.
    pub start: Moment,
    /// The size of buckets in milliseconds; one bucket without it.
    pub bucket_ms: Option<NonZeroU64>,
    /// Which aggregations.
    pub aggregations: Aggregations,
}

/// A parameter that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadParameter {
    /// `start` or `end`.
    #[error(transparent)]
    Time(#[from] BadTime),
    /// A question to history without `start`. The wording is Heapster's.
    #[error("no start time (or a start time of zero) provided")]
    NoStart,
    /// `bucket`.
    #[error(transparent)]
    Bucket(#[from] BadBucket),
    /// An aggregation, of the path.
    #[error(transparent)]
    Aggregation(#[from] UnknownAggregation),
    /// A pair of `labels`. The wording is Heapster's.
    #[error("invalid label pair {0:?}")]
    Pair(String),
}

impl Parameters {
    /// Takes the text after the question mark apart.
    pub(super) fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        Self(pairs.filter_map(decoded).collect())
    }

    /// Whether the answer should be indented for people.
    pub(super) fn pretty(&self) -> bool {
        self.switch("pretty")
    }

    /// Whether a parameter is there, and not as `false` or `0`.
    pub(super) fn switch(&self, key: &str) -> bool {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.is_some_and(|(_, value)| !matches!(value.as_str(), "false" | "0"))
    }

    /// What a series is asked for. Without an end it reaches to `now`. Start is checked first, then
    /// end, then labels.
    pub(super) fn series(&self, now: UnixMs) -> Result<SeriesParameters, BadParameter> {
        let range = self.range(now)?;
        Ok(SeriesParameters { range, labels: self.labels()? })
    }

    /// What a series of history is asked for: as [`series`](Self::series), but with a start.
    pub(super) fn past_series(&self, now: UnixMs) -> Result<SeriesParameters, BadParameter> {
        let (_, range) = self.range_with_start(now)?;
        Ok(SeriesParameters { range, labels: self.labels()? })
    }

    /// What is asked of history with the aggregations that the path names. Times are checked
    /// first, then the bucket, the aggregations and the labels.
    pub(super) fn aggregation(
        &self,
        now: UnixMs,
        aggregations: &str,
    ) -> Result<AggregationParameters, BadParameter> {
        let (start, range) = self.range_with_start(now)?;
        let bucket_ms = self.first("bucket").map(bucket::parse).transpose()?.flatten();
        let aggregations = Aggregations::parse(aggregations)?;
        let series = SeriesParameters { range, labels: self.labels()? };
        Ok(AggregationParameters { series, start, bucket_ms, aggregations })
    }

    /// From `start`, or ever, to `end` or `now`.
    pub(super) fn range(&self, now: UnixMs) -> Result<TickRange, BadParameter> {
        let (start, end) = self.ends()?;
        Ok(range(start, end.unwrap_or(now.into())))
    }

    fn range_with_start(&self, now: UnixMs) -> Result<(Moment, TickRange), BadParameter> {
        let (start, end) = self.ends()?;
        let start = start.filter(|start| !start.is_go_zero()).ok_or(BadParameter::NoStart)?;
        Ok((start, range(Some(start), end.unwrap_or(now.into()))))
    }

    fn ends(&self) -> Result<(Option<Moment>, Option<Moment>), BadTime> {
        let start = self.first("start").map(time::parse).transpose()?;
        Ok((start, self.first("end").map(time::parse).transpose()?))
    }

    fn labels(&self) -> Result<Option<Labels>, BadParameter> {
        self.first("labels").map_or(Ok(Some(Labels::none())), labels)
    }

    /// The value of a parameter; an empty one is none.
    pub(super) fn first(&self, key: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(name, _)| name == key)?;
        (!value.is_empty()).then_some(value)
    }
}

fn decoded(pair: &str) -> Option<(String, String)> {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    let decode = |text: &str| percent::decode(&text.replace('+', " "));
    Some((decode(key)?, decode(value)?))
}

fn range(start: Option<Moment>, end: Moment) -> TickRange {
    let first = start.map_or(Tick(0), Moment::first_tick);
    match end.last_tick() {
        Some(last) => TickRange { first, last },
        None => TickRange { first: Tick(1), last: Tick(0) },
    }
}

/// `key:value,key:value`, each split at its first colon; of a repeated key the last one counts.
fn labels(text: &str) -> Result<Option<Labels>, BadParameter> {
    let mut pairs = BTreeMap::new();
    for pair in text.split(',') {
        match pair.split_once(':') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => pairs.insert(key, value),
            _ => return Err(BadParameter::Pair(pair.to_owned())),
        };
    }
    Ok(Labels::new(pairs).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(100_500);

    #[track_caller]
    fn check_range(query: &str, first: u64, last: u64) {
        let asked = Parameters::parse(query).series(NOW).unwrap();
        let range = TickRange { first: Tick(first), last: Tick(last) };
        assert_eq!(asked.range, range, "{query}");
    }

    #[track_caller]
    fn check_labels(query: &str, expected: &[(&str, &str)]) {
        let asked = Parameters::parse(query).series(NOW).unwrap();
        assert_eq!(asked.labels, Labels::new(expected.iter().copied()).ok(), "{query}");
    }

    #[track_caller]
    fn check_error(query: &str, expected: &str) {
        let error = Parameters::parse(query).series(NOW).expect_err(query).to_string();
        assert!(error.starts_with(expected), "{query}: {error}");
    }

    #[test]
    fn without_parameters_the_range_is_everything_until_now() {
        check_range("", 0, 100);
        check_range("foo=bar&START=foo", 0, 100);
        check_range("start=&end=", 0, 100);
    }

    #[test]
    fn the_first_of_repeated_parameters_counts() {
        check_range("start=1970-01-01T00:00:20Z&start=foo", 20, 100);
    }

    #[test]
    fn a_pair_with_a_bad_escape_or_a_semicolon_does_not_exist() {
        check_range("start=%zz", 0, 100);
        check_range("start=1970-01-01T00:00:20Z;end=1970-01-01T00:00:30Z", 0, 100);
    }

    #[test]
    fn an_end_before_the_epoch_leaves_nothing() {
        check_range("end=0001-01-01T00:00:00Z", 1, 0);
    }

    #[test]
    fn a_raw_plus_is_a_space() {
        check_range("start=1970-01-01T05:30:20%2B05:30", 20, 100);
        check_error("start=1970-01-01T05:30:20+05:30", "timestamp argument cannot be parsed: ");
    }

    #[test]
    fn labels_split_at_commas_and_first_colons() {
        check_labels("labels=resource_id:Volume:data", &[("resource_id", "Volume:data")]);
        check_labels("labels=a%3A1,b:%202", &[("a", "1"), ("b", " 2")]);
        check_labels("labels=a:1,a:2", &[("a", "2")]);
        check_labels("labels=", &[]);
    }

    #[test]
    fn labels_that_nothing_can_have_match_nothing() {
        for query in [format!("labels=a:{}", "x".repeat(2000)), {
            let pairs: Vec<String> = (0..20).map(|pair| format!("k{pair}:v")).collect();
            format!("labels={}", pairs.join(","))
        }] {
            assert_eq!(Parameters::parse(&query).series(NOW).unwrap().labels, None, "{query}");
        }
        check_labels("labels=a:%ff", &[("a", "\u{fffd}")]);
        check_error("start=%ff", "timestamp argument cannot be parsed: ");
    }

    #[test]
    fn an_incomplete_label_pair_is_refused() {
        check_error("labels=foo", "invalid label pair \"foo\"");
        check_error("labels=foo:", "invalid label pair \"foo:\"");
        check_error("labels=:bar", "invalid label pair \":bar\"");
        check_error("labels=a:b,", "invalid label pair \"\"");
    }

    #[test]
    fn times_are_checked_before_labels_and_start_first() {
        check_error("labels=foo&end=bar&start=baz", "timestamp argument cannot be parsed: \"baz\"");
        check_error("labels=foo&end=bar", "timestamp argument cannot be parsed: \"bar\"");
    }

    #[track_caller]
    fn check_past_error(query: &str, aggregations: &str, expected: &str) {
        let error = Parameters::parse(query).aggregation(NOW, aggregations).expect_err(query);
        assert!(error.to_string().starts_with(expected), "{query}: {error}");
    }

    #[test]
    fn history_is_asked_with_a_start() {
        let asked = |query| Parameters::parse(query).past_series(NOW);
        for query in ["", "start=", "start=0001-01-01T00:00:00Z", "end=1970-01-01T00:00:20Z"] {
            assert_eq!(asked(query), Err(BadParameter::NoStart), "{query}");
        }
        let range = asked("start=1970-01-01T00:00:00Z").unwrap().range;
        assert_eq!(range, TickRange { first: Tick(0), last: Tick(100) });
        let range = asked("start=1970-01-01T00:00:19.5Z&end=1970-01-01T00:00:20.5Z").unwrap().range;
        assert_eq!(range, TickRange { first: Tick(20), last: Tick(20) });
    }

    #[test]
    fn a_bucket_of_no_size_is_none() {
        let bucket = |query: &str| {
            let query = format!("start=1970-01-01T00:00:00Z{query}");
            Parameters::parse(&query).aggregation(NOW, "max").unwrap().bucket_ms
        };
        for query in ["", "&bucket=", "&bucket=0s"] {
            assert_eq!(bucket(query), None, "{query}");
        }
        assert_eq!(bucket("&bucket=10s&bucket=x"), NonZeroU64::new(10_000));
    }

    #[test]
    fn of_an_aggregation_times_are_checked_first_then_bucket_aggregations_and_labels() {
        let bad = "bucket=30&labels=foo&end=bar";
        check_past_error(bad, "sum", "timestamp argument cannot be parsed: \"bar\"");
        let query = "bucket=30&labels=foo";
        check_past_error(query, "sum", "no start time (or a start time of zero) provided");
        let query = format!("{query}&start=1970-01-01T00:00:00Z");
        check_past_error(&query, "sum", "unable to parse bucket size: ");
        let query = query.replace("30&", "30s&");
        check_past_error(&query, "max,sum", "Unknown aggregation \"sum\"");
        check_past_error(&query, "max", "invalid label pair \"foo\"");
    }

    #[test]
    fn pretty_is_a_switch() {
        let pretty = |query| Parameters::parse(query).pretty();
        assert!(pretty("pretty") && pretty("pretty=true") && pretty("x=1&pretty="));
        assert!(!pretty("") && !pretty("pretty=false") && !pretty("pretty=0"));
    }
}
