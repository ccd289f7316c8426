//! Bytes to columns. Trusts nothing: every count is checked against its limit and against the
//! bytes that are there.

use std::sync::Arc;

use super::{
    bits::{GROUP, number_in_groups, take_varint, unpack_group, unzigzag},
    compact::ColumnValues,
    layout::{ColumnLayout, ColumnsOf, Layout, RowSet},
    pack::{DENSE, KEY, LAYOUT, SHIFT, SIGNED, THOUSANDS},
};
use crate::{
    declaration::{ColumnNumber, EntityNumber},
    limits::{CELLS_PER_FRAME, COLUMNS_PER_NODE, ENTITIES_PER_NODE},
};

/// Bytes that are no packed columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadColumns {
    /// The bytes end before the content does, or go on after it.
    #[error("frame.columns is cut short or has bytes left over")]
    Length,
    /// A flag this version does not know.
    #[error("frame.columns begins with {0:#04x}, which this version does not know")]
    Head(u8),
    /// A layout that names too much, or out of order.
    #[error(
        "the layout in frame.columns names too many entities, columns or values, or not in ascending order"
    )]
    Layout,
    /// A bitmap, width or group that can't be.
    #[error("column {0} of frame.columns is malformed")]
    Column(u32),
}

/// Applies packed columns to the state after the frame before, which becomes this frame's.
/// After an error the state is what it was.
pub fn unpack<V>(state: &mut ColumnsOf<V>, bytes: &[u8]) -> Result<(), BadColumns>
where
    V: ColumnValues + Clone + Default,
{
    let mut rest = bytes;
    let head = take_head(&mut rest)?;
    if head & LAYOUT == 0 {
        let done = apply(state, rest, |_| true, i64::wrapping_add);
        if done.is_err() {
            // It ends at the same place for the same bytes, so this takes back what was done.
            apply(state, rest, |_| true, i64::wrapping_sub).ok();
        }
        return done;
    }
    let mut section = take_section(&mut rest).ok_or(BadColumns::Length)?;
    let layout = take_layout(&mut section).ok_or(BadColumns::Layout)?;
    if !section.is_empty() || CELLS_PER_FRAME < layout.cells() {
        return Err(BadColumns::Layout);
    }
    let mut next = if head & KEY == 0 { state.clone() } else { ColumnsOf::default() };
    next.rebase(Arc::new(layout));
    apply(&mut next, rest, |_| true, i64::wrapping_add)?;
    *state = next;
    Ok(())
}

/// Takes a frame's differences away from its values, which become those of the frame before: of
/// the columns that are `wanted`. A frame with a layout says nothing of the frame before.
pub fn take_back<V: ColumnValues>(
    state: &mut ColumnsOf<V>,
    bytes: &[u8],
    wanted: impl Fn(ColumnNumber) -> bool,
) -> Result<(), BadColumns> {
    let mut rest = bytes;
    let head = take_head(&mut rest)?;
    if head & LAYOUT == 0 {
        apply(state, rest, wanted, i64::wrapping_sub)
    } else {
        Err(BadColumns::Head(head))
    }
}

