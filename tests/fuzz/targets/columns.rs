//! Packed columns, one frame after the other, into values of either kind, and single values taken out
//! of them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_proto::columns::{Builder, Columns, ColumnsOf, delta_at, unpack};
use tally_proto::declaration::{ColumnNumber, EntityNumber};

/// What a frame is applied to: 20 entities, in three columns with a third of them each.
fn before() -> Columns {
    let mut builder = Builder::new();
    for row in 0..20 {
        builder.set(EntityNumber(row), ColumnNumber(row % 3), 7);
    }
    builder.finish().clone()
}

fuzz_target!(|data: &[u8]| {
    // The first byte is the length of the first frame; the rest is the second.
    let Some((&length, data)) = data.split_first() else { return };
    let (first, second) = data.split_at(usize::from(length).min(data.len()));
    let mut state = before();
    let values = state.values.iter().cloned().map(Into::into).collect();
    let mut compact = ColumnsOf { layout: state.layout.clone(), values };
    for bytes in [first, second] {
        let before = state.clone();
        let done = unpack(&mut state, bytes);
        assert_eq!(unpack(&mut compact, bytes), done);
        assert_eq!(Columns::from(&compact), state);
        if done.is_err() {
            return;
        }
        same_value_by_value(&before, &state, bytes);
    }
});

/// A frame that can be unpacked gives the same values one by one.
fn same_value_by_value(before: &Columns, after: &Columns, bytes: &[u8]) {
    // Bit 1 of a frame's first byte says that nothing before it counts.
    let is_key = bytes.first().is_some_and(|head| head & 2 != 0);
    let columns = after.layout.columns.len();
    for (index, column) in after.layout.columns.iter().enumerate() {
        let rows = after.layout.rows(index);
        for (position, entity) in rows.iter().enumerate().take(64) {
            let was = if is_key { 0 } else { before.get(*entity, column.number).unwrap_or(0) };
            let delta = delta_at(bytes, columns, index, rows.len(), position);
            let value = delta.map(|delta| was.wrapping_add(delta));
            assert_eq!(value, after.values[index].get(position).copied());
        }
    }
}
