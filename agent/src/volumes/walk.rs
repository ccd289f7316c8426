//! The size of a directory with all that is below it, as `du` tells it.
//!
//! Blocks that are allocated, of files, directories and the top itself; a file with several links
//! counts once. No link is followed and no other filesystem entered, nor what is bound in from the
//! same one. Whatever vanishes meanwhile does not count. A part that cannot be seen makes the whole
//! unknown: a sum with a hole in it would be a wrong number.

use std::{collections::HashSet, ffi::CStr, mem::MaybeUninit, os::fd::OwnedFd};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RawDir, ResolveFlags, Stat, fstat, openat, openat2,
        statat,
    },
    io::Errno,
};

/// Names from the top to a directory: more than people make, and an end where a directory is bound
/// below itself on a kernel that does not tell (before 5.6).
const DEPTH_MAX: usize = 256;

/// Memory for paths of directories that are still to be listed.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Bytes of one listing's piece: some hundred entries.
const LISTING_BYTES: usize = 16 << 10;

/// What `stat` counts in, whatever the filesystem's own blocks are.
const BLOCK_BYTES: u64 = 512;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Slows a walk down and ends it.
pub(super) trait Pace {
    /// Before each entry. `Err` says that there is no more time.
    fn entry(&mut self) -> Result<(), OutOfTime>;
}

/// The round has no time left, or the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there was no time left for it")]
pub(super) struct OutOfTime;

/// A directory whose size stays unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSize {
    /// It is not there.
    #[error("it is not there")]
    Gone,
    /// There is no more time.
    #[error(transparent)]
    OutOfTime(#[from] OutOfTime),
    /// It has more entries than are looked at.
    #[error("it has more than {0} entries")]
    TooMany(u32),
    /// It has more directories side by side than are kept in mind.
    #[error("it has too many directories")]
    TooWide,
    /// It goes deeper than is looked.
    #[error("it is more than {DEPTH_MAX} directories deep")]
    TooDeep,
    /// Part of it cannot be read.
    #[error("part of it cannot be read: {0}")]
    Refused(Errno),
}

impl From<Errno> for NoSize {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::Gone,
            errno => Self::Refused(errno),
        }
    }
}

/// What a walk is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk<'a> {
    /// The top; it is no link.
    pub top: &'a str,
    /// Paths below it at which something is mounted: not touched, for it may hang.
    pub mounts: &'a [String],
    /// Entries that are looked at.
    pub entries_max: u32,
}

/// Bytes of all blocks of the top and of everything below it.
pub(super) fn size(walk: Walk<'_>, pace: &mut impl Pace) -> Result<u64, NoSize> {
    size_by(walk, true, pace)
}

fn size_by(walk: Walk<'_>, can_resolve: bool, pace: &mut impl Pace) -> Result<u64, NoSize> {
    let top = openat(CWD, walk.top, DIRECTORY, Mode::empty())?;
    let stat = fstat(&top)?;
    let mut walker = Walker {
        walk,
        device: stat.st_dev,
        top,
        can_resolve,
        bytes: blocks(&stat),
        entries: 0,
        linked: HashSet::new(),
        pending: vec![String::new()],
        pending_bytes: 0,
    };
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    while let Some(directory) = walker.pending.pop() {
        walker.pending_bytes = walker.pending_bytes.saturating_sub(directory.len());
        match walker.list(&directory, &mut buffer, pace) {
            // One below the top may go at any time.
            Err(NoSize::Gone) if !directory.is_empty() => (),
            other => other?,
        }
    }
    Ok(walker.bytes)
}

/// Bytes of all blocks of a file, and of those beside it that begin with its name: a log, and what it
/// was turned into.
pub(super) fn log_size(path: &str, entries_max: u32, pace: &mut impl Pace) -> Result<u64, NoSize> {
    let (directory, log) = path.rsplit_once('/').ok_or(NoSize::Gone)?;
    let fd = openat(CWD, directory, DIRECTORY, Mode::empty())?;
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut listing = RawDir::new(&fd, &mut buffer);
    let (mut bytes, mut entries) = (None::<u64>, 0);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        pace.entry()?;
        entries += 1;
        if entries_max < entries {
            return Err(NoSize::TooMany(entries_max));
        }
        if !entry.file_name().to_bytes().starts_with(log.as_bytes()) {
            continue;
        }
        match statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => bytes = Some(bytes.unwrap_or(0).saturating_add(blocks(&stat))),
            Err(Errno::NOENT) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
    bytes.ok_or(NoSize::Gone)
}

