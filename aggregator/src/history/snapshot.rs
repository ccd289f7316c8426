//! The files of a directory at one moment, for those who read beside its owner.
//!
//! Merging makes a file, then removes those that it replaces; retention removes others. So a name
//! that was listed may be gone when it is opened, and then the list is read anew. Once open, a file
//! stays readable however long the reading takes. Nothing is removed, whatever a crash has left:
//! that is its owner's business.

use std::sync::Arc;

use super::{
    disk::Disk,
    error::HistoryError,
    file::{FileName, Tier, UNFINISHED, Window, read::HistoryFile},
    scan::Scan,
    store::{Files, of_day},
};

/// Looks at a directory that goes on changing: merges take seconds, so the second is seldom
/// needed.
const LOOKS: usize = 20;

/// Beginning of the names of the files that frames are recorded in before they become history.
const JOURNAL: &str = "journal-";

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Whole files that no other replaces, ordered by tier and day.
    pub files: Files,
    /// Files that can't be read, with the reason, in the order of their names.
    pub unreadable: Vec<(FileName, HistoryError)>,
    /// Files that others replace: they wait for being removed, or a crash has left them.
    pub replaced: Vec<FileName>,
    /// Files that are being written, or that a crash has left.
    pub unfinished: Vec<String>,
    /// The record of frames: name and bytes.
    pub journal: Vec<(String, u64)>,
    /// Files that are none of history's.
    pub others: Vec<String>,
}

impl Snapshot {
    /// Opens all files of a directory.
    pub fn take(disk: &dyn Disk) -> Result<Self, HistoryError> {
        for _ in 0..LOOKS {
            if let Some(snapshot) = Self::look(disk)? {
                return Ok(snapshot);
            }
        }
        Err(HistoryError::Restless { looks: LOOKS })
    }

    /// One look; nothing when the directory was changed meanwhile. That the names are the same
    /// before and after is needed: a list that is read while a merge ends may lack both its result
    /// and what went into it.
    fn look(disk: &dyn Disk) -> Result<Option<Self>, HistoryError> {
        let names = history_names(disk)?;
        let mut snapshot = Self::default();
        for name in &names {
            let Some(known) = FileName::parse(name) else {
                snapshot.note(disk, name);
                continue;
            };
            match HistoryFile::open(disk, known) {
                Ok(file) => {
                    snapshot.files.insert(known, Arc::new(file));
                }
                Err(error) if error.is_gone() => return Ok(None),
                Err(error) => snapshot.unreadable.push((known, error)),
            }
        }
        if history_names(disk)? != names {
            return Ok(None);
        }
        snapshot.set_replaced_aside();
        Ok(Some(snapshot))
    }

    /// Takes note of a file that is not read.
    fn note(&mut self, disk: &dyn Disk, name: &str) {
        let finished = name.strip_suffix(UNFINISHED).unwrap_or(name);
        if name.starts_with(JOURNAL) && name.ends_with(".tally") {
            // One that is gone already held nothing that is still waited for.
            let length = disk.open(name).and_then(|file| file.length());
            self.journal.extend(length.map(|bytes| (name.to_owned(), bytes)));
        } else if FileName::parse(finished).is_some() {
            self.unfinished.push(name.to_owned());
        } else {
            self.others.push(name.to_owned());
        }
    }

    fn set_replaced_aside(&mut self) {
        let names: Vec<FileName> = self.files.keys().copied().collect();
        let is_replaced = |name: &&FileName| names.iter().any(|other| other.replaces(name));
        self.replaced = names.iter().filter(is_replaced).copied().collect();
        self.files.retain(|name, _| !self.replaced.contains(name));
    }

    /// The days for which a tier has files, ascending.
    pub fn days(&self, tier: Tier) -> Vec<Window> {
        let of_tier = self.files.keys().filter(|name| name.tier == tier);
        let mut days: Vec<Window> = of_tier.map(|name| name.window).collect();
        days.dedup();
        days
    }

    /// All rows of a tier and of some days, in the order of their lives, each life once with its
    /// values of all these days.
    pub fn scan(&self, tier: Tier, days: &[Window]) -> Result<Scan, HistoryError> {
        let files = days.iter().flat_map(|day| of_day(&self.files, tier, *day));
        Scan::of(files.collect())
    }
}

/// Names of all files, sorted.
fn history_names(disk: &dyn Disk) -> Result<Vec<String>, HistoryError> {
    let listed = disk.list();
    let mut names = listed.map_err(|source| HistoryError::disk("list", "the directory", source))?;
    names.sort_unstable();
    Ok(names)
}
