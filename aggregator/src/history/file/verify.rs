//! A whole file checked: every checksum, and that every row decodes.

use std::sync::Arc;

use super::{index::wide, read::HistoryFile};
use crate::history::{
    cache::Cache,
    error::{Budget, HistoryError},
};

impl HistoryFile {
    /// Checks every checksum and decodes every row. Gives the number of samples, or the first
    /// fault.
    pub fn verify(self: &Arc<Self>) -> Result<u64, HistoryError> {
        let mut first = None;
        let samples = self.faults(|_| {}, |fault| first = first.take().or(Some(fault)));
        first.map_or(Ok(samples), Err)
    }

    /// Checks the same, gives every fault to `fault`, and goes on after it as far as one can;
    /// `read` is told how many bytes were read since it was told last. Gives the number of samples
    /// that decode.
    pub fn faults(
        self: &Arc<Self>,
        mut read: impl FnMut(u64),
        mut fault: impl FnMut(HistoryError),
    ) -> u64 {
        let (cache, mut budget) = (Cache::new(0), Budget::unlimited());
        let index = match self.index(&cache, &mut budget) {
            Ok(index) => index,
            Err(error) => {
                fault(error);
                return 0;
            }
        };
        if let Err(error) = self.check_uids(&index, &mut budget) {
            fault(error);
        }
        let (mut samples, mut told, mut is_whole) = (0, 0, true);
        for (place, block) in index.blocks.iter().enumerate() {
            let rows = match self.block(place, block, &cache, &mut budget) {
                Ok(mut open) => (0..open.names.rows.len())
                    .map(|row| open.row(row, &mut budget).map(|row| wide(row.samples())))
                    .collect(),
                Err(error) => vec![Err(error)],
            };
            for row in rows {
                match row {
                    Ok(count) => samples += count,
                    Err(error) => {
                        is_whole = false;
                        fault(error);
                    }
                }
            }
            read(budget.bytes_read() - told);
            told = budget.bytes_read();
        }
        if is_whole && samples != index.samples {
            fault(HistoryError::damaged(&self.name, "the number of samples"));
        }
        samples
    }
}
