//! What the answers must be: the sorted values of each bucket, and what each store's own documentation
//! says a percentile of them is.
//!
//! The three do not mean the same by it. Tally and InfluxDB give a value that was there, of the rank
//! nearest to so many percent of all. VictoriaMetrics takes the least as rank 0 and the greatest as
//! 100 percent, and goes straight from one value to the next in between. So each answer is held
//! against the true values by its own rule, and none against another's answer.

use anyhow::{Context, ensure};

use super::Percentiles;

/// What is asked for in each bucket.
pub const PERCENTS: [usize; 3] = [50, 95, 99];

/// How a store's percentiles may differ from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The value of the nearest rank itself.
    Nearest,
    /// That value, give or take the percent that Tally's sketches promise.
    NearestWithinOnePercent,
    /// Between two values in proportion.
    Between,
}

/// Sums of doubles are not quite what they are on paper.
const ROUNDING: f64 = 1e-9;

/// Fails at the first bucket whose percentiles are not those of its values, which are sorted.
pub fn check(answer: &[Percentiles], buckets: &[Vec<i64>], rule: Rule) -> anyhow::Result<()> {
    let (said, there) = (answer.len(), buckets.len());
    ensure!(said == there, "{said} buckets, not {there}");
    for (place, (said, sorted)) in answer.iter().zip(buckets).enumerate() {
        for (said, percent) in said.iter().zip(PERCENTS) {
            let (expected, slack) = match rule {
                Rule::Nearest => (nearest(sorted, percent), ROUNDING),
                Rule::NearestWithinOnePercent => (nearest(sorted, percent), 0.01 + ROUNDING),
                Rule::Between => (between(sorted, percent), ROUNDING),
            };
            let expected = expected.with_context(|| format!("bucket {place} is empty"))?;
            ensure!(
                (said - expected).abs() <= slack * expected.abs(),
                "bucket {place}, {percent} %: {said}, not {expected} ({rule:?})"
            );
        }
    }
    Ok(())
}

/// Of two that are as near the higher one.
fn nearest(sorted: &[i64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent + 50) / 100;
    sorted.get(rank.max(1) - 1).map(|value| float(*value))
}

fn between(sorted: &[i64], percent: usize) -> Option<f64> {
    let hundredths = sorted.len().checked_sub(1)? * percent;
    let low = float(*sorted.get(hundredths / 100)?);
    let high = sorted.get(hundredths / 100 + 1).map_or(low, |value| float(*value));
    let part = f64::from(u32::try_from(hundredths % 100).ok()?) / 100.0;
    Some(low + (high - low) * part)
}

#[expect(clippy::as_conversions, reason = "what the stores give is a double too")]
fn float(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_values(values: &[i64], expected_nearest: Percentiles, expected_between: Percentiles) {
        let buckets = [values.to_vec()];
        check(&[expected_nearest], &buckets, Rule::Nearest).unwrap();
        check(&[expected_between], &buckets, Rule::Between).unwrap();
    }

    #[test]
    fn nearest_is_a_value_and_between_need_not_be() {
        check_values(&[7], [7.0; 3], [7.0; 3]);
        check_values(&[1, 2], [1.0, 2.0, 2.0], [1.5, 1.95, 1.99]);
        let twelve: Vec<i64> = (1..=12).collect();
        check_values(&twelve, [6.0, 11.0, 12.0], [6.5, 11.45, 11.89]);
    }

    #[test]
    fn only_sketches_may_be_off_and_by_one_percent() {
        let buckets = [vec![1000]];
        let near = [[1009.0, 991.0, 1000.0]];
        assert!(check(&near, &buckets, Rule::NearestWithinOnePercent).is_ok());
        assert!(check(&near, &buckets, Rule::Nearest).is_err());
        assert!(check(&near, &buckets, Rule::Between).is_err());
        assert!(
            check(&[[1011.0, 1000.0, 1000.0]], &buckets, Rule::NearestWithinOnePercent).is_err()
        );
    }

    #[test]
    fn a_bucket_too_few_or_an_empty_one_is_told() {
        assert!(check(&[], &[vec![1]], Rule::Nearest).is_err());
        assert!(check(&[[1.0; 3]], &[vec![]], Rule::Between).is_err());
        assert!(check(&[[f64::NAN; 3]], &[vec![1]], Rule::Nearest).is_err());
    }
}
