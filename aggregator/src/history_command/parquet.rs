//! Numbers as a Parquet file: one row a number.
//!
//! A group of rows is held as series, whose names are there once each, and written column by column:
//! so much is in memory, however much is exported. Names are dictionaries, everything is zstd.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, ZstdLevel},
    column::writer::ColumnWriterImpl,
    data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type},
    errors::ParquetError,
    file::{
        properties::{WriterProperties, WriterVersion},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use tally_proto::tick::UnixMs;

use super::{
    filter::{Names, kind},
    numbers::{Numbers, labels_text},
};
use crate::history::point::{Point, Value};

/// The columns, in the order in which they are written.
const SCHEMA: &str = "
message tally {
  required int64 time (TIMESTAMP(MILLIS,true));
  required binary kind (STRING);
  optional binary node (STRING);
  optional binary namespace (STRING);
  optional binary pod (STRING);
  optional binary pod_uid (STRING);
  optional binary container (STRING);
  required binary metric (STRING);
  optional binary labels (STRING);
  required binary aggregate (STRING);
  optional int64 value_int;
  optional double value_float;
  optional int64 start (TIMESTAMP(MILLIS,true));
}";

/// Rows after which a group is written: 24 MB of points.
const ROWS_OF_GROUP: usize = 1 << 20;

/// Rows given to the library at once: its buffers are a few times this.
const ROWS_AT_ONCE: usize = 1024;

/// A file under way.
pub(super) struct ParquetFile<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    waiting: Vec<Numbers>,
    rows: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Begins a file.
    pub(super) fn begin(file: W) -> Result<Self, ParquetError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            // Whole numbers that no dictionary holds are written as differences.
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .set_created_by(concat!("tally-aggregator ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
        Ok(Self { writer, waiting: Vec::new(), rows: 0 })
    }

    /// Adds the numbers of a series.
    pub(super) fn push(&mut self, numbers: Numbers) -> Result<(), ParquetError> {
        self.rows += numbers.points.len();
        self.waiting.push(numbers);
        if ROWS_OF_GROUP <= self.rows { self.write_group() } else { Ok(()) }
    }

    /// Writes what is left and the end of the file.
    pub(super) fn finish(mut self) -> Result<(), ParquetError> {
        self.write_group()?;
        self.writer.close().map(drop)
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.rows = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let mut group = Group { writer: self.writer.next_row_group()?, waiting: &waiting };
        group.points::<Int64Type>(|point| Some(point.at.unix_ms().0))?;
        group.texts(|numbers| Some(kind(&numbers.life.who).word().to_owned()))?;
        group.names(|names| names.node)?;
        group.names(|names| names.namespace)?;
        group.names(|names| names.pod)?;
        group.texts(|numbers| numbers.life.who.in_pod().map(|in_pod| in_pod.uid.to_string()))?;
        group.names(|names| names.container)?;
        group.texts(|numbers| Some(numbers.metric.as_str().to_owned()))?;
        group.texts(|numbers| labels_text(&numbers.labels, &numbers.stored))?;
        group.texts(|numbers| Some(numbers.aggregate.word().to_owned()))?;
        group.points::<Int64Type>(|point| match point.value {
            Value::Integer(value) => Some(value),
            Value::Float(_) => None,
        })?;
        group.points::<DoubleType>(|point| match point.value {
            Value::Integer(_) => None,
            Value::Float(value) => Some(value),
        })?;
        let start = |numbers: &Numbers| numbers.life.start.map(|UnixMs(start)| start);
        group.column::<Int64Type>(|numbers, column| {
            repeated(column, start(numbers), numbers.points.len())
        })?;
        group.writer.close().map(drop)
    }
}

/// A group of rows under way.
struct Group<'a, W: Write + Send> {
    writer: SerializedRowGroupWriter<'a, W>,
    waiting: &'a [Numbers],
}

impl<W: Write + Send> Group<'_, W> {
    /// Writes the next column, series by series.
    fn column<T: DataType>(
        &mut self,
        mut write: impl FnMut(&Numbers, &mut ColumnWriterImpl<'_, T>) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        let column = self.writer.next_column()?;
        let mut column =
            column.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
        for numbers in self.waiting {
            write(numbers, column.typed::<T>())?;
        }
        column.close()
    }

    /// Writes the next column from the points.
    fn points<T: DataType>(
        &mut self,
        of: impl Fn(&Point) -> Option<T::T>,
    ) -> Result<(), ParquetError> {
        self.column::<T>(|numbers, column| {
            for points in numbers.points.chunks(ROWS_AT_ONCE) {
                let given: Vec<Option<T::T>> = points.iter().map(&of).collect();
                let levels: Vec<i16> = given.iter().map(|one| i16::from(one.is_some())).collect();
                let values: Vec<T::T> = given.into_iter().flatten().collect();
                // A column that must have values takes no levels and does not look at them.
                column.write_batch(&values, Some(&levels), None)?;
            }
            Ok(())
        })
    }

    /// Writes the next column from what all numbers of a series have in common.
    fn texts(&mut self, of: impl Fn(&Numbers) -> Option<String>) -> Result<(), ParquetError> {
        self.column::<ByteArrayType>(|numbers, column| {
            let text = of(numbers).map(|text| ByteArray::from(text.into_bytes()));
            repeated(column, text, numbers.points.len())
        })
    }

    /// Writes the next column from a name.
    fn names(&mut self, of: fn(Names<'_>) -> Option<&str>) -> Result<(), ParquetError> {
        self.texts(|numbers| of(Names::of(&numbers.life.who)).map(str::to_owned))
    }
}

/// Writes the same, `rows` times.
fn repeated<T: DataType>(
    column: &mut ColumnWriterImpl<'_, T>,
    value: Option<T::T>,
    rows: usize,
) -> Result<(), ParquetError> {
    let at_once = rows.min(ROWS_AT_ONCE);
    let levels = vec![i16::from(value.is_some()); at_once];
    let values: Vec<T::T> = value.map_or(Vec::new(), |value| vec![value; at_once]);
    let mut left = rows;
    while 0 < left {
        let now = left.min(at_once);
        let some = values.get(..now.min(values.len())).unwrap_or_default();
        column.write_batch(some, levels.get(..now), None)?;
        left -= now;
    }
    Ok(())
}
