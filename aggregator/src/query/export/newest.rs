//! A node's newest frame, unpacked as far as the export shows it, and the counters of the frame
//! before, which rates need.

use std::sync::Arc;

use tally_proto::{
    catalogue::MetricId,
    columns::{Columns, unpack_where},
    declaration::EntityNumber,
    metric::ValueType,
    tick::Tick,
};

use super::{
    super::{
        Value,
        evaluate::{Reading, growth_rate},
    },
    exported::Exported,
};
use crate::{
    model::node::{Chunk, NodeView},
    schema::Schema,
};

/// A node's newest frame.
pub(super) struct Newest<'a> {
    /// What its numbers mean.
    pub schema: &'a Arc<Schema>,
    /// Its tick.
    pub tick: Tick,
    /// Its numbers; those of columns that are not exported mean nothing.
    pub columns: Columns,
    before: Option<Before<'a>>,
}

/// The frame that came before the newest; only the counters that rates need.
struct Before<'a> {
    schema: &'a Arc<Schema>,
    tick: Tick,
    columns: Columns,
}

impl<'a> Newest<'a> {
    /// The frame of the tick `newest`, or of a later one that has come since.
    pub(super) fn of(view: &'a NodeView, newest: Tick, exported: &Exported) -> Option<Self> {
        let mut chunks = view.chunks().rev();
        let (chunk, place) = chunks.by_ref().find_map(|chunk| {
            let place = chunk.frames.iter().rposition(|frame| newest <= frame.tick)?;
            Some((chunk, place))
        })?;
        let (earlier, last) = chunk.frames.split_at_checked(place)?;
        let last = last.first()?;
        let mut columns = Columns::default();
        let wanted = |number| exported.shows(&chunk.schema, number);
        for frame in earlier {
            unpack_where(&mut columns, &frame.bytes, wanted).ok()?;
        }
        let before = match earlier.last() {
            Some(frame) => Some(Before {
                schema: &chunk.schema,
                tick: frame.tick,
                columns: counters(&chunk.schema, &columns, exported),
            }),
            None => chunks.next().and_then(|chunk| Before::last_of(chunk, exported)),
        };
        unpack_where(&mut columns, &last.bytes, wanted).ok()?;
        Some(Self { schema: &chunk.schema, tick: last.tick, columns, before })
    }

    /// When an entity was read, in microseconds after the tick.
    pub(super) fn offset(&self, number: EntityNumber) -> Option<i64> {
        value(self.schema, &self.columns, self.schema.read_offset?, number)
    }

    /// The rates of a counter at its `index`: one for each of its rows.
    pub(super) fn rates(&self, index: usize, rate: MetricId) -> Vec<Option<Value>> {
        let rows = self.schema.layout.rows(index);
        let integer = rate.metric().value == ValueType::Integer;
        let earlier = self.before.as_ref().and_then(|before| before.counter(self.schema, index));
        let rates = rows.iter().zip(self.columns.values.get(index).into_iter().flatten());
        rates
            .map(|(number, total)| {
                let now = Reading { tick: self.tick, offset: self.offset(*number)?, total: *total };
                growth_rate(earlier.as_ref()?.reading(*number)?, now, integer)
            })
            .collect()
    }
}

/// One counter in the frame before.
struct Counter<'a> {
    before: &'a Before<'a>,
    index: usize,
    /// The newest frame's schema, when it is another one.
    other: Option<&'a Schema>,
}

impl<'a> Before<'a> {
    fn last_of(chunk: &'a Chunk, exported: &Exported) -> Option<Self> {
        let mut columns = Columns::default();
        for frame in &chunk.frames {
            let wanted = |number| exported.needs_before(&chunk.schema, number);
            unpack_where(&mut columns, &frame.bytes, wanted).ok()?;
        }
        Some(Self { schema: &chunk.schema, tick: chunk.frames.last()?.tick, columns })
    }

    fn counter(&'a self, schema: &'a Arc<Schema>, index: usize) -> Option<Counter<'a>> {
        if Arc::ptr_eq(self.schema, schema) {
            return Some(Counter { before: self, index, other: None });
        }
        let meaning = schema.meaning(index)?;
        let index = self.schema.column_of(&meaning.metric, &meaning.labels)?;
        Some(Counter { before: self, index, other: Some(schema) })
    }
}

impl Counter<'_> {
    /// The reading of an entity, if it is still in the same life.
    fn reading(&self, number: EntityNumber) -> Option<Reading> {
        let Before { schema, tick, columns } = self.before;
        let number = match self.other {
            Some(other) => schema.row_of(other, number)?,
            None => number,
        };
        let total = value(schema, columns, self.index, number)?;
        let offset = value(schema, columns, schema.read_offset?, number)?;
        Some(Reading { tick: *tick, offset, total })
    }
}

fn value(schema: &Schema, columns: &Columns, index: usize, number: EntityNumber) -> Option<i64> {
    let position = schema.layout.position(index, number)?;
    columns.values.get(index)?.get(position).copied()
}

/// The columns that rates need, at their places.
fn counters(schema: &Schema, columns: &Columns, exported: &Exported) -> Columns {
    let needed = |number| exported.needs_before(schema, number);
    let values = columns.layout.columns.iter().zip(&columns.values);
    let values = values
        .map(|(column, values)| if needed(column.number) { values.clone() } else { Vec::new() });
    Columns { layout: Arc::clone(&columns.layout), values: values.collect() }
}
