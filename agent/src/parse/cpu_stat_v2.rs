//! `cpu.stat` of cgroup v2: CPU time, and how often the limit held the group back.
//!
//! The kernel leaves the throttling keys out where the cpu controller is off, so they may be
//! absent while the usage is there. Times are microseconds in the file and nanoseconds here.

use super::line::{BadLine, each_key};

const NS_PER_US: u64 = 1000;

/// The fields of v2's `cpu.stat` that we report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStatV2 {
    /// User and system time together, in nanoseconds.
    pub usage_ns: Option<u64>,
    /// Periods in which the limit was enforced.
    pub periods: Option<u64>,
    /// Periods in which it held the group back.
    pub throttled_periods: Option<u64>,
    /// How long it did, in nanoseconds.
    pub throttled_ns: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<CpuStatV2, BadLine> {
    let mut stat = CpuStatV2::default();
    each_key(text, |key, number| match key {
        b"usage_usec" => stat.usage_ns = Some(number.saturating_mul(NS_PER_US)),
        b"nr_periods" => stat.periods = Some(number),
        b"nr_throttled" => stat.throttled_periods = Some(number),
        b"throttled_usec" => stat.throttled_ns = Some(number.saturating_mul(NS_PER_US)),
        _ => (),
    })?;
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_cpu_controller_only_the_usage_is_there() {
        let text = b"usage_usec 578779142\nuser_usec 514070448\nsystem_usec 64708693\n";
        let expected = CpuStatV2 { usage_ns: Some(578_779_142_000), ..CpuStatV2::default() };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn absent_is_not_zero() {
        assert_eq!(parse(b"usage_usec 0\n").unwrap().usage_ns, Some(0));
        assert_eq!(parse(b"user_usec 0\n").unwrap().usage_ns, None);
    }

    #[test]
    fn throttling_is_reported_in_nanoseconds() {
        let stat = parse(b"nr_periods 3\nnr_throttled 2\nthrottled_usec 7\n").unwrap();
        assert_eq!(
            (stat.periods, stat.throttled_periods, stat.throttled_ns),
            (Some(3), Some(2), Some(7000))
        );
    }

    #[test]
    fn negative_number_is_refused_with_its_line() {
        assert_eq!(parse(b"usage_usec 7\nthrottled_usec -1\n"), Err(BadLine { line_no: 2 }));
    }
}
