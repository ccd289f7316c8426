//! `cpu.stat` of cgroup v1: how often the CPU limit held the group back. Times are nanoseconds.

use super::line::{BadLine, each_key};

/// The fields of v1's `cpu.stat` that we report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuStatV1 {
    /// Periods in which the limit was enforced.
    pub periods: Option<u64>,
    /// Periods in which it held the group back.
    pub throttled_periods: Option<u64>,
    /// How long it did, in nanoseconds.
    pub throttled_ns: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<CpuStatV1, BadLine> {
    let mut stat = CpuStatV1::default();
    each_key(text, |key, number| match key {
        b"nr_periods" => stat.periods = Some(number),
        b"nr_throttled" => stat.throttled_periods = Some(number),
        b"throttled_time" => stat.throttled_ns = Some(number),
        _ => (),
    })?;
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_keys_mean_nothing_here() {
        let text = b"nr_periods 40\nnr_throttled 39\nthrottled_time 2961031012\nnr_bursts 0\nthrottled_usec 5\n";
        let expected = CpuStatV1 {
            periods: Some(40),
            throttled_periods: Some(39),
            throttled_ns: Some(2_961_031_012),
        };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(b""), Ok(CpuStatV1::default()));
    }
}
