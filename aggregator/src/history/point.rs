//! Rates worked out of stored counters.

use tally_proto::{
    catalogue::{self, MetricId},
    metric::{Kind, MetricName, ValueType},
};

use super::series::Series;
pub use crate::point::{Point, Reading, Value};

/// A metric that is worked out of a counter's growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The rate.
    pub metric: MetricId,
    /// What it is the rate of.
    pub of: MetricId,
}

impl Rate {
    /// The rate of that name, if it is one.
    pub fn named(metric: &str) -> Option<Self> {
        let metric = catalogue::find(metric)?;
        Some(Self { metric, of: catalogue::rate_source(metric)? })
    }

    /// The rate of a counter, if there is one.
    pub fn of_counter(counter: &MetricName) -> Option<Self> {
        let of =
            catalogue::find(counter.as_str()).filter(|id| id.metric().kind == Kind::Cumulative)?;
        Some(Self { metric: catalogue::rate_of(of)?, of })
    }

    /// Whether its values are doubles.
    pub fn floating(self) -> bool {
        self.metric.metric().value == ValueType::Float
    }

    /// The rate at each tick of a counter's readings, but for the first. `offsets` says when each
    /// was read; without it, on the tick. `before` is the reading before the first.
    pub fn points(
        self,
        counter: &Series,
        offsets: Option<&Series>,
        before: Option<Reading>,
    ) -> Vec<Point> {
        let mut before = before;
        let mut points = Vec::with_capacity(counter.values.len());
        for now in readings(counter, offsets) {
            if let Some(value) = before.and_then(|before| now.rate_since(before, !self.floating()))
            {
                points.push(Point { at: now.tick, value });
            }
            before = Some(now);
        }
        points
    }
}

/// The readings of a counter, each with when it was made.
pub(super) fn readings<'a>(
    counter: &'a Series,
    offsets: Option<&'a Series>,
) -> impl Iterator<Item = Reading> + 'a {
    let offsets =
        offsets.into_iter().flat_map(|offsets| offsets.timeline.iter().zip(&offsets.values));
    let mut offsets = offsets.peekable();
    counter.timeline.iter().zip(&counter.values).map(move |(tick, total)| {
        while offsets.next_if(|(at, _)| *at < tick).is_some() {}
        let offset = offsets.peek().filter(|(at, _)| *at == tick).map_or(0, |(_, offset)| **offset);
        Reading { tick, offset, total: *total }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tally_proto::tick::Tick;

    use super::*;
    use crate::history::{series::What, timeline::Timeline};

    fn series(points: &[(u64, i64)]) -> Series {
        Series {
            what: Arc::new(What::ReadOffset),
            timeline: Arc::new(Timeline::of(points.iter().map(|(tick, _)| Tick(*tick)))),
            values: points.iter().map(|(_, value)| *value).collect(),
            sketches: Vec::new(),
        }
    }

    fn rates(name: &str, counter: &[(u64, i64)], offsets: &[(u64, i64)]) -> Vec<(u64, Value)> {
        let points =
            Rate::named(name).unwrap().points(&series(counter), Some(&series(offsets)), None);
        points.iter().map(|point| (point.at.0, point.value)).collect()
    }

    #[test]
    fn rates_divide_by_the_time_that_really_passed() {
        let counter = [(10, 0), (20, 1_000_000_000), (40, 2_000_000_000)];
        let offsets = [(10, 0), (20, 500_000), (40, 500_000)];
        let found = rates("cpu/usage_rate", &counter, &offsets);
        assert_eq!(found, [(20, Value::Integer(95)), (40, Value::Integer(50))]);
    }

    #[test]
    fn a_counter_that_went_back_has_no_rate_there() {
        let found = rates("network/rx_rate", &[(1, 5), (2, 3), (4, 8)], &[]);
        assert_eq!(found, [(4, Value::Float(2.5))]);
    }

    #[test]
    fn only_what_the_catalogue_calls_a_rate_is_one() {
        assert_eq!(Rate::named("memory/usage"), None);
        let counter = MetricName::parse("cpu/usage").unwrap();
        assert_eq!(Rate::of_counter(&counter), Rate::named("cpu/usage_rate"));
    }
}