struct Walker<'a> {
    walk: Walk<'a>,
    top: OwnedFd,
    device: u64,
    /// Whether this kernel opens a path without crossing mounts and links.
    can_resolve: bool,
    bytes: u64,
    entries: u32,
    /// Inodes of files with several links that were counted.
    linked: HashSet<u64>,
    /// Directories to be listed, as paths below the top; the top is empty.
    pending: Vec<String>,
    pending_bytes: usize,
}

impl Walker<'_> {
    fn list(
        &mut self,
        directory: &str,
        buffer: &mut [MaybeUninit<u8>],
        pace: &mut impl Pace,
    ) -> Result<(), NoSize> {
        let Some(fd) = self.open(directory)? else { return Ok(()) };
        let mut entries = RawDir::new(&fd, buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            pace.entry()?;
            self.entries += 1;
            if self.walk.entries_max < self.entries {
                return Err(NoSize::TooMany(self.walk.entries_max));
            }
            self.count(&fd, directory, name)?;
        }
        Ok(())
    }

    fn count(&mut self, fd: &OwnedFd, directory: &str, name: &CStr) -> Result<(), NoSize> {
        let path = name.to_str().ok().map(|name| below(directory, name));
        if path.as_ref().is_some_and(|path| self.is_mount(path)) {
            return Ok(());
        }
        let stat = match statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if stat.st_dev != self.device {
            return Ok(());
        }
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_directory && 1 < stat.st_nlink && !self.linked.insert(stat.st_ino) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(blocks(&stat));
        if !is_directory {
            return Ok(());
        }
        // Its name is bytes that no path of ours can hold.
        let path = path.ok_or(NoSize::Refused(Errno::ILSEQ))?;
        if DEPTH_MAX <= path.split('/').count() {
            return Err(NoSize::TooDeep);
        }
        self.pending_bytes += path.len();
        if PENDING_BYTES_MAX < self.pending_bytes {
            return Err(NoSize::TooWide);
        }
        self.pending.push(path);
        Ok(())
    }

    fn is_mount(&self, path: &str) -> bool {
        self.walk.mounts.iter().any(|mount| {
            mount.strip_prefix(self.walk.top).and_then(|rest| rest.strip_prefix('/')) == Some(path)
        })
    }

    /// `None` when something is mounted there.
    fn open(&mut self, directory: &str) -> Result<Option<OwnedFd>, NoSize> {
        if directory.is_empty() {
            return Ok(Some(openat(&self.top, ".", DIRECTORY, Mode::empty())?));
        }
        if self.can_resolve {
            let resolve =
                ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
            match openat2(&self.top, directory, DIRECTORY, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Errno::XDEV) => return Ok(None),
                // An old kernel, or a filter of system calls that is older than the call.
                Err(Errno::NOSYS | Errno::PERM) => self.can_resolve = false,
                // A link took its place meanwhile.
                Err(Errno::LOOP) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
        self.open_name_by_name(directory)
    }

    fn open_name_by_name(&self, directory: &str) -> Result<Option<OwnedFd>, NoSize> {
        let mut names = directory.split('/');
        let first = names.next().unwrap_or_default();
        let mut fd = match openat(&self.top, first, DIRECTORY, Mode::empty()) {
            Err(Errno::LOOP) => return Ok(None),
            opened => opened?,
        };
        for name in names {
            fd = match openat(&fd, name, DIRECTORY, Mode::empty()) {
                Err(Errno::LOOP) => return Ok(None),
                opened => opened?,
            };
        }
        let is_same = fstat(&fd)?.st_dev == self.device;
        Ok(is_same.then_some(fd))
    }
}

fn below(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn blocks(stat: &Stat) -> u64 {
    u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES)
}

#[cfg(test)]
mod tests;
