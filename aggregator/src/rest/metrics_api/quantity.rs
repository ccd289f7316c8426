//! Amounts and durations as Kubernetes writes them: in the one canonical form that its own
//! `resource.Quantity` and Go's `time.Duration` have.

/// Suffixes of decimal amounts, from a billionth on, each a thousand times the one before.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// Suffixes of binary amounts, each 1,024 times the one before.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// What is smaller is written as a decimal amount even where binary ones are wanted.
const BINARY_FROM: u64 = 1024;

/// What an amount is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Billionths,
    Thousandths,
    Ones,
}

/// Appends a decimal amount: with the largest suffix that leaves a whole number.
pub(super) fn push_decimal(amount: u64, unit: Unit, out: &mut Vec<u8>) {
    // The suffix that it has as it is.
    let first = match unit {
        Unit::Billionths => 0,
        Unit::Thousandths => 2,
        Unit::Ones => 3,
    };
    push_scaled(amount, 1000, DECIMAL.get(first..).unwrap_or_default(), out);
}

/// Appends a number of bytes: with the largest binary suffix that leaves a whole number.
pub(super) fn push_bytes(bytes: u64, out: &mut Vec<u8>) {
    if bytes < BINARY_FROM {
        push_decimal(bytes, Unit::Ones, out);
    } else {
        push_scaled(bytes, 1024, &BINARY, out);
    }
}

fn push_scaled(mut amount: u64, step: u64, suffixes: &[&str], out: &mut Vec<u8>) {
    let mut suffixes = suffixes.iter();
    let mut suffix = suffixes.next();
    while amount != 0
        && amount.is_multiple_of(step)
        && let Some(larger) = suffixes.next()
    {
        amount /= step;
        suffix = Some(larger);
    }
    out.extend_from_slice(itoa::Buffer::new().format(amount).as_bytes());
    if amount != 0 {
        out.extend_from_slice(suffix.map_or(&[], |suffix| suffix.as_bytes()));
    }
}

/// Appends a time: `1h0m0.5s`, `17.9s`, `250ms`, `1.5ms`, `3µs`.
pub(super) fn push_duration(microseconds: u64, out: &mut Vec<u8>) {
    const SECOND: u64 = 1_000_000;
    let mut integer = itoa::Buffer::new();
    let mut push = |number: u64, out: &mut Vec<u8>| {
        out.extend_from_slice(integer.format(number).as_bytes());
    };
    if microseconds == 0 {
        out.extend_from_slice(b"0s");
    } else if microseconds < 1000 {
        push(microseconds, out);
        out.extend_from_slice("µs".as_bytes());
    } else if microseconds < SECOND {
        push(microseconds / 1000, out);
        push_fraction(microseconds % 1000, 3, out);
        out.extend_from_slice(b"ms");
    } else {
        let seconds = microseconds / SECOND;
        if 3600 <= seconds {
            push(seconds / 3600, out);
            out.push(b'h');
        }
        if 60 <= seconds {
            push(seconds / 60 % 60, out);
            out.push(b'm');
        }
        push(seconds % 60, out);
        push_fraction(microseconds % SECOND, 6, out);
        out.push(b's');
    }
}

/// A point and so many digits, without zeros at the end; nothing for 0.
fn push_fraction(mut fraction: u64, mut digits: usize, out: &mut Vec<u8>) {
    if fraction == 0 {
        return;
    }
    while fraction.is_multiple_of(10) {
        fraction /= 10;
        digits -= 1;
    }
    let mut integer = itoa::Buffer::new();
    let text = integer.format(fraction);
    out.push(b'.');
    out.resize(out.len() + digits - text.len(), b'0');
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(amount: u64, unit: Unit, expected: &str) {
        assert_eq!(text(|out| push_decimal(amount, unit, out)), expected);
    }

    #[track_caller]
    fn check_bytes(bytes: u64, expected: &str) {
        assert_eq!(text(|out| push_bytes(bytes, out)), expected);
    }

    #[track_caller]
    fn check_duration(microseconds: u64, expected: &str) {
        assert_eq!(text(|out| push_duration(microseconds, out)), expected);
    }

    #[test]
    fn cpu_has_the_largest_suffix_that_leaves_a_whole_number() {
        check(123_456_789, Unit::Billionths, "123456789n");
        check(0, Unit::Billionths, "0");
        check(1, Unit::Billionths, "1n");
        check(1000, Unit::Billionths, "1u");
        check(1_500_000, Unit::Billionths, "1500u");
        check(250_000_000, Unit::Billionths, "250m");
        check(2_000_000_000, Unit::Billionths, "2");
        check(1_000_000_000_000, Unit::Billionths, "1k");
        check(1_500_000_000_000, Unit::Billionths, "1500");
        check(100_000_000, Unit::Billionths, "100m");
        check(1500, Unit::Thousandths, "1500m");
        check(2000, Unit::Thousandths, "2");
    }

    #[test]
    fn memory_is_exact_in_the_largest_binary_unit() {
        check_bytes(0, "0");
        check_bytes(1023, "1023");
        check_bytes(1000, "1k");
        check_bytes(1024, "1Ki");
        check_bytes(1025, "1025");
        check_bytes(123_457, "123457");
        check_bytes(12_345 << 10, "12345Ki");
        check_bytes(1 << 20, "1Mi");
        check_bytes(1536 << 20, "1536Mi");
        check_bytes(5 << 30, "5Gi");
        check_bytes(1 << 60, "1Ei");
        check_bytes(u64::MAX, "18446744073709551615");
    }

    #[test]
    fn durations_are_as_go_writes_them() {
        check_duration(0, "0s");
        check_duration(3, "3µs");
        check_duration(1500, "1.5ms");
        check_duration(250_000, "250ms");
        check_duration(17_900_000, "17.9s");
        check_duration(15_000_000, "15s");
        check_duration(15_000_123, "15.000123s");
        check_duration(60_000_000, "1m0s");
        check_duration(3_600_500_000, "1h0m0.5s");
        check_duration(3_725_000_000, "1h2m5s");
    }
}
