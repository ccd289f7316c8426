//! One node's frames of one segment, unpacked into columns: what its rows are made of.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tally_proto::{
    columns::{ColumnValues, Compact},
    declaration::EntityNumber,
    message::{Declarations, Hello, PackedFrame},
    name::NodeName,
    tick::{Resolution, Tick, UnixMs},
};

use super::{
    earlier,
    kept::Kept,
    rows::{self, Frames, PlannedRow, SharedWhats, Wanted},
};
use crate::{
    history::{error::HistoryError, join::join_rows, life::Life, series::Row, timeline::Timeline},
    inventory::Inventory,
    journal::entry::Standing,
    model::{
        vocabulary::Vocabulary,
        writer::{BadFrame, Before, Known, NodeWriter},
    },
    point::Reading,
    recipe::Cell,
    rollup::{FrameSums, Plan},
    schema::Schema,
};

/// The clock of streams that are read back: nobody waits for anybody.
const THEN: UnixMs = UnixMs(0);

/// The frames of one node.
#[derive(Debug)]
pub(super) struct Span {
    node: NodeName,
    writer: NodeWriter,
    known: Arc<Inventory>,
    eras: Vec<Era>,
    /// Whether the last era goes on.
    is_open: bool,
    /// Values in all eras.
    values: usize,
    /// Ticks that were counted.
    counted: HashSet<Tick>,
}

/// Frames of one schema.
#[derive(Debug)]
struct Era {
    schema: Arc<Schema>,
    ticks: Vec<Tick>,
    /// For each column of the schema the values of each frame.
    columns: Vec<Column>,
    /// What the first frame started from.
    before: Option<Before>,
}

/// What a frame adds to sums.
#[derive(Debug)]
pub(super) struct Part {
    /// What says which namespaces the sums are of.
    pub(super) plan: Arc<Plan>,
    /// What it adds to each, and to the cluster.
    pub(super) sums: FrameSums,
}

impl Span {
    /// No frames.
    pub(super) fn new(node: NodeName, resolution: Resolution) -> Self {
        let known = Arc::new(Inventory::default());
        let writer = NodeWriter::new(node.clone(), resolution, 1, Tick(0));
        Self {
            node,
            writer,
            known,
            eras: Vec::new(),
            is_open: false,
            values: 0,
            counted: HashSet::new(),
        }
    }

    /// A stream begins.
    pub(super) fn begin(&mut self, hello: &Hello) {
        // Another boot may follow at once: what was recorded was allowed.
        self.writer.begin_stream(hello.boot, THEN, i64::MIN);
        self.known = Arc::new(Inventory::default());
        self.is_open = false;
    }

    /// Takes what numbers mean.
    pub(super) fn declare(&mut self, said: Declarations, vocabulary: &mut Vocabulary) {
        self.writer.declare(said, vocabulary);
    }

    /// Takes what the API server knew from here on.
    pub(super) fn know(&mut self, known: Arc<Inventory>) {
        self.known = known;
    }

    /// Takes the values that the next frame goes on from.
    pub(super) fn base(&mut self, frame: &PackedFrame) -> Result<(), BadFrame> {
        let unpacked = self.writer.unpack(frame, &Known::Then(&self.known), false)?;
        self.writer.finish(frame, unpacked, None, (false, THEN));
        self.is_open = false;
        Ok(())
    }

    /// Takes a frame. Nothing is added by one whose tick was counted before, in this segment or, as
    /// `kept` says, in another.
    pub(super) fn frame(
        &mut self,
        frame: &PackedFrame,
        standing: Standing,
        kept: &mut Kept,
    ) -> Result<Option<Part>, FrameError> {
        let mut unpacked = self.writer.unpack(frame, &Known::Then(&self.known), false)?;
        let schema = Arc::clone(&unpacked.schema);
        let is_counted = match standing {
            Standing::Step => true,
            _ if self.counted.contains(&frame.tick) => true,
            Standing::New => false,
            Standing::Doubtful => match rows::lives(&schema, &self.node).first() {
                Some((anybody, _)) => kept.has_tick(&anybody.who, frame.tick)?,
                None => true,
            },
        };
        let mut before = None;
        if unpacked.is_first() && !is_counted {
            before = earlier::from_history(kept, &schema, &self.node, frame.tick)?;
            before.iter().for_each(|before| unpacked.follow(before));
        }
        let new_schema = unpacked.new_schema;
        let plan = Arc::clone(&unpacked.plan);
        let sums = self.writer.finish(frame, unpacked, None, (!is_counted, THEN));
        self.is_open &= !new_schema;
        let Some(sums) = sums else { return Ok(None) };
        self.counted.insert(frame.tick);
        self.add(schema, frame, before);
        Ok(Some(Part { plan, sums }))
    }

    fn add(&mut self, schema: Arc<Schema>, frame: &PackedFrame, before: Option<Before>) {
        let goes_on = |era: &&mut Era| era.ticks.last().is_some_and(|last| *last < frame.tick);
        let columns = &self.writer.columns().values;
        let era = match self.eras.last_mut().filter(|_| self.is_open).filter(goes_on) {
            Some(era) => era,
            None => {
                let before = before.or_else(|| self.writer.before(frame));
                let columns = columns.iter().map(|values| Column::new(values.count())).collect();
                self.eras.push(Era { schema, ticks: Vec::new(), columns, before });
                self.is_open = true;
                let Some(era) = self.eras.last_mut() else { return };
                era
            }
        };
        era.ticks.push(frame.tick);
        for (all, values) in era.columns.iter_mut().zip(columns) {
            all.push(values);
            self.values += values.count();
        }
    }

