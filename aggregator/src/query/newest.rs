//! A node's newest frame, and the counters of the frame before, which rates need.

use std::sync::Arc;

use tally_proto::{
    catalogue::MetricId,
    columns::{ColumnValues, Compact, CompactColumns},
    declaration::{ColumnNumber, EntityNumber},
    metric::ValueType,
    tick::Tick,
};

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
    pub columns: Arc<CompactColumns>,
    before: Option<Before<'a>>,
}

/// Whether rates need a column of the frame before.
pub(super) type Needs<'a> = &'a dyn Fn(&Schema, ColumnNumber) -> bool;

/// The frame that came before the newest; only the columns that rates need.
struct Before<'a> {
    schema: &'a Arc<Schema>,
    tick: Tick,
    columns: CompactColumns,
}

impl<'a> Newest<'a> {
    /// The frame of the tick `newest`, or of a later one that has come since; what `needs` says of
    /// the one before.
    pub(super) fn of(view: &'a View, newest: Tick, needs: Needs<'_>) -> Option<Self> {
        // Late frames may have come after it, in eras of their own.
        let reaches = |era: &EraView<'_>| era.frames.last().is_some_and(|one| newest <= one.tick);
        let mut ends = view.ends();
        let era = ends.find(reaches)?;
        let (tick, columns) = (era.frames.last()?.tick, era.newest());
        let before = match era.frames.as_slice() {
            [.., before, _] => Some(Before::last_but_one(&era, before.tick, &columns, needs)),
            _ => ends.next().and_then(|era| Before::last_of(&era, needs)),
        };
        Some(Self { schema: era.schema, tick, columns, before })
    }

    /// When an entity was read, in microseconds after the tick.
    pub(super) fn offset(&self, number: EntityNumber) -> Option<i64> {
        value(self.schema, &self.columns, self.schema.read_offset?, number)
    }

    /// The rates of a counter at its `index`: one for each of its rows.
    pub(super) fn rates(&self, index: usize, rate: MetricId) -> Vec<Option<Value>> {
        let integer = rate.metric().value == ValueType::Integer;
        let rate = |(before, now): (Reading, Reading)| now.rate_since(before, integer);
        self.readings(index).into_iter().map(|readings| readings.and_then(rate)).collect()
    }

    /// The last two readings of a counter at its `index`, the earlier first: for each of its rows.
    pub(super) fn readings(&self, index: usize) -> Vec<Option<(Reading, Reading)>> {
        let earlier = self.before.as_ref().and_then(|before| before.counter(self.schema, index));
        let totals = self.columns.values.get(index).map(Compact::all).unwrap_or_default();
        let offsets = self.schema.read_offset.map(|offset| self.beside(index, offset));
        let reading = |(position, total)| {
            let before = earlier.as_ref()?.reading(position)?;
            let offset = offsets.as_ref()?.at(position)?;
            Some((before, Reading { tick: self.tick, offset, total }))
        };
        totals.into_iter().enumerate().map(reading).collect()
    }

    /// What the column at `index` says of the entities of the column at `from`.
    pub(super) fn beside(&self, from: usize, index: usize) -> Beside<'_> {
        Beside::new(self.schema, &self.columns, from, index)
    }
}

/// A column, as the entities of another are in it.
pub(super) struct Beside<'a> {
    schema: &'a Schema,
    from: usize,
    index: usize,
    values: Option<&'a Compact>,
    /// Most columns are of the same entities, so that what was found in one need not be sought in
    /// another.
    is_same: bool,
}

impl<'a> Beside<'a> {
    fn new(schema: &'a Schema, columns: &'a CompactColumns, from: usize, index: usize) -> Self {
        let row_set = |index: usize| schema.layout.columns.get(index).map(|column| column.row_set);
        let values = columns.values.get(index);
        Self { schema, from, index, values, is_same: row_set(from) == row_set(index) }
    }

    /// What it says of the entity that has that position in the other.
    pub(super) fn at(&self, position: usize) -> Option<i64> {
        if self.is_same {
            return self.values?.at(position);
        }
        let layout = &self.schema.layout;
        let number = *layout.rows(self.from).get(position)?;
        self.values?.at(layout.position(self.index, number)?)
    }
}

/// One counter in the frame before.
struct Counter<'a> {
    before: &'a Before<'a>,
    totals: &'a Compact,
    offsets: Beside<'a>,
    /// The newest frame's schema and the counter's index in it, when it is another one.
    other: Option<(&'a Schema, usize)>,
}

impl<'a> Before<'a> {
    fn last_of(era: &EraView<'a>, needs: Needs<'_>) -> Option<Self> {
        let columns = counters(era.schema, &era.newest(), needs);
        Some(Self { schema: era.schema, tick: era.frames.last()?.tick, columns })
    }

    fn last_but_one(
        era: &EraView<'a>,
        tick: Tick,
        newest: &CompactColumns,
        needs: Needs<'_>,
    ) -> Self {
        let mut columns = counters(era.schema, newest, needs);
        era.take_back_last(&mut columns, |number| needs(era.schema, number));
        Self { schema: era.schema, tick, columns }
    }

    fn counter(&'a self, schema: &'a Arc<Schema>, index: usize) -> Option<Counter<'a>> {
        if Arc::ptr_eq(self.schema, schema) {
            return self.column(index, None);
        }
        let meaning = schema.meaning(index)?;
        let mine = self.schema.column_of(&meaning.metric, &meaning.labels)?;
        self.column(mine, Some((&**schema, index)))
    }

    fn column(&'a self, index: usize, other: Option<(&'a Schema, usize)>) -> Option<Counter<'a>> {
        let totals = self.columns.values.get(index)?;
        let offsets = Beside::new(self.schema, &self.columns, index, self.schema.read_offset?);
        Some(Counter { before: self, totals, offsets, other })
    }
}

impl Counter<'_> {
    /// The reading of the entity that has a position in the newest frame, if it is still in the same
    /// life.
    fn reading(&self, position: usize) -> Option<Reading> {
        let Before { schema, tick, .. } = self.before;
        let position = match self.other {
            Some((other, index)) => {
                let number = *other.layout.rows(index).get(position)?;
                schema.layout.position(self.offsets.from, schema.row_of(other, number)?)?
            }
            None => position,
        };
        let total = self.totals.at(position)?;
        Some(Reading { tick: *tick, offset: self.offsets.at(position)?, total })
    }
}

fn value(
    schema: &Schema,
    columns: &CompactColumns,
    index: usize,
    number: EntityNumber,
) -> Option<i64> {
    let position = schema.layout.position(index, number)?;
    columns.values.get(index)?.at(position)
}

/// The columns that rates need, at their places.
fn counters(schema: &Schema, columns: &CompactColumns, needs: Needs<'_>) -> CompactColumns {
    let values = columns.layout.columns.iter().zip(&columns.values);
    let values =
        values.map(
            |(column, values)| {
                if needs(schema, column.number) { values.clone() } else { Compact::default() }
            },
        );
    CompactColumns { layout: Arc::clone(&columns.layout), values: values.collect() }
}
