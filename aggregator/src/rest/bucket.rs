//! The size of an aggregation's buckets, as Heapster read it: a whole number and `ms`, `s`, `m`,
//! `h` or `d`. The wording of what it refused is its own; what it let overflow is refused too.

use std::num::NonZeroU64;

/// Nanoseconds fit into Go's time.Duration, as answers show them, up to 292 years.
const DAYS_MOST: u64 = 106_751;
const MS_MOST: u64 = DAYS_MOST * 86_400_000;

/// Text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBucket {
    /// One character.
    #[error("unable to parse bucket size: {0:?} is too short to be a duration")]
    Short(String),
    /// Another unit, or none.
    #[error("unable to parse bucket size: {0:?} has no known duration suffix")]
    Unit(String),
    /// What is before the unit is no whole number.
    #[error("strconv.ParseUint: parsing {0:?}: invalid syntax")]
    Number(String),
    /// It is, but a very large one.
    #[error("strconv.ParseUint: parsing {0:?}: value out of range")]
    Range(String),
    /// Longer than a duration can be.
    #[error("unable to parse bucket size: {0:?} is longer than {DAYS_MOST}d")]
    Long(String),
}

/// Reads a size; `None` is one bucket, for zero. The text is not empty.
pub(super) fn parse(text: &str) -> Result<Option<NonZeroU64>, BadBucket> {
    if text.chars().nth(1).is_none() {
        return Err(BadBucket::Short(text.into()));
    }
    let (number, unit_ms) = split(text).ok_or_else(|| BadBucket::Unit(text.into()))?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadBucket::Number(number.into()));
    }
    let count: u64 = number.parse().map_err(|_| BadBucket::Range(number.into()))?;
    let ms = count.checked_mul(unit_ms).filter(|ms| *ms <= MS_MOST);
    ms.map(NonZeroU64::new).ok_or_else(|| BadBucket::Long(text.into()))
}

/// The number and the milliseconds of the unit. `ms` alone is the number `m` in seconds.
fn split(text: &str) -> Option<(&str, u64)> {
    if let Some(number) = text.strip_suffix("ms").filter(|number| !number.is_empty()) {
        return Some((number, 1));
    }
    let units = [("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    units.into_iter().find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<u64, &str>) {
        let found = parse(text).map(|ms| ms.map_or(0, NonZeroU64::get));
        let found = found.map_err(|bad| bad.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn every_unit_counts() {
        check("500ms", Ok(500));
        check("10s", Ok(10_000));
        check("2m", Ok(120_000));
        check("1h", Ok(3_600_000));
        check("1d", Ok(86_400_000));
        check("007s", Ok(7_000));
    }

    #[test]
    fn zero_is_one_bucket() {
        check("0s", Ok(0));
        check("000ms", Ok(0));
    }

    #[test]
    fn what_heapster_refused_is_refused_in_its_words() {
        check("5", Err("unable to parse bucket size: \"5\" is too short to be a duration"));
        check("s", Err("unable to parse bucket size: \"s\" is too short to be a duration"));
        for text in ["30", "10S", "1w", "abc", "10s ", "é5"] {
            let expected =
                format!("unable to parse bucket size: {text:?} has no known duration suffix");
            check(text, Err(&expected));
        }
        check("1.5s", Err("strconv.ParseUint: parsing \"1.5\": invalid syntax"));
        check("-1s", Err("strconv.ParseUint: parsing \"-1\": invalid syntax"));
        check("+1s", Err("strconv.ParseUint: parsing \"+1\": invalid syntax"));
        check("1us", Err("strconv.ParseUint: parsing \"1u\": invalid syntax"));
        check("ms", Err("strconv.ParseUint: parsing \"m\": invalid syntax"));
        check(
            "99999999999999999999s",
            Err("strconv.ParseUint: parsing \"99999999999999999999\": value out of range"),
        );
    }

    #[test]
    fn what_would_overflow_is_refused_instead() {
        check("106751d", Ok(MS_MOST));
        check("106752d", Err("unable to parse bucket size: \"106752d\" is longer than 106751d"));
        check("300000d", Err("unable to parse bucket size: \"300000d\" is longer than 106751d"));
        let most = format!("{}d", u64::MAX);
        check(&most, Err(&format!("unable to parse bucket size: {most:?} is longer than 106751d")));
    }
}
