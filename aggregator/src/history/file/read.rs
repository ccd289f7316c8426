//! A file's parts, read as they are asked for. Every part has a checksum, and is read whole.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tally_proto::name::PodUid;

use super::{
    END, FOOT_BYTES, FileName, HEAD_BYTES, MAGIC, VERSION,
    index::{Block, Index, PART_BYTES, wide},
    write::uid_hash,
};
use crate::history::{
    block::{BlockError, Columns, Names, Section, decode_row, decode_series},
    cache::{Cache, Part, PartKind},
    disk::{Disk, OldFile},
    error::{Budget, HistoryError},
    series::{Row, Series},
};

/// Bytes that hold the first two numbers of a section.
const SECTION_HEAD_BYTES: usize = 20;

/// Bytes that nearly always hold what a section says of the read offset and of stored labels.
const LABELLED_HEAD_BYTES: usize = 512;

/// A whole file that can be read.
#[derive(Debug)]
pub struct HistoryFile {
    /// Which one.
    pub name: FileName,
    /// Its length.
    pub bytes: u64,
    file: Arc<dyn OldFile>,
    /// Tells its parts from those of others in the cache.
    number: u64,
    index_at: u64,
    index_bytes: usize,
    index_checksum: u32,
}

static NUMBERS: AtomicU64 = AtomicU64::new(0);

