//! Processes by cgroup where `cgroup.procs` does not tell: to an agent in a PID namespace of its own
//! v2 writes a 0 for every process outside, and v1 nothing at all. The host's `/proc`, if it is
//! mounted, still says of each of its processes where it is. Looking through all of them is dear, so
//! it is done when somebody new has to be found out about, and else at most every 15 s.

use std::path::Path;

use tally_proto::tick::Tick;

use crate::{
    host::files::{Files, Location},
    parse::process_cgroup::{self, Place},
};

/// How long what was seen is good enough for those who were there already.
const GOOD_FOR_SECONDS: u64 = 15;

/// Processes that are looked at: more than any host has that could still be measured each second.
const PROCESSES_MAX: usize = 100_000;

/// Where the host's processes are.
#[derive(Debug, Default)]
pub(super) struct ForeignProcesses {
    /// Whether they are foreign at all.
    are_foreign: bool,
    /// The tick in which they were looked through.
    looked: Option<Tick>,
    /// The tick that is being read.
    now: Tick,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    process: u32,
    path: Box<[u8]>,
    is_whole: bool,
}

impl ForeignProcesses {
    /// A process has another number in the `/proc` of another PID namespace.
    pub(super) fn find(proc: &str) -> Self {
        let number = std::fs::read_link(Path::new(proc).join("self")).ok();
        let number = number.and_then(|link| link.to_str()?.parse::<u32>().ok());
        let are_foreign = number.is_some_and(|number| number != std::process::id());
        Self { are_foreign, ..Self::default() }
    }

    /// Whether lists of processes say nothing.
    pub(super) fn are_foreign(&self) -> bool {
        self.are_foreign
    }

    /// Begins a tick.
    pub(super) fn begin(&mut self, tick: Tick) {
        self.now = tick;
    }

    /// Somebody is new, whom the last look did not see.
    pub(super) fn expire(&mut self) {
        self.looked = None;
    }

    /// The processes of the cgroup at `path`, the lowest first.
    pub(super) fn of(&mut self, files: &mut Files, proc: &str, path: &str) -> Vec<u32> {
        let is_good = |looked: Tick| self.now.0.saturating_sub(looked.0) < GOOD_FOR_SECONDS;
        if !self.looked.is_some_and(is_good) {
            self.looked = Some(self.now);
            self.known.clear();
            self.look(files, proc);
        }
        let is_in = |known: &&Known| match known.is_whole {
            true => *known.path == *path.as_bytes(),
            false => !known.path.is_empty() && path.as_bytes().ends_with(&known.path),
        };
        let mut found: Vec<u32> =
            self.known.iter().filter(is_in).map(|known| known.process).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    fn look(&mut self, files: &mut Files, proc: &str) {
        let Ok(entries) = std::fs::read_dir(proc) else { return };
        let processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        for process in processes.take(PROCESSES_MAX) {
            let directory = format!("/{process}");
            let at = Location { mount: proc, directory: &directory, name: "cgroup" };
            // A process may have ended meanwhile.
            let known = &mut self.known;
            files.read_once(at, |text| {
                process_cgroup::each(text, |place| {
                    let (path, is_whole) = match place {
                        Place::At(path) => (path, true),
                        Place::EndsWith(path) => (path, false),
                    };
                    // In all hierarchies of v1 it is mostly at the same place.
                    if known
                        .last()
                        .is_none_or(|last| last.process != process || *last.path != *path)
                    {
                        known.push(Known { process, path: path.into(), is_whole });
                    }
                })
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::descriptors::Budget;

    #[test]
    fn processes_are_found_by_their_own_word() {
        let proc = tempfile::tempdir().unwrap();
        let has = |process: u32, text: &str| {
            fs::create_dir_all(proc.path().join(process.to_string())).unwrap();
            fs::write(proc.path().join(process.to_string()).join("cgroup"), text).unwrap();
        };
        has(30, "0::/docker/a\n");
        has(7, "2:pids:/docker/a\n1:memory:/docker/a\n");
        has(8, "0::/../b\n");
        has(9, "0::/..\n");
        let proc = proc.path().to_str().unwrap();
        let (mut files, mut foreign) = (Files::new(Budget::new(0)), ForeignProcesses::default());
        foreign.begin(Tick(100));
        for (path, expected) in [("/docker/a", &[7, 30][..]), ("/docker/b", &[8]), ("/b", &[8])] {
            assert_eq!(foreign.of(&mut files, proc, path), expected, "{path}");
        }
        assert!(foreign.of(&mut files, proc, "/docker/c").is_empty());
        foreign.begin(Tick(114));
        assert_eq!(foreign.of(&mut files, proc, "/docker/a"), [7, 30]);
        assert_eq!(files.opened, 4, "once for all of them");
        foreign.begin(Tick(115));
        foreign.of(&mut files, proc, "/docker/a");
        assert_eq!(files.opened, 8, "it is old");
        foreign.expire();
        foreign.of(&mut files, proc, "/docker/a");
        assert_eq!(files.opened, 12, "somebody is new");
    }

    #[test]
    fn a_proc_that_knows_us_under_another_number_is_foreign() {
        assert!(!ForeignProcesses::find("/proc").are_foreign());
        let proc = tempfile::tempdir().unwrap();
        let path = proc.path().to_str().unwrap();
        assert!(!ForeignProcesses::find(path).are_foreign());
        let link = proc.path().join("self");
        std::os::unix::fs::symlink((std::process::id() + 1).to_string(), link).unwrap();
        assert!(ForeignProcesses::find(path).are_foreign());
    }
}
