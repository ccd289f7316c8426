//! The frame before, as far as rates need it.

use std::collections::HashMap;

use tally_proto::{
    columns::{ColumnValues, Compact, CompactColumns},
    declaration::EntityNumber,
    tick::Tick,
};

use super::{Plan, column};
use crate::schema::Schema;

/// When each entity was read in the frame before, and what its counters stood at.
#[derive(Debug)]
pub struct Earlier {
    /// The frame's tick.
    pub tick: Tick,
    /// When each entity of the present schema was read.
    pub(super) offsets: Readings,
    /// The values of the planned columns that are counters, one column after the other.
    pub(super) values: Readings,
}

/// Numbers of the frame before, by their places in the present schema.
#[derive(Debug)]
pub(super) enum Readings {
    /// The schema was the same, so all are there: nearly every frame.
    All(Vec<i64>),
    /// Of another schema: `None` for an entity that was not there, or not in its present life.
    Matched(Vec<Option<i64>>),
}

impl Readings {
    pub(super) fn get(&self, place: usize) -> Option<i64> {
        match self {
            Self::All(numbers) => numbers.get(place).copied(),
            Self::Matched(numbers) => numbers.get(place).copied().flatten(),
        }
    }
}

impl Plan {
    /// What the next frame of the same schema needs of this one.
    pub fn earlier(&self, schema: &Schema, tick: Tick, now: &CompactColumns) -> Earlier {
        let mut values = Vec::with_capacity(self.counted);
        for planned in self.counters() {
            if let Some(column) = column(now, Some(planned.index())) {
                column.append_to(&mut values);
            }
        }
        let offsets = column(now, schema.read_offset).map(Compact::all).unwrap_or_default();
        Earlier { tick, offsets: Readings::All(offsets), values: Readings::All(values) }
    }

    /// The same from a frame of another schema, or of another stream: a cell counts where it is
    /// the same metric of the same entity in the same life.
    pub fn earlier_of(&self, schema: &Schema, before: (&Schema, Tick, &CompactColumns)) -> Earlier {
        let (theirs, tick, columns) = before;
        let rows = schema.read_offset.map_or(&[][..], |index| schema.layout.rows(index));
        let same: HashMap<EntityNumber, EntityNumber> = rows
            .iter()
            .filter_map(|number| Some((*number, theirs.row_of(schema, *number)?)))
            .collect();
        let look_up = |index: usize, their_index: Option<usize>| -> Vec<Option<i64>> {
            let values = column(columns, their_index);
            let rows = schema.layout.rows(index).iter();
            let value = |number| {
                let position = theirs.layout.position(their_index?, *same.get(number)?)?;
                values?.at(position)
            };
            rows.map(value).collect()
        };
        let values = self.counters().flat_map(|planned| {
            let meaning = schema.meaning(planned.index());
            let their_index =
                meaning.and_then(|meaning| theirs.column_of(&meaning.metric, &meaning.labels));
            look_up(planned.index(), their_index)
        });
        let values = Readings::Matched(values.collect());
        let offsets = schema.read_offset.map(|index| look_up(index, theirs.read_offset));
        Earlier { tick, offsets: Readings::Matched(offsets.unwrap_or_default()), values }
    }
}
