//! Rows to a file that is either whole or not there.

use std::collections::BTreeSet;

use tally_proto::name::PodUid;

use super::{END, FileName, MAGIC, PLAIN_VERSION, UNFINISHED, VERSION};
use crate::history::{
    block::{self, Encoded, ROWS, VALUES},
    codec::bytes::{push_length, push_varint},
    disk::{Disk, NewFile},
    error::HistoryError,
    series::Row,
};

/// Rows after which a block ends, unless a pod goes on.
const ROWS_USUAL: usize = ROWS - 16;

/// Writes one file, row by row in the order of their lives.
#[derive(Debug)]
pub struct FileWriter<'a> {
    disk: &'a dyn Disk,
    name: FileName,
    file: Box<dyn NewFile>,
    at: u64,
    waiting: Vec<Row>,
    waiting_values: usize,
    index: Vec<u8>,
    blocks: u32,
    samples: u64,
    has_stored_labels: bool,
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
            waiting_values: 0,
            index: Vec::new(),
            blocks: 0,
            samples: 0,
            has_stored_labels: false,
            uids: BTreeSet::new(),
        })
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) -> Result<(), HistoryError> {
        let values = row.series.iter().map(|series| series.values.len()).sum::<usize>();
        let after = self.waiting_values + values;
        let is_full = ROWS_USUAL <= self.waiting.len() || VALUES < after;
        let must = ROWS <= self.waiting.len() || 2 * VALUES < after;
        if must || is_full && !self.continues_pod(&row) {
            self.write_block()?;
        }
        self.samples += u64::try_from(row.samples()).unwrap_or(0);
        self.has_stored_labels |= row.stored_labels().next().is_some();
        self.waiting_values += values;
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
        self.waiting_values = 0;
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
    /// Gives the number of samples.
    pub fn finish(mut self) -> Result<u64, HistoryError> {
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
        Ok(self.samples)
    }
}

/// Writes rows, which are in the order of their lives, as one file.
pub fn write(
    disk: &dyn Disk,
    name: FileName,
    rows: impl IntoIterator<Item = Row>,
) -> Result<u64, HistoryError> {
    let mut writer = FileWriter::new(disk, name)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish()
}
