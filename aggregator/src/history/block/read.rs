//! A block's parts back to rows. Trusts nothing: every number is checked where it is taken.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use tally_proto::tick::Tick;

use super::{BlockError, ROWS, SERIES, decompress, floats::Form};
use crate::history::{
    codec::{
        Malformed,
        bytes::{take_at_most, take_byte, take_signed, take_varint, unzigzag},
        model::{Decoder, Model},
        rans,
        relation::{DEPTH, TERMS, Term},
        remainder::Measure,
    },
    life::Life,
    series::{Row, Series, What},
    timeline::Timeline,
};

/// Columns of a block at most: none is without a series.
const COLUMNS: usize = SERIES;

/// Bytes of all sections of a block at most.
const SECTION_BYTES: usize = 1 << 30;

/// Whose rows a block has.
#[derive(Clone, Debug)]
pub struct Names {
    /// The rows, in the order of their lives.
    pub rows: Vec<Named>,
    timelines: Vec<Arc<Timeline>>,
}

/// One row's name.
#[derive(Clone, Debug)]
pub struct Named {
    /// Whose it is.
    pub life: Arc<Life>,
    /// The ticks of most of its series.
    pub timeline: Arc<Timeline>,
    /// Where its section is among the sections, its checksum included.
    pub section: Range<usize>,
}

impl Names {
    /// Reads the names.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let bytes = decompress(bytes)?;
        let bytes = &mut bytes.as_slice();
        let count = take_at_most(bytes, bytes.len(), "the timelines")?;
        let mut timelines = Vec::new();
        for _ in 0..count {
            timelines.push(Arc::new(Timeline::take_from(bytes)?));
        }
        let mut rows: Vec<Named> = Vec::new();
        let mut at = 0;
        for _ in 0..take_at_most(bytes, ROWS, "the rows")? {
            let life = Arc::new(Life::take_from(bytes)?);
            let timeline = take_at_most(bytes, timelines.len(), "a timeline")?;
            let timeline = timelines.get(timeline).cloned().unwrap_or_default();
            let end = at + take_at_most(bytes, SECTION_BYTES - at, "a section's length")?;
            if rows.last().is_some_and(|before| life <= before.life) {
                return Err(Malformed::Range("the order of rows").into());
            }
            rows.push(Named { life, timeline, section: at..end });
            at = end;
        }
        Ok(Self { rows, timelines })
    }

    /// Bytes that it takes in memory, about.
    pub fn weight(&self) -> usize {
        self.rows.len() * 400 + self.timelines.len() * 100
    }
}

/// Which metrics a block has, and how its streams are read.
#[derive(Debug)]
pub struct Columns {
    /// The columns, in their order.
    pub whats: Vec<Arc<What>>,
    model_of: Vec<usize>,
    models: Vec<(Model, OnceLock<Decoder>)>,
}

impl Columns {
    /// Reads the columns.
    pub fn decode(bytes: &[u8]) -> Result<Self, BlockError> {
        let bytes = decompress(bytes)?;
        let bytes = &mut bytes.as_slice();
        let count = take_at_most(bytes, COLUMNS, "the columns")?;
        let (mut whats, mut model_of) = (Vec::new(), Vec::new());
        for _ in 0..count {
            whats.push(Arc::new(What::take_from(bytes)?));
            model_of.push(take_at_most(bytes, COLUMNS, "a model")?);
        }
        let mut models = Vec::new();
        for _ in 0..take_at_most(bytes, COLUMNS + 1, "the models")? {
            models.push((Model::take(bytes)?, OnceLock::new()));
        }
        Ok(Self { whats, model_of, models })
    }

    fn decoder(&self, column: usize) -> Result<&Decoder, BlockError> {
        let model = self.model_of.get(column).and_then(|model| self.models.get(*model));
        let (model, decoder) = model.ok_or(Malformed::Range("a model"))?;
        Ok(decoder.get_or_init(|| model.decoder()))
    }

    /// How many columns are of no metric: the first ones, by their order.
    pub fn others(&self) -> usize {
        self.whats.partition_point(|what| !what.is_metric())
    }

    /// Bytes that it takes in memory, about: tables are built for what is read.
    pub fn weight(&self) -> usize {
        self.whats.len() * 150 + self.models.len() * (160 << 10)
    }
}