/// Applies the differences of the wanted columns, added or taken away.
fn apply<V: ColumnValues>(
    state: &mut ColumnsOf<V>,
    mut rest: &[u8],
    wanted: impl Fn(ColumnNumber) -> bool,
    change: impl Fn(i64, i64) -> i64 + Copy,
) -> Result<(), BadColumns> {
    let changed = take_changed(&mut rest, state.values.len()).ok_or(BadColumns::Length)?;
    for (index, values) in state.values.iter_mut().enumerate() {
        if bit(changed, index) {
            let number = state.layout.columns.get(index).map_or(ColumnNumber(0), |one| one.number);
            let applied = if wanted(number) {
                apply_column(values, &mut rest, change)
            } else {
                pass_over_column(&mut rest)
            };
            applied.ok_or(BadColumns::Column(number.0))?;
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(BadColumns::Length) }
}

/// The difference that packed columns make to one value: of the column at `index`, which has
/// `rows` entities, the one at `position`. Columns before it are stepped over, not unpacked.
/// `None` when the bytes are malformed.
pub fn delta_at(
    bytes: &[u8],
    columns: usize,
    index: usize,
    rows: usize,
    position: usize,
) -> Option<i64> {
    let mut rest = bytes;
    let head = take_head(&mut rest).ok()?;
    if head & LAYOUT != 0 {
        take_section(&mut rest)?;
    }
    let changed = take_changed(&mut rest, columns)?;
    if !bit(changed, index) {
        return Some(0);
    }
    for _ in 0..count_ones_before(changed, index) {
        pass_over_column(&mut rest)?;
    }
    let (&head, after) = rest.split_first()?;
    rest = after;
    let mut body = take_section(&mut rest)?;
    if head & DENSE != 0 {
        return number_in_groups(body, position, rows).map(|number| delta(head, number));
    }
    let bitmap = take(&mut body, rows.div_ceil(8))?;
    if !bit(bitmap, position) {
        return Some(0);
    }
    let place = count_ones_before(bitmap, position);
    let count = count_ones_before(bitmap, rows);
    number_in_groups(body, place, count).map(|number| delta(head, number))
}

/// Whether packed columns change the layout.
pub fn has_layout(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|head| head & LAYOUT != 0)
}

fn take_head(bytes: &mut &[u8]) -> Result<u8, BadColumns> {
    let (&head, rest) = bytes.split_first().ok_or(BadColumns::Length)?;
    *bytes = rest;
    // A key frame without a layout would have no columns to give values to.
    if head & !(LAYOUT | KEY) != 0 || head == KEY { Err(BadColumns::Head(head)) } else { Ok(head) }
}

fn take_layout(bytes: &mut &[u8]) -> Option<Layout> {
    let mut row_sets = Vec::new();
    for _ in 0..take_count(bytes, COLUMNS_PER_NODE)? {
        let count = take_count(bytes, ENTITIES_PER_NODE)?;
        let rows = take_ascending(bytes, count, ENTITIES_PER_NODE)?;
        row_sets.push(RowSet(rows.into_iter().map(EntityNumber).collect()));
    }
    // Layouts are kept for as long as their nodes deliver, so they have no room for more.
    row_sets.shrink_to_fit();
    let columns = take_count(bytes, COLUMNS_PER_NODE)?;
    let numbers = take_ascending(bytes, columns, COLUMNS_PER_NODE)?;
    let mut columns = Vec::with_capacity(numbers.len());
    for number in numbers {
        let row_set = u32::try_from(take_varint(bytes)?).ok()?;
        row_sets.get(usize::try_from(row_set).ok()?)?;
        columns.push(ColumnLayout { number: ColumnNumber(number), row_set });
    }
    Some(Layout { row_sets, columns })
}

fn take_ascending(bytes: &mut &[u8], count: usize, below: u32) -> Option<Vec<u32>> {
    // One number takes at least one byte, so the allocation is bounded by what was sent.
    if bytes.len() < count {
        return None;
    }
    let mut numbers = Vec::with_capacity(count);
    let mut least = 0u64;
    for _ in 0..count {
        let number = least.checked_add(take_varint(bytes)?)?;
        if u64::from(below) <= number {
            return None;
        }
        numbers.push(u32::try_from(number).ok()?);
        least = number + 1;
    }
    Some(numbers)
}

fn pass_over_column(bytes: &mut &[u8]) -> Option<()> {
    *bytes = bytes.get(1..)?;
    take_section(bytes).map(drop)
}

fn apply_column(
    values: &mut impl ColumnValues,
    bytes: &mut &[u8],
    change: impl Fn(i64, i64) -> i64,
) -> Option<()> {
    let (&head, rest) = bytes.split_first()?;
    *bytes = rest;
    let mut body = take_section(bytes)?;
    let change = |value, number| change(value, delta(head, number));
    let count = values.count();
    if head & DENSE != 0 {
        for first in (0..count).step_by(GROUP) {
            let here = GROUP.min(count - first);
            let numbers = unpack_group(&mut body, here)?;
            values.change_group(first, numbers.get(..here)?, change)?;
        }
    } else {
        apply_changed(values, count, &mut body, change)?;
    }
    body.is_empty().then_some(())
}

