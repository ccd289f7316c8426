//! What a directory holds. Reads names and indices and counts series; values are not read.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;
use tally_proto::tick::Tick;

use super::{CommandError, Streams, flags::Inspect, table};
use crate::{
    history::{
        cache::Cache,
        disk::read_only::ReadOnly,
        error::{Budget, HistoryError},
        file::{FileName, Tier, read::HistoryFile},
        snapshot::Snapshot,
    },
    telemetry::chain,
};

/// Series that a tier keeps of one metric: count, least, greatest and excess.
const FIELDS: u64 = 4;

/// What a directory holds.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) directory: String,
    /// The process that writes to it.
    pub(super) in_use_by: Option<i32>,
    pub(super) tiers: Vec<OfTier>,
    pub(super) journal: Journal,
    pub(super) faults: Vec<String>,
    /// Files that others have replaced.
    pub(super) replaced: Vec<String>,
    /// Files that are being written.
    pub(super) unfinished: Vec<String>,
    /// Files that are none of history's.
    pub(super) others: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) files: Option<Vec<OfFile>>,
}

/// What one tier holds. A sample of a coarser tier is a bucket.
#[derive(Debug, Default, Serialize)]
pub(super) struct OfTier {
    pub(super) tier: &'static str,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) days: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) samples: u64,
    pub(super) bytes_per_sample: Option<f64>,
    pub(super) entities: u64,
    /// Entities by their lives: a container that was started again is another.
    pub(super) rows: u64,
    pub(super) series: u64,
}

/// The record of frames.
#[derive(Debug, Default, Serialize)]
pub(super) struct Journal {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What one file holds.
#[derive(Debug, Serialize)]
pub(super) struct OfFile {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) samples: u64,
    pub(super) rows: u64,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
}

/// Shows what a directory holds.
pub(super) fn run(
    asked: &Inspect,
    path: &Path,
    disk: &ReadOnly,
    streams: &mut Streams<'_>,
) -> Result<ExitCode, CommandError> {
    let report = report(path, disk, asked.files)?;
    let text = if asked.json {
        let mut text = serde_json::to_string_pretty(&report)
            .map_err(|error| CommandError::stdout(error.into()))?;
        text.push('\n');
        text
    } else {
        table::text(&report)
    };
    streams.out.write_all(text.as_bytes()).map_err(CommandError::stdout)?;
    Ok(ExitCode::SUCCESS)
}

fn report(path: &Path, disk: &ReadOnly, with_files: bool) -> Result<Report, CommandError> {
    let snapshot = Snapshot::take(disk)?;
    let mut faults: Vec<String> =
        snapshot.unreadable.iter().map(|(_, fault)| chain(fault)).collect();
    let mut files = Vec::new();
    let tiers = Tier::ALL.map(|tier| of_tier(&snapshot, tier, &mut files, &mut faults));
    Ok(Report {
        directory: path.display().to_string(),
        in_use_by: disk.owner(),
        tiers: tiers.into_iter().collect(),
        journal: Journal {
            files: wide(snapshot.journal.len()),
            bytes: snapshot.journal.iter().map(|(_, bytes)| bytes).sum(),
        },
        faults,
        replaced: snapshot.replaced.iter().map(FileName::to_string).collect(),
        unfinished: snapshot.unfinished,
        others: snapshot.others,
        files: with_files.then_some(files),
    })
}

#[expect(clippy::as_conversions, reason = "figures for people")]
fn of_tier(
    snapshot: &Snapshot,
    tier: Tier,
    files: &mut Vec<OfFile>,
    faults: &mut Vec<String>,
) -> OfTier {
    let mut found =
        OfTier { tier: tier.word(), days: wide(snapshot.days(tier).len()), ..OfTier::default() };
    let mut seen = Seen::default();
    let mut ends: Vec<Tick> = Vec::new();
    for file in snapshot.files.values().filter(|file| file.name.tier == tier) {
        found.files += 1;
        found.bytes += file.bytes;
        match seen.add(file) {
            Ok(of_file) => {
                found.samples += of_file.samples;
                ends.extend(of_file.first.into_iter().chain(of_file.last));
                files.push(of_file.shown(file));
            }
            Err(fault) => faults.push(chain(&fault)),
        }
    }
    found.first = ends.iter().min().map(time);
    found.last = ends.iter().max().map(time);
    found.bytes_per_sample =
        (found.samples != 0).then(|| found.bytes as f64 / found.samples as f64);
    found.entities = wide(seen.entities.len());
    found.rows = wide(seen.series_of.len());
    found.series = seen.series_of.values().sum();
    found
}

/// Who was seen, by hash: a million names would take much memory.
#[derive(Default)]
struct Seen {
    entities: HashSet<u64>,
    /// The most series that a life had in any file.
    series_of: HashMap<u64, u64>,
}

struct Found {
    samples: u64,
    rows: u64,
    first: Option<Tick>,
    last: Option<Tick>,
}

impl Seen {
    fn add(&mut self, file: &Arc<HistoryFile>) -> Result<Found, HistoryError> {
        let (cache, mut budget) = (Cache::new(0), Budget::unlimited());
        let index = file.index(&cache, &mut budget)?;
        let fields = if file.name.tier == Tier::Raw { 1 } else { FIELDS };
        let mut ends = BTreeSet::new();
        let mut rows = 0;
        for (place, block) in index.blocks.iter().enumerate() {
            ends.extend([block.first_tick, block.last_tick]);
            let open = file.block(place, block, &cache, &mut budget)?;
            for (row, named) in open.names.rows.iter().enumerate() {
                rows += 1;
                self.entities.insert(hash(&named.life.who));
                let series = wide(open.count_series(row, &mut budget)?) / fields;
                let known = self.series_of.entry(hash(&named.life)).or_default();
                *known = series.max(*known);
            }
        }
        let (first, last) = (ends.first().copied(), ends.last().copied());
        Ok(Found { samples: index.samples / fields, rows, first, last })
    }
}

impl Found {
    fn shown(&self, file: &HistoryFile) -> OfFile {
        OfFile {
            name: file.name.to_string(),
            bytes: file.bytes,
            samples: self.samples,
            rows: self.rows,
            first: self.first.as_ref().map(time),
            last: self.last.as_ref().map(time),
        }
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A tick as people read it.
fn time(tick: &Tick) -> String {
    let seconds = i64::try_from(tick.0).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
