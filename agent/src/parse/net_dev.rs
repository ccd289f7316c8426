//! `/proc/PID/net/dev`: the counters of all interfaces of a process's network namespace.
//!
//! Two lines of headings, then `eth0: bytes packets errs drop fifo frame compressed multicast` for
//! receiving and `bytes packets errs drop fifo colls carrier compressed` for sending. A large first
//! number may touch the colon.

use super::line::{BadLine, decimal, lines, words};

/// One direction of an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Errors.
    pub errors: u64,
    /// Dropped packets.
    pub dropped: u64,
}

/// One interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What it received.
    pub received: Traffic,
    /// What it sent.
    pub sent: Traffic,
}

/// Calls `take` with each interface.
pub fn each<'a>(text: &'a [u8], mut take: impl FnMut(Interface<'a>)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        // Both headings have bars, which no name has.
        if line_no <= 2 && line.contains(&b'|') {
            continue;
        }
        take(interface(line).ok_or(BadLine { line_no })?);
    }
    Ok(())
}

fn interface(line: &[u8]) -> Option<Interface<'_>> {
    // Aliases such as `eth0:1` have a colon of their own.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let (name, counters) = line.split_at(colon);
    let mut numbers = words(counters.get(1..)?).map(decimal);
    let mut traffic = |skipped: usize| {
        Some(Traffic {
            bytes: numbers.nth(skipped)??,
            packets: numbers.next()??,
            errors: numbers.next()??,
            dropped: numbers.next()??,
        })
    };
    let (received, sent) = (traffic(0)?, traffic(4)?);
    Some(Interface { name: name.trim_ascii(), received, sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";

    #[test]
    fn receiving_and_sending_are_told_apart() {
        let text = format!("{HEADINGS}  eth0:4008787 9776 1 2 3 4 5 6  578153 6135 7 8 0 0 0 0\n");
        let mut found = Vec::new();
        each(text.as_bytes(), |interface| found.push(interface)).unwrap();
        let received = Traffic { bytes: 4_008_787, packets: 9776, errors: 1, dropped: 2 };
        let sent = Traffic { bytes: 578_153, packets: 6135, errors: 7, dropped: 8 };
        assert_eq!(found, [Interface { name: b"eth0", received, sent }]);
    }

    #[test]
    fn an_alias_keeps_its_colon() {
        let mut names = Vec::new();
        each(b"eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", |found| {
            names.push(found.name.to_vec());
        })
        .unwrap();
        assert_eq!(names, [b"eth0:1".to_vec()]);
    }

    #[test]
    fn a_short_line_is_named() {
        let text = format!("{HEADINGS}eth0: 1 2 3\n");
        assert_eq!(each(text.as_bytes(), |_| ()), Err(BadLine { line_no: 3 }));
        assert_eq!(each(b"eth0 1 2\n", |_| ()), Err(BadLine { line_no: 1 }));
    }
}