fn apply_changed(
    values: &mut impl ColumnValues,
    count: usize,
    body: &mut &[u8],
    change: impl Fn(i64, u64) -> i64 + Copy,
) -> Option<()> {
    let bitmap = take(body, count.div_ceil(8))?;
    let mut left = count_ones_before(bitmap, bitmap.len() * 8);
    let mut numbers = [0; GROUP].into_iter();
    numbers.by_ref().for_each(drop);
    for (mut bits, first) in bitmap.iter().copied().zip((0..count).step_by(8)) {
        while bits != 0 {
            let bit = usize::try_from(bits.trailing_zeros()).ok()?;
            bits &= bits - 1;
            let number = match numbers.next() {
                Some(number) => number,
                None => {
                    numbers = unpack_group(body, left.min(GROUP))?.into_iter();
                    left = left.saturating_sub(GROUP);
                    numbers.next()?
                }
            };
            // A bit beyond the last entity ends it here.
            values.change(first + bit, |value| change(value, number))?;
        }
    }
    Some(())
}

/// Undoes what `pack::differences` did to a number.
fn delta(head: u8, number: u64) -> i64 {
    let number =
        if head & SIGNED != 0 { unzigzag(number) } else { number.cast_signed() } << (head & SHIFT);
    if head & THOUSANDS != 0 { number.wrapping_mul(1000) } else { number }
}

fn take_changed<'a>(bytes: &mut &'a [u8], columns: usize) -> Option<&'a [u8]> {
    let changed = take(bytes, columns.div_ceil(8))?;
    let beyond = (columns..changed.len() * 8).any(|index| bit(changed, index));
    (!beyond).then_some(changed)
}

fn take_section<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(bytes)?).ok()?;
    take(bytes, length)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn take_count(bytes: &mut &[u8], most: u32) -> Option<usize> {
    let count = take_varint(bytes)?;
    if u64::from(most) < count { None } else { usize::try_from(count).ok() }
}

fn bit(bitmap: &[u8], index: usize) -> bool {
    bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
}

