//! Small files to larger ones, and days that are over to their coarser tiers.
//!
//! Rows of all inputs are read in step, in the order of their lives, and written as they come: in
//! memory is one row of each input and one block. The result is there under its name before an
//! input goes; a crash between leaves both, and the next start removes the inputs.

use std::sync::Arc;

use tally_proto::tick::Tick;

use super::{Store, is_settled, of_day};
use crate::history::{
    cache::Cache,
    error::{Budget, HistoryError},
    file::{
        FileName, Tier, Window,
        index::Index,
        read::{HistoryFile, OpenBlock},
        write::FileWriter,
    },
    join::join_rows,
    life::Life,
    series::Row,
    tier::{LastReadings, bucketed, last_readings},
};

/// How long after its end a day is merged and its coarser tiers are made: agents that were cut off
/// for less are in it.
pub const SETTLED_S: u64 = 3_600;

/// Files of single writes that make a merge worth its while.
const SMALL_FILES: usize = 16;

/// Files merged at once: one row of each is in memory.
const FILES_AT_ONCE: usize = 64;

/// What one merge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The file that came of it.
    pub made: FileName,
    /// How many it was made of.
    pub from: usize,
}

impl Store {
    /// Does the next merge that is due, if any: call it until there is none. A day that is not over
    /// has its small files put together now and then; one that is over becomes one file with its
    /// tiers; what comes later is put in when it is much, or at the latest after a day. Writes from
    /// the number `below` on, asked for after the files were looked at, are left alone.
    pub fn merge(
        &self,
        now: Tick,
        below: impl FnOnce() -> u64,
    ) -> Result<Option<Merged>, HistoryError> {
        let mut files = (*self.files()).clone();
        let below = below();
        files.retain(|name, _| name.last < below);
        let mut days: Vec<Window> =
            files.keys().filter(|name| name.tier == Tier::Raw).map(|name| name.window).collect();
        days.dedup();
        for day in days {
            let raw = of_day(&files, Tier::Raw, day);
            let due = due(&raw, day, now);
            if let (Some(first), Some(last)) = (due.first(), due.last())
                && 1 < due.len()
            {
                let made = FileName { last: last.name.last, ..first.name };
                self.merge_files(&due, made)?;
                return Ok(Some(Merged { made, from: due.len() }));
            }
            if let [whole] = raw.as_slice()
                && is_settled(day, now)
                && !has_tiers(&files, &whole.name)
            {
                let before = of_day(&files, Tier::Raw, Window(day.0.saturating_sub(1)));
                let made = self.make_tiers(whole, &before)?;
                return Ok(Some(Merged { made, from: 1 }));
            }
        }
        Ok(None)
    }

    fn merge_files(&self, inputs: &[Arc<HistoryFile>], made: FileName) -> Result<(), HistoryError> {
        let mut writer = FileWriter::new(&*self.disk, made)?;
        let mut rows = Rows::of(inputs)?;
        while let Some(row) = rows.next()? {
            writer.push(row)?;
        }
        self.count(writer.finish()?);
        self.replace(&[made])
    }

    /// Makes both coarser tiers of a whole day. `before` are the files of the day before: the first
    /// rates of a day need its last readings.
    fn make_tiers(
        &self,
        whole: &Arc<HistoryFile>,
        before: &[Arc<HistoryFile>],
    ) -> Result<FileName, HistoryError> {
        let tiers = Tier::ALL.into_iter().filter_map(|tier| Some((tier, tier.bucket_s()?)));
        let mut writers = Vec::new();
        for (tier, bucket_s) in tiers {
            let name = FileName { tier, ..whole.name };
            writers.push((name, bucket_s, FileWriter::new(&*self.disk, name)?));
        }
        let mut rows = Rows::of(std::slice::from_ref(whole))?;
        let mut earlier = Rows::of(before)?;
        while let Some(row) = rows.next()? {
            let readings = match earlier.find(&row.life)? {
                Some(before) => last_readings(&before),
                None => LastReadings::new(),
            };
            for (_, bucket_s, writer) in &mut writers {
                if let Some(row) = bucketed(&row, &readings, *bucket_s) {
                    writer.push(row)?;
                }
            }
        }
        let mut made = Vec::new();
        for (name, _, writer) in writers {
            made.push(name);
            self.count(writer.finish()?);
        }
        self.replace(&made)?;
        Ok(made.last().copied().unwrap_or(whole.name))
    }

    /// Takes finished files into the list and removes those that they replace.
    fn replace(&self, made: &[FileName]) -> Result<(), HistoryError> {
        let _writing = self.lock();
        let mut opened = Vec::new();
        for name in made {
            opened.push((*name, Arc::new(HistoryFile::open(&*self.disk, *name)?)));
        }
        self.change(|files| files.extend(opened));
        let files = self.files();
        let replaced: Vec<FileName> = files
            .keys()
            .filter(|name| made.iter().any(|made| made.replaces(name)))
            .copied()
            .collect();
        self.remove(&replaced)
    }
}

