//! The processes of a cgroup: how many, and which is the first.
//!
//! `cgroup.procs` lists only the group's own, so groups that belong to this one (docker in docker, a
//! container's systemd) are counted as well. On v1 each tree has its own list; the first tree that
//! has the group is asked, pids before the others. To an agent in a PID namespace of its own the list
//! tells how many there are and not which; the host's `/proc` may.

use super::Host;
use crate::{
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
        tree::{Change, Tree},
        unreadable::Reason,
    },
    identity::{Identity, identify},
    parse::{line::BadLine, processes},
};

const FILE: &str = "cgroup.procs";

/// Processes of a group that are asked for its name or its network; the first mostly answers.
const PROCESSES_ASKED_MAX: usize = 8;

/// Counts the processes of one group.
#[derive(Debug, Default)]
pub(super) struct Processes {
    own: HeldFile,
    /// Which of the trees has the group; `None` before the first look.
    tree: Option<usize>,
    parts: Option<Box<Parts>>,
}

/// Groups that belong to this one.
#[derive(Debug)]
struct Parts {
    tree: Tree,
    files: Vec<(Box<str>, HeldFile)>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// The group's own and those of its parts.
    pub processes: u64,
    /// Whether they were counted in the first tree. Others list processes again that the first
    /// one has elsewhere, so these must not be added to the groups above.
    pub is_in_first_tree: bool,
}

impl Processes {
    /// Counts. `None` when no tree has the group.
    pub(super) fn count(
        &mut self,
        files: &mut Files,
        trees: &[Box<str>],
        path: &str,
    ) -> Option<Count> {
        if self.tree.is_none() {
            self.tree = trees.iter().position(|mount| files.links(mount, path).is_some());
        }
        let index = self.tree?;
        let mount = trees.get(index)?;
        let at = Location { mount, directory: path, name: FILE };
        let own = read_count(files, &mut self.own, at).ok().flatten()?;
        let parts = self.count_parts(files, mount, path);
        Some(Count { processes: own + parts, is_in_first_tree: index == 0 })
    }

    /// Some of the group's processes and its parts', the lowest first. Asked only about new groups.
    pub(super) fn first(&self, host: &mut Host, path: &str) -> Vec<u32> {
        let mut found = first_processes(host, path);
        if found.is_empty()
            && let Some(parts) = &self.parts
        {
            for (part, _) in &parts.files {
                found.append(&mut first_processes(host, part));
            }
        }
        found.sort_unstable();
        found
    }

    fn count_parts(&mut self, files: &mut Files, mount: &str, path: &str) -> u64 {
        // The node has no parts: whatever is directly below it is an entity.
        if path == "/" {
            return 0;
        }
        if self.parts.is_none() {
            if files.links(mount, path) == Some(2) {
                return 0;
            }
            let tree = Tree::below(mount, path, |path| identify(path).what == Identity::Part);
            self.parts = Some(Box::new(Parts { tree, files: Vec::new() }));
        }
        self.parts.as_mut().map_or(0, |parts| parts.count(files))
    }
}

impl Parts {
    fn count(&mut self, files: &mut Files) -> u64 {
        let mut changes = Vec::new();
        self.tree.look(usize::MAX, &files.budget, &mut files.unreadable, &mut changes);
        for change in changes {
            match change {
                Change::Came(path) if identify(&path).what == Identity::Part => {
                    self.files.push((path.into(), HeldFile::default()));
                }
                Change::Came(_) => (),
                Change::Went(path) => self.files.retain(|(known, _)| !is_at_or_below(known, &path)),
            }
        }
        let mut count = 0;
        let Self { tree, files: parts } = self;
        parts.retain_mut(|(path, file)| {
            let at = Location { mount: tree.mount(), directory: path, name: FILE };
            match read_count(files, file, at) {
                Ok(found) => {
                    count += found.unwrap_or(0);
                    true
                }
                Err(Gone) => {
                    tree.forget(path);
                    false
                }
            }
        });
        count
    }
}

/// Whether a cgroup is another one or below it.
pub(super) fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The lowest of a group's own processes, in the first tree that lists any.
pub(super) fn first_processes(host: &mut Host, path: &str) -> Vec<u32> {
    let Host { process_trees, files, node, foreign, .. } = host;
    let mut found = Vec::new();
    if foreign.are_foreign() {
        found = foreign.of(files, node.proc(), path);
    } else {
        for mount in process_trees {
            let at = Location { mount, directory: path, name: FILE };
            let listed = files.read_once(at, |text| {
                if processes::count(text) != 0 {
                    processes::each(text, |id| found.push(id))?;
                    return Ok(found.is_empty());
                }
                Ok(false)
            });
            if listed == Some(true) {
                files.unreadable.count(FILE, &at.to_string(), Reason::ForeignProcesses);
            }
            if !found.is_empty() {
                break;
            }
        }
    }
    found.sort_unstable();
    found.truncate(PROCESSES_ASKED_MAX);
    found
}

fn read_count(
    files: &mut Files,
    file: &mut HeldFile,
    at: Location<'_>,
) -> Result<Option<u64>, Gone> {
    files.read(file, Pace::Slow, at, |text| Ok::<_, BadLine>(processes::count(text)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::descriptors::Budget;

    fn make(trees: &tempfile::TempDir, tree: &str, path: &str, processes: usize) {
        let directory = trees.path().join(tree).join(path);
        fs::create_dir_all(&directory).unwrap();
        let text: String = (1..=processes).map(|process| format!("{process}\n")).collect();
        fs::write(directory.join(FILE), text).unwrap();
    }

    fn mounts(trees: &tempfile::TempDir) -> Vec<Box<str>> {
        ["pids", "memory"].map(|tree| trees.path().join(tree).to_str().unwrap().into()).to_vec()
    }

    #[test]
    fn parts_count_to_the_container_above_them() {
        let host = tempfile::tempdir().unwrap();
        let id = "0".repeat(64);
        make(&host, "pids", &format!("docker/{id}"), 2);
        make(&host, "pids", &format!("docker/{id}/docker/x"), 3);
        let path = format!("/docker/{id}");
        let (mut files, mut processes) = (Files::new(Budget::new(9)), Processes::default());
        let mut count = || processes.count(&mut files, &mounts(&host), &path).unwrap().processes;
        fs::write(host.path().join(format!("pids/docker/{id}/docker/cgroup.procs")), "").unwrap();
        assert_eq!(count(), 5);
        make(&host, "pids", &format!("docker/{id}/docker/y"), 1);
        assert_eq!(count(), 6);
        fs::remove_dir_all(host.path().join(format!("pids/docker/{id}/docker/x"))).unwrap();
        assert_eq!(count(), 3);
    }

    #[test]
    fn the_first_tree_that_has_the_group_counts() {
        let host = tempfile::tempdir().unwrap();
        make(&host, "pids", "both", 1);
        make(&host, "memory", "both", 7);
        make(&host, "memory", "only", 2);
        let mut files = Files::new(Budget::new(9));
        let mut count = |path| Processes::default().count(&mut files, &mounts(&host), path);
        assert_eq!(count("/both"), Some(Count { processes: 1, is_in_first_tree: true }));
        assert_eq!(count("/only"), Some(Count { processes: 2, is_in_first_tree: false }));
        assert_eq!(count("/none"), None);
    }
}
