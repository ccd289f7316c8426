//! Points in time as clients write them and as answers show them.
//!
//! RFC 3339 and nothing else, strictly as Heapster read it: capital `T` and `Z`, a zone always,
//! no second 60, no hour 24. Fractions may have any length, after a point or a comma. The
//! grammar is ours, because libraries accept more; the calendar is jiff's.

use jiff::{Timestamp, civil::Date};
use tally_proto::tick::{Tick, UnixMs};

/// A point in time, to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    /// Seconds since the epoch, rounded down.
    seconds: i64,
    /// Nanoseconds after that, under a billion.
    nanos: u32,
}

impl Moment {
    /// The first second that is not before this moment.
    pub(super) fn first_tick(self) -> Tick {
        let seconds = self.seconds.saturating_add(i64::from(self.nanos != 0));
        Tick(u64::try_from(seconds).unwrap_or(0))
    }

    /// So many milliseconds after the epoch.
    pub(super) fn from_ms(ms: u64) -> Self {
        UnixMs(i64::try_from(ms).unwrap_or(i64::MAX)).into()
    }

    /// Whether it is the first moment of year 1: what Go has for no time at all.
    pub(super) fn is_go_zero(self) -> bool {
        self == Self { seconds: -62_135_596_800, nanos: 0 }
    }

    /// The last second that is not after this moment; `None` before the epoch.
    pub(super) fn last_tick(self) -> Option<Tick> {
        u64::try_from(self.seconds).ok().map(Tick)
    }
}

impl From<UnixMs> for Moment {
    fn from(at: UnixMs) -> Self {
        let nanos = u32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
        Self { seconds: at.0.div_euclid(1000), nanos }
    }
}

/// Text that is no time. The wording begins as Heapster's did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "timestamp argument cannot be parsed: {0:?} is not RFC 3339, such as 2026-11-23T08:45:40Z \
     (write the + of a zone as %2B)"
)]
pub(super) struct BadTime(pub String);

/// Reads `YYYY-MM-DDTHH:MM:SS[.fraction](Z|±hh:mm)`.
pub(super) fn parse(text: &str) -> Result<Moment, BadTime> {
    moment(text.as_bytes()).ok_or_else(|| BadTime(text.to_owned()))
}

/// `tick` as answers show it, always UTC.
pub(super) fn rfc3339(tick: Tick) -> String {
    let seconds = i64::try_from(tick.0).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

/// `moment` to the nanosecond, without zeros at the end, always UTC.
pub(super) fn rfc3339_exact(moment: Moment) -> String {
    let nanos = i32::try_from(moment.nanos).unwrap_or(0);
    Timestamp::new(moment.seconds, nanos).unwrap_or(Timestamp::MAX).to_string()
}

fn moment(text: &[u8]) -> Option<Moment> {
    let (year, text) = number(text, 4)?;
    let (month, text) = number(symbol(text, b'-')?, 2)?;
    let (day, text) = number(symbol(text, b'-')?, 2)?;
    let (hour, text) = number(symbol(text, b'T')?, 2)?;
    let (minute, text) = number(symbol(text, b':')?, 2)?;
    let (second, text) = number(symbol(text, b':')?, 2)?;
    let (nanos, text) = fraction(text)?;
    if 23 < hour || 59 < minute || 59 < second {
        return None;
    }
    let date = Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()?;
    let days = date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
    let of_day = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Some(Moment { seconds: days * 86_400 + of_day - offset(text)?, nanos })
}

/// Exactly `digits` digits, and what follows them.
fn number(text: &[u8], digits: usize) -> Option<(i16, &[u8])> {
    let (head, rest) = text.split_at_checked(digits)?;
    let mut number = 0;
    for byte in head {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        number = number * 10 + i16::from(digit);
    }
    Some((number, rest))
}

fn symbol(text: &[u8], symbol: u8) -> Option<&[u8]> {
    text.strip_prefix(&[symbol])
}

/// Nanoseconds of an optional fraction, digits beyond the ninth cut off.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.' | b',', digits @ ..] = text else {
        return Some((0, text));
    };
    let (mut nanos, mut unit, mut rest) = (0, 100_000_000, digits);
    while let Some((number, after)) = number(rest, 1) {
        nanos += u32::try_from(number).ok()? * unit;
        (unit, rest) = (unit / 10, after);
    }
    (rest.len() < digits.len()).then_some((nanos, rest))
}

