//! The recorded samples of `tests/data`, as the frames of an agent on that host.

use std::{collections::BTreeMap, io::Read};

use flate2::read::GzDecoder;
use tally_proto::{
    columns::{Builder, Columns},
    declaration::{ColumnNumber, EntityNumber},
};

use super::random::Random;

const RECORDED: &[u8] = include_bytes!("../../data/containers-1s.tsv.gz");

/// Microseconds that an agent takes to read one cgroup. The recording does not say when each was
/// read, so this is made up.
const READ_US: i64 = 27;

/// What an agent sends of these series: the rest is read by other means, or not at all.
const SENT: [&str; 16] = [
    "cpu_usage_ns",
    "mem_usage_bytes",
    "mem_rss_bytes",
    "mem_cache_bytes",
    "mem_working_set_bytes",
    "pgfault_total",
    "pgmajfault_total",
    "cpu_nr_periods",
    "cpu_nr_throttled",
    "cpu_throttled_ns",
    "blkio_read_bytes",
    "blkio_write_bytes",
    "net_rx_bytes",
    "net_tx_bytes",
    "net_rx_packets",
    "net_tx_packets",
];

/// One recorded series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its entity.
    pub entity: EntityNumber,
    /// Its column.
    pub column: ColumnNumber,
    /// Its values, one a second.
    pub values: Vec<i64>,
}

/// A recording that is not in its format.
#[derive(Debug, thiserror::Error)]
pub enum BadRecording {
    /// It can't be unzipped.
    #[error("cannot unzip the recorded samples")]
    Gzip(#[from] std::io::Error),
    /// A line that is no series.
    #[error("line {0} of the recorded samples is no series")]
    Line(usize),
}

/// The series that an agent would send, pods and containers numbered in the order of the file.
pub fn series() -> Result<Vec<Series>, BadRecording> {
    let mut text = String::new();
    GzDecoder::new(RECORDED).read_to_string(&mut text)?;
    let mut entities = BTreeMap::new();
    let mut found = Vec::new();
    for (line_no, line) in (1..).zip(text.lines()) {
        let mut fields = line.split('\t');
        let (Some(entity), Some(metric), Some(values)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(BadRecording::Line(line_no));
        };
        let Some(column) = SENT.iter().position(|sent| *sent == metric) else { continue };
        let next = u32::try_from(entities.len()).unwrap_or(u32::MAX);
        let entity = *entities.entry(entity).or_insert(EntityNumber(next));
        let column = ColumnNumber(1 + u32::try_from(column).unwrap_or(u32::MAX));
        let values = undo_deltas(values).ok_or(BadRecording::Line(line_no))?;
        found.push(Series { entity, column, values });
    }
    Ok(found)
}

fn undo_deltas(values: &str) -> Option<Vec<i64>> {
    let mut total = 0i64;
    let parse = |delta: &str| -> Option<i64> {
        let delta: i64 = if delta.is_empty() { 0 } else { delta.parse().ok()? };
        total = total.checked_add(delta)?;
        Some(total)
    };
    values.split(',').map(parse).collect()
}

/// The frame of every `step`-th second.
pub fn frames(series: &[Series], step: usize) -> Vec<Columns> {
    let ticks = series.iter().map(|one| one.values.len()).min().unwrap_or(0);
    let entities = series.iter().map(|one| one.entity.0 + 1).max().unwrap_or(0);
    let mut random = Random::new(1, 1);
    let mut builder = Builder::new();
    let mut frames = Vec::new();
    for tick in (0..ticks).step_by(step.max(1)) {
        let mut offset = random.between(60, 400);
        for entity in (0..entities).map(EntityNumber) {
            offset += READ_US + random.between(-3, 6);
            builder.set(entity, ColumnNumber::READ_OFFSET, offset);
        }
        for one in series {
            if let Some(value) = one.values.get(tick) {
                builder.set(one.entity, one.column, *value);
            }
        }
        frames.push(builder.finish().clone());
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recording_has_a_frame_a_second() {
        let series = series().unwrap();
        let frames = frames(&series, 1);
        assert_eq!(frames.len(), 1440);
        let busy = &series[0];
        assert_eq!(busy.values[..3], [1_562_108_137, 1_592_578_107, 1_622_809_662]);
        assert_eq!(frames[1].get(busy.entity, busy.column), Some(1_592_578_107));
    }
}
