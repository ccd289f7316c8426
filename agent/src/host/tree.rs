//! The directories of one hierarchy: which came and which went since the last look.
//!
//! A directory's link count is 2 and one for each directory in it, so one `fstat` of a held descriptor
//! tells whether to list it. Where one came and another went the count stays the same; whoever notices
//! that one went says so by [`Tree::forget`]. Filesystems that do not count links (a captured tree
//! may lie on one) are listed at every look.

use std::{mem::MaybeUninit, os::fd::OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, SeekFrom, Stat, fstat, openat, seek, stat};

use super::{
    descriptors::{Budget, Pace, Permit},
    files::link_count,
    unreadable::{Reason, Unreadable},
};

/// Bytes of one listing's piece: about a hundred entries.
const LISTING_BYTES: usize = 8 << 10;

/// Directories that are watched in one tree. A path of each is kept, so memory has to have an end.
const WATCHED_MAX: usize = 20_000;

/// A change of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A directory that is not there any more.
    Went(String),
    /// A new directory, by its path below the mount. Parents come before their children.
    Came(String),
}

/// One hierarchy's directories.
#[derive(Debug)]
pub struct Tree {
    mount: Box<str>,
    /// Whether a directory is worth looking below.
    watches: fn(&str) -> bool,
    watched: Vec<Directory>,
}

#[derive(Debug)]
struct Directory {
    /// How many names its path has.
    depth: usize,
    /// Below the mount; `/` is the mount itself.
    path: Box<str>,
    held: Option<(OwnedFd, Permit)>,
    /// The link count when it was last listed.
    links: u64,
    /// Names, sorted.
    children: Vec<Box<str>>,
    /// Must be listed whatever the link count says.
    stale: bool,
}

impl Tree {
    /// A tree of which nothing is known yet.
    pub fn new(mount: &str, watches: fn(&str) -> bool) -> Self {
        Self::below(mount, "/", watches)
    }

    /// The part of a tree that begins at `path`.
    pub fn below(mount: &str, path: &str, watches: fn(&str) -> bool) -> Self {
        Self { mount: mount.into(), watches, watched: vec![Directory::new(path)] }
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &str {
        &self.mount
    }

    /// Directories that are looked at.
    pub fn watched(&self) -> usize {
        self.watched.len()
    }

    /// Appends what came and went since the last look, in directories of at most that depth; in the
    /// root that is 0.
    pub fn look(
        &mut self,
        depth: usize,
        budget: &Budget,
        unreadable: &mut Unreadable,
        changes: &mut Vec<Change>,
    ) {
        let mut index = 0;
        // New directories are appended, and looked into in the same turn.
        while let Some(directory) = self.watched.get_mut(index) {
            index += 1;
            if depth < directory.depth {
                continue;
            }
            let first_change = changes.len();
            let listed = match directory.must_be_listed(&self.mount, budget) {
                Ok(true) => directory.list(&self.mount, changes),
                Ok(false) => continue,
                // That it went is seen in its parent.
                Err(errno) if Reason::Refused(errno).is_absence() => continue,
                Err(errno) => Err(errno),
            };
            if let Err(errno) = listed {
                let path = path_of(&self.mount, &directory.path);
                unreadable.count("directory", &path, Reason::Refused(errno));
            }
            self.follow(changes.get(first_change..).unwrap_or_default(), unreadable);
        }
    }

    /// Watches what came, and stops watching what went.
    fn follow(&mut self, changes: &[Change], unreadable: &mut Unreadable) {
        for change in changes {
            match change {
                Change::Came(path) if !(self.watches)(path) => (),
                Change::Came(path) if WATCHED_MAX <= self.watched.len() => {
                    unreadable.count("directories", &path_of(&self.mount, path), Reason::TooMany);
                }
                Change::Came(path) => self.watched.push(Directory::new(path)),
                Change::Went(path) => self.unwatch(path),
            }
        }
    }

    /// Forgets a directory, so that one of the same path is new when it is seen again.
    pub fn forget(&mut self, path: &str) {
        let (parent, name) = path.rsplit_once('/').unwrap_or_default();
        let parent = if parent.is_empty() { "/" } else { parent };
        if let Some(parent) = self.watched.iter_mut().find(|watched| &*watched.path == parent) {
            parent.stale = true;
            if let Ok(place) = parent.children.binary_search_by(|child| (**child).cmp(name)) {
                parent.children.remove(place);
            }
        }
        self.unwatch(path);
    }

    fn unwatch(&mut self, path: &str) {
        self.watched.retain(|watched| {
            watched
                .path
                .strip_prefix(path)
                .is_none_or(|rest| !rest.is_empty() && !rest.starts_with('/'))
        });
    }
}

/// The full path of a directory below a mount.
pub fn path_of(mount: &str, path: &str) -> String {
    if path == "/" { mount.to_owned() } else { format!("{mount}{path}") }
}

impl Directory {
    fn new(path: &str) -> Self {
        let depth = path.split('/').filter(|name| !name.is_empty()).count();
        Self { depth, path: path.into(), held: None, links: 0, children: Vec::new(), stale: true }
    }

    /// Looks at the link count.
    fn must_be_listed(&mut self, mount: &str, budget: &Budget) -> rustix::io::Result<bool> {
        let stat = match &self.held {
            Some((fd, _)) => fstat(fd),
            None => self.open(mount, budget),
        };
        let links = link_count(&stat?);
        let is_new = std::mem::replace(&mut self.links, links) != links;
        Ok(is_new | std::mem::take(&mut self.stale) | (links < 2))
    }

