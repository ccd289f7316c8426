//! Collects one frame's values, cell by cell, into columns.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::layout::{ColumnLayout, Columns, Layout, RowSet};
use crate::declaration::{ColumnNumber, EntityNumber};

/// Collects values cell by cell. In the steady state, when the same cells have values as in the
/// frame before, it allocates nothing and hands out the same layout again.
#[derive(Debug, Default)]
pub struct Builder {
    /// By column number.
    columns: Vec<Cells>,
    frame: Columns,
}

/// One column while it is being filled.
#[derive(Debug, Default)]
struct Cells {
    /// By entity number.
    values: Vec<i64>,
    /// One bit an entity: has it a value in this frame?
    present: Vec<u64>,
    /// The same in the frame before.
    present_before: Vec<u64>,
}

impl Builder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one value. The last one wins.
    #[expect(clippy::indexing_slicing, reason = "the vectors were grown to the index just above")]
    pub fn set(&mut self, entity: EntityNumber, column: ColumnNumber, value: i64) {
        let (row, column) = (index(entity.0), index(column.0));
        if self.columns.len() <= column {
            self.columns.resize_with(column + 1, Cells::default);
        }
        let cells = &mut self.columns[column];
        if cells.values.len() <= row {
            cells.values.resize(row + 1, 0);
            cells.present.resize(row / 64 + 1, 0);
            cells.present_before.resize(row / 64 + 1, 0);
        }
        cells.values[row] = value;
        cells.present[row / 64] |= 1 << (row % 64);
    }

    /// Ends the frame and begins the next, empty one.
    pub fn finish(&mut self) -> &Columns {
        if self.columns.iter().any(|cells| cells.present != cells.present_before) {
            self.frame.layout = Arc::new(self.layout());
        }
        let layout = Arc::clone(&self.frame.layout);
        self.frame.values.resize_with(layout.columns.len(), Vec::new);
        for (place, column) in layout.columns.iter().enumerate() {
            let (Some(values), Some(cells)) =
                (self.frame.values.get_mut(place), self.columns.get(index(column.number.0)))
            else {
                continue;
            };
            values.clear();
            let rows = layout.rows(place);
            values.extend(rows.iter().filter_map(|row| cells.values.get(index(row.0))));
        }
        for cells in &mut self.columns {
            std::mem::swap(&mut cells.present, &mut cells.present_before);
            cells.present.fill(0);
        }
        &self.frame
    }

    fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        let mut known: HashMap<Vec<EntityNumber>, u32> = HashMap::new();
        let mut row_sets = 0;
        for (number, cells) in (0..).map(ColumnNumber).zip(&self.columns) {
            let rows = entities(&cells.present);
            if rows.is_empty() {
                continue;
            }
            let row_set = *match known.entry(rows) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    layout.row_sets.push(RowSet(new.key().as_slice().into()));
                    row_sets += 1;
                    new.insert(row_sets - 1)
                }
            };
            layout.columns.push(ColumnLayout { number, row_set });
        }
        layout
    }
}

fn entities(present: &[u64]) -> Vec<EntityNumber> {
    let words = present.iter().zip((0u32..).step_by(64));
    words
        .flat_map(|(word, first)| {
            (0..64)
                .filter(move |bit| word >> bit & 1 == 1)
                .map(move |bit| EntityNumber(first + bit))
        })
        .collect()
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("usize has at least 32 bits on every host with cgroups")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_with_the_same_entities_share_a_row_set() {
        let mut builder = Builder::new();
        for entity in [3, 70] {
            builder.set(EntityNumber(entity), ColumnNumber(0), 1);
            builder.set(EntityNumber(entity), ColumnNumber(2), i64::from(entity));
        }
        builder.set(EntityNumber(3), ColumnNumber(1), 9);
        let frame = builder.finish();
        assert_eq!(frame.layout.row_sets.len(), 2);
        assert_eq!(frame.values, [vec![1, 1], vec![9], vec![3, 70]]);
        assert_eq!(frame.get(EntityNumber(70), ColumnNumber(2)), Some(70));
        assert_eq!(frame.get(EntityNumber(70), ColumnNumber(1)), None);
    }

    #[test]
    fn the_layout_is_the_same_object_until_a_cell_comes_or_goes() {
        let mut builder = Builder::new();
        builder.set(EntityNumber(0), ColumnNumber(0), 1);
        let first = Arc::clone(&builder.finish().layout);
        builder.set(EntityNumber(0), ColumnNumber(0), 2);
        let second = builder.finish();
        assert!(Arc::ptr_eq(&first, &second.layout));
        assert_eq!(second.values, [vec![2]]);
        assert!(builder.finish().layout.columns.is_empty());
    }
}
