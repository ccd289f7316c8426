//! Rows to a file that is either whole or not there.

use std::collections::BTreeSet;

use tally_proto::name::PodUid;

use super::{END, FileName, MAGIC, PLAIN_VERSION, UNFINISHED, VERSION};
use crate::history::{
    block::{self, Encoded, ROWS, SERIES, VALUES, WHAT_BYTES},
    codec::bytes::{push_length, push_varint},
    disk::{Disk, NewFile},
    error::HistoryError,
    series::{Row, Series},
};

/// Rows after which a block ends, unless a pod goes on.
const ROWS_USUAL: usize = ROWS - 16;

/// Sets of stored labels of an entity in one file at most. A label that always changes, such as a time,
/// is no label by which anything can be found, and must not cost an entity its numbers.
const LABEL_SETS: usize = 1_000;

/// What a file was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Samples that it holds.
    pub samples: u64,
    /// Series that were left out, as an entity had too many of them.
    pub left_out: u64,
}

/// Writes one file, row by row in the order of their lives.
#[derive(Debug)]
pub struct FileWriter<'a> {
    disk: &'a dyn Disk,
    name: FileName,
    file: Box<dyn NewFile>,
    at: u64,
    waiting: Vec<Row>,
    load: Load,
    index: Vec<u8>,
    blocks: u32,
    samples: u64,
    has_stored_labels: bool,
    left_out: u64,
    /// Hash of each pod's uid, and the block it is in.
    uids: BTreeSet<(u32, u32)>,
}

/// What is kept of a uid in a file's index.
pub(super) fn uid_hash(uid: &PodUid) -> u32 {
    crc32fast::hash(uid.to_string().as_bytes())
}

