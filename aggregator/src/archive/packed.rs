//! Rows in a quarter of their memory or less, while those of other nodes are collected: differences,
//! all of a series in as many bytes as its widest needs, which for most is none or one.

use std::sync::Arc;

use crate::history::{
    codec::bytes::{unzigzag, zigzag},
    life::Life,
    series::{Row, Series, What},
    timeline::Timeline,
};

/// A row, packed.
#[derive(Debug)]
pub struct PackedRow {
    /// Whose it is.
    pub life: Arc<Life>,
    series: Vec<PackedSeries>,
    /// The differences of all series, one series after the other.
    bytes: Box<[u8]>,
}

#[derive(Debug)]
struct PackedSeries {
    what: Arc<What>,
    timeline: Arc<Timeline>,
    first: i64,
    width: Width,
}

/// Bytes of each difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Zero,
    One,
    Two,
    Four,
    Eight,
}

impl PackedRow {
    /// Packs a row, which has no sketches.
    pub fn pack(row: Row, scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        let pack = |series: Series| {
            let differences = Differences(&series.values);
            let width = Width::of(differences.bits());
            match width {
                Width::Zero => (),
                Width::One => differences.push::<1>(scratch),
                Width::Two => differences.push::<2>(scratch),
                Width::Four => differences.push::<4>(scratch),
                Width::Eight => differences.push::<8>(scratch),
            }
            let first = series.values.first().copied().unwrap_or(0);
            PackedSeries { what: series.what, timeline: series.timeline, first, width }
        };
        let series = row.series.into_iter().map(pack).collect();
        Self { life: row.life, series, bytes: scratch.as_slice().into() }
    }

    /// The row again.
    pub fn unpack(&self) -> Row {
        let mut bytes = &*self.bytes;
        let unpack = |packed: &PackedSeries| {
            let mut values = Vec::with_capacity(packed.timeline.len());
            if !packed.timeline.is_empty() {
                values.push(packed.first);
            }
            let left = packed.timeline.len().saturating_sub(1);
            match packed.width {
                Width::Zero => values.resize(packed.timeline.len(), packed.first),
                Width::One => take::<1>(&mut bytes, left, &mut values),
                Width::Two => take::<2>(&mut bytes, left, &mut values),
                Width::Four => take::<4>(&mut bytes, left, &mut values),
                Width::Eight => take::<8>(&mut bytes, left, &mut values),
            }
            let (what, timeline) = (Arc::clone(&packed.what), Arc::clone(&packed.timeline));
            Series { what, timeline, values, sketches: Vec::new() }
        };
        let series = self.series.iter().map(unpack).collect();
        Row { life: Arc::clone(&self.life), series }
    }
}

impl Width {
    /// The width that all numbers have room in of which these are the bits.
    fn of(bits: u64) -> Self {
        match bits {
            0 => Self::Zero,
            1..=0xff => Self::One,
            0x100..=0xffff => Self::Two,
            0x1_0000..=0xffff_ffff => Self::Four,
            _ => Self::Eight,
        }
    }
}

/// Differences of values, those near zero as small numbers.
struct Differences<'a>(&'a [i64]);

impl Differences<'_> {
    fn iter(&self) -> impl Iterator<Item = u64> {
        let later = self.0.get(1..).unwrap_or_default();
        self.0.iter().zip(later).map(|(before, now)| zigzag(now.wrapping_sub(*before)))
    }

    /// The bits of all of them together.
    fn bits(&self) -> u64 {
        self.iter().fold(0, |all, one| all | one)
    }

    fn push<const WIDTH: usize>(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        out.resize(begin + self.0.len().saturating_sub(1) * WIDTH, 0);
        let (slots, _) = out.get_mut(begin..).unwrap_or_default().as_chunks_mut::<WIDTH>();
        for (slot, number) in slots.iter_mut().zip(self.iter()) {
            if let Some(low) = number.to_le_bytes().first_chunk::<WIDTH>() {
                *slot = *low;
            }
        }
    }
}

/// Takes differences from the front and adds them up, from the last of `values` on.
fn take<const WIDTH: usize>(bytes: &mut &[u8], count: usize, values: &mut Vec<i64>) {
    let (mine, rest) = bytes.split_at_checked(count * WIDTH).unwrap_or((bytes, &[]));
    *bytes = rest;
    let mut value = values.last().copied().unwrap_or(0);
    values.extend(mine.as_chunks::<WIDTH>().0.iter().map(|chunk| {
        let mut wide = [0; 8];
        if let Some(low) = wide.first_chunk_mut::<WIDTH>() {
            *low = *chunk;
        }
        value = value.wrapping_add(unzigzag(u64::from_le_bytes(wide)));
        value
    }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tally_proto::tick::Tick;

    use super::*;
    use crate::history::life::Who;

    fn row(columns: &[Vec<i64>]) -> Row {
        let series = columns.iter().map(|values| Series {
            what: Arc::new(What::ReadOffset),
            timeline: Arc::new(Timeline::of((0..).take(values.len()).map(|at| Tick(at * 15)))),
            values: values.clone(),
            sketches: Vec::new(),
        });
        let life = Arc::new(Life { who: Who::Cluster, start: None });
        Row { life, series: series.collect() }
    }

    #[track_caller]
    fn check(values: &[i64], bytes: usize) {
        let row = row(&[values.to_vec()]);
        let packed = PackedRow::pack(row.clone(), &mut Vec::new());
        assert_eq!((packed.bytes.len(), packed.unpack()), (bytes, row));
    }

    #[test]
    fn a_series_takes_what_its_widest_difference_needs() {
        check(&[], 0);
        check(&[7], 0);
        check(&[7, 7, 7], 0);
        check(&[7, 134, 6], 2);
        check(&[7, 135, 6], 4);
        check(&[0, 1 << 30, 0], 8);
        check(&[i64::MIN, i64::MAX, 0], 16);
    }

    proptest! {
        #[test]
        fn every_row_comes_back(columns: Vec<Vec<i64>>, shifts: [u32; 4]) {
            let narrowed = columns.iter().zip(shifts.iter().cycle());
            let narrow = |(values, shift): (&Vec<i64>, &u32)| {
                values.iter().map(|value| value >> (shift % 64)).collect()
            };
            let columns: Vec<Vec<i64>> = narrowed.map(narrow).collect();
            let row = row(&columns);
            prop_assert_eq!(PackedRow::pack(row.clone(), &mut Vec::new()).unpack(), row);
        }
    }
}