impl HistoryFile {
    /// Opens a file; looks at its head and foot alone.
    pub fn open(disk: &dyn Disk, name: FileName) -> Result<Self, HistoryError> {
        let failed = |source: io::Error| HistoryError::disk("open", &name.to_string(), source);
        let file = disk.open(&name.to_string()).map_err(failed)?;
        let bytes = file.length().map_err(failed)?;
        let torn = || HistoryError::damaged(&name, "it is torn");
        let foot_at =
            bytes.checked_sub(FOOT_BYTES).filter(|at| HEAD_BYTES <= *at).ok_or_else(torn)?;
        let mut head = [0; 12];
        file.read_at(0, &mut head).map_err(failed)?;
        let version = head.strip_prefix(MAGIC.as_slice()).ok_or_else(torn)?;
        let version = version.try_into().map(u32::from_le_bytes).map_err(|_| torn())?;
        if VERSION < version {
            return Err(HistoryError::Newer { name: name.to_string(), version, known: VERSION });
        }
        let mut foot = [0; 28];
        file.read_at(foot_at, &mut foot).map_err(failed)?;
        let mut rest = foot.as_slice();
        let mut number = |bytes: usize| {
            let (taken, after) = rest.split_at_checked(bytes)?;
            rest = after;
            Some(taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let (uids_end, length, checksum) = (number(8), number(8), number(4));
        if rest != END {
            return Err(torn());
        }
        let length = length.filter(|length| *length <= foot_at).ok_or_else(torn)?;
        let index_at = foot_at - length;
        uids_end.filter(|at| *at <= index_at).ok_or_else(torn)?;
        Ok(Self {
            name,
            bytes,
            file,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            index_at,
            index_bytes: usize::try_from(length).map_err(|_| torn())?,
            index_checksum: checksum.and_then(|sum| u32::try_from(sum).ok()).ok_or_else(torn)?,
        })
    }

    fn read(
        &self,
        what: &'static str,
        at: u64,
        length: usize,
        budget: &mut Budget,
    ) -> Result<Bytes, HistoryError> {
        let wide = u64::try_from(length).unwrap_or(u64::MAX);
        if PART_BYTES < length || at.checked_add(wide).is_none_or(|end| self.bytes < end) {
            return Err(HistoryError::damaged(&self.name, what));
        }
        budget.bytes(wide)?;
        let mut bytes = vec![0; length];
        let read = self.file.read_at(at, &mut bytes);
        read.map_err(|source| HistoryError::disk("read", &self.name.to_string(), source))?;
        Ok(bytes.into())
    }

    fn checked(
        &self,
        what: &'static str,
        at: u64,
        length: usize,
        checksum: u32,
        budget: &mut Budget,
    ) -> Result<Bytes, HistoryError> {
        let bytes = self.read(what, at, length, budget)?;
        if crc32fast::hash(&bytes) != checksum {
            return Err(HistoryError::damaged(&self.name, what));
        }
        Ok(bytes)
    }

    fn block_error(&self, source: BlockError) -> HistoryError {
        HistoryError::block(&self.name, source)
    }

    /// What the file holds.
    pub fn index(&self, cache: &Cache, budget: &mut Budget) -> Result<Arc<Index>, HistoryError> {
        let read = || {
            let length = self.index_bytes;
            let bytes =
                self.checked("the index", self.index_at, length, self.index_checksum, budget)?;
            let index = Index::decode(&bytes).map_err(|source| self.block_error(source))?;
            let weight = index.blocks.len() * 400;
            Ok((Part::Index(Arc::new(index)), weight))
        };
        match cache.get((self.number, 0, PartKind::Index), read)? {
            Part::Index(index) => Ok(index),
            Part::Names(_) | Part::Columns(_) => {
                Err(HistoryError::damaged(&self.name, "the index"))
            }
        }
    }

    /// A block's names.
    pub fn names(
        &self,
        place: usize,
        block: &Block,
        cache: &Cache,
        budget: &mut Budget,
    ) -> Result<Arc<Names>, HistoryError> {
        let read = || {
            let checksum = block.names_checksum;
            let bytes = self.checked("names", block.at, block.names, checksum, budget)?;
            let names = Names::decode(&bytes).map_err(|source| self.block_error(source))?;
            let weight = names.weight();
            Ok((Part::Names(Arc::new(names)), weight))
        };
        match cache.get((self.number, number(place), PartKind::Names), read)? {
            Part::Names(names) => Ok(names),
            Part::Index(_) | Part::Columns(_) => Err(HistoryError::damaged(&self.name, "names")),
        }
    }

    /// A block's columns.
    pub fn columns(
        &self,
        place: usize,
        block: &Block,
        cache: &Cache,
        budget: &mut Budget,
    ) -> Result<Arc<Columns>, HistoryError> {
        let read = || {
            let at = block.at + wide(block.names);
            let checksum = block.columns_checksum;
            let bytes = self.checked("columns", at, block.columns, checksum, budget)?;
            let columns = Columns::decode(&bytes).map_err(|source| self.block_error(source))?;
            let weight = columns.weight();
            Ok((Part::Columns(Arc::new(columns)), weight))
        };
        match cache.get((self.number, number(place), PartKind::Columns), read)? {
            Part::Columns(columns) => Ok(columns),
            Part::Index(_) | Part::Names(_) => Err(HistoryError::damaged(&self.name, "columns")),
        }
    }

    /// Opens a block for reading rows and series.
    pub fn block(
        self: &Arc<Self>,
        place: usize,
        block: &Block,
        cache: &Cache,
        budget: &mut Budget,
    ) -> Result<OpenBlock, HistoryError> {
        let names = self.names(place, block, cache, budget)?;
        let columns = self.columns(place, block, cache, budget)?;
        let (file, block) = (Arc::clone(self), block.clone());
        Ok(OpenBlock { file, block, names, columns, last: None })
    }

    /// The blocks in which a pod's uid may be.
    pub fn blocks_of_uid(
        &self,
        uid: &PodUid,
        index: &Index,
        budget: &mut Budget,
    ) -> Result<Vec<usize>, HistoryError> {
        let hash = uid_hash(uid);
        let entry = |place: u64, budget: &mut Budget| {
            let bytes = self.read("the uids", index.uids_at + place * 8, 8, budget)?;
            let mut numbers = bytes.chunks_exact(4).map(|four| {
                four.iter().rev().fold(0, |number: u32, byte| number << 8 | u32::from(*byte))
            });
            Ok::<_, HistoryError>((numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)))
        };
        let (mut low, mut high) = (0, index.uids);
        while low < high {
            let middle = low + (high - low) / 2;
            if entry(middle, budget)?.0 < hash { low = middle + 1 } else { high = middle }
        }
        let mut found = Vec::new();
        while low < index.uids
            && let (found_hash, block) = entry(low, budget)?
            && found_hash == hash
        {
            found.extend(usize::try_from(block));
            low += 1;
        }
        Ok(found)
    }

    /// Checks the checksum of the uids.
    pub(super) fn check_uids(
        &self,
        index: &Index,
        budget: &mut Budget,
    ) -> Result<(), HistoryError> {
        let length = usize::try_from(index.uids * 8).unwrap_or(usize::MAX);
        self.checked("the uids", index.uids_at, length, index.uids_checksum, budget).map(drop)
    }
}

/// A block whose names and columns are read.
#[derive(Debug)]
pub struct OpenBlock {
    file: Arc<HistoryFile>,
    block: Block,
    /// Its names.
    pub names: Arc<Names>,
    /// Its columns.
    pub columns: Arc<Columns>,
    /// The section read last, by its row.
    last: Option<(usize, Arc<Section>)>,
}

impl OpenBlock {
    /// A row's section.
    pub fn section(
        &mut self,
        row: usize,
        budget: &mut Budget,
    ) -> Result<Arc<Section>, HistoryError> {
        if let Some((known, section)) = &self.last
            && *known == row
        {
            return Ok(Arc::clone(section));
        }
        let named = self.names.rows.get(row);
        let named = named.ok_or_else(|| HistoryError::damaged(&self.file.name, "a relation"))?;
        let before = wide(self.block.names) + wide(self.block.columns) + wide(named.section.start);
        if self.block.sections < named.section.end {
            return Err(HistoryError::damaged(&self.file.name, "a section's place"));
        }
        let length = named.section.len();
        let bytes = self.file.read("a section", self.block.at + before, length, budget)?;
        let section = Section::decode(bytes, row, &self.columns);
        let section = Arc::new(section.map_err(|source| self.file.block_error(source))?);
        self.last = Some((row, Arc::clone(&section)));
        Ok(section)
    }

