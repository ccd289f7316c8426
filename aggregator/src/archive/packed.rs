//! Rows in a tenth of their memory, while those of other nodes are collected: differences in groups
//! of seven bits.

use std::sync::Arc;

use crate::history::{
    codec::{
        Malformed,
        bytes::{push_signed, take_signed},
    },
    life::Life,
    series::{Row, Series, What},
    timeline::Timeline,
};

/// A row, packed.
#[derive(Debug)]
pub struct PackedRow {
    /// Whose it is.
    pub life: Arc<Life>,
    series: Vec<(Arc<What>, Arc<Timeline>)>,
    bytes: Box<[u8]>,
}

impl PackedRow {
    /// Packs a row, which has no sketches.
    pub fn pack(row: Row, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        for series in &row.series {
            let mut before = 0i64;
            for value in &series.values {
                push_signed(value.wrapping_sub(before), scratch);
                before = *value;
            }
        }
        let series = row.series.into_iter().map(|series| (series.what, series.timeline));
        Self { life: row.life, series: series.collect(), bytes: scratch.as_slice().into() }
    }

    /// The row again.
    pub fn unpack(&self) -> Result<Row, Malformed> {
        let bytes = &mut &*self.bytes;
        let mut all = Vec::with_capacity(self.series.len());
        for (what, timeline) in &self.series {
            let mut values = Vec::with_capacity(timeline.len());
            let mut value = 0i64;
            for _ in 0..timeline.len() {
                value = value.wrapping_add(take_signed(bytes, "a packed row")?);
                values.push(value);
            }
            let (what, timeline) = (Arc::clone(what), Arc::clone(timeline));
            all.push(Series { what, timeline, values, sketches: Vec::new() });
        }
        Ok(Row { life: Arc::clone(&self.life), series: all })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tally_proto::tick::Tick;

    use super::*;
    use crate::history::life::Who;

    proptest! {
        #[test]
        fn every_row_comes_back(columns: Vec<[i64; 5]>) {
            let timeline = Arc::new(Timeline::of((0..5).map(|at| Tick(at * 15))));
            let series = columns.iter().map(|values| Series {
                what: Arc::new(What::ReadOffset),
                timeline: Arc::clone(&timeline),
                values: values.to_vec(),
                sketches: Vec::new(),
            });
            let life = Arc::new(Life { who: Who::Cluster, start: None });
            let row = Row { life, series: series.collect() };
            let packed = PackedRow::pack(row.clone(), &mut Vec::new());
            prop_assert_eq!(packed.unpack(), Ok(row));
        }
    }
}