/// What a row's section says of one series.
#[derive(Clone, Debug)]
struct Entry {
    column: usize,
    /// By number; the row's own without one.
    timeline: Option<usize>,
    form: Form,
    terms: Vec<Term>,
    first: i64,
    stream: Option<(Measure, Range<usize>)>,
    sketches: Option<Range<usize>>,
}

/// A row's section.
#[derive(Clone, Debug)]
pub struct Section {
    entries: Vec<Entry>,
    streams: Bytes,
}

impl Section {
    /// Reads the section of the `row`-th row; its checksum must fit.
    pub fn decode(bytes: Bytes, row: usize, columns: &Columns) -> Result<Self, BlockError> {
        let (inside, checksum) = bytes.split_last_chunk::<4>().ok_or(BlockError::Checksum)?;
        if crc32fast::hash(inside) != u32::from_le_bytes(*checksum) {
            return Err(BlockError::Checksum);
        }
        let mut rest = inside;
        let count = take_at_most(&mut rest, columns.whats.len(), "the series of a row")?;
        let (mut entries, mut at, mut next_column) = (Vec::with_capacity(count), 0, 0);
        for _ in 0..count {
            let entry = take_entry(&mut rest, row, &mut at, next_column, columns)?;
            next_column = entry.column + 1;
            entries.push(entry);
        }
        if rest.len() != at {
            return Err(Malformed::Range("the length of the streams").into());
        }
        let streams = bytes.slice(inside.len() - at..inside.len());
        Ok(Self { entries, streams })
    }

    /// How many series of metrics the `row`-th row has, by the first bytes of its section.
    pub fn count_series(
        mut head: &[u8],
        row: usize,
        columns: &Columns,
    ) -> Result<usize, BlockError> {
        let count = take_at_most(&mut head, columns.whats.len(), "the series of a row")?;
        let others = columns.others();
        let (mut passed, mut at, mut next_column) = (0, 0, 0);
        while passed < count && next_column < others {
            let column = next_column + take_at_most(&mut &*head, COLUMNS, "a column")?;
            if others <= column {
                break;
            }
            passed += 1;
            // Behind the last of the others nothing more has to be read.
            if column + 1 < others {
                take_entry(&mut head, row, &mut at, next_column, columns)?;
            }
            next_column = column + 1;
        }
        Ok(count - passed)
    }

    /// What each series of the row is, by place.
    pub fn whats<'a>(&'a self, columns: &'a Columns) -> impl Iterator<Item = &'a Arc<What>> {
        self.entries.iter().filter_map(|entry| columns.whats.get(entry.column))
    }
}

fn take_entry(
    bytes: &mut &[u8],
    row: usize,
    at: &mut usize,
    next_column: usize,
    columns: &Columns,
) -> Result<Entry, BlockError> {
    let column = next_column + take_at_most(bytes, COLUMNS, "a column")?;
    let what = columns.whats.get(column).ok_or(Malformed::Range("a column"))?;
    let head = take_byte(bytes, "a series")?;
    let timeline = match head & 2 {
        0 => None,
        _ => Some(take_at_most(bytes, usize::MAX, "a timeline")?),
    };
    let mut terms = Vec::new();
    for _ in 0..usize::from(head >> 2 & 7).min(TERMS) {
        let away = take_varint(bytes, "a relation")?;
        let row = i64::try_from(row).unwrap_or(0).checked_add(unzigzag(away >> 1));
        let row = row.and_then(|row| usize::try_from(row).ok());
        let row = row.ok_or(Malformed::Range("a relation"))?;
        let place = take_at_most(bytes, COLUMNS, "a relation")?;
        terms.push(Term { row, place, minus: away & 1 != 0 });
    }
    let first = take_signed(bytes, "a first value")?;
    let mut range = |bytes: &mut &[u8]| -> Result<Range<usize>, Malformed> {
        let begin = *at;
        *at += take_at_most(bytes, SECTION_BYTES, "the length of a stream")?;
        Ok(begin..*at)
    };
    let stream = match head & 1 {
        0 => None,
        _ => Some((Measure::take(bytes)?, range(bytes)?)),
    };
    let sketches = if what.has_sketches() { Some(range(bytes)?) } else { None };
    Ok(Entry { column, timeline, form: Form::of_code(head >> 5), terms, first, stream, sketches })
}

