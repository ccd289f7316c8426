//! How many tasks of a container run or could run: Heapster's `cpu/load`.
//!
//! The kernel counts this only for the node, so each task is asked for its state.

use super::Host;
use crate::{
    host::files::Location,
    parse::{process_stat, processes},
};

/// Tasks of one container that are asked; of a container with more the load is not told.
const TASKS_MAX: usize = 4096;

/// v2's name of the list, then v1's.
const LISTS: [&str; 2] = ["cgroup.threads", "tasks"];

/// Counts the runnable tasks of the group at `path`; `None` when they cannot be listed.
pub(super) fn runnable(host: &mut Host, path: &str) -> Option<u64> {
    let mut tasks = Vec::new();
    let mount = host.process_trees.first()?;
    LISTS.iter().find_map(|name| {
        tasks.clear();
        let at = Location { mount, directory: path, name };
        host.files.read_once(at, |text| processes::each(text, |task| tasks.push(task)))
    })?;
    if TASKS_MAX < tasks.len() {
        return None;
    }
    let mut count = 0;
    for task in tasks {
        let directory = format!("/{task}");
        let at = Location { mount: host.node.proc(), directory: &directory, name: "stat" };
        let state = host.files.read_once(at, |text| Ok(process_stat::parse(text)?.state));
        count += u64::from(state == Some(b'R'));
    }
    Some(count)
}
