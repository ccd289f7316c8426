//! Files that are held open and read again and again into one buffer.
//!
//! The kernel makes the text of these files anew at each read from offset 0, so a held descriptor
//! with `pread` is as good as opening the file again, at a third of the cost. A removed cgroup's
//! files answer ENODEV, and so does a file whose controller was switched off, so the path decides which
//! it was: a directory that is missing, or that has another file of the name now, is gone.

use std::{fmt, os::fd::OwnedFd};

use rustix::{
    fs::{CWD, Mode, OFlags, Stat, openat, stat},
    io::{Errno, pread},
};

use super::{
    descriptors::{Budget, Pace, Permit},
    unreadable::{Reason, Unreadable},
};
use crate::parse::line::BadLine;

/// Enough for every file of a container; larger ones make the buffer grow.
const BUFFER_BYTES: usize = 16 << 10;

/// The largest file that is read: mountinfo of a node with thousands of mounts is below 1 MiB.
const FILE_BYTES_MAX: usize = 8 << 20;

/// The kernel fills a page at a time and stops before a record that does not fit. No record of the
/// files we read has 2 KiB, so a shorter piece is the last one.
const LAST_PIECE_BYTES: usize = 2 << 10;

/// Most readings between two tries to open a file that was refused: memory or descriptors may have
/// been short for a moment, and somebody may give the right to read it.
const PATIENCE_MAX: u16 = 1024;

/// Readings that are waited before the last try of a file that the kernel does not have: a runtime
/// that was still making its directory is through by then. Where a kernel adds files later it says so
/// elsewhere, and [`HeldFile::try_again`] is called; every try would cost an open.
const fn patience_with_absent(pace: Pace) -> u16 {
    match pace {
        Pace::Hot => 2,
        Pace::Slow => 1,
    }
}

/// Where a file is: `mount` + `directory` + `/` + `name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// Where the hierarchy is mounted, without a slash at the end.
    pub mount: &'a str,
    /// The directory in it; `/` is its root.
    pub directory: &'a str,
    /// The file's name in that.
    pub name: &'a str,
}

impl Location<'_> {
    /// Writes the directory's path over `path`.
    fn write_directory(&self, path: &mut String) {
        path.clear();
        path.push_str(self.mount);
        if self.directory != "/" {
            path.push_str(self.directory);
        }
    }

    /// Writes the file's path over `path`.
    fn write(&self, path: &mut String) {
        self.write_directory(path);
        path.push('/');
        path.push_str(self.name);
    }
}

impl fmt::Display for Location<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        self.write(&mut path);
        out.write_str(&path)
    }
}

/// The directory of a file that had been readable is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// One file's descriptor between two readings.
#[derive(Debug, Default)]
pub enum HeldFile {
    /// Never looked at.
    #[default]
    Untried,
    /// Open.
    Held(OwnedFd, Permit),
    /// Readable, but there are too few descriptors to hold it.
    Unheld,
    /// Not there, or forbidden.
    Missing {
        /// Readings until the next try; none when it is given up.
        wait: Option<u16>,
        /// Readings that were to wait last time.
        waited: u16,
    },
}

impl HeldFile {
    /// Forgets that it was not there, so that the next reading tries again.
    pub fn try_again(&mut self) {
        if let Self::Missing { .. } = self {
            *self = Self::Untried;
        }
    }

    fn miss(&mut self, pace: Pace, reason: Reason) {
        let waited = match self {
            Self::Missing { waited, .. } => waited.saturating_mul(2).min(PATIENCE_MAX),
            _ => 1,
        };
        let is_given_up = reason.is_absence() && patience_with_absent(pace) < waited;
        *self = Self::Missing { wait: (!is_given_up).then_some(waited), waited };
    }
}

/// Reads files: the buffer, the budget of descriptors and the faults.
#[derive(Debug)]
pub struct Files {
    /// Who may hold descriptors.
    pub budget: Budget,
    /// What could not be read.
    pub unreadable: Unreadable,
    /// Readings so far.
    pub readings: u64,
    /// Files opened so far.
    pub opened: u64,
    buffer: Vec<u8>,
    path: String,
}

impl Files {
    /// Reads within that budget.
    pub fn new(budget: Budget) -> Self {
        Self {
            budget,
            unreadable: Unreadable::default(),
            readings: 0,
            opened: 0,
            buffer: vec![0; BUFFER_BYTES],
            path: String::with_capacity(512),
        }
    }

    /// Reads a file and parses it. `None` when it is not there, forbidden or not understood.
    pub fn read<T>(
        &mut self,
        file: &mut HeldFile,
        pace: Pace,
        at: Location<'_>,
        parse: impl FnOnce(&[u8]) -> Result<T, BadLine>,
    ) -> Result<Option<T>, Gone> {
        let Some(length) = self.fill(file, pace, at)? else { return Ok(None) };
        match parse(self.buffer.get(..length).unwrap_or_default()) {
            Ok(value) => Ok(Some(value)),
            Err(BadLine { line_no }) => {
                at.write(&mut self.path);
                self.unreadable.count(at.name, &self.path, Reason::BadLine(line_no));
                Ok(None)
            }
        }
    }

