//! Pressure stall information: `cpu.pressure` and its like, `/proc/pressure/cpu` and its like.
//!
//! `some avg10=0.14 avg60=1.24 avg300=6.64 total=75285237`, and the same for `full`. Only the totals
//! are of use: averages over fixed windows are what the aggregator's rates do better. The line
//! `full` of a CPU file came with 5.13 for groups, so it may be absent. Totals are microseconds in the
//! file and nanoseconds here.

use super::line::{BadLine, decimal, lines, words};

const NS_PER_US: u64 = 1000;

/// How long tasks waited for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Time in which at least one task waited (`some`), in nanoseconds.
    pub waiting_ns: Option<u64>,
    /// Time in which all tasks waited at once (`full`), in nanoseconds.
    pub stalled_ns: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<Pressure, BadLine> {
    let mut pressure = Pressure::default();
    for (line_no, line) in lines(text) {
        let bad = BadLine { line_no };
        let mut words = words(line);
        let place = match words.next() {
            Some(b"some") => &mut pressure.waiting_ns,
            Some(b"full") => &mut pressure.stalled_ns,
            _ => continue,
        };
        let total = words.find_map(|word| word.strip_prefix(b"total=")).ok_or(bad)?;
        *place = Some(decimal(total).ok_or(bad)?.saturating_mul(NS_PER_US));
    }
    Ok(pressure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, waiting_ns: Option<u64>, stalled_ns: Option<u64>) {
        assert_eq!(parse(text.as_bytes()), Ok(Pressure { waiting_ns, stalled_ns }), "{text:?}");
    }

    #[test]
    fn totals_are_reported_in_nanoseconds() {
        check(
            "some avg10=0.14 avg60=1.24 avg300=6.64 total=75285237\n\
             full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",
            Some(75_285_237_000),
            Some(12_000),
        );
    }

    #[test]
    fn an_old_kernel_has_no_full_line_for_cpu() {
        check("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", Some(0), None);
    }

    #[test]
    fn a_line_without_a_total_is_named() {
        assert_eq!(parse(b"some avg10=0.00\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(parse(b"some total=x\n"), Err(BadLine { line_no: 1 }));
    }
}
