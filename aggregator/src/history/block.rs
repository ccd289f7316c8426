//! A block: all series of some entities over one span of time, the unit that is written, cached
//! and merged.
//!
//! Three parts, each readable without the others:
//! ```text
//! names     whose rows there are, when they have values, how long each section is
//! columns   which metrics there are, and the tables that their streams were coded with
//! sections  one for each row: its series, and their streams
//! ```
//! Lists need the names alone; one series needs the columns and the sections of the few rows that
//! it is related to.

mod differences;
mod floats;
mod read;
mod write;

pub use read::{Columns, Names, Section, decode_row, decode_series};
pub use write::{Encoded, encode};

use super::codec::Malformed;

/// Rows of a block at most: names of so many are read for one of them.
pub const ROWS: usize = 256;

/// Values of a block at most, about: what merging holds in memory at once is a few times this, in
/// words of eight bytes. A row that has more is a block by itself.
pub const VALUES: usize = 1 << 20;

/// Series of the rows of a block together at most: some twenty times what there usually is.
pub const SERIES: usize = 1 << 16;

/// Bytes of what the series of a block are, before those of several rows are put together: usually
/// some hundred kilobytes.
pub const WHAT_BYTES: usize = PART_BYTES / 2;

/// Bytes of names or columns when decompressed. 256 rows with five names of at most 4 KiB and a
/// timeline each are below it.
const PART_BYTES: usize = 16 << 20;

/// Level of zstd for names, columns and sketches: texts of some kilobytes; higher ones gain under
/// 2 % there.
const ZSTD_LEVEL: i32 = 3;

/// A part as it is written: compressed, its length before it.
pub fn packed(bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    compress(bytes)
}

pub(super) fn compress(bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    let mut out = Vec::new();
    super::codec::bytes::push_length(bytes.len(), &mut out);
    let packed = zstd::bulk::compress(bytes, ZSTD_LEVEL).map_err(|_| BlockError::Zstd)?;
    out.extend_from_slice(&packed);
    Ok(out)
}

pub(super) fn decompress(mut bytes: &[u8]) -> Result<Vec<u8>, BlockError> {
    let length = super::codec::bytes::take_at_most(&mut bytes, PART_BYTES, "a part's length")?;
    zstd::bulk::decompress(bytes, length).map_err(|_| BlockError::Zstd)
}

/// A block that can't be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Its bytes are no block.
    #[error("the block is damaged: {0}")]
    Malformed(#[from] Malformed),
    /// A part that zstd can't read.
    #[error("a part of the block can't be decompressed")]
    Zstd,
    /// A section whose checksum does not fit.
    #[error("the checksum of a section is wrong")]
    Checksum,
    /// A series whose values are not as many as its ticks, or more than a block may have.
    #[error("a series has {values} values for {ticks} ticks")]
    Uneven {
        /// Its values.
        values: usize,
        /// Its ticks.
        ticks: usize,
    },
}

#[cfg(test)]
mod tests;
