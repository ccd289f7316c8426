//! What a file holds, and where.

use tally_proto::tick::Tick;

use super::HEAD_BYTES;
use crate::history::{
    block::{self, BlockError, ROWS},
    codec::{
        Malformed,
        bytes::{take_at_most, take_slice, take_varint},
    },
    life::Life,
};

/// Bytes of one part at most: a gigabyte of sections is more than a block can have.
pub(super) const PART_BYTES: usize = 1 << 30;

/// What a file holds, block by block.
#[derive(Debug, Default)]
pub struct Index {
    /// Values of metrics in the file.
    pub samples: u64,
    /// The blocks, in the order of their rows.
    pub blocks: Vec<Block>,
    pub(super) uids_at: u64,
    pub(super) uids: u64,
    pub(super) uids_checksum: u32,
}

/// One block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The first of its rows.
    pub first: Life,
    /// How many rows it has.
    pub rows: usize,
    /// The first tick of any row.
    pub first_tick: Tick,
    /// The last.
    pub last_tick: Tick,
    /// Where it begins.
    pub(super) at: u64,
    pub(super) names: usize,
    pub(super) columns: usize,
    pub(super) sections: usize,
    pub(super) names_checksum: u32,
    pub(super) columns_checksum: u32,
}

impl Index {
    /// Reads an index.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let bytes = block::decompress(bytes)?;
        let bytes = &mut bytes.as_slice();
        let uids_at = take_varint(bytes, "the place of the uids")?;
        let uids = wide(take_at_most(bytes, PART_BYTES / 8, "the number of uids")?);
        let uids_checksum = take_checksum(bytes)?;
        let samples = take_varint(bytes, "the number of samples")?;
        let count = take_at_most(bytes, bytes.len(), "the number of blocks")?;
        let mut index = Self { samples, blocks: Vec::new(), uids_at, uids, uids_checksum };
        let mut at = HEAD_BYTES;
        for _ in 0..count {
            let block = Block::take_from(bytes, at)?;
            at += wide(block.names) + wide(block.columns) + wide(block.sections);
            index.blocks.push(block);
        }
        Ok(index)
    }
}

impl Block {
    fn take_from(bytes: &mut &[u8], at: u64) -> Result<Self, Malformed> {
        let first = Life::take_from(bytes)?;
        let rows = take_at_most(bytes, ROWS, "the rows of a block")?;
        let first_tick = take_varint(bytes, "a tick")?;
        let last_tick = first_tick.checked_add(take_varint(bytes, "a tick")?);
        let mut length = || take_at_most(bytes, PART_BYTES, "the length of a part");
        let (names, columns, sections) = (length()?, length()?, length()?);
        Ok(Self {
            first,
            rows,
            first_tick: Tick(first_tick),
            last_tick: Tick(last_tick.ok_or(Malformed::Range("a tick"))?),
            at,
            names,
            columns,
            sections,
            names_checksum: take_checksum(bytes)?,
            columns_checksum: take_checksum(bytes)?,
        })
    }

    /// Whether any of its rows may have a value from `first` to `last`, both included.
    pub fn touches(&self, first: Tick, last: Tick) -> bool {
        self.first_tick <= last && first <= self.last_tick
    }
}

fn take_checksum(bytes: &mut &[u8]) -> Result<u32, Malformed> {
    let four = take_slice(bytes, 4, "a checksum")?;
    Ok(four.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

/// A length as a place in a file.
pub(super) fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
