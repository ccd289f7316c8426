//! `/proc/meminfo`: the node's memory. The file's unit, written kB, is 1,024 bytes.

use super::line::{BadLine, decimal, lines, words};

const FILE_UNIT_BYTES: u64 = 1024;

/// The fields that we report or compute with, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// All memory.
    pub total: Option<u64>,
    /// Memory that nothing uses.
    pub free: Option<u64>,
    /// Anonymous pages.
    pub anonymous: Option<u64>,
    /// Page cache.
    pub cached: Option<u64>,
    /// Page cache that the kernel would drop first.
    pub inactive_file: Option<u64>,
    /// All swap space.
    pub swap_total: Option<u64>,
    /// Swap space that nothing uses.
    pub swap_free: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<Meminfo, BadLine> {
    let mut info = Meminfo::default();
    for (line_no, line) in lines(text) {
        let mut words = words(line);
        let place = match words.next() {
            Some(b"MemTotal:") => &mut info.total,
            Some(b"MemFree:") => &mut info.free,
            Some(b"AnonPages:") => &mut info.anonymous,
            Some(b"Cached:") => &mut info.cached,
            Some(b"Inactive(file):") => &mut info.inactive_file,
            Some(b"SwapTotal:") => &mut info.swap_total,
            Some(b"SwapFree:") => &mut info.swap_free,
            _ => continue,
        };
        let number = words.next().and_then(decimal).ok_or(BadLine { line_no })?;
        *place = Some(number.saturating_mul(FILE_UNIT_BYTES));
    }
    Ok(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_reported_in_bytes() {
        let info =
            parse(b"MemTotal:       24684096 kB\nMemFree:  1 kB\nHugePages_Total:   0\n").unwrap();
        assert_eq!((info.total, info.free), (Some(24_684_096 << 10), Some(1024)));
        assert_eq!(info.swap_total, None);
    }

    #[test]
    fn a_line_without_its_number_is_named() {
        assert_eq!(parse(b"MemTotal: 1 kB\nMemFree: x kB\n"), Err(BadLine { line_no: 2 }));
    }
}