fn count_ones_before(bitmap: &[u8], index: usize) -> usize {
    let whole: u32 = bitmap.iter().take(index / 8).map(|byte| byte.count_ones()).sum();
    let below = (1u8 << (index % 8)) - 1;
    let part = bitmap.get(index / 8).map_or(0, |byte| (byte & below).count_ones());
    usize::try_from(whole + part).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::columns::{Builder, Columns, CompactColumns, Packer, pack_key};

    /// A frame as (entity, column, value); later frames change, add and drop some.
    fn frames() -> impl Strategy<Value = Vec<Vec<(u32, u32, i64)>>> {
        let value = prop_oneof![
            any::<i64>(),
            (0i64..1000).prop_map(|pages| pages * 4096),
            (0i64..1000).prop_map(|micros| micros * 1000),
            Just(0),
        ];
        prop::collection::vec(prop::collection::vec((0u32..40, 0u32..6, value), 0..120), 1..6)
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_back(frames in frames()) {
            let (mut builder, mut packer) = (Builder::new(), Packer::new());
            let (mut state, mut compact) = (Columns::default(), CompactColumns::default());
            for cells in frames {
                for (entity, column, value) in cells {
                    builder.set(EntityNumber(entity), ColumnNumber(column), value);
                }
                let frame = builder.finish();
                let (mut packed, mut key) = (Vec::new(), Vec::new());
                packer.pack(frame, &mut packed);
                pack_key(frame, &mut key);

                let before = state.clone();
                unpack(&mut state, &packed).unwrap();
                prop_assert_eq!(&state, frame);
                unpack(&mut compact, &packed).unwrap();
                prop_assert_eq!(&Columns::from(&compact), frame);
                let mut from_key = Columns::default();
                unpack(&mut from_key, &key).unwrap();
                prop_assert_eq!(&from_key, frame);
                check_delta_at(&before, &state, &packed)?;
                check_delta_at(&Columns::default(), &state, &key)?;
                let mut even = state.clone();
                if !has_layout(&packed) {
                    take_back(&mut even, &packed, |number| number.0 % 2 == 0).unwrap();
                    for (index, column) in state.layout.columns.iter().enumerate() {
                        let other = if column.number.0 % 2 == 0 { &before } else { &state };
                        prop_assert_eq!(&even.values[index], &other.values[index]);
                    }
                }
            }
        }

        #[test]
        fn a_frame_that_is_refused_changes_nothing(
            values in prop::collection::vec(any::<i64>(), 60),
            cut in 0usize..400,
            place in 0usize..400,
            byte: u8,
        ) {
            let (mut builder, mut packer) = (Builder::new(), Packer::new());
            let (mut state, mut compact) = (Columns::default(), CompactColumns::default());
            for factor in [1, 3] {
                for (row, value) in (0..).zip(&values) {
                    let value = value.wrapping_mul(factor);
                    builder.set(EntityNumber(row), ColumnNumber(row % 4), value);
                    builder.set(EntityNumber(row), ColumnNumber(5), (value / 7).wrapping_mul(4096));
                    builder.set(EntityNumber(row), ColumnNumber(6), (value % 100) << 12);
                }
                let mut bytes = Vec::new();
                packer.pack(builder.finish(), &mut bytes);
                if factor == 3 {
                    bytes.truncate(cut.max(1));
                    if let Some(damaged) = bytes.get_mut(place) {
                        *damaged = byte;
                    }
                }
                let before = state.clone();
                let done = unpack(&mut state, &bytes);
                if done.is_err() {
                    prop_assert_eq!(&state, &before);
                }
                prop_assert_eq!(unpack(&mut compact, &bytes), done);
                prop_assert_eq!(&Columns::from(&compact), &state);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, index in 0usize..9, at in 0usize..99) {
            let mut builder = Builder::new();
            for row in 0..20 {
                builder.set(EntityNumber(row), ColumnNumber(row % 3), 7);
            }
            let mut state = builder.finish().clone();
            unpack(&mut state, &bytes).ok();
            let _ = delta_at(&bytes, 3, index, 20, at);
        }

        #[test]
        fn a_damaged_frame_never_panics(cut in 0usize..200, place in 0usize..200, byte: u8) {
            let mut builder = Builder::new();
            for row in 0..30u32 {
                builder.set(EntityNumber(row), ColumnNumber(row % 5), i64::from(row) << row);
            }
            let mut bytes = Vec::new();
            pack_key(builder.finish(), &mut bytes);
            bytes.truncate(cut.max(1));
            if let Some(damaged) = bytes.get_mut(place) {
                *damaged = byte;
            }
            unpack(&mut Columns::default(), &bytes).ok();
        }
    }

    fn check_delta_at(
        before: &Columns,
        after: &Columns,
        packed: &[u8],
    ) -> Result<(), TestCaseError> {
        let columns = after.layout.columns.len();
        for (index, column) in after.layout.columns.iter().enumerate() {
            let rows = after.layout.rows(index);
            for (position, entity) in rows.iter().enumerate() {
                let delta = delta_at(packed, columns, index, rows.len(), position).unwrap();
                let was = before.get(*entity, column.number).unwrap_or(0);
                prop_assert_eq!(was.wrapping_add(delta), after.values[index][position]);
            }
        }
        Ok(())
    }

    #[test]
    fn a_bomb_of_few_bytes_is_refused() {
        let mut bytes = vec![LAYOUT | KEY];
        let mut body = vec![1, 0xff, 0xff, 0xff, 0x7f];
        body.resize(20, 0);
        bytes.push(20);
        bytes.extend(body);
        assert_eq!(unpack(&mut Columns::default(), &bytes), Err(BadColumns::Layout));
    }

    #[test]
    fn unknown_flags_are_refused() {
        assert_eq!(unpack(&mut Columns::default(), &[4]), Err(BadColumns::Head(4)));
        assert_eq!(unpack(&mut Columns::default(), &[]), Err(BadColumns::Length));
    }
}
