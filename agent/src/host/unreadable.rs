//! What exists and could not be read, and why: for the start message and for counting.

use std::fmt;

/// Distinct faults that are kept. There is one for each kind of file and reason, so a handful is the
/// rule; the limit only guards against a host that fails in ever new ways.
const FAULTS_MAX: usize = 64;

/// One kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The first path that had it.
    pub path: String,
    /// The kernel's or the parser's reason.
    pub reason: String,
    /// How often it was met.
    pub count: u64,
    key: (String, Reason),
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot read {}: {}", self.path, self.reason)?;
        if 1 < self.count { write!(out, " ({} times)", self.count) } else { Ok(()) }
    }
}

/// What tells faults apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The kernel refused.
    Refused(rustix::io::Errno),
    /// The text is not in the documented form.
    BadLine(usize),
    /// The file is larger than we read.
    TooLarge,
    /// The name is not one that Tally can carry.
    BadName,
    /// There is more of it than Tally carries.
    TooMany,
    /// The kernel shows this user no processes but its own.
    Hidden,
    /// Its numbers are no processes here.
    ForeignProcesses,
}

impl Reason {
    /// Whether there is no such file, or no such feature behind it: no fault, and not likely to
    /// change.
    pub fn is_absence(self) -> bool {
        use rustix::io::Errno;
        let absent = [Errno::NOENT, Errno::NODEV, Errno::SRCH, Errno::OPNOTSUPP];
        matches!(self, Self::Refused(errno) if absent.contains(&errno))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(errno) => write!(out, "{errno}"),
            Self::BadLine(line) => write!(out, "line {line} is not in the documented form"),
            Self::TooLarge => out.write_str("it is too large"),
            Self::BadName => out.write_str("its name is too long or has control characters"),
            Self::Hidden => out.write_str(
                "processes of other users are hidden from this one (hidepid): without them neither \
                 the networks of containers nor the sandboxes of pods can be told",
            ),
            Self::ForeignProcesses => out.write_str(
                "its processes are in another PID namespace: with neither that (docker run --pid host, \
                 hostPID: true) nor the host's /proc below --host-root the networks of containers and \
                 the sandboxes of pods cannot be told",
            ),
            Self::TooMany => out.write_str("there are too many of its kind"),
        }
    }
}

/// The faults so far, one for each kind of file and reason.
#[derive(Debug, Default)]
pub struct Unreadable {
    faults: Vec<Fault>,
    total: u64,
}

impl Unreadable {
    /// Counts one. `kind` is what such files have in common: mostly the file's own name.
    pub fn count(&mut self, kind: &str, path: &str, reason: Reason) {
        self.total = self.total.saturating_add(1);
        let same = |fault: &&mut Fault| fault.key.0 == kind && fault.key.1 == reason;
        if let Some(fault) = self.faults.iter_mut().find(same) {
            fault.count = fault.count.saturating_add(1);
        } else if self.faults.len() < FAULTS_MAX {
            let key = (kind.to_owned(), reason);
            self.faults.push(Fault {
                path: path.to_owned(),
                reason: reason.to_string(),
                count: 1,
                key,
            });
        }
    }

    /// One of each kind, in the order in which they were met.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// How many there were in all.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_fault_of_many_files_is_said_once() {
        let mut unreadable = Unreadable::default();
        let denied = Reason::Refused(rustix::io::Errno::ACCESS);
        unreadable.count("io", "/proc/1/io", denied);
        unreadable.count("io", "/proc/2/io", denied);
        unreadable.count("io", "/proc/2/io", Reason::BadLine(3));
        let said: Vec<String> = unreadable.faults().iter().map(Fault::to_string).collect();
        assert_eq!(
            said,
            [
                "cannot read /proc/1/io: Permission denied (os error 13) (2 times)",
                "cannot read /proc/2/io: line 3 is not in the documented form",
            ]
        );
        assert_eq!(unreadable.total(), 3);
    }
}