    /// How many values there are to take.
    pub(super) fn values(&self) -> usize {
        self.values
    }

    /// Gives the rows of the frames so far to `each`, each life once, one after the other: in memory
    /// is one of them, where the one before was.
    pub(super) fn take_rows(&mut self, shared: &mut SharedWhats, each: impl FnMut(Row)) {
        (self.is_open, self.values) = (false, 0);
        let eras: Vec<ByRow> = self.eras.drain(..).map(ByRow::of).collect();
        let same = eras.chunk_by(|a, b| Arc::ptr_eq(&a.schema, &b.schema));
        let planned: Vec<(&[ByRow], Vec<PlannedRow>)> = same
            .filter_map(|eras| {
                let schema = &eras.first()?.schema;
                Some((eras, rows::plan(schema, &self.node, Wanted::default(), shared)))
            })
            .collect();
        let mut found: BTreeMap<&Life, Vec<(&[ByRow], &PlannedRow)>> = BTreeMap::new();
        for (eras, rows) in &planned {
            for row in rows {
                found.entry(row.life()).or_default().push((eras, row));
            }
        }
        let whole = |parts: Vec<(&[ByRow], &PlannedRow)>| {
            let filled = parts
                .into_iter()
                .flat_map(|(eras, row)| eras.iter().map(move |era| row.fill(era, &era.timeline)));
            join_rows(filled.collect())
        };
        found.into_values().filter_map(whole).for_each(each);
    }
}

/// The frames of one schema, each series in one piece.
#[derive(Debug)]
struct ByRow {
    schema: Arc<Schema>,
    ticks: Vec<Tick>,
    timeline: Arc<Timeline>,
    /// For each column of the schema its values, all of them turned.
    columns: Vec<Column>,
    before: Option<Before>,
}

impl ByRow {
    fn of(era: Era) -> Self {
        let Era { schema, ticks, mut columns, before } = era;
        let timeline = Arc::new(Timeline::of(ticks.iter().copied()));
        columns.iter_mut().for_each(Column::turn);
        Self { columns, schema, ticks, timeline, before }
    }
}

/// Frames whose values are turned at once: they are still in the processor's caches then.
const FRAMES_AT_ONCE: usize = 32;

/// A column's values: of rows, as far as they are turned.
#[derive(Debug)]
struct Column {
    rows: usize,
    /// Those of the newest frames, one frame after the other.
    newest: Vec<i64>,
    /// Those of the frames before in pieces of some frames each, one row after the other.
    turned: Vec<Vec<i64>>,
}

impl Column {
    fn new(rows: usize) -> Self {
        Self { rows, newest: Vec::new(), turned: Vec::new() }
    }

    /// Adds a frame.
    fn push(&mut self, values: &Compact) {
        values.append_to(&mut self.newest);
        if self.rows * FRAMES_AT_ONCE <= self.newest.len() {
            self.turn();
        }
    }

    /// Turns the newest frames.
    fn turn(&mut self) {
        if !self.newest.is_empty() {
            self.turned.push(by_row(&self.newest, self.rows));
            self.newest.clear();
        }
    }

    /// The values of a row that are turned.
    fn of_row(&self, row: usize) -> impl Iterator<Item = &[i64]> {
        self.turned.iter().map(move |piece| {
            let frames = piece.len() / self.rows.max(1);
            piece.get(row * frames..(row + 1) * frames).unwrap_or_default()
        })
    }
}

/// Values of frames, one frame after the other, as those of rows, one row after the other.
fn by_row(frames: &[i64], rows: usize) -> Vec<i64> {
    let mut turned = Vec::with_capacity(frames.len());
    for row in 0..rows {
        turned.extend(frames.chunks_exact(rows).map(|frame| frame.get(row).copied().unwrap_or(0)));
    }
    turned
}

impl Frames for ByRow {
    fn ticks(&self) -> &[Tick] {
        &self.ticks
    }

    fn values(&self, cell: Cell) -> Vec<i64> {
        let mut values = Vec::with_capacity(self.ticks.len());
        let column = self.columns.get(cell.index).into_iter();
        column.flat_map(|column| column.of_row(cell.position)).for_each(|some| {
            values.extend_from_slice(some);
        });
        values
    }

    fn before(&self, entity: EntityNumber, cell: Cell) -> Option<Reading> {
        let before = self.before.as_ref()?;
        rows::reading(&self.schema, (entity, cell), before)
    }
}

/// Why a frame is not counted.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// It can't be read.
    #[error(transparent)]
    Bad(#[from] BadFrame),
    /// History can't say whether it is known.
    #[error(transparent)]
    History(#[from] HistoryError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_after_one_another_where_frames_did() {
        for (frames, rows) in [(0, 0), (4, 0), (1, 3), (3, 1), (16, 2), (32, 4), (70, 5)] {
            let mut column = Column::new(usize::try_from(rows).unwrap());
            for frame in 0..frames {
                let values = (0..rows).map(|row| frame * 100 + row).collect::<Vec<i64>>();
                column.push(&values.into());
            }
            column.turn();
            for row in 0..rows {
                let of_row: Vec<&[i64]> = column.of_row(usize::try_from(row).unwrap()).collect();
                let expected: Vec<i64> = (0..frames).map(|frame| frame * 100 + row).collect();
                assert_eq!(of_row.concat(), expected, "{frames} {rows}");
            }
        }
    }
}
