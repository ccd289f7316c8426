//! `/proc/vmstat`: what the whole node's memory management did since boot.

use super::line::{BadLine, decimal, lines};

/// The fields that we report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmstat {
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Processes killed for lack of memory; absent before 4.13.
    pub oom_kills: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<Vmstat, BadLine> {
    let mut stat = Vmstat::default();
    for (line_no, line) in lines(text) {
        let bad = BadLine { line_no };
        let (key, number) = line.split_at(line.iter().position(|b| *b == b' ').ok_or(bad)?);
        let place = match key {
            b"pgfault" => &mut stat.page_faults,
            b"pgmajfault" => &mut stat.major_page_faults,
            b"oom_kill" => &mut stat.oom_kills,
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
    fn an_old_kernel_counts_no_kills() {
        let stat = parse(b"nr_free_pages 1\npgfault 8\npgmajfault 0\n").unwrap();
        let expected = Vmstat { page_faults: Some(8), major_page_faults: Some(0), oom_kills: None };
        assert_eq!(stat, expected);
        assert_eq!(parse(b"oom_kill 2\n").unwrap().oom_kills, Some(2));
        assert_eq!(parse(b"pgfault\n"), Err(BadLine { line_no: 1 }));
    }
}
