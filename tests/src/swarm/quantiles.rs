//! How long things took, as a few numbers.

use std::time::Duration;

use serde::Serialize;

/// Quantiles of some durations, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub count: usize,
    /// The middle one.
    pub p50_ms: f64,
    /// 99 of 100 took at most as long.
    pub p99_ms: f64,
    /// The longest.
    pub most_ms: f64,
}

impl Quantiles {
    /// Of these durations; `None` of none.
    pub fn of(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        let at = |percent: usize| {
            // The nearest rank: the smallest value that `percent` of all do not exceed.
            let rank = (durations.len() * percent).div_ceil(100).saturating_sub(1);
            durations.get(rank).map(|duration| rounded(duration.as_secs_f64() * 1e3))
        };
        Some(Self { count: durations.len(), p50_ms: at(50)?, p99_ms: at(99)?, most_ms: at(100)? })
    }
}

/// A figure for people: three digits after the point.
pub fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let durations = (1..=200).rev().map(Duration::from_millis).collect();
        let quantiles = Quantiles::of(durations).unwrap();
        let expected = Quantiles { count: 200, p50_ms: 100.0, p99_ms: 198.0, most_ms: 200.0 };
        assert_eq!(quantiles, expected);
        assert_eq!(Quantiles::of(Vec::new()), None);
    }
}
