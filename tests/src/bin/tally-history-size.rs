//! `tally-history-size`: how many bytes a sample takes in the files of history, and what writing,
//! merging and reading it costs, on recorded samples and on those of the swarm. Prints one JSON
//! object a data set.
//!
//! Bytes are those of whole files: values, names, tables, indices and checksums. Samples are values
//! of metrics; when each entity was read is stored too where the data set has it, and not counted.

use std::{io::Write, sync::Arc};

use anyhow::Context;
use serde_json::json;
use tally_aggregator::history::{
    cache::Cache, disk::simulated::SimulatedDisk, file::Tier, series::Row, store::Store,
};
use tally_proto::tick::Tick;
use tally_tests::{
    history::{cpu_clock::timed, recorded, swarm::Player},
    swarm::shape::{NAMESPACES, Shape},
};

fn main() -> anyhow::Result<()> {
    let series = recorded::series()?;
    for (step, span, name) in [
        (1, 1440, "recorded, every second, one span"),
        (1, 600, "recorded, every second, spans of 10 minutes"),
        (15, 1440, "recorded, every 15th second, one span"),
    ] {
        for with_offsets in [false, true] {
            let spans = (0..1440).step_by(span);
            let spans = spans
                .map(|first| Ok(recorded::rows(&series, first, first + span, step, with_offsets)));
            let offsets = if with_offsets { ", with made-up read offsets" } else { "" };
            print(&format!("{name}{offsets}"), &measure(spans)?)?;
        }
    }
    for (number, name) in [(0, "v2, CPU in microseconds"), (1, "v1, CPU in odd nanoseconds")] {
        for (resolution_s, span_s, hours) in [(1, 1200, 2), (15, 3600, 24)] {
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
            let mut player = Player::new(shape, number, Tick(recorded::BEGIN))?;
            let ticks = usize::try_from(span_s / resolution_s)?;
            let spans = (0..hours * 3600 / span_s).map(|_| player.rows(ticks));
            let name = format!("swarm node, {name}, every {resolution_s} s, {hours} h");
            print(&name, &measure(spans)?)?;
        }
    }
    Ok(())
}

/// What one data set takes.
#[derive(Default)]
struct Size {
    samples: u64,
    written_bytes: u64,
    merged_bytes: u64,
    five_minute_bytes: u64,
    hour_bytes: u64,
    write_ns: u64,
    merge_ns: u64,
    read_ns: u64,
}

fn measure(spans: impl Iterator<Item = anyhow::Result<Vec<Row>>>) -> anyhow::Result<Size> {
    let disk = SimulatedDisk::default();
    let (store, _) = Store::open(Arc::new(disk), Cache::default())?;
    let mut size = Size::default();
    for rows in spans {
        let rows = rows?;
        let (samples, ns) = timed(|| store.write(rows));
        size.samples += samples?;
        size.write_ns += ns;
    }
    let bytes = |tier: Tier| -> u64 {
        let files = store.files();
        files.values().filter(|file| file.name.tier == tier).map(|file| file.bytes).sum()
    };
    size.written_bytes = bytes(Tier::Raw);
    let (verified, ns) = timed(|| -> anyhow::Result<u64> {
        store.files().values().try_fold(0, |sum, file| Ok(sum + file.verify()?))
    });
    anyhow::ensure!(verified? == size.samples, "what was written is not what is read");
    size.read_ns = ns;
    let (merged, ns) = timed(|| -> anyhow::Result<()> {
        while store.merge(Tick(recorded::BEGIN + 10 * 86_400), || u64::MAX)?.is_some() {}
        Ok(())
    });
    merged?;
    size.merge_ns = ns;
    size.merged_bytes = bytes(Tier::Raw);
    size.five_minute_bytes = bytes(Tier::FiveMinutes);
    size.hour_bytes = bytes(Tier::Hour);
    Ok(size)
}

#[expect(clippy::as_conversions, reason = "figures for people")]
fn print(data: &str, size: &Size) -> anyhow::Result<()> {
    let each = |amount: u64| (amount as f64 / size.samples as f64 * 1e4).round() / 1e4;
    let line = json!({
        "data": data,
        "samples": size.samples,
        "bytes_per_sample": each(size.written_bytes),
        "bytes_per_sample_merged": each(size.merged_bytes),
        "bytes_per_sample_5m_tier": each(size.five_minute_bytes),
        "bytes_per_sample_1h_tier": each(size.hour_bytes),
        "write_ns_per_sample": each(size.write_ns),
        "read_ns_per_sample": each(size.read_ns),
        "merge_and_tiers_ns_per_sample": each(size.merge_ns),
    });
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}
