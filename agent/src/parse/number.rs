//! Files that hold one number, or a limit: `memory.current`, `cpuacct.usage`, `pids.max`, …

use super::line::{BadLine, decimal, trimmed};

/// A limit that a cgroup sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// There is none.
    Unlimited,
    /// This much.
    At(u64),
}

impl Limit {
    /// The limit, where there is one.
    pub fn at(self) -> Option<u64> {
        match self {
            Self::Unlimited => None,
            Self::At(limit) => Some(limit),
        }
    }
}

/// The largest multiple of a page that a signed 64-bit number holds: how v1 writes "unlimited".
const UNLIMITED_V1: u64 = 9_223_372_036_854_771_712;

/// A file of one number.
pub fn parse_number(text: &[u8]) -> Result<u64, BadLine> {
    decimal(trimmed(text)).ok_or(BadLine { line_no: 1 })
}

/// A limit of v2 (and of the pids controller everywhere): a number or `max`.
pub fn parse_limit(text: &[u8]) -> Result<Limit, BadLine> {
    match trimmed(text) {
        b"max" => Ok(Limit::Unlimited),
        number => decimal(number).map(Limit::At).ok_or(BadLine { line_no: 1 }),
    }
}

/// A memory limit of v1: always a number, a huge one when unlimited. Kernels with pages of 64 KiB
/// write a slightly smaller one.
pub fn parse_memory_limit_v1(text: &[u8]) -> Result<Limit, BadLine> {
    let bytes = parse_number(text)?;
    let unlimited = UNLIMITED_V1 - (64 << 10) < bytes;
    Ok(if unlimited { Limit::Unlimited } else { Limit::At(bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_is_no_limit() {
        assert_eq!(parse_limit(b"max\n"), Ok(Limit::Unlimited));
        assert_eq!(parse_limit(b"0\n"), Ok(Limit::At(0)));
        assert_eq!(parse_limit(b"-1\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(parse_limit(b""), Err(BadLine { line_no: 1 }));
    }

    #[test]
    fn the_huge_number_of_v1_is_no_limit() {
        for unlimited in ["9223372036854771712\n", "9223372036854710272\n", "9223372036854775807\n"]
        {
            assert_eq!(parse_memory_limit_v1(unlimited.as_bytes()), Ok(Limit::Unlimited));
        }
        assert_eq!(parse_memory_limit_v1(b"67108864\n"), Ok(Limit::At(64 << 20)));
    }

    #[test]
    fn a_number_may_end_with_a_line_end() {
        assert_eq!(parse_number(b"42\n"), Ok(42));
        assert_eq!(parse_number(b"42"), Ok(42));
        assert_eq!(parse_number(b"42 43"), Err(BadLine { line_no: 1 }));
    }
}
