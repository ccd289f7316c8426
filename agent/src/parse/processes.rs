//! `cgroup.procs`, `cgroup.threads` and `tasks`: one id a line.

use super::line::{BadLine, decimal, lines};

/// How many ids there are.
pub fn count(text: &[u8]) -> u64 {
    lines(text).fold(0, |count, _| count + 1)
}

/// Each id. One of 0 is a process of another pid namespace: it has no name here.
pub fn each(text: &[u8], mut take: impl FnMut(u32)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        let id = decimal(line).and_then(|id| u32::try_from(id).ok()).ok_or(BadLine { line_no })?;
        if id != 0 {
            take(id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_counts() {
        assert_eq!(count(b""), 0);
        assert_eq!(count(b"1\n23\n"), 2);
    }

    #[test]
    fn ids_of_other_namespaces_are_skipped() {
        let mut found = Vec::new();
        assert_eq!(each(b"7\n0\n23\n", |id| found.push(id)), Ok(()));
        assert_eq!(found, [7, 23]);
        assert_eq!(each(b"7\nx\n", |_| ()), Err(BadLine { line_no: 2 }));
    }
}
