//! Columns to bytes.

use std::sync::Arc;

use super::{
    bits::{GROUP, pack_group, push_varint, zigzag},
    layout::{Columns, Layout},
};

/// In a frame's first byte: the layout follows, because it is not that of the frame before.
pub(super) const LAYOUT: u8 = 1;
/// In a frame's first byte: the values are not differences, nothing before them counts.
pub(super) const KEY: u8 = 2;

/// In a column's first byte: how far the numbers were shifted to the right.
pub(super) const SHIFT: u8 = 31;
/// In a column's first byte: some number is negative, so all are zigzagged.
pub(super) const SIGNED: u8 = 32;
/// In a column's first byte: the numbers were divided by 1,000 (before the shift), as
/// nanoseconds are that a kernel counts in microseconds.
pub(super) const THOUSANDS: u8 = 64;
/// In a column's first byte: every value changed, so no bitmap says which.
pub(super) const DENSE: u8 = 128;

/// Packs frames, each as differences from the one before.
#[derive(Debug, Default)]
pub struct Packer {
    before: Columns,
    begun: bool,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    changed: Vec<u8>,
    deltas: Vec<i64>,
    numbers: Vec<u64>,
    body: Vec<u8>,
}

impl Packer {
    /// A packer whose first frame is a key frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `now` to `out`, as differences from the frame packed before. Allocates nothing in
    /// the steady state but what `out` needs.
    pub fn pack(&mut self, now: &Columns, out: &mut Vec<u8>) {
        let mut head = 0;
        if !self.begun {
            head |= KEY | LAYOUT;
        } else if !Arc::ptr_eq(&self.before.layout, &now.layout) && self.before.layout != now.layout
        {
            head |= LAYOUT;
        }
        self.begun = true;
        out.push(head);
        if head & LAYOUT != 0 {
            self.before.rebase(Arc::clone(&now.layout));
            push_layout(&now.layout, &mut self.scratch.body, out);
        }
        push_columns(&self.before, now, &mut self.scratch, out);
        for (before, now) in self.before.values.iter_mut().zip(&now.values) {
            before.copy_from_slice(now);
        }
    }
}

/// Appends `now` to `out` as a key frame, which needs nothing before it.
pub fn pack_key(now: &Columns, out: &mut Vec<u8>) {
    Packer::new().pack(now, out);
}

fn push_layout(layout: &Layout, body: &mut Vec<u8>, out: &mut Vec<u8>) {
    body.clear();
    push_count(layout.row_sets.len(), body);
    for rows in &layout.row_sets {
        push_count(rows.0.len(), body);
        push_ascending(rows.0.iter().map(|entity| entity.0), body);
    }
    push_count(layout.columns.len(), body);
    push_ascending(layout.columns.iter().map(|column| column.number.0), body);
    for column in &layout.columns {
        push_varint(u64::from(column.row_set), body);
    }
    push_count(body.len(), out);
    out.extend_from_slice(body);
}

/// The first number, then each one's distance from its predecessor, less one.
fn push_ascending(numbers: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut least = 0;
    for number in numbers {
        push_varint(u64::from(number - least), out);
        least = number + 1;
    }
}

fn push_columns(before: &Columns, now: &Columns, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let bitmap = out.len();
    out.resize(bitmap + now.values.len().div_ceil(8), 0);
    for (index, (before, now)) in before.values.iter().zip(&now.values).enumerate() {
        if before == now {
            continue;
        }
        if let Some(byte) = out.get_mut(bitmap + index / 8) {
            *byte |= 1 << (index % 8);
        }
        let head = differences(before, now, scratch);
        scratch.body.clear();
        if head & DENSE == 0 {
            scratch.body.extend_from_slice(&scratch.changed);
        }
        for group in scratch.numbers.chunks(GROUP) {
            pack_group(group, &mut scratch.body);
        }
        out.push(head);
        push_count(scratch.body.len(), out);
        out.extend_from_slice(&scratch.body);
    }
}

/// Finds what changed and brings it to the smallest numbers: divided by 1,000 where all are
/// multiples, shifted by the zeros that all end with (pages of memory end with twelve).
fn differences(before: &[i64], now: &[i64], scratch: &mut Scratch) -> u8 {
    scratch.changed.clear();
    scratch.deltas.clear();
    let mut thousands = true;
    for (before, now) in before.chunks(8).zip(now.chunks(8)) {
        let mut changed = 0;
        for (bit, (before, now)) in before.iter().zip(now).enumerate() {
            let delta = now.wrapping_sub(*before);
            if delta != 0 {
                changed |= 1 << bit;
                thousands = thousands && delta % 1000 == 0;
                scratch.deltas.push(delta);
            }
        }
        scratch.changed.push(changed);
    }
    let unit = if thousands { 1000 } else { 1 };
    let (mut ones, mut signs) = (0, 0);
    for delta in &mut scratch.deltas {
        *delta /= unit;
        ones |= *delta;
        signs |= *delta;
    }
    let shift = u8::try_from(ones.trailing_zeros()).unwrap_or(SHIFT).min(SHIFT);
    let signed = signs < 0;
    scratch.numbers.clear();
    scratch.numbers.extend(scratch.deltas.iter().map(|delta| {
        let shifted = delta >> shift;
        if signed { zigzag(shifted) } else { shifted.cast_unsigned() }
    }));
    shift
        | if signed { SIGNED } else { 0 }
        | if thousands { THOUSANDS } else { 0 }
        | if scratch.deltas.len() == now.len() { DENSE } else { 0 }
}

fn push_count(count: usize, out: &mut Vec<u8>) {
    push_varint(u64::try_from(count).expect("usize has at most 64 bits"), out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        columns::Builder,
        declaration::{ColumnNumber, EntityNumber},
    };

    #[test]
    fn the_example_of_the_documented_format_is_what_is_packed() {
        let mut builder = Builder::new();
        for (entity, read_us, bytes) in [(0, 100, 4_096), (1, 130, 12_288)] {
            builder.set(EntityNumber(entity), ColumnNumber(0), read_us);
            builder.set(EntityNumber(entity), ColumnNumber(1), bytes);
        }
        let mut packed = Vec::new();
        pack_key(builder.finish(), &mut packed);
        let layout = [3, 9, 1, 2, 0, 0, 2, 0, 0, 0, 0];
        let columns = [3, 0x81, 3, 7, 0xb2, 0x20, 0x8c, 2, 2, 0x0d];
        assert_eq!(packed, [&layout[..], &columns].concat());
    }
}