/// What reading a series needs of its block. `section` gives the section of a row.
struct Source<'a, F> {
    names: &'a Names,
    columns: &'a Columns,
    section: F,
}

/// Reads the series at `place` in the `row`-th row. `section` gives the sections of this row and
/// of those that it is related to.
pub fn decode_series<E: From<BlockError>>(
    names: &Names,
    columns: &Columns,
    section: impl FnMut(usize) -> Result<Arc<Section>, E>,
    row: usize,
    place: usize,
) -> Result<Series, E> {
    let mut source = Source { names, columns, section };
    let section = (source.section)(row)?;
    let entry = section.entries.get(place).ok_or_else(|| missing("a series"))?;
    let what = columns.whats.get(entry.column).ok_or_else(|| missing("a column"))?;
    let timeline = source.timeline(row, entry)?;
    let mut values = source.values(row, place, timeline.len(), 0)?;
    if entry.form != Form::Integers {
        values.iter_mut().for_each(|value| *value = entry.form.back(*value));
    }
    let sketches = match entry.sketches.clone() {
        None => Vec::new(),
        Some(range) => decompress(section.streams.get(range).unwrap_or_default())?,
    };
    Ok(Series { what: Arc::clone(what), timeline, values, sketches })
}

/// Reads all series of the `row`-th row.
pub fn decode_row<E: From<BlockError>>(
    names: &Names,
    columns: &Columns,
    mut section: impl FnMut(usize) -> Result<Arc<Section>, E>,
    row: usize,
) -> Result<Row, E> {
    let named = names.rows.get(row).ok_or_else(|| missing("a row"))?;
    let count = section(row)?.entries.len();
    let series = (0..count)
        .map(|place| decode_series(names, columns, &mut section, row, place))
        .collect::<Result<_, E>>()?;
    Ok(Row { life: Arc::clone(&named.life), series })
}

fn missing(what: &'static str) -> BlockError {
    Malformed::Range(what).into()
}

impl<E: From<BlockError>, F: FnMut(usize) -> Result<Arc<Section>, E>> Source<'_, F> {
    fn timeline(&self, row: usize, entry: &Entry) -> Result<Arc<Timeline>, E> {
        let timeline = match entry.timeline {
            None => self.names.rows.get(row).map(|named| &named.timeline),
            Some(number) => self.names.timelines.get(number),
        };
        Ok(Arc::clone(timeline.ok_or_else(|| missing("a timeline"))?))
    }

    /// The values of a series before they become doubles again.
    fn values(&mut self, row: usize, place: usize, ticks: usize, depth: u8) -> Result<Vec<i64>, E> {
        let section = (self.section)(row)?;
        let entry = section.entries.get(place).ok_or_else(|| missing("a series"))?;
        if DEPTH < depth || self.timeline(row, entry)?.len() != ticks {
            return Err(missing("a relation").into());
        }
        let mut values = Vec::with_capacity(ticks);
        if ticks != 0 {
            values.push(entry.first);
        }
        let mut last = entry.first;
        match &entry.stream {
            None => values.resize(ticks, last),
            Some((measure, range)) => {
                let stream = section.streams.get(range.clone()).unwrap_or_default();
                let decoder = self.columns.decoder(entry.column)?;
                let each = |number| {
                    last = last.wrapping_add(measure.difference(number));
                    values.push(last);
                };
                rans::decode(stream, ticks.saturating_sub(1), decoder, each)
                    .map_err(BlockError::from)?;
            }
        }
        for term in entry.terms.clone() {
            let others = self.values(term.row, term.place, ticks, depth + 1)?;
            for (value, other) in values.iter_mut().zip(others) {
                *value =
                    if term.minus { value.wrapping_sub(other) } else { value.wrapping_add(other) };
            }
        }
        Ok(values)
    }
}

impl Named {
    /// Whether the row has a value from `first` to `last`, both included.
    pub fn touches(&self, first: Tick, last: Tick) -> bool {
        self.timeline.touches(first, last)
    }
}