impl<'a> FileWriter<'a> {
    /// Begins a file under its unfinished name.
    pub fn new(disk: &'a dyn Disk, name: FileName) -> Result<Self, HistoryError> {
        let unfinished = format!("{name}{UNFINISHED}");
        let failed = |source| HistoryError::disk("begin", &unfinished, source);
        let mut file = disk.create(&unfinished).map_err(failed)?;
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&PLAIN_VERSION.to_le_bytes());
        file.append(&head).map_err(failed)?;
        Ok(Self {
            disk,
            name,
            file,
            at: super::HEAD_BYTES,
            waiting: Vec::new(),
            load: Load::default(),
            index: Vec::new(),
            blocks: 0,
            samples: 0,
            has_stored_labels: false,
            left_out: 0,
            uids: BTreeSet::new(),
        })
    }

    /// Adds a row. What it has too much of is left out.
    pub fn push(&mut self, mut row: Row) -> Result<(), HistoryError> {
        self.left_out += fitted(&mut row);
        let own = Load::of(&row.series);
        let after = self.load.and(own);
        let is_full = ROWS_USUAL <= self.waiting.len() || VALUES < after.values;
        let must = ROWS <= self.waiting.len() || 2 * VALUES < after.values || !after.fits();
        if must || is_full && !self.continues_pod(&row) {
            self.write_block()?;
        }
        self.samples += u64::try_from(row.samples()).unwrap_or(0);
        self.has_stored_labels |= row.stored_labels().next().is_some();
        self.load = self.load.and(own);
        self.waiting.push(row);
        Ok(())
    }

    /// Whether a row is of the pod that the last waiting one is of: they explain each other, so
    /// they are kept in one block.
    fn continues_pod(&self, row: &Row) -> bool {
        let pod = |row: &Row| {
            let in_pod = row.life.who.in_pod()?;
            Some((in_pod.namespace.clone(), in_pod.pod.clone(), in_pod.uid.clone()))
        };
        let last = self.waiting.last().and_then(pod);
        last.is_some() && last == pod(row)
    }

    fn write_block(&mut self) -> Result<(), HistoryError> {
        let encoded = block::encode(&mut self.waiting);
        let encoded = encoded.map_err(|source| HistoryError::block(&self.name, source))?;
        let Some(encoded) = encoded else { return Ok(()) };
        for row in &self.waiting {
            if let Some(in_pod) = row.life.who.in_pod() {
                self.uids.insert((uid_hash(&in_pod.uid), self.blocks));
            }
        }
        self.waiting.clear();
        self.load = Load::default();
        self.push_index(&encoded);
        for part in [&encoded.names, &encoded.columns, &encoded.sections] {
            self.append(part)?;
        }
        self.blocks += 1;
        Ok(())
    }

    fn push_index(&mut self, block: &Encoded) {
        block.first.push_to(&mut self.index);
        push_length(block.rows, &mut self.index);
        push_varint(block.first_tick.0, &mut self.index);
        push_varint(block.last_tick.0 - block.first_tick.0, &mut self.index);
        for part in [&block.names, &block.columns, &block.sections] {
            push_length(part.len(), &mut self.index);
        }
        for part in [&block.names, &block.columns] {
            self.index.extend_from_slice(&crc32fast::hash(part).to_le_bytes());
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HistoryError> {
        let failed = |source| HistoryError::disk("write", &self.name.to_string(), source);
        self.file.append(bytes).map_err(failed)?;
        self.at += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(())
    }

    /// Finishes the file: when this returns, it is there under its name and will be after a crash.
    pub fn finish(mut self) -> Result<Written, HistoryError> {
        self.write_block()?;
        let unfinished = format!("{}{UNFINISHED}", self.name);
        let mut uids = Vec::with_capacity(self.uids.len() * 8);
        for (hash, block) in &self.uids {
            uids.extend_from_slice(&hash.to_le_bytes());
            uids.extend_from_slice(&block.to_le_bytes());
        }
        let mut index = Vec::new();
        push_varint(self.at, &mut index);
        push_length(self.uids.len(), &mut index);
        index.extend_from_slice(&crc32fast::hash(&uids).to_le_bytes());
        push_varint(self.samples, &mut index);
        push_varint(u64::from(self.blocks), &mut index);
        index.extend_from_slice(&self.index);
        let index = block::compress(&index);
        let index = index.map_err(|source| HistoryError::block(&self.name, source))?;
        self.append(&uids)?;
        let mut foot = Vec::new();
        foot.extend_from_slice(&self.at.to_le_bytes());
        foot.extend_from_slice(&u64::try_from(index.len()).unwrap_or(0).to_le_bytes());
        foot.extend_from_slice(&crc32fast::hash(&index).to_le_bytes());
        foot.extend_from_slice(END);
        self.append(&index)?;
        self.append(&foot)?;
        let name = self.name.to_string();
        let failed = |source| HistoryError::disk("finish", &name, source);
        if self.has_stored_labels {
            let at = u64::try_from(MAGIC.len()).unwrap_or(0);
            self.file.amend(at, &VERSION.to_le_bytes()).map_err(failed)?;
        }
        self.file.sync().map_err(failed)?;
        self.disk.rename(&unfinished, &name).map_err(failed)?;
        self.disk.sync().map_err(failed)?;
        Ok(Written { samples: self.samples, left_out: self.left_out })
    }
}

/// What rows take in a block.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    values: usize,
    series: usize,
    what_bytes: usize,
}

impl Load {
    fn of(series: &[Series]) -> Self {
        series.iter().fold(Self::default(), |load, one| load.with(one))
    }

    fn with(self, series: &Series) -> Self {
        let (values, what_bytes) = (series.values.len(), series.what.bytes());
        self.and(Self { values, series: 1, what_bytes })
    }

    fn and(self, other: Self) -> Self {
        Self {
            values: self.values + other.values,
            series: self.series + other.series,
            what_bytes: self.what_bytes + other.what_bytes,
        }
    }

    /// Whether one block can have as many series.
    fn fits(self) -> bool {
        self.series <= SERIES && self.what_bytes <= WHAT_BYTES
    }
}

/// Leaves out the oldest sets of stored labels that are too many, and series that no block has room for.
/// How many series that were.
fn fitted(row: &mut Row) -> u64 {
    let before = row.series.len();
    let mut ends: Vec<_> = row.stored_labels().map(|labels| labels.timeline.last()).collect();
    if LABEL_SETS < ends.len() {
        ends.sort_unstable_by(|one, other| other.cmp(one));
        let oldest = ends.get(LABEL_SETS - 1).copied().flatten();
        let mut left = LABEL_SETS;
        row.series.retain(|series| {
            let is_kept =
                !series.what.is_stored_labels() || 0 < left && oldest <= series.timeline.last();
            left -= usize::from(is_kept && series.what.is_stored_labels());
            is_kept
        });
    }
    let mut load = Load::default();
    let room = row.series.iter().position(|series| {
        load = load.with(series);
        !load.fits()
    });
    row.series.truncate(room.unwrap_or(row.series.len()));
    u64::try_from(before - row.series.len()).unwrap_or(u64::MAX)
}

