//! A node's newest frame, and the counters of the frame before, which rates need.

use std::sync::Arc;

use tally_proto::{
    catalogue::MetricId, columns::Columns, declaration::EntityNumber, metric::ValueType, tick::Tick,
};

use super::exported::Exported;
use crate::{
    model::past::{EraView, View},
    point::{Reading, Value},
    schema::Schema,
};

/// A node's newest frame.
pub(super) struct Newest<'a> {
    /// What its numbers mean.
    pub schema: &'a Arc<Schema>,
    /// Its tick.
    pub tick: Tick,
    /// Its numbers.
    pub columns: Arc<Columns>,
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
    pub(super) fn of(view: &'a View, newest: Tick, exported: &Exported) -> Option<Self> {
        let eras: Vec<EraView<'a>> = view.eras().collect();
        // Late frames may have come after it, in eras of their own.
        let reaches = |era: &EraView<'_>| era.frames.last().is_some_and(|one| newest <= one.tick);
        let (era, earlier) = eras.get(..=eras.iter().rposition(reaches)?)?.split_last()?;
        let columns = era.newest();
        let before = match era.frames.as_slice() {
            [.., before, _] => Some(Before::last_but_one(era, before.tick, &columns, exported)),
            _ => earlier.last().and_then(|era| Before::last_of(era, exported)),
        };
        Some(Self { schema: era.schema, tick: era.frames.last()?.tick, columns, before })
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
                now.rate_since(earlier.as_ref()?.reading(*number)?, integer)
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
    fn last_of(era: &EraView<'a>, exported: &Exported) -> Option<Self> {
        let columns = counters(era.schema, &era.newest(), exported);
        Some(Self { schema: era.schema, tick: era.frames.last()?.tick, columns })
    }

    fn last_but_one(era: &EraView<'a>, tick: Tick, newest: &Columns, exported: &Exported) -> Self {
        let mut columns = counters(era.schema, newest, exported);
        era.take_back_last(&mut columns, |number| exported.needs_before(era.schema, number));
        Self { schema: era.schema, tick, columns }
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
