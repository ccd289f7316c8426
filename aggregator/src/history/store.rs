//! The files of a directory as one store: opened, written, merged, dropped, asked.
//!
//! Writing is one thread's business; readers take the list of files as it is and keep it for as
//! long as they read. A file never changes, and stays readable for those who hold it when it is
//! replaced or dropped.

mod merge;
mod retention;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub use merge::{Merged, SETTLED_S};
pub use retention::{Dropped, Retention};
use tally_proto::tick::Tick;

use super::{
    aggregate::EXACT_VALUES,
    cache::Cache,
    disk::Disk,
    error::{Budget, HistoryError},
    file::{
        FileName, Tier, UNFINISHED, Window,
        read::HistoryFile,
        write::{self, Written},
    },
    join::{cut, join_rows},
    series::Row,
};

/// Files by name: those of one tier and day lie together.
pub type Files = BTreeMap<FileName, Arc<HistoryFile>>;

/// Parts of files that are kept while something is read as of a write.
const AS_OF_CACHE_BYTES: usize = 16 << 20;

/// What history holds.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    pub(super) cache: Cache,
    files: RwLock<Arc<Files>>,
    /// The number of the next write. Held while the list of files changes.
    next: Mutex<u64>,
    /// Series that were left out of files since that was last asked.
    left_out: AtomicU64,
    /// Values up to which an answer is worked out from raw values.
    pub(super) exact_values: u64,
}

/// What was found beside whole files when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Files that were being written, removed.
    pub unfinished: Vec<String>,
    /// Files that others have replaced, removed.
    pub replaced: Vec<String>,
    /// Files that are no whole files, with what is wrong; left where they are and not read.
    pub damaged: Vec<(String, String)>,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first day.
    pub first: Option<Window>,
    /// The last.
    pub last: Option<Window>,
}

impl Store {
    /// Opens the store of a directory: removes what a crash has left, reads nothing but the ends
    /// of files. Refuses a directory in which a newer version has written.
    pub fn open(disk: Arc<dyn Disk>, cache: Cache) -> Result<(Self, Recovered), HistoryError> {
        let names =
            disk.list().map_err(|source| HistoryError::disk("list", "the directory", source))?;
        let mut recovered = Recovered::default();
        let mut files = Files::new();
        for name in &names {
            if let Some(known) = FileName::parse(name) {
                match HistoryFile::open(&*disk, known) {
                    Ok(file) => {
                        files.insert(known, Arc::new(file));
                    }
                    Err(HistoryError::Damaged { name, what }) => {
                        recovered.damaged.push((name, what.to_owned()));
                    }
                    Err(other) => return Err(other),
                }
            }
        }
        let ours = |name: &&String| {
            let finished = name.strip_suffix(UNFINISHED);
            finished.is_some_and(|finished| FileName::parse(finished).is_some())
        };
        recovered.unfinished = names.iter().filter(ours).cloned().collect();
        let replaced: Vec<FileName> = files
            .keys()
            .filter(|name| files.keys().any(|other| other.replaces(name)))
            .copied()
            .collect();
        recovered.replaced = replaced.iter().map(FileName::to_string).collect();
        files.retain(|name, _| !replaced.contains(name));
        for name in recovered.unfinished.iter().chain(&recovered.replaced) {
            disk.remove(name).map_err(|source| HistoryError::disk("remove", name, source))?;
        }
        let next = files.keys().map(|name| name.last + 1).max().unwrap_or(1);
        let files = RwLock::new(Arc::new(files));
        let exact_values = EXACT_VALUES;
        let (next, left_out) = (Mutex::new(next), AtomicU64::new(0));
        Ok((Self { disk, cache, files, next, left_out, exact_values }, recovered))
    }

    /// Works out answers of up to so many values from raw values, where these are.
    pub fn with_exact_values(self, exact_values: u64) -> Self {
        Self { exact_values, ..self }
    }

    /// What the store holds now of writes before `number`, to be read while others are written.
    pub fn as_of(&self, number: u64) -> Self {
        let mut files = (*self.files()).clone();
        files.retain(|name, _| name.last < number);
        Self {
            disk: Arc::clone(&self.disk),
            cache: Cache::new(AS_OF_CACHE_BYTES),
            files: RwLock::new(Arc::new(files)),
            next: Mutex::new(number),
            left_out: AtomicU64::new(0),
            exact_values: self.exact_values,
        }
    }

    /// The files as they are now.
    pub fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What there is.
    pub fn held(&self) -> Held {
        let files = self.files();
        Held {
            files: u64::try_from(files.len()).unwrap_or(u64::MAX),
            bytes: files.values().map(|file| file.bytes).sum(),
            first: files.keys().map(|name| name.window).min(),
            last: files.keys().map(|name| name.window).max(),
        }
    }