/// Writes rows, which are in the order of their lives, as one file.
pub fn write(
    disk: &dyn Disk,
    name: FileName,
    rows: impl IntoIterator<Item = Row>,
) -> Result<Written, HistoryError> {
    let mut writer = FileWriter::new(disk, name)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tally_proto::{
        metric::{Labels, MetricName},
        name::NodeName,
        tick::Tick,
    };

    use super::*;
    use crate::history::{
        disk::simulated::SimulatedDisk,
        file::{Tier, Window, read::HistoryFile},
        life::{Life, Who},
        series::{Field, Quantity, What},
        timeline::Timeline,
    };

    const NAME: FileName = FileName { tier: Tier::Raw, window: Window(0), first: 1, last: 1 };

    fn series(what: What, tick: u64) -> Series {
        let timeline = Arc::new(Timeline::of([Tick(tick)]));
        Series { what: Arc::new(what), timeline, values: vec![7], sketches: Vec::new() }
    }

    fn metric(number: usize, labels: Labels) -> What {
        What::Metric(Quantity {
            metric: MetricName::parse(&format!("custom/m{number:06}")).unwrap(),
            labels,
            field: Field::Value,
            floating: false,
            cumulative: false,
        })
    }

    fn row(node: usize, mut series: Vec<Series>) -> Row {
        series.sort_by(|a, b| a.what.cmp(&b.what));
        let who = Who::Node(NodeName::parse(&format!("node-{node:03}")).unwrap());
        Row { life: Arc::new(Life { who, start: None }), series }
    }

    /// All of what is written can be read.
    #[track_caller]
    fn check(rows: Vec<Row>, samples: usize, left_out: u64) {
        let disk = SimulatedDisk::default();
        let samples = u64::try_from(samples).unwrap();
        assert_eq!(write(&disk, NAME, rows).unwrap(), Written { samples, left_out });
        let file = Arc::new(HistoryFile::open(&disk, NAME).unwrap());
        assert_eq!(file.verify().unwrap(), samples);
    }

    #[test]
    fn rows_of_many_metrics_are_in_several_blocks() {
        let metrics = |node: usize| {
            (0..10_000).map(move |number| metric(node * 10_000 + number, Labels::none()))
        };
        let row = |node| row(node, metrics(node).map(|what| series(what, 60)).collect());
        check((0..8).map(row).collect(), 80_000, 0);
    }

    #[test]
    fn of_more_series_than_a_block_can_have_the_last_are_left_out() {
        let metrics = (0..SERIES + 500).map(|number| metric(number, Labels::none()));
        check(vec![row(0, metrics.map(|what| series(what, 60)).collect())], SERIES, 500);
    }

    #[test]
    fn labels_as_long_as_they_may_be_are_in_several_blocks() {
        let row = |node| {
            let labels = (0..8).map(|number| (format!("k{number}"), "x".repeat(255)));
            let labels = Labels::new(labels.collect::<Vec<_>>()).unwrap();
            let metrics = (0..3_000).map(|number| metric(node * 3_000 + number, labels.clone()));
            row(node, metrics.map(|what| series(what, 60)).collect())
        };
        check((0..4).map(row).collect(), 12_000, 0);
    }

    #[test]
    fn of_labels_that_always_change_the_latest_stay_and_so_do_the_numbers() {
        let set = |tick: usize| {
            let labels = Labels::new([("at", format!("{:05}", 99_999 - tick))]).unwrap();
            series(What::StoredLabels(labels), u64::try_from(tick).unwrap())
        };
        let numbers = series(metric(0, Labels::none()), 60);
        let mut row = row(0, (0..LABEL_SETS + 500).map(set).chain([numbers]).collect());
        check(vec![row.clone()], 1, 500);
        assert_eq!(fitted(&mut row), 500);
        let first = row.stored_labels().map(|labels| labels.timeline.first().unwrap()).min();
        assert_eq!((row.series.len(), first), (LABEL_SETS + 1, Some(Tick(500))));
    }
}
