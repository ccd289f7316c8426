//! `/proc/diskstats`: numbers, names and figures of all block devices and partitions.
//!
//! Major, minor, name, then reads, reads merged, sectors read, ms, writes, writes merged, sectors
//! written, …  A sector is 512 bytes here whatever the disk's own is.

use super::{
    device::{DeviceIo, DeviceNumber},
    line::{BadLine, decimal, lines, words},
};

const SECTOR_BYTES: u64 = 512;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Its number.
    pub number: DeviceNumber,
    /// Its name, such as `sda` or `nvme0n1p1`.
    pub name: &'a [u8],
    /// What went over it since boot.
    pub io: DeviceIo,
}

/// Calls `take` with each device and partition.
pub fn each<'a>(text: &'a [u8], mut take: impl FnMut(Disk<'a>)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        take(disk(line).ok_or(BadLine { line_no })?);
    }
    Ok(())
}

fn disk(line: &[u8]) -> Option<Disk<'_>> {
    let mut words = words(line);
    let half = |word: &[u8]| u32::try_from(decimal(word)?).ok();
    let number = DeviceNumber { major: half(words.next()?)?, minor: half(words.next()?)? };
    let name = words.next()?;
    let mut numbers = words.map(decimal);
    let mut next = |skipped: usize| numbers.nth(skipped).flatten();
    let read_operations = next(0)?;
    let read_sectors = next(1)?;
    let write_operations = next(1)?;
    let write_sectors = next(1)?;
    let io = DeviceIo {
        read_bytes: Some(read_sectors.saturating_mul(SECTOR_BYTES)),
        write_bytes: Some(write_sectors.saturating_mul(SECTOR_BYTES)),
        read_operations: Some(read_operations),
        write_operations: Some(write_operations),
    };
    Some(Disk { number, name, io })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_512_bytes() {
        let text = b" 254       0 vda 11 22 33 44 55 66 77 88 0 99 100 0 0 0 0 1 2\n";
        let mut found = Vec::new();
        each(text, |disk| found.push(disk)).unwrap();
        let io = DeviceIo {
            read_bytes: Some(33 * 512),
            write_bytes: Some(77 * 512),
            read_operations: Some(11),
            write_operations: Some(55),
        };
        let number = DeviceNumber { major: 254, minor: 0 };
        assert_eq!(found, [Disk { number, name: b"vda", io }]);
    }

    #[test]
    fn a_short_line_is_named() {
        assert_eq!(each(b"254 0 vda 1 2 3\n", |_| ()), Err(BadLine { line_no: 1 }));
        assert_eq!(each(b"254 0\n", |_| ()), Err(BadLine { line_no: 1 }));
    }
}
