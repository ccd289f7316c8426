//! What a node's stream goes on from when the journal does not say: the last values that history
//! has of it. An agent that was cut off for long comes back to an aggregator that was started anew
//! meanwhile; its first rates count all the same.

use std::sync::Arc;

use tally_proto::{
    columns::{ColumnLayout, CompactColumns, Layout, RowSet},
    declaration::{ColumnNumber, EntityNumber},
    name::NodeName,
    tick::Tick,
};

use super::{kept::Kept, rows};
use crate::{
    declared::MetricKey,
    history::{
        error::HistoryError,
        life::Life,
        selection::Selection,
        series::{Series, What},
    },
    model::writer::Before,
    schema::Schema,
};

/// How long before a frame is looked: the longest step that there may be between two.
const LONGEST_STEP_S: u64 = 3_600;

/// The last values that history has of the entities of `schema` before a tick.
pub(super) fn from_history(
    kept: &mut Kept,
    schema: &Schema,
    node: &NodeName,
    at: Tick,
) -> Result<Option<Before>, HistoryError> {
    let members = rows::lives(schema, node);
    let last = Tick(at.0.saturating_sub(1));
    let first = Tick(at.0.saturating_sub(LONGEST_STEP_S));
    let Some((anybody, _)) = members.first() else { return Ok(None) };
    let of = Selection::of(&anybody.who);
    let seen = kept.lives(&of, first, last)?;
    let Some(tick) = seen.iter().map(|seen| seen.last).max() else { return Ok(None) };
    let mut cells: Vec<Vec<(EntityNumber, i64)>> = vec![Vec::new(); schema.layout.columns.len()];
    for (life, row) in members.iter().filter_map(|(life, row)| Some((life, (*row)?))) {
        for series in values_at(kept, life, tick)? {
            let (index, value) = (index_of(schema, &series.what), series.values.first());
            if let Some((cells, value)) =
                index.and_then(|index| cells.get_mut(index)).zip(value.copied())
            {
                cells.push((row, value));
            }
        }
    }
    Ok(Some(before(schema, tick, cells)))
}

fn values_at(kept: &mut Kept, life: &Life, tick: Tick) -> Result<Vec<Series>, HistoryError> {
    let rows = kept.rows(&Selection::of(&life.who), tick, tick)?;
    let same = rows.into_iter().filter(|row| *row.life == *life);
    Ok(same.flat_map(|row| row.series).collect())
}

fn index_of(schema: &Schema, what: &What) -> Option<usize> {
    match what {
        What::ReadOffset => schema.layout.index_of(ColumnNumber::READ_OFFSET),
        What::StoredLabels(_) => None,
        What::Metric(quantity) => {
            schema.column_of(&MetricKey::of(&quantity.metric), &quantity.labels)
        }
    }
}

fn before(schema: &Schema, tick: Tick, mut cells: Vec<Vec<(EntityNumber, i64)>>) -> Before {
    cells.iter_mut().for_each(|column| column.sort_unstable());
    let rows = cells.iter().map(|column| RowSet(column.iter().map(|(row, _)| *row).collect()));
    let numbers = (0..).zip(&schema.layout.columns);
    let columns =
        numbers.map(|(row_set, column)| ColumnLayout { number: column.number, row_set }).collect();
    let layout = Arc::new(Layout { row_sets: rows.collect(), columns });
    let values = cells
        .iter()
        .map(|column| column.iter().map(|(_, value)| *value).collect::<Vec<i64>>().into());
    let columns = CompactColumns { layout: Arc::clone(&layout), values: values.collect() };
    let (declarations, roster) = (schema.declarations.clone(), Arc::clone(&schema.roster));
    Before {
        schema: Arc::new(Schema::new(layout, declarations, roster)),
        tick,
        columns: Arc::new(columns),
        same_stream: false,
    }
}
