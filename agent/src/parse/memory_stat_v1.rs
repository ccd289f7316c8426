//! `memory.stat` of cgroup v1.
//!
//! The file lists each figure twice: for the group alone, and with `total_` for the group and all
//! below it. We report the latter, because nested cgroups count to the container above them, and
//! because `memory.usage_in_bytes` counts them too.

use super::line::{BadLine, decimal, lines};

/// The fields of v1's `memory.stat` that we report, all of them hierarchical.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStatV1 {
    /// Page cache in bytes, shared memory included.
    pub cache: Option<u64>,
    /// Anonymous memory in bytes.
    pub rss: Option<u64>,
    /// Swap in use in bytes; absent where swap is not accounted.
    pub swap: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Page cache that the kernel would drop first, in bytes.
    pub inactive_file: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<MemoryStatV1, BadLine> {
    let mut stat = MemoryStatV1::default();
    for (line_no, line) in lines(text) {
        // Half of the lines are the group's own figures: not worth parsing their numbers.
        let Some(line) = line.strip_prefix(b"total_") else { continue };
        let bad = BadLine { line_no };
        let (key, number) = line.split_at(line.iter().position(|b| *b == b' ').ok_or(bad)?);
        let place = match key {
            b"cache" => &mut stat.cache,
            b"rss" => &mut stat.rss,
            b"swap" => &mut stat.swap,
            b"pgfault" => &mut stat.page_faults,
            b"pgmajfault" => &mut stat.major_page_faults,
            b"inactive_file" => &mut stat.inactive_file,
            _ => continue,
        };
        *place = Some(number.get(1..).and_then(decimal).ok_or(bad)?);
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_with_all_below_count() {
        let text = b"cache 1\nrss 2\npgfault 3\ninactive_file 4\nhierarchical_memory_limit 9\n\
            total_cache 10\ntotal_rss 20\ntotal_rss_huge 21\ntotal_swap 5\ntotal_pgfault 30\n\
            total_pgmajfault 0\ntotal_inactive_file 40\n";
        let expected = MemoryStatV1 {
            cache: Some(10),
            rss: Some(20),
            swap: Some(5),
            page_faults: Some(30),
            major_page_faults: Some(0),
            inactive_file: Some(40),
        };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn without_swap_accounting_swap_is_absent() {
        assert_eq!(parse(b"total_cache 10\n").unwrap().swap, None);
    }

    #[test]
    fn a_line_without_its_number_is_named() {
        assert_eq!(parse(b"total_cache 1\ntotal_rss\n"), Err(BadLine { line_no: 2 }));
        assert_eq!(parse(b"total_rss x\n"), Err(BadLine { line_no: 1 }));
    }
}
