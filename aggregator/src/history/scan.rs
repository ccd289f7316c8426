//! Rows of several files in step, and only what is wanted of them.
//!
//! Merging has a reader of its own that takes every row whole. Those who look for something pass
//! over most: a block out of the range, a life that is not selected and a series that nobody asked
//! for are not decoded. In memory is one block's names and columns of each file, with the tables
//! of those columns that were asked for, and what is wanted of one row.

use std::sync::Arc;

use tally_proto::tick::Tick;

use super::{
    cache::Cache,
    error::{Budget, HistoryError},
    file::{
        index::Index,
        read::{HistoryFile, OpenBlock},
    },
    join::{cut, join_rows},
    life::{Life, Who},
    series::{Row, What},
};

/// What a reader wants to see.
pub trait Wanted {
    /// Whether somebody is.
    fn who(&self, who: &Who) -> bool;
    /// Whether a metric's series is.
    fn what(&self, what: &What) -> bool;
    /// The first and the last tick.
    fn range(&self) -> (Tick, Tick);
}

/// A place in several files.
#[derive(Debug)]
pub struct Scan {
    cursors: Vec<Cursor>,
}

/// A place in one file: before the first row when it is new.
#[derive(Debug)]
struct Cursor {
    file: Arc<HistoryFile>,
    index: Arc<Index>,
    block: usize,
    open: Option<OpenBlock>,
    row: usize,
    /// Whose row is there; none at the end, or before the file was looked at.
    life: Option<Arc<Life>>,
    begun: bool,
}

impl Scan {
    /// Begins at the first rows of files; of two with a value for one tick, the later in `files`
    /// counts.
    pub(super) fn of(files: Vec<Arc<HistoryFile>>) -> Result<Self, HistoryError> {
        let mut cursors = Vec::with_capacity(files.len());
        for file in files {
            let index = file.index(&uncached(), &mut Budget::unlimited())?;
            let (block, open, row, life, begun) = (0, None, 0, None, false);
            cursors.push(Cursor { file, index, block, open, row, life, begun });
        }
        Ok(Self { cursors })
    }

    /// Goes back to the first rows.
    pub fn restart(&mut self) {
        for cursor in &mut self.cursors {
            cursor.begun = false;
        }
    }

    /// The parts of the next life in which anything is wanted, with the stored labels that it had,
    /// one for each file, the earliest write first; not joined, as buckets of coarser tiers add up.
    /// Nothing when all is read.
    pub fn parts(&mut self, wanted: &impl Wanted) -> Result<Option<Vec<Row>>, HistoryError> {
        loop {
            for cursor in self.cursors.iter_mut().filter(|cursor| !cursor.begun) {
                cursor.begin(wanted)?;
            }
            let lives = self.cursors.iter().filter_map(|cursor| cursor.life.as_ref());
            let Some(life) = lives.min().cloned() else { return Ok(None) };
            let mut parts = Vec::new();
            for cursor in &mut self.cursors {
                if cursor.life.as_ref() == Some(&life) {
                    parts.extend(cursor.take(wanted)?);
                }
            }
            if !parts.is_empty() {
                return Ok(Some(parts));
            }
        }
    }

    /// Gives what any of the rows to come may hold of what is wanted to `each`, some of it more
    /// than once. Reads no values.
    pub fn each_what(
        &self,
        wanted: &impl Wanted,
        mut each: impl FnMut(&Arc<What>),
    ) -> Result<(), HistoryError> {
        let (first, last) = wanted.range();
        for Cursor { file, index, .. } in &self.cursors {
            let blocks = index.blocks.iter().enumerate();
            for (place, block) in blocks.filter(|(_, block)| block.touches(first, last)) {
                let columns = file.columns(place, block, &uncached(), &mut Budget::unlimited())?;
                columns.whats.iter().filter(|what| wanted.what(what)).for_each(&mut each);
            }
        }
        Ok(())
    }
}

/// One row of raw parts, no more than a range. Of two values for one tick the one in the later part
/// counts: parts of one life are in the order of their writes, and those of several lives of somebody
/// in the order in which the lives began.
pub fn join_parts(parts: Vec<Row>, first: Tick, last: Tick) -> Option<Row> {
    join_rows(parts).and_then(|row| cut(&row, first, last))
}

/// Each part is read once in a pass, so that keeping it for the next time gains nothing.
fn uncached() -> Cache {
    Cache::new(0)
}

impl Cursor {
    fn begin(&mut self, wanted: &impl Wanted) -> Result<(), HistoryError> {
        (self.block, self.open, self.row, self.begun) = (0, None, 0, true);
        self.settle(wanted)
    }

    /// Settles on the row that `block` and `row` say, or the next that is wanted.
    fn settle(&mut self, wanted: &impl Wanted) -> Result<(), HistoryError> {
        let (first, last) = wanted.range();
        while let Some(block) = self.index.blocks.get(self.block) {
            let budget = &mut Budget::unlimited();
            if block.touches(first, last) {
                let names = match &self.open {
                    Some(open) => Arc::clone(&open.names),
                    None => self.file.names(self.block, block, &uncached(), budget)?,
                };
                let rows = names.rows.iter().enumerate();
                let mut rows = rows.skip(self.row);
                if let Some((row, named)) = rows.find(|(_, named)| wanted.who(&named.life.who)) {
                    (self.row, self.life) = (row, Some(Arc::clone(&named.life)));
                    if self.open.is_none() {
                        let open = self.file.block(self.block, block, &uncached(), budget)?;
                        self.open = Some(open);
                    }
                    return Ok(());
                }
            }
            (self.block, self.open, self.row) = (self.block + 1, None, 0);
        }
        self.life = None;
        Ok(())
    }

    /// What is wanted of the row that it is at; and goes on to the next.
    fn take(&mut self, wanted: &impl Wanted) -> Result<Option<Row>, HistoryError> {
        let (Some(life), Some(open)) = (self.life.take(), &mut self.open) else {
            return Ok(None);
        };
        let budget = &mut Budget::unlimited();
        let section = open.section(self.row, budget)?;
        let columns = Arc::clone(&open.columns);
        let mut series = Vec::new();
        if section.whats(&columns).any(|what| wanted.what(what)) {
            for (place, what) in section.whats(&columns).enumerate() {
                if what.is_stored_labels() || wanted.what(what) {
                    series.push(open.series(self.row, place, budget)?);
                }
            }
        }
        self.row += 1;
        self.settle(wanted)?;
        Ok((!series.is_empty()).then_some(Row { life, series }))
    }
}