    /// Writes the rows of a span of time; when this returns they are durable. Rows may come in any
    /// order; where a series has a value for a tick already, this one counts from now on, and of
    /// two rows of one life in `rows` the later. Gives the number of samples.
    pub fn write(&self, rows: Vec<Row>) -> Result<u64, HistoryError> {
        let rows = in_order(rows);
        let mut windows: Vec<Window> = Vec::new();
        for timeline in rows.iter().flat_map(|row| &row.series).map(|series| &series.timeline) {
            let ends = timeline.first().zip(timeline.last());
            let Some((first, last)) = ends else { continue };
            let days = (Window::of(first).0..=Window::of(last).0).map(Window);
            windows.extend(days.filter(|day| timeline.touches(day.first(), day.last())));
            windows.dedup();
        }
        windows.sort_unstable();
        windows.dedup();
        let mut next = self.lock();
        let mut samples = 0;
        for window in windows {
            let name = FileName { tier: Tier::Raw, window, first: *next, last: *next };
            let rows = rows.iter().filter_map(|row| cut(row, window.first(), window.last()));
            samples += self.count(write::write(&*self.disk, name, rows)?);
            *next += 1;
            let file = HistoryFile::open(&*self.disk, name)?;
            self.change(|files| {
                files.insert(name, Arc::new(file));
            });
        }
        Ok(samples)
    }

    /// Notes what a file was given. How many samples it holds.
    fn count(&self, written: Written) -> u64 {
        self.left_out.fetch_add(written.left_out, Ordering::Relaxed);
        written.samples
    }

    /// Series that were left out of files since this was last asked, as an entity had too many.
    pub fn take_left_out(&self) -> u64 {
        self.left_out.swap(0, Ordering::Relaxed)
    }

    /// Whether write `number` of a day is there already, in whatever tier.
    pub fn has_write(&self, window: Window, number: u64) -> bool {
        let files = self.files();
        let holds = |name: &FileName| name.first <= number && number <= name.last;
        files.keys().any(|name| name.window == window && holds(name))
    }

    /// Writes the rows of a day, which are in the order of their lives, as the write `number`; it
    /// must be later than all before it. Gives the number of samples.
    pub fn write_day(
        &self,
        window: Window,
        number: u64,
        rows: impl Iterator<Item = Row>,
    ) -> Result<u64, HistoryError> {
        let name = FileName { tier: Tier::Raw, window, first: number, last: number };
        let samples = self.count(write::write(&*self.disk, name, rows)?);
        let file = Arc::new(HistoryFile::open(&*self.disk, name)?);
        let mut next = self.lock();
        *next = (*next).max(number + 1);
        self.change(|files| {
            files.insert(name, file);
        });
        Ok(samples)
    }

    /// The number of the next write.
    pub fn next_write(&self) -> u64 {
        *self.lock()
    }

    /// The newest tick of any raw value; nothing is read but indices.
    pub fn newest_tick(&self) -> Result<Option<Tick>, HistoryError> {
        let files = self.files();
        let raw = files.iter().filter(|(name, _)| name.tier == Tier::Raw);
        let Some(newest) = raw.clone().map(|(name, _)| name.window).max() else { return Ok(None) };
        let mut found = None;
        for (_, file) in raw.filter(|(name, _)| name.window == newest) {
            let index = file.index(&self.cache, &mut Budget::unlimited())?;
            found = found.max(index.blocks.iter().map(|block| block.last_tick).max());
        }
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes a changed list of files. The caller holds the lock.
    fn change(&self, change: impl FnOnce(&mut Files)) {
        let mut files = (*self.files()).clone();
        change(&mut files);
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
    }

    /// Removes files from the list and the disk.
    fn remove(&self, names: &[FileName]) -> Result<(), HistoryError> {
        if names.is_empty() {
            return Ok(());
        }
        self.change(|files| files.retain(|name, _| !names.contains(name)));
        for name in names.iter().map(FileName::to_string) {
            let removed = self.disk.remove(&name);
            removed.map_err(|source| HistoryError::disk("remove", &name, source))?;
        }
        let synced = self.disk.sync();
        synced.map_err(|source| HistoryError::disk("sync", "the directory", source))
    }
}

/// Files of one tier and day, the earliest write first.
pub(super) fn of_day(files: &Files, tier: Tier, window: Window) -> Vec<Arc<HistoryFile>> {
    let from = FileName { tier, window, first: 0, last: 0 };
    let to = FileName { tier, window, first: u64::MAX, last: u64::MAX };
    files.range(from..=to).map(|(_, file)| Arc::clone(file)).collect()
}

/// Rows in the order of their lives, each life once.
fn in_order(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| a.life.cmp(&b.life));
    let mut joined = Vec::with_capacity(rows.len());
    let mut same: Vec<Row> = Vec::new();
    for row in rows {
        if same.last().is_some_and(|before| before.life != row.life) {
            joined.extend(join_rows(std::mem::take(&mut same)));
        }
        same.push(row);
    }
    joined.extend(join_rows(same));
    joined
}

/// Whether a day is over for so long that late samples are rare.
fn is_settled(window: Window, now: Tick) -> bool {
    window.last().0.saturating_add(SETTLED_S) < now.0
}
