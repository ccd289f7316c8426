//! The exported columns of one node, and for each entity its cells in the order of the document.

use std::borrow::Cow;

use tally_proto::{
    columns::{ColumnValues, Compact},
    declaration::EntityNumber,
};

use super::{
    super::{Value, newest::Newest},
    exported::{Exported, Heads},
};

/// One column as the export shows it.
pub(super) struct Column<'a> {
    /// Place of its metric in the export.
    pub metric: usize,
    /// Whether it has labels.
    pub labelled: bool,
    /// What each point begins with.
    pub text: Cow<'a, [u8]>,
    values: Values<'a>,
    rows: &'a [EntityNumber],
}

enum Values<'a> {
    Integers(&'a Compact),
    Doubles(&'a Compact),
    Rates(Vec<Option<Value>>),
}

impl Column<'_> {
    /// The value of the entity at `position`; `None` for a rate that there is not.
    pub(super) fn value(&self, position: usize) -> Option<Value> {
        match &self.values {
            Values::Integers(values) => values.at(position).map(Value::Integer),
            Values::Doubles(bits) => {
                let bits = bits.at(position)?.cast_unsigned();
                Some(Value::Float(f64::from_bits(bits)))
            }
            Values::Rates(rates) => rates.get(position).copied().flatten(),
        }
    }
}

/// The columns that the export shows of a node, in its order.
pub(super) fn columns<'a>(
    newest: &'a Newest<'a>,
    exported: &Exported,
    heads: &'a Heads,
) -> Vec<Column<'a>> {
    let mut columns = Vec::new();
    for (index, values) in newest.columns.values.iter().enumerate() {
        let Some(meaning) = newest.schema.meaning(index) else { continue };
        let rows = newest.schema.layout.rows(index);
        let labelled = !meaning.labels.is_empty();
        let text = |metric: usize| -> Option<Cow<'a, [u8]>> {
            if labelled {
                let text = exported.metrics.get(metric)?.text(&heads.at, &meaning.labels);
                Some(Cow::Owned(text))
            } else {
                heads.texts.get(metric).map(|text| Cow::Borrowed(&**text))
            }
        };
        let mut push = |metric: Option<usize>, values: Values<'a>| {
            if let Some((metric, text)) = metric.and_then(|metric| Some((metric, text(metric)?))) {
                columns.push(Column { metric, labelled, text, values, rows });
            }
        };
        let (itself, rate) = exported.places_of(&meaning.metric);
        let is = if meaning.floating { Values::Doubles(values) } else { Values::Integers(values) };
        push(itself, is);
        if let Some(id) = rate.and_then(|place| exported.metrics.get(place)).map(|rate| rate.id) {
            push(rate, Values::Rates(newest.rates(index, id)));
        }
    }
    columns.sort_by_key(|column| column.metric);
    columns
}

/// One value's place.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cell {
    /// Its column among those of the export.
    pub column: usize,
    /// Its entity's position in that column.
    pub position: usize,
}

/// Every entity's cells, by entity. Taken apart once for each node, so that writing an entity
/// costs what it has and not what others have.
#[derive(Default)]
pub(super) struct Cells {
    /// Where each entity's cells end, by its number plus one.
    ends: Vec<usize>,
    cells: Vec<Cell>,
}

impl Cells {
    /// Makes them those of `columns`.
    pub(super) fn set(&mut self, columns: &[Column<'_>]) {
        let rows = || columns.iter().flat_map(|column| column.rows);
        let numbers = rows().map(|number| place(*number) + 1).max().unwrap_or(0);
        self.ends.clear();
        self.ends.resize(numbers + 1, 0);
        for number in rows() {
            if let Some(count) = self.ends.get_mut(place(*number) + 1) {
                *count += 1;
            }
        }
        let mut begin = 0;
        for end in &mut self.ends {
            // For now, where the cells of the number begin that comes before.
            (*end, begin) = (begin, begin + *end);
        }
        self.cells.clear();
        self.cells.resize(begin, Cell::default());
        for (at, column) in columns.iter().enumerate() {
            for (position, number) in column.rows.iter().enumerate() {
                if let Some(end) = self.ends.get_mut(place(*number) + 1) {
                    if let Some(cell) = self.cells.get_mut(*end) {
                        *cell = Cell { column: at, position };
                    }
                    *end += 1;
                }
            }
        }
    }

    /// The cells of an entity, in the order of the document.
    pub(super) fn of(&self, number: EntityNumber) -> &[Cell] {
        let (begin, end) = (self.ends.get(place(number)), self.ends.get(place(number) + 1));
        let range = begin.zip(end).and_then(|(begin, end)| self.cells.get(*begin..*end));
        range.unwrap_or_default()
    }
}

fn place(number: EntityNumber) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX - 1)
}
