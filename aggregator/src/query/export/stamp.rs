//! Times as the export shows them: always 20 bytes, so that one can be written over another.

use jiff::Timestamp;
use tally_proto::tick::UnixMs;

/// `2026-11-23T08:45:20Z`.
pub(super) type Stamp = [u8; 20];

const SECONDS_OF_DAY: i64 = 86_400;

/// Makes stamps. Most are of the day before it, whose date is kept: the calendar takes longer
/// than all else.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    day: Option<(i64, Stamp)>,
}

impl Stamps {
    /// The second in which `at` is, in UTC; `None` outside the years 0 to 9999.
    pub(super) fn of(&mut self, at: UnixMs) -> Option<Stamp> {
        let seconds = at.0.div_euclid(1000);
        let day = seconds.div_euclid(SECONDS_OF_DAY);
        let midnight = match self.day {
            Some((known, midnight)) if known == day => midnight,
            _ => {
                let midnight = midnight(day)?;
                self.day = Some((day, midnight));
                midnight
            }
        };
        let of_day = seconds.rem_euclid(SECONDS_OF_DAY);
        let ([h, i], [m, n], [s, t]) =
            (digits(of_day / 3600), digits(of_day / 60 % 60), digits(of_day % 60));
        let mut stamp = midnight;
        let [.., hour, hours, _, minute, minutes, _, second, seconds, _] = &mut stamp;
        (*hour, *hours, *minute, *minutes, *second, *seconds) = (h, i, m, n, s, t);
        Some(stamp)
    }
}

fn midnight(day: i64) -> Option<Stamp> {
    let seconds = day.checked_mul(SECONDS_OF_DAY)?;
    Timestamp::from_second(seconds).ok()?.to_string().into_bytes().try_into().ok()
}

/// Two decimal digits of a number under 100.
fn digits(number: i64) -> [u8; 2] {
    let digit = |number: i64| u8::try_from(number % 10).map_or(b'0', |digit| b'0' + digit);
    [digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(at_ms: i64, expected: Option<&str>) {
        let stamp = Stamps::default().of(UnixMs(at_ms));
        assert_eq!(stamp.as_ref().map(|stamp| std::str::from_utf8(stamp).unwrap()), expected);
    }

    #[test]
    fn a_stamp_is_the_second_in_utc() {
        check(0, Some("1970-01-01T00:00:00Z"));
        check(1_795_423_520_999, Some("2026-11-23T08:45:20Z"));
        check(-1, Some("1969-12-31T23:59:59Z"));
    }

    #[test]
    fn a_year_that_takes_more_than_four_digits_has_none() {
        check(253_402_300_800_000, None);
        check(i64::MAX, None);
        check(i64::MIN, None);
    }

    proptest! {
        #[test]
        fn stamps_are_what_the_calendar_says(times in prop::collection::vec(0i64..4_000_000_000, 1..9)) {
            let mut stamps = Stamps::default();
            for seconds in times {
                let stamp = stamps.of(UnixMs(seconds * 1000)).unwrap();
                let expected = Timestamp::from_second(seconds).unwrap().to_string();
                prop_assert_eq!(std::str::from_utf8(&stamp).unwrap(), expected);
            }
        }
    }
}
