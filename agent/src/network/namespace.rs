//! Whether a process is in the host's network namespace.

use std::path::PathBuf;

use rustix::fs::stat;

/// What tells the host's network namespace from others.
///
/// `/proc/PID/ns/net` names it, but may not be read for foreign processes, sometimes not even by
/// root. `/proc/PID/net/dev` may, and its inode is another one in each namespace.
#[derive(Debug, Default)]
pub struct HostNamespace {
    link: Option<PathBuf>,
    inode: Option<u64>,
}

impl HostNamespace {
    /// Looks at the host's first process. Where its link may not be read, the own one is as good,
    /// provided that it is the same namespace.
    pub fn find(proc: &str) -> Self {
        let inode = dev_inode(proc, "1");
        let own_inode = dev_inode(proc, "self");
        let own_is_hosts = own_inode.is_none() || own_inode == inode;
        let link = link(proc, "1").or_else(|| link(proc, "self").filter(|_| own_is_hosts));
        Self { link, inode }
    }

    /// Whether a process is in it; `None` when the process is gone or nothing can be told.
    pub fn has(&self, proc: &str, process: u32) -> Option<bool> {
        let process = process.to_string();
        if let (Some(hosts), Some(its)) = (&self.link, link(proc, &process)) {
            return Some(*hosts == its);
        }
        Some(self.inode? == dev_inode(proc, &process)?)
    }
}

fn link(proc: &str, process: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("{proc}/{process}/ns/net")).ok()
}

fn dev_inode(proc: &str, process: &str) -> Option<u64> {
    stat(format!("{proc}/{process}/net/dev")).ok().map(|stat| stat.st_ino)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn check(links: &[(&str, &str)], process: u32, expected: Option<bool>) {
        let proc = tempfile::tempdir().unwrap();
        for (process, namespace) in links {
            let directory = proc.path().join(process).join("ns");
            fs::create_dir_all(&directory).unwrap();
            symlink(namespace, directory.join("net")).unwrap();
        }
        let proc = proc.path().to_str().unwrap();
        assert_eq!(HostNamespace::find(proc).has(proc, process), expected, "{links:?}");
    }

    #[test]
    fn the_first_process_is_in_the_hosts_namespace() {
        let links = [("1", "net:[1]"), ("7", "net:[1]"), ("8", "net:[2]"), ("self", "net:[2]")];
        check(&links, 7, Some(true));
        check(&links, 8, Some(false));
        check(&links, 9, None);
    }

    #[test]
    fn where_the_first_may_not_be_read_the_own_one_counts() {
        check(&[("self", "net:[1]"), ("7", "net:[1]")], 7, Some(true));
    }

    #[test]
    fn inodes_tell_where_links_may_not_be_read() {
        let proc = tempfile::tempdir().unwrap();
        for process in ["1", "7", "8"] {
            fs::create_dir_all(proc.path().join(process).join("net")).unwrap();
        }
        let dev = |process: &str| proc.path().join(process).join("net/dev");
        fs::write(dev("1"), "").unwrap();
        fs::hard_link(dev("1"), dev("7")).unwrap();
        fs::write(dev("8"), "").unwrap();
        let proc = proc.path().to_str().unwrap();
        let host = HostNamespace::find(proc);
        assert_eq!((host.has(proc, 7), host.has(proc, 8)), (Some(true), Some(false)));
    }
}