/// The files of a day to be merged now.
fn due(raw: &[Arc<HistoryFile>], day: Window, now: Tick) -> Vec<Arc<HistoryFile>> {
    let single = |file: &Arc<HistoryFile>| file.name.first == file.name.last;
    if !is_settled(day, now) {
        // Only the newest: those before are merged files.
        let singles = raw.iter().rev().take_while(|file| single(file)).count();
        let from = if SMALL_FILES <= singles { raw.len() - singles } else { raw.len() };
        return raw.get(from..).unwrap_or_default().to_vec();
    }
    let late = raw.len().saturating_sub(1);
    let has_whole = raw.first().is_some_and(|file| !single(file));
    let wait = has_whole && late < SMALL_FILES && !is_settled(Window(day.0 + 1), now);
    if wait { Vec::new() } else { raw.iter().take(FILES_AT_ONCE).cloned().collect() }
}

/// Whether both tiers hold all that a raw file holds, or there was nothing to hold.
fn has_tiers(files: &super::Files, raw: &FileName) -> bool {
    let five = of_day(files, Tier::FiveMinutes, raw.window);
    let hour = of_day(files, Tier::Hour, raw.window);
    let newest =
        |tier: &[Arc<HistoryFile>]| tier.last().is_some_and(|file| raw.last <= file.name.last);
    newest(&five) && newest(&hour)
}

/// The rows of several files in the order of their lives; those of one life as one row.
#[derive(Debug)]
pub(in crate::history) struct Rows {
    cursors: Vec<Cursor>,
}

/// A place in a file.
#[derive(Debug)]
struct Cursor {
    file: Arc<HistoryFile>,
    index: Arc<Index>,
    block: usize,
    open: Option<OpenBlock>,
    row: usize,
    /// Whose row is there; none at the end.
    life: Option<Arc<Life>>,
}

impl Cursor {
    /// Settles on the row that `block` and `row` say, or the next there is.
    fn settle(&mut self) -> Result<(), HistoryError> {
        loop {
            let named = self.open.as_ref().and_then(|open| open.names.rows.get(self.row));
            if let Some(named) = named {
                self.life = Some(Arc::clone(&named.life));
                return Ok(());
            }
            if self.open.take().is_some() {
                self.block += 1;
            }
            self.row = 0;
            let Some(block) = self.index.blocks.get(self.block) else {
                self.life = None;
                return Ok(());
            };
            let (cache, mut budget) = (Cache::new(0), Budget::unlimited());
            self.open = Some(self.file.block(self.block, block, &cache, &mut budget)?);
        }
    }

    fn pass(&mut self) -> Result<(), HistoryError> {
        self.row += 1;
        self.settle()
    }

    fn take(&mut self) -> Result<Option<Row>, HistoryError> {
        let Some(open) = &mut self.open else { return Ok(None) };
        let row = open.row(self.row, &mut Budget::unlimited())?;
        self.pass()?;
        Ok(Some(row))
    }
}

impl Rows {
    /// All rows of the files, which are in the order of their writes.
    pub(in crate::history) fn of(files: &[Arc<HistoryFile>]) -> Result<Self, HistoryError> {
        let mut cursors = Vec::with_capacity(files.len());
        let (cache, mut budget) = (Cache::new(0), Budget::unlimited());
        for file in files {
            let index = file.index(&cache, &mut budget)?;
            let file = Arc::clone(file);
            let mut cursor = Cursor { file, index, block: 0, open: None, row: 0, life: None };
            cursor.settle()?;
            cursors.push(cursor);
        }
        Ok(Self { cursors })
    }

    /// The next row.
    pub(in crate::history) fn next(&mut self) -> Result<Option<Row>, HistoryError> {
        let lives = self.cursors.iter().filter_map(|cursor| cursor.life.as_ref());
        let Some(life) = lives.min().cloned() else { return Ok(None) };
        self.take(&life)
    }

    /// The row of a life; those before it are passed over.
    pub(in crate::history) fn find(&mut self, life: &Life) -> Result<Option<Row>, HistoryError> {
        for cursor in &mut self.cursors {
            while cursor.life.as_ref().is_some_and(|mine| **mine < *life) {
                cursor.pass()?;
            }
        }
        self.take(life)
    }

    fn take(&mut self, life: &Life) -> Result<Option<Row>, HistoryError> {
        let mut same = Vec::new();
        for cursor in &mut self.cursors {
            if cursor.life.as_ref().is_some_and(|mine| **mine == *life) {
                same.extend(cursor.take()?);
            }
        }
        Ok(join_rows(same))
    }
}
