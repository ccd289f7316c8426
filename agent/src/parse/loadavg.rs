//! `/proc/loadavg`: `0.35 0.78 0.54 2/102 10165`.

use super::line::{BadLine, decimal, trimmed, words};

/// What it says about tasks right now. The averages are not used: an average over a window of
/// the kernel's choice is no sample of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tasks {
    /// Tasks that run or could run.
    pub runnable: u64,
    /// Tasks that exist: threads of all processes and of the kernel.
    pub existing: u64,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<Tasks, BadLine> {
    tasks(trimmed(text)).ok_or(BadLine { line_no: 1 })
}

fn tasks(line: &[u8]) -> Option<Tasks> {
    let counts = words(line).nth(3)?;
    let (runnable, existing) = counts.split_at(counts.iter().position(|byte| *byte == b'/')?);
    Some(Tasks { runnable: decimal(runnable)?, existing: decimal(existing.get(1..)?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_word_counts_tasks() {
        let tasks = Tasks { runnable: 2, existing: 102 };
        assert_eq!(parse(b"0.35 0.78 0.54 2/102 10165\n"), Ok(tasks));
        assert_eq!(parse(b"0.35 0.78 0.54\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(parse(b"0.35 0.78 0.54 2\n"), Err(BadLine { line_no: 1 }));
    }
}
