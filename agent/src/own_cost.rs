//! What the agent itself costs: its CPU time and its memory.

use rustix::time::{ClockId, clock_gettime};

use crate::{
    host::{
        descriptors::Pace,
        files::{Files, HeldFile, Location},
    },
    parse::line::{BadLine, decimal, words},
};

/// What became of earlier frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Frames that were lost before they were delivered.
    pub frames_dropped: u64,
    /// Values in them.
    pub samples_dropped: u64,
    /// What is kept on disk; `None` without a spool.
    pub spool: Option<SpoolState>,
}

/// What is kept on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolState {
    /// Size of all files.
    pub bytes: u64,
    /// How often it failed or was found damaged.
    pub faults: u64,
}

/// The agent's own figures.
#[derive(Debug, Default)]
pub struct OwnCost {
    statm: HeldFile,
}

impl OwnCost {
    /// CPU time of all threads of this process since its start, in nanoseconds.
    pub fn cpu_ns(&self) -> Option<u64> {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(used.tv_sec).ok()?;
        seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(used.tv_nsec).ok()?)
    }

    /// Resident memory of this process in bytes. Always of the own /proc, wherever the host's is.
    pub fn resident_bytes(&mut self, files: &mut Files) -> Option<u64> {
        let at = Location { mount: "/proc", directory: "/self", name: "statm" };
        let pages = files.read(&mut self.statm, Pace::Hot, at, resident_pages).ok().flatten()?;
        pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
    }
}

/// The second number of `statm`.
fn resident_pages(text: &[u8]) -> Result<u64, BadLine> {
    words(text).nth(1).and_then(decimal).ok_or(BadLine { line_no: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::descriptors::Budget;

    #[test]
    fn the_second_number_is_what_is_resident() {
        assert_eq!(resident_pages(b"2051 1153 963 5 0 174 0\n"), Ok(1153));
        assert_eq!(resident_pages(b"2051"), Err(BadLine { line_no: 1 }));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let mut own = OwnCost::default();
        assert!(Some(0) < own.cpu_ns());
        assert!(Some(1 << 20) < own.resident_bytes(&mut Files::new(Budget::new(1))));
    }
}
