//! `memory.stat` of cgroup v2. Every figure counts the group and all below it.

use super::line::{BadLine, decimal, lines};

/// The fields of v2's `memory.stat` that we report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStatV2 {
    /// Anonymous memory in bytes.
    pub anon: Option<u64>,
    /// Page cache in bytes, shared memory included.
    pub file: Option<u64>,
    /// Kernel memory in bytes. Kernels before 5.18 lack it, and its parts do not add up to it.
    pub kernel: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Page cache that the kernel would drop first, in bytes.
    pub inactive_file: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<MemoryStatV2, BadLine> {
    let mut stat = MemoryStatV2::default();
    for (line_no, line) in lines(text) {
        let bad = BadLine { line_no };
        let (key, number) = line.split_at(line.iter().position(|b| *b == b' ').ok_or(bad)?);
        let place = match key {
            b"anon" => &mut stat.anon,
            b"file" => &mut stat.file,
            b"kernel" => &mut stat.kernel,
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
    fn kernel_memory_is_absent_before_5_18() {
        let old =
            parse(b"anon 1\nfile 2\nkernel_stack 3\ninactive_file 4\npgfault 5\npgmajfault 6\n");
        let expected = MemoryStatV2 {
            anon: Some(1),
            file: Some(2),
            kernel: None,
            page_faults: Some(5),
            major_page_faults: Some(6),
            inactive_file: Some(4),
        };
        assert_eq!(old, Ok(expected));
        assert_eq!(parse(b"kernel 7\n").unwrap().kernel, Some(7));
    }

    #[test]
    fn v1_keys_mean_nothing_here() {
        assert_eq!(parse(b"total_rss 9\nrss 9\ncache 9\n"), Ok(MemoryStatV2::default()));
    }

    #[test]
    fn a_line_without_its_number_is_named() {
        assert_eq!(parse(b"anon 1\nfile -2\n"), Err(BadLine { line_no: 2 }));
        assert_eq!(parse(b"anon"), Err(BadLine { line_no: 1 }));
    }
}