    /// How many series of metrics a row has. Looks at the beginning of its section alone, so that
    /// they can be counted without reading all values, and does not check it.
    pub fn count_series(&self, row: usize, budget: &mut Budget) -> Result<usize, HistoryError> {
        let named = self.names.rows.get(row);
        let named = named.ok_or_else(|| HistoryError::damaged(&self.file.name, "a relation"))?;
        let before = wide(self.block.names) + wide(self.block.columns) + wide(named.section.start);
        let is_labelled = 1 < self.columns.others();
        let usual = if is_labelled { LABELLED_HEAD_BYTES } else { SECTION_HEAD_BYTES };
        let whole = named.section.len();
        let mut count_in = |length| {
            let head = self.file.read("a section", self.block.at + before, length, budget)?;
            let count = Section::count_series(&head, row, &self.columns);
            count.map_err(|source| self.file.block_error(source))
        };
        match count_in(whole.min(usual)) {
            Err(HistoryError::Block { .. }) if is_labelled && usual < whole => count_in(whole),
            counted => counted,
        }
    }

    /// One series of a row.
    pub fn series(
        &mut self,
        row: usize,
        place: usize,
        budget: &mut Budget,
    ) -> Result<Series, HistoryError> {
        let (names, columns) = (Arc::clone(&self.names), Arc::clone(&self.columns));
        let file = Arc::clone(&self.file);
        let section = |row| self.section(row, budget).map_err(Fault::History);
        let series = decode_series(&names, &columns, section, row, place);
        series.map_err(|fault| fault.of(&file))
    }

    /// All series of a row.
    pub fn row(&mut self, row: usize, budget: &mut Budget) -> Result<Row, HistoryError> {
        let (names, columns) = (Arc::clone(&self.names), Arc::clone(&self.columns));
        let file = Arc::clone(&self.file);
        let section = |row| self.section(row, budget).map_err(Fault::History);
        decode_row(&names, &columns, section, row).map_err(|fault| fault.of(&file))
    }
}

/// What goes wrong while a series is decoded: with its block, or with getting at it.
enum Fault {
    Block(BlockError),
    History(HistoryError),
}

impl From<BlockError> for Fault {
    fn from(error: BlockError) -> Self {
        Self::Block(error)
    }
}

impl Fault {
    fn of(self, file: &HistoryFile) -> HistoryError {
        match self {
            Self::Block(source) => file.block_error(source),
            Self::History(error) => error,
        }
    }
}

fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}
