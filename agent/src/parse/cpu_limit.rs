//! A cgroup's own CPU limit: `cpu.max` of v2, `cpu.cfs_quota_us` and `cpu.cfs_period_us` of v1.

use super::{
    line::{BadLine, decimal, trimmed, words},
    number::Limit,
};

/// A limit in microseconds of CPU time each period, and the period.
fn millicores(quota_us: u64, period_us: u64) -> Option<u64> {
    quota_us.checked_mul(1000)?.checked_div(period_us)
}

/// `cpu.max`: quota and period, the quota a number or `max`. The limit is in millicores.
pub fn parse_v2(text: &[u8]) -> Result<Limit, BadLine> {
    let bad = BadLine { line_no: 1 };
    let mut words = words(trimmed(text));
    let (quota, period) = (words.next().ok_or(bad)?, words.next().ok_or(bad)?);
    if quota == b"max" {
        return Ok(Limit::Unlimited);
    }
    let (quota, period) = (decimal(quota).ok_or(bad)?, decimal(period).ok_or(bad)?);
    millicores(quota, period).map(Limit::At).ok_or(bad)
}

/// `cpu.cfs_quota_us`: microseconds of CPU time each period; -1 is no limit.
pub fn parse_quota_v1(text: &[u8]) -> Result<Limit, BadLine> {
    match trimmed(text) {
        b"-1" => Ok(Limit::Unlimited),
        quota => decimal(quota).map(Limit::At).ok_or(BadLine { line_no: 1 }),
    }
}

/// The limit of v1 in millicores. `None` when its period makes no sense.
pub fn limit_v1(quota: Limit, period_us: u64) -> Option<Limit> {
    match quota {
        Limit::Unlimited => Some(Limit::Unlimited),
        Limit::At(quota_us) => millicores(quota_us, period_us).map(Limit::At),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_over_period_is_millicores() {
        assert_eq!(parse_v2(b"25000 100000\n"), Ok(Limit::At(250)));
        assert_eq!(parse_v2(b"max 100000\n"), Ok(Limit::Unlimited));
        assert_eq!(limit_v1(Limit::At(200_000), 100_000), Some(Limit::At(2000)));
        assert_eq!(limit_v1(Limit::Unlimited, 100_000), Some(Limit::Unlimited));
    }

    #[test]
    fn a_period_of_zero_is_no_number() {
        assert_eq!(parse_v2(b"1 0\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(limit_v1(Limit::At(1), 0), None);
    }

    #[test]
    fn only_minus_one_is_no_limit_on_v1() {
        assert_eq!(parse_quota_v1(b"-1\n"), Ok(Limit::Unlimited));
        assert_eq!(parse_quota_v1(b"-2\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(parse_quota_v1(b"25000\n"), Ok(Limit::At(25_000)));
    }
}
