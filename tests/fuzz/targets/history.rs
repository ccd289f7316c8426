//! Parts of a block of history: names, columns and sections of any bytes, whose checksums fit.

#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tally_aggregator::history::{
    block::{BlockError, Columns, Names, Section, decode_row, packed},
    file::index::Index,
};

fuzz_target!(|data: &[u8]| {
    // Two bytes each say how long the names and the columns are; the rest is sections.
    let Some((lengths, data)) = data.split_first_chunk::<4>() else { return };
    let length = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]]));
    let (names, data) = data.split_at(length(0).min(data.len()));
    let (columns, sections) = data.split_at(length(2).min(data.len()));
    let _ = Index::decode(names);
    let (Ok(names), Ok(columns)) = (packed(names), packed(columns)) else { return };
    let _ = Index::decode(&names);
    let (Ok(names), Ok(columns)) = (Names::decode(&names), Columns::decode(&columns)) else {
        return;
    };
    let section = |row: usize| -> Result<Arc<Section>, BlockError> {
        let range = names.rows[row.min(names.rows.len() - 1)].section.clone();
        let mut section = sections.get(range).unwrap_or_default().to_vec();
        if let Some((inside, checksum)) = section.split_last_chunk_mut::<4>() {
            *checksum = crc32fast::hash(inside).to_le_bytes();
        }
        Section::decode(Bytes::from(section), row, &columns).map(Arc::new)
    };
    for row in 0..names.rows.len() {
        let _ = decode_row(&names, &columns, section, row);
    }
});
