//! `/proc/PID/stat`: a process's name, its state, and when it started.
//!
//! `4711 (name) S 1 …`. The name may hold anything, brackets and line ends too, so it ends at the
//! last closing bracket.

use super::line::{BadLine, decimal, words};

/// Where the start stands among the words that begin with the state: field 22 of the file, where
/// the state is field 3.
const START_WORD: usize = 19;

/// What we take from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat<'a> {
    /// Its name, cut by the kernel after 15 bytes.
    pub name: &'a [u8],
    /// `R` when it runs or could run.
    pub state: u8,
    /// When it started, in hundredths of a second after the boot, whatever the kernel's own clock.
    pub start_cs: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<ProcessStat<'_>, BadLine> {
    stat(text).ok_or(BadLine { line_no: 1 })
}

fn stat(text: &[u8]) -> Option<ProcessStat<'_>> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let after = text.get(close + 2..)?;
    let start_cs = words(after).nth(START_WORD).and_then(decimal);
    Some(ProcessStat { name: text.get(open + 1..close)?, state: *after.first()?, start_cs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets() {
        let found = parse(b"4711 (a) (b) R 1 2 3\n");
        assert_eq!(found, Ok(ProcessStat { name: b"a) (b", state: b'R', start_cs: None }));
        for bad in ["", "1", "1 )x( S", "1 (x)", "1 (x) "] {
            assert_eq!(parse(bad.as_bytes()), Err(BadLine { line_no: 1 }), "{bad:?}");
        }
    }

    #[test]
    fn the_start_is_the_twenty_second_field() {
        let text = b"1 (init) S 0 1 1 0 -1 4194560 90 0 1 0 5 7 0 0 20 0 1 0 4321 22 33\n";
        assert_eq!(parse(text).unwrap().start_cs, Some(4321));
    }
}
