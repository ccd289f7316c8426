//! `/proc/stat`: when the node booted, and its CPU time where no cgroup tells it.

use super::line::{BadLine, decimal, lines, words};

/// USER_HZ, which is 100 on every architecture that Linux still has.
const NS_PER_USER_TICK: u64 = 10_000_000;

/// What we take from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcStat {
    /// Time of all CPUs in which they were neither idle nor waiting for a disk, in nanoseconds.
    pub busy_ns: Option<u64>,
    /// When the node booted: seconds since the epoch.
    pub boot_unix_s: Option<u64>,
}

/// Parses the whole file.
pub fn parse(text: &[u8]) -> Result<ProcStat, BadLine> {
    let mut stat = ProcStat::default();
    for (line_no, line) in lines(text) {
        let bad = BadLine { line_no };
        let mut words = words(line);
        match words.next() {
            Some(b"cpu") => {
                // user nice system idle iowait irq softirq steal; guests' time is in user already.
                let mut busy = 0u64;
                for (place, word) in words.take(8).enumerate() {
                    let ticks = decimal(word).ok_or(bad)?;
                    if !matches!(place, 3 | 4) {
                        busy = busy.saturating_add(ticks);
                    }
                }
                stat.busy_ns = Some(busy.saturating_mul(NS_PER_USER_TICK));
            }
            Some(b"btime") => stat.boot_unix_s = Some(words.next().and_then(decimal).ok_or(bad)?),
            _ => (),
        }
    }
    Ok(stat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_and_guests_time_do_not_count() {
        let text = b"cpu  1 2 4 1000 2000 8 16 32 64 128\ncpu0 9 9 9 9\nbtime 1795423385\n";
        let expected =
            ProcStat { busy_ns: Some(63 * 10_000_000), boot_unix_s: Some(1_795_423_385) };
        assert_eq!(parse(text), Ok(expected));
        assert_eq!(parse(b"btime\n"), Err(BadLine { line_no: 1 }));
    }
}