    /// Reads a file once, without holding it.
    pub fn read_once<T>(
        &mut self,
        at: Location<'_>,
        parse: impl FnOnce(&[u8]) -> Result<T, BadLine>,
    ) -> Option<T> {
        let mut file = HeldFile::Unheld;
        let fd = self.open(&mut file, Pace::Slow, at).ok()??;
        let length = self.read_into_buffer(&fd, at).ok()?;
        parse(self.buffer.get(..length).unwrap_or_default()).ok()
    }

    /// The link count of a directory: 2, and one for each directory in it. `None` when it is not
    /// there.
    pub fn links(&mut self, mount: &str, directory: &str) -> Option<u64> {
        Location { mount, directory, name: "" }.write_directory(&mut self.path);
        stat(self.path.as_str()).ok().map(|stat| link_count(&stat))
    }

    /// The inode of a file; `None` when it is not there or may not be looked at.
    pub fn inode(&mut self, at: Location<'_>) -> Option<u64> {
        at.write(&mut self.path);
        stat(self.path.as_str()).ok().map(|stat| stat.st_ino)
    }

    /// The length of the text in the buffer.
    fn fill(
        &mut self,
        file: &mut HeldFile,
        pace: Pace,
        at: Location<'_>,
    ) -> Result<Option<usize>, Gone> {
        let result = match file {
            HeldFile::Held(fd, _) => {
                let result = read_to_end(fd, &mut self.buffer);
                if pace == Pace::Slow && self.budget.is_overdrawn() {
                    *file = HeldFile::Unheld;
                }
                result
            }
            HeldFile::Missing { wait: None, .. } => return Ok(None),
            HeldFile::Missing { wait: Some(wait), .. } if 0 < *wait => {
                *wait -= 1;
                return Ok(None);
            }
            _ => {
                let Some(fd) = self.open(file, pace, at)? else { return Ok(None) };
                let result = read_to_end(&fd, &mut self.buffer);
                *file = match self.budget.permit(pace) {
                    Some(permit) => HeldFile::Held(fd, permit),
                    None => HeldFile::Unheld,
                };
                result
            }
        };
        self.readings += 1;
        match result {
            Ok(length) => Ok(Some(length)),
            Err(reason) => {
                self.refused(file, pace, at, reason)?;
                Ok(None)
            }
        }
    }

    fn open(
        &mut self,
        file: &mut HeldFile,
        pace: Pace,
        at: Location<'_>,
    ) -> Result<Option<OwnedFd>, Gone> {
        at.write(&mut self.path);
        self.opened += 1;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        match openat(CWD, self.path.as_str(), flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(errno) => self.refused(file, pace, at, Reason::Refused(errno)).map(|()| None),
        }
    }

    fn read_into_buffer(&mut self, fd: &OwnedFd, at: Location<'_>) -> Result<usize, Gone> {
        self.readings += 1;
        read_to_end(fd, &mut self.buffer).map_err(|reason| {
            at.write(&mut self.path);
            self.unreadable.count(at.name, &self.path, reason);
            Gone
        })
    }

    /// Marks a file as missing, counts why, and finds out whether its directory is gone too.
    fn refused(
        &mut self,
        file: &mut HeldFile,
        pace: Pace,
        at: Location<'_>,
        reason: Reason,
    ) -> Result<(), Gone> {
        let was_held = matches!(file, HeldFile::Held(..));
        let was_there = was_held || matches!(file, HeldFile::Unheld);
        file.miss(pace, reason);
        match reason {
            // The kernel has the file and not the feature: pressure when booted with psi=0, the
            // processes of a threaded group.
            Reason::Refused(Errno::OPNOTSUPP) => Ok(()),
            _ if reason.is_absence() => {
                at.write(&mut self.path);
                // The file that was held is dead, and yet there is one: its directory was made anew.
                let is_another = was_held && stat(self.path.as_str()).is_ok();
                at.write_directory(&mut self.path);
                let is_gone = was_there && stat(self.path.as_str()).is_err();
                if is_another || is_gone { Err(Gone) } else { Ok(()) }
            }
            _ => {
                at.write(&mut self.path);
                self.unreadable.count(at.name, &self.path, reason);
                Ok(())
            }
        }
    }
}

/// A directory's link count.
#[allow(clippy::useless_conversion, reason = "the kernel's number has 32 bits on other machines")]
pub fn link_count(stat: &Stat) -> u64 {
    stat.st_nlink.into()
}

/// Reads the whole file from its start; the buffer grows when it has to.
fn read_to_end(fd: &OwnedFd, buffer: &mut Vec<u8>) -> Result<usize, Reason> {
    let mut length = 0;
    loop {
        if length == buffer.len() {
            if FILE_BYTES_MAX <= length {
                return Err(Reason::TooLarge);
            }
            buffer.resize(length * 2, 0);
        }
        let offset = u64::try_from(length).unwrap_or(u64::MAX);
        let free = buffer.get_mut(length..).unwrap_or_default();
        match pread(fd, free, offset) {
            Ok(piece) => {
                length += piece;
                if piece < LAST_PIECE_BYTES {
                    return Ok(length);
                }
            }
            Err(Errno::INTR) => (),
            Err(errno) => return Err(Reason::Refused(errno)),
        }
    }
}

#[cfg(test)]
mod tests;
