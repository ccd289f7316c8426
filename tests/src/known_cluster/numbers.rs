//! Two who read the same counter at different times.

use super::tally::Point;

/// A reading of the other one may lie between two of ours, and its time be cut to the second.
const ONE_READ_MS: i64 = 1_000;

/// Whether a value is one of the series' at most one reading before it or after it.
pub fn has_within_one_read(series: &[Point], other: Point) -> bool {
    let near = |point: &&Point| {
        let apart_ms = point.at_ms - other.at_ms;
        (-ONE_READ_MS..=2 * ONE_READ_MS).contains(&apart_ms)
    };
    series.iter().filter(near).any(|point| (point.value - other.value).abs() < 0.5)
}

/// What a counter grew by a second between two times, the readings around each joined by a line;
/// nothing when the series does not reach over both.
pub fn rate(series: &[Point], begin_ms: i64, end_ms: i64) -> Option<f64> {
    let grown = at(series, end_ms)? - at(series, begin_ms)?;
    Some(grown / seconds(end_ms - begin_ms))
}

fn at(series: &[Point], at_ms: i64) -> Option<f64> {
    let later = series.iter().position(|point| at_ms <= point.at_ms)?;
    let after = series.get(later)?;
    if after.at_ms == at_ms {
        return Some(after.value);
    }
    let before = series.get(later.checked_sub(1)?)?;
    let share = seconds(at_ms - before.at_ms) / seconds(after.at_ms - before.at_ms);
    Some(before.value + (after.value - before.value) * share)
}

/// Of some milliseconds, of which there are fewer than an `i32` holds.
pub fn seconds(ms: i64) -> f64 {
    f64::from(i32::try_from(ms).unwrap_or(i32::MAX)) / 1e3
}

/// The most ticks in a row, of a second each, that a series lacks between two times.
pub fn longest_gap(series: &[Point], begin_ms: i64, end_ms: i64) -> usize {
    let wanted = (begin_ms..=end_ms).filter(|ms| ms % ONE_READ_MS == 0);
    let (longest, _) = wanted.fold((0, 0), |(longest, lacking), ms| {
        let is_there = series.iter().any(|point| point.at_ms == ms);
        let lacking = if is_there { 0 } else { lacking + 1 };
        (longest.max(lacking), lacking)
    });
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(i64, f64)]) -> Vec<Point> {
        points.iter().map(|(at_ms, value)| Point { at_ms: *at_ms, value: *value }).collect()
    }

    #[test]
    fn a_rate_is_between_the_lines_of_readings() {
        let counter = series(&[(0, 0.0), (1_000, 10.0), (2_000, 20.0), (3_000, 40.0)]);
        assert_eq!(rate(&counter, 500, 2_500), Some(12.5));
        assert_eq!(rate(&counter, 0, 2_000), Some(10.0));
        assert_eq!(rate(&counter, 500, 3_500), None);
        assert_eq!(rate(&counter[1..], 500, 2_500), None);
    }

    #[test]
    fn a_value_counts_for_one_reading_around_it() {
        let values = series(&[(1_000, 1.0), (2_000, 2.0), (5_000, 5.0)]);
        let has = |at_ms, value| has_within_one_read(&values, Point { at_ms, value });
        assert!(has(1_500, 1.0) && has(1_500, 2.0));
        assert!(!has(1_500, 5.0) && !has(2_001, 1.0));
    }

    #[test]
    fn missing_ticks_in_a_row_are_a_gap() {
        let values = series(&[(1_000, 1.0), (2_000, 2.0), (4_000, 4.0), (7_000, 7.0)]);
        assert_eq!(longest_gap(&values, 1_000, 2_500), 0);
        assert_eq!(longest_gap(&values, 999, 4_000), 1);
        assert_eq!(longest_gap(&values, 1_000, 7_999), 2);
        assert_eq!(longest_gap(&values, 1_000, 10_000), 3);
    }
}
