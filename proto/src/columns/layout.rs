//! Which entities have which columns, and the values of one frame.

use std::sync::Arc;

use super::compact::{ColumnValues, Compact};
use crate::declaration::{ColumnNumber, EntityNumber};

/// Entities that share columns, ascending by number. Most columns share one of very few sets, so
/// the sets are kept, compared and sent once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowSet(pub Arc<[EntityNumber]>);

impl RowSet {
    /// Where `entity` stands in the set.
    pub fn position(&self, entity: EntityNumber) -> Option<usize> {
        self.0.binary_search(&entity).ok()
    }
}

/// One column's place in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ColumnLayout {
    /// The column.
    pub number: ColumnNumber,
    /// Index of its entities in [`Layout::row_sets`].
    pub row_set: u32,
}

/// Which entities have which columns. It changes only when something comes, goes, or gains or
/// loses a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The distinct sets of entities.
    pub row_sets: Vec<RowSet>,
    /// The columns, ascending by number.
    pub columns: Vec<ColumnLayout>,
}

impl Layout {
    /// Index of a column.
    pub fn index_of(&self, column: ColumnNumber) -> Option<usize> {
        self.columns.binary_search_by_key(&column, |layout| layout.number).ok()
    }

    /// The entities of the column at `index`; none when there is no such column.
    pub fn rows(&self, index: usize) -> &[EntityNumber] {
        self.row_set(index).map_or(&[], |rows| &rows.0)
    }

    /// Where `entity` stands in the column at `index`.
    pub fn position(&self, index: usize, entity: EntityNumber) -> Option<usize> {
        self.row_set(index)?.position(entity)
    }

    /// Number of values in a frame of this layout.
    pub fn cells(&self) -> usize {
        (0..self.columns.len()).map(|index| self.rows(index).len()).sum()
    }

    fn row_set(&self, index: usize) -> Option<&RowSet> {
        self.row_sets.get(usize::try_from(self.columns.get(index)?.row_set).ok()?)
    }
}

/// The values of one frame, unpacked, those of each column in a `V`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnsOf<V> {
    /// Which entities have which columns.
    pub layout: Arc<Layout>,
    /// For each column of the layout, the values of its entities in their order.
    pub values: Vec<V>,
}

/// The values of one frame, to work with.
pub type Columns = ColumnsOf<Vec<i64>>;

/// The values of one frame, to be kept for long.
pub type CompactColumns = ColumnsOf<Compact>;

impl From<&CompactColumns> for Columns {
    fn from(compact: &CompactColumns) -> Self {
        let values = compact.values.iter().map(Compact::all).collect();
        Self { layout: Arc::clone(&compact.layout), values }
    }
}

impl<V: ColumnValues> ColumnsOf<V> {
    /// One value.
    pub fn get(&self, entity: EntityNumber, column: ColumnNumber) -> Option<i64> {
        let index = self.layout.index_of(column)?;
        let position = self.layout.position(index, entity)?;
        self.values.get(index)?.at(position)
    }

    /// Changes the layout: values of cells that both layouts have stay, new cells are 0.
    pub fn rebase(&mut self, layout: Arc<Layout>) {
        let before = std::mem::take(&mut self.values);
        self.values = layout
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let rows = layout.rows(index);
                let mut values = vec![0; rows.len()];
                if let Some(old) = self.layout.index_of(column.number)
                    && let Some(before) = before.get(old)
                {
                    let kept = self.layout.rows(old).iter().zip(before.all());
                    carry_over(rows, &mut values, kept);
                }
                values.into()
            })
            .collect();
        self.layout = layout;
    }
}

/// Both sides are ascending, so one walk over them is enough.
fn carry_over<'a>(
    rows: &[EntityNumber],
    values: &mut [i64],
    kept: impl Iterator<Item = (&'a EntityNumber, i64)>,
) {
    let mut places = rows.iter().zip(values).peekable();
    for (entity, value) in kept {
        while places.next_if(|(place, _)| *place < entity).is_some() {}
        if let Some((_, place)) = places.next_if(|(place, _)| *place == entity) {
            *place = value;
        }
    }
}
