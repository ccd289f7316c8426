//! `tally-seal DIRECTORY`: what it costs to make history of a journal, as the aggregator does it.
//!
//! The directory is a history directory whose aggregator has ended, best by kill -9, so that its last
//! segments are not history yet. Nothing in it is changed: the segments are linked into a new
//! directory beside it, which is removed again. Prints one JSON object.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use tally_aggregator::{
    archive::{kept::Patience, seal::seal},
    history::{
        cache::Cache,
        disk::{Disk, real::Directory},
        store::Store,
    },
    journal::segment,
};
use tally_proto::tick::Resolution;
use tally_tests::history::cpu_clock::timed;

/// The aggregator's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What it costs to make history of a journal.
#[derive(Debug, Parser)]
struct Arguments {
    /// A history directory that no aggregator runs on.
    directory: PathBuf,
    /// Seconds between two ticks.
    #[arg(long, default_value_t = 1)]
    resolution: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let copy = arguments.directory.with_extension("sealed");
    fs::create_dir(&copy).with_context(|| format!("cannot make {}", copy.display()))?;
    let measured = measure(&arguments, &copy);
    fs::remove_dir_all(&copy)?;
    writeln!(std::io::stdout(), "{}", measured?)?;
    Ok(())
}

fn measure(arguments: &Arguments, copy: &Path) -> anyhow::Result<serde_json::Value> {
    let resolution = Resolution::from_seconds(arguments.resolution)?;
    let mut journal_bytes = 0;
    for entry in fs::read_dir(&arguments.directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("journal-") {
            fs::hard_link(entry.path(), copy.join(entry.file_name()))?;
            journal_bytes += entry.metadata()?.len();
        }
    }
    let disk: Arc<dyn Disk> = Arc::new(Directory::take(copy, std::process::id())?);
    let (store, _) = Store::open(Arc::clone(&disk), Cache::default())?;
    let (mut samples, mut segments, mut spent_ns) = (0, 0, 0);
    for name in segment::list(&*disk)? {
        let (sealed, cost) = timed(|| seal(&disk, &store, name, resolution, Patience::Waits));
        samples += sealed?.samples;
        segments += 1;
        spent_ns += cost;
    }
    Ok(json!({
        "segments": segments,
        "journal_bytes": journal_bytes,
        "samples": samples,
        "cpu_ms": spent_ns / 1_000_000,
        "cpu_ns_per_sample": spent_ns / samples.max(1),
        "bytes": store.held().bytes,
        "files": store.held().files,
        "peak_memory_mb": peak_memory_mb()?,
    }))
}

fn peak_memory_mb() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmHWM")?;
    Ok(kilobytes.trim().parse::<u64>()? / 1024)
}
