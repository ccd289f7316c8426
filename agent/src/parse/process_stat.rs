//! `/proc/PID/stat`: a process's name and state.
//!
//! `4711 (name) S 1 …`. The name may hold anything, brackets and line ends too, so it ends at the
//! last closing bracket.

use super::line::BadLine;

/// What we take from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat<'a> {
    /// Its name, cut by the kernel after 15 bytes.
    pub name: &'a [u8],
    /// `R` when it runs or could run.
    pub state: u8,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<ProcessStat<'_>, BadLine> {
    stat(text).ok_or(BadLine { line_no: 1 })
}

fn stat(text: &[u8]) -> Option<ProcessStat<'_>> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    Some(ProcessStat { name: text.get(open + 1..close)?, state: *text.get(close + 2)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets() {
        let found = parse(b"4711 (a) (b) R 1 2 3\n");
        assert_eq!(found, Ok(ProcessStat { name: b"a) (b", state: b'R' }));
        for bad in ["", "1", "1 )x( S", "1 (x)", "1 (x) "] {
            assert_eq!(parse(bad.as_bytes()), Err(BadLine { line_no: 1 }), "{bad:?}");
        }
    }
}
