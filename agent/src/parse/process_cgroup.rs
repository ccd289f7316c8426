//! `/proc/PID/cgroup`: which cgroups a process is in, one line a hierarchy: `4:cpu,cpuacct:/docker/ID`,
//! and of v2 `0::/docker/ID`.
//!
//! Paths are told from the reader's own cgroup namespace: `/../web` is a sibling of its root, whose
//! name it is not told. What follows the last `..` is then the end of the real path.

use super::line::{BadLine, lines};

/// Where a process is, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// The whole path.
    At(&'a [u8]),
    /// The end of it.
    EndsWith(&'a [u8]),
}

/// Calls `take` with the process's place in each hierarchy.
pub fn each<'a>(text: &'a [u8], mut take: impl FnMut(Place<'a>)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        let path = line.splitn(3, |byte| *byte == b':').nth(2);
        take(place(path.ok_or(BadLine { line_no })?));
    }
    Ok(())
}

fn place(path: &[u8]) -> Place<'_> {
    let mut rest = path;
    while let Some(after) =
        rest.strip_prefix(b"/..").filter(|after| matches!(after, [] | [b'/', ..]))
    {
        rest = after;
    }
    if rest.len() == path.len() { Place::At(path) } else { Place::EndsWith(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_from_another_namespace_is_an_end() {
        let text = b"12:pids:/a:b\n1:name=systemd:/../../docker/x\n0::/..\n0::/..a\n";
        let mut found = Vec::new();
        each(text, |place| found.push(place)).unwrap();
        let expected = [
            Place::At(b"/a:b"),
            Place::EndsWith(b"/docker/x"),
            Place::EndsWith(b""),
            Place::At(b"/..a"),
        ];
        assert_eq!(found, expected);
        assert_eq!(each(b"0:\n", |_| ()), Err(BadLine { line_no: 1 }));
    }
}