    fn open(&mut self, mount: &str, budget: &Budget) -> rustix::io::Result<Stat> {
        let path = path_of(mount, &self.path);
        let Some(permit) = budget.permit(Pace::Hot) else { return stat(path.as_str()) };
        let fd = openat(CWD, path.as_str(), DIRECTORY, Mode::empty())?;
        let stat = fstat(&fd)?;
        self.held = Some((fd, permit));
        Ok(stat)
    }

    fn list(&mut self, mount: &str, changes: &mut Vec<Change>) -> rustix::io::Result<()> {
        match &self.held {
            Some((fd, _)) => {
                seek(fd, SeekFrom::Start(0))?;
                compare(fd, &self.path, &mut self.children, changes)
            }
            None => {
                let path = path_of(mount, &self.path);
                let fd = openat(CWD, path.as_str(), DIRECTORY, Mode::empty())?;
                compare(&fd, &self.path, &mut self.children, changes)
            }
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Reads a directory's entries and appends how its children differ from those that were known.
fn compare(
    fd: &OwnedFd,
    parent: &str,
    children: &mut Vec<Box<str>>,
    changes: &mut Vec<Change>,
) -> rustix::io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); LISTING_BYTES];
    let mut entries = RawDir::new(fd, &mut buffer);
    let mut came: Vec<Box<str>> = Vec::new();
    let mut known = 0;
    while let Some(entry) = entries.next() {
        let entry = entry?;
        // Names that are not UTF-8 cannot be sent; no runtime makes any.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if entry.file_type() != FileType::Directory || matches!(name, "." | "..") {
            continue;
        }
        match children.binary_search_by(|child| (**child).cmp(name)) {
            Ok(_) => known += 1,
            Err(_) => came.push(name.into()),
        }
    }
    let path = |name: &str| match parent {
        "/" => format!("/{name}"),
        _ => format!("{parent}/{name}"),
    };
    if known < children.len() {
        remove_vanished(fd, children, |name| changes.push(Change::Went(path(name))))?;
    }
    came.sort_unstable();
    changes.extend(came.iter().map(|name| Change::Came(path(name))));
    if !came.is_empty() {
        children.append(&mut came);
        children.sort_unstable();
    }
    Ok(())
}

/// Some child is missing; asking for each is simple, and rare.
fn remove_vanished(
    fd: &OwnedFd,
    children: &mut Vec<Box<str>>,
    mut report: impl FnMut(&str),
) -> rustix::io::Result<()> {
    children.retain(|name| {
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let is_there = rustix::fs::statat(fd, &**name, flags).is_ok();
        if !is_there {
            report(name);
        }
        is_there
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Host {
        root: tempfile::TempDir,
        tree: Tree,
        budget: Budget,
        depth: usize,
    }

    impl Host {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let tree = Tree::new(root.path().to_str().unwrap(), |path| !path.ends_with("closed"));
            Self { root, tree, budget: Budget::new(100), depth: usize::MAX }
        }

        fn make(&self, path: &str) {
            fs::create_dir_all(self.root.path().join(path)).unwrap();
        }

        fn remove(&self, path: &str) {
            fs::remove_dir_all(self.root.path().join(path)).unwrap();
        }

        /// What changed: `+` came, `-` went.
        fn look(&mut self) -> String {
            let mut changes = Vec::new();
            self.tree.look(self.depth, &self.budget, &mut Unreadable::default(), &mut changes);
            let words = changes.iter().map(|change| match change {
                Change::Came(path) => format!("+{path}"),
                Change::Went(path) => format!("-{path}"),
            });
            words.collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn what_is_there_at_first_came() {
        let mut host = Host::new();
        host.make("a/b");
        fs::write(host.root.path().join("file"), "").unwrap();
        assert_eq!(host.look(), "+/a +/a/b");
        assert_eq!(host.look(), "");
    }

    #[test]
    fn new_and_vanished_directories_are_seen_at_every_depth() {
        let mut host = Host::new();
        host.make("a");
        host.look();
        host.make("a/b/c");
        assert_eq!(host.look(), "+/a/b +/a/b/c");
        host.remove("a/b");
        assert_eq!(host.look(), "-/a/b");
        host.make("a/b");
        assert_eq!(host.look(), "+/a/b");
    }

    #[test]
    fn what_is_not_watched_is_not_looked_into() {
        let mut host = Host::new();
        host.make("closed/below");
        assert_eq!(host.look(), "+/closed");
    }

    #[test]
    fn a_forgotten_directory_is_new_when_it_is_still_there() {
        let mut host = Host::new();
        host.make("a/b");
        host.look();
        host.tree.forget("/a");
        assert_eq!(host.look(), "+/a +/a/b");
    }

    #[test]
    fn one_that_came_as_another_went_is_seen_once_that_is_told() {
        let mut host = Host::new();
        host.make("a");
        host.look();
        host.remove("a");
        host.make("b");
        host.tree.forget("/a");
        assert_eq!(host.look(), "+/b");
    }

    #[test]
    fn a_shallow_look_leaves_deep_changes_for_a_full_one() {
        let mut host = Host::new();
        host.make("a/b");
        host.look();
        host.depth = 1;
        host.make("a/b/c");
        host.make("a/d");
        assert_eq!(host.look(), "+/a/d");
        host.depth = usize::MAX;
        assert_eq!(host.look(), "+/a/b/c");
    }

    #[test]
    fn a_similar_name_is_not_below() {
        let mut host = Host::new();
        host.make("a");
        host.make("ab");
        host.look();
        host.tree.forget("/a");
        assert_eq!(host.tree.watched(), 2);
    }
}
