//! `tally-wire-size`: how many bytes a sample takes on the wire, on recorded samples and on those
//! of the swarm. Prints one JSON object a data set.
//!
//! Bytes are those of `Frame.columns`, column 0 (when each entity was read) and the first, absolute
//! frame included; samples are values of metrics alone, so the figure is on the safe side. Beside them
//! what the values of the last frame take in the aggregator's memory, plain and as it keeps them.

use std::io::Write;

use anyhow::Context;
use serde_json::json;
use tally_proto::{
    columns::{ColumnValues, Columns, Compact, CompactColumns, Packer, unpack},
    declaration::ColumnNumber,
    tick::Tick,
};
use tally_tests::swarm::{
    node::Node,
    recorded,
    shape::{NAMESPACES, Shape},
};

/// Ticks of the swarm's nodes: ten minutes at a second.
const TICKS: u64 = 600;

fn main() -> anyhow::Result<()> {
    let series = recorded::series()?;
    for step in [1, 15] {
        let frames = recorded::frames(&series, step);
        print(&format!("recorded containers, every {step} s"), &measure(&frames)?)?;
    }
    for (number, name) in [(0, "v2, CPU in microseconds"), (1, "v1, CPU in odd nanoseconds")] {
        for resolution_s in [1, 15] {
            let size = swarm(number, resolution_s)?;
            print(&format!("swarm node, {name}, every {resolution_s} s"), &size)?;
        }
    }
    Ok(())
}

/// Sizes of the frames of one data set.
#[derive(Default)]
struct Size {
    frames: usize,
    samples: u64,
    bytes: u64,
    first_frame_bytes: u64,
    /// The values after the last frame.
    kept: CompactColumns,
}

impl Size {
    fn add(&mut self, packed: &[u8], samples: u64) -> anyhow::Result<()> {
        let bytes = u64::try_from(packed.len()).unwrap_or(u64::MAX);
        if self.frames == 0 {
            self.first_frame_bytes = bytes;
        }
        self.frames += 1;
        self.samples += samples;
        self.bytes += bytes;
        unpack(&mut self.kept, packed).context("cannot unpack what was just packed")
    }
}

fn measure(frames: &[Columns]) -> anyhow::Result<Size> {
    let mut packer = Packer::new();
    let mut size = Size::default();
    for frame in frames {
        let mut packed = Vec::new();
        packer.pack(frame, &mut packed);
        let columns = frame.layout.columns.iter().zip(&frame.values);
        let counted = columns.filter(|(column, _)| column.number != ColumnNumber::READ_OFFSET);
        let samples: usize = counted.map(|(_, values)| values.len()).sum();
        size.add(&packed, u64::try_from(samples).unwrap_or(u64::MAX))?;
    }
    Ok(size)
}

fn swarm(number: u32, resolution_s: u32) -> anyhow::Result<Size> {
    let shape = Shape {
        seed: 1,
        nodes: 2,
        pods: 30,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm: 0,
        resolution_s,
    };
    let mut node = Node::new(shape, number).context("cannot name a node")?;
    let mut size = Size::default();
    for tick in 0..TICKS {
        let said = node.say(Tick(2_000_000_000 + tick * u64::from(resolution_s)));
        size.add(&said.frame.columns, said.samples)?;
    }
    Ok(size)
}

#[expect(clippy::as_conversions, reason = "a figure for people")]
fn print(data: &str, size: &Size) -> anyhow::Result<()> {
    let cells: usize = size.kept.values.iter().map(ColumnValues::count).sum();
    let line = json!({
        "data": data,
        "frames": size.frames,
        "samples": size.samples,
        "bytes": size.bytes,
        "first_frame_bytes": size.first_frame_bytes,
        "plain_memory_bytes": cells * size_of::<i64>(),
        "memory_bytes": size.kept.values.iter().map(Compact::bytes).sum::<usize>(),
        "bytes_per_sample": (size.bytes as f64 / size.samples as f64 * 1e4).round() / 1e4,
    });
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