/// Seconds east of UTC. Nothing may follow.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, text) = match text {
        b"Z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, text) = number(text, 2)?;
    let (minutes, text) = number(symbol(text, b':')?, 2)?;
    let valid = text.is_empty() && hours <= 24 && minutes <= 59;
    valid.then_some(sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(i64, u32)>) {
        let expected = expected.map(|(seconds, nanos)| Moment { seconds, nanos });
        assert_eq!(parse(text).ok(), expected, "input: {text:?}");
    }

    #[test]
    fn zones_and_fractions_count() {
        check("2026-11-23T08:45:20Z", Some((1_795_423_520, 0)));
        check("2026-11-23T14:15:20+05:30", Some((1_795_423_520, 0)));
        check("2026-11-23T00:45:20-08:00", Some((1_795_423_520, 0)));
        check("2026-11-23T08:45:20.5Z", Some((1_795_423_520, 500_000_000)));
        check("2026-11-23T08:45:20,5Z", Some((1_795_423_520, 500_000_000)));
        check("2026-11-23T08:45:20.1234567899Z", Some((1_795_423_520, 123_456_789)));
    }

    #[test]
    fn the_calendar_is_checked_and_reaches_from_year_0_to_9999() {
        check("1970-01-01T00:00:00Z", Some((0, 0)));
        check("0000-01-01T00:00:00Z", Some((-62_167_219_200, 0)));
        check("0001-01-01T00:00:00Z", Some((-62_135_596_800, 0)));
        check("9999-12-31T23:59:59Z", Some((253_402_300_799, 0)));
        check("2024-02-29T00:00:00Z", Some((1_709_164_800, 0)));
        check("2026-02-29T00:00:00Z", None);
        check("2026-13-01T00:00:00Z", None);
        check("2026-11-23T24:00:00Z", None);
        check("2026-11-23T08:60:00Z", None);
        check("2026-11-23T08:00:60Z", None);
    }

    #[test]
    fn anything_but_rfc3339_is_refused() {
        for text in [
            "",
            "foo",
            "1795423520",
            "2026-11-23",
            "2026-11-23 08:45:20Z",
            "2026-11-23T08:45:20",
            "2026-11-23t08:45:20Z",
            "2026-11-23T08:45:20z",
            "2026-11-23T08:45:20 05:30",
            "2026-11-23T08:45:20.Z",
            "2026-11-23T08:45:20+0530",
            "2026-11-23T08:45:20Zx",
            "2026-11-23T8:45:20Z",
            "+026-11-23T08:45:20Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_range_holds_the_ticks_between_its_ends() {
        let at = parse("1970-01-01T00:00:10.5Z").unwrap();
        assert_eq!((at.first_tick(), at.last_tick()), (Tick(11), Some(Tick(10))));
        let exact = parse("1970-01-01T00:00:10Z").unwrap();
        assert_eq!((exact.first_tick(), exact.last_tick()), (Tick(10), Some(Tick(10))));
        let before = parse("1969-12-31T23:59:59Z").unwrap();
        assert_eq!((before.first_tick(), before.last_tick()), (Tick(0), None));
    }

    #[test]
    fn ticks_are_shown_in_utc() {
        assert_eq!(rfc3339(Tick(1_795_423_520)), "2026-11-23T08:45:20Z");
    }

    #[test]
    fn a_moment_is_shown_to_the_nanosecond() {
        for (text, shown) in [
            ("2026-11-23T08:45:20Z", "2026-11-23T08:45:20Z"),
            ("2026-11-23T14:15:20.5+05:30", "2026-11-23T08:45:20.5Z"),
            ("1969-12-31T23:59:58.000000001Z", "1969-12-31T23:59:58.000000001Z"),
            ("0001-01-01T00:00:00.5Z", "0001-01-01T00:00:00.5Z"),
        ] {
            assert_eq!(rfc3339_exact(parse(text).unwrap()), shown, "{text}");
        }
        assert_eq!(rfc3339_exact(Moment::from_ms(1_500)), "1970-01-01T00:00:01.5Z");
    }

    #[test]
    fn only_the_first_moment_of_year_one_is_gos_zero() {
        let is_zero = |text| parse(text).unwrap().is_go_zero();
        assert!(is_zero("0001-01-01T00:00:00Z") && is_zero("0001-01-01T05:30:00.0+05:30"));
        assert!(!is_zero("0001-01-01T00:00:00.1Z") && !is_zero("1970-01-01T00:00:00Z"));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(tick in 0u64..253_402_200_000) {
            prop_assert_eq!(parse(&rfc3339(Tick(tick))).unwrap().last_tick(), Some(Tick(tick)));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            drop(parse(&text));
        }
    }
}
