//! `blkio.throttle.io_service_bytes` and `io_serviced` of cgroup v1, and their `_recursive` twins.
//!
//! A line for each device and operation, `254:0 Read 4096`, then a `Total`. Only `Read` and `Write`
//! are told apart by Heapster's metrics; `Sync`, `Async` and `Discard` are other cuts of the same.

use super::{
    device::DeviceNumber,
    line::{BadLine, decimal, lines, words},
};

/// Which way the data went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

/// Calls `take` with the number of each device and direction.
pub fn each(
    text: &[u8],
    mut take: impl FnMut(DeviceNumber, Direction, u64),
) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        let mut words = words(line);
        let (Some(device), Some(operation), number) = (words.next(), words.next(), words.next())
        else {
            return Err(BadLine { line_no });
        };
        let direction = match operation {
            b"Read" => Direction::Read,
            b"Write" => Direction::Write,
            _ => continue,
        };
        let bad = BadLine { line_no };
        let device = DeviceNumber::parse(device).ok_or(bad)?;
        take(device, direction, number.and_then(decimal).ok_or(bad)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(String, Direction, u64)>, BadLine> {
        let mut found = Vec::new();
        each(text, |device, direction, number| {
            found.push((device.to_string(), direction, number));
        })?;
        Ok(found)
    }

    #[test]
    fn reads_and_writes_of_each_device() {
        let text =
            b"254:0 Read 4096\n254:0 Write 8192\n254:0 Sync 1\n254:0 Async 2\n254:0 Discard 0\n\
            254:0 Total 12288\n7:0 Read 1\nTotal 12289\n";
        assert_eq!(
            all(text),
            Ok(vec![
                ("254:0".into(), Direction::Read, 4096),
                ("254:0".into(), Direction::Write, 8192),
                ("7:0".into(), Direction::Read, 1),
            ])
        );
    }

    #[test]
    fn a_group_that_did_nothing_has_only_a_total() {
        assert_eq!(all(b"Total 0\n"), Ok(vec![]));
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(all(b"254:0 Read 1\n254 Read 2\n"), Err(BadLine { line_no: 2 }));
        assert_eq!(all(b"254:0 Read\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(all(b"254:0\n"), Err(BadLine { line_no: 1 }));
    }
}
