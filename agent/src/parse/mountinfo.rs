//! `/proc/PID/mountinfo`: what is mounted where.
//!
//! `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw,errors=continue`. Blanks,
//! tabs, line ends and backslashes in paths are octal escapes.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

use super::{
    device::DeviceNumber,
    line::{BadLine, lines, words},
};

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Number of the filesystem's device.
    pub device: DeviceNumber,
    /// Which part of the filesystem is mounted; `/` is all of it. Escaped.
    pub root: &'a [u8],
    /// Where. Escaped.
    pub point: &'a [u8],
    /// The filesystem's type.
    pub kind: &'a [u8],
    /// What is mounted, for most types a device.
    pub source: &'a [u8],
    /// The filesystem's own options; for cgroup v1 its controllers.
    pub options: &'a [u8],
}

/// Calls `take` with each mount, in the order in which they were made.
pub fn each<'a>(text: &'a [u8], mut take: impl FnMut(Mount<'a>)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        take(mount(line).ok_or(BadLine { line_no })?);
    }
    Ok(())
}

fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut words = words(line);
    let device = DeviceNumber::parse(words.nth(2)?)?;
    let (root, point) = (words.next()?, words.next()?);
    // Then come the mount's options and any number of optional fields.
    words.find(|word| *word == b"-")?;
    let (kind, source) = (words.next()?, words.next()?);
    Some(Mount { device, root, point, kind, source, options: words.next().unwrap_or_default() })
}

/// A path as it is, without escapes.
pub fn path(escaped: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let [first, after @ ..] = rest {
        match octal(rest) {
            Some(byte) => {
                path.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                path.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(path).into()
}

fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', digits @ ..] = text else { return None };
    let digits = std::str::from_utf8(digits.get(..3)?).ok()?;
    u8::from_str_radix(digits, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_end_at_the_dash() {
        let text = b"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw\n";
        let mut found = Vec::new();
        each(text, |mount| found.push(mount)).unwrap();
        let expected = Mount {
            device: DeviceNumber { major: 0, minor: 38 },
            root: b"/",
            point: b"/sys/fs/cgroup/unified",
            kind: b"cgroup2",
            source: b"cgroup2",
            options: b"rw",
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn escapes_are_octal() {
        assert_eq!(path(b"/mnt/a\\040b\\134c"), PathBuf::from("/mnt/a b\\c"));
        assert_eq!(path(b"/mnt/a\\04"), PathBuf::from("/mnt/a\\04"));
        assert_eq!(path(b"/mnt/\\999"), PathBuf::from("/mnt/\\999"));
    }

    #[test]
    fn a_short_line_is_named() {
        assert_eq!(each(b"1 2 3:4 / /mnt rw\n", |_| ()), Err(BadLine { line_no: 1 }));
    }
}
