//! Samples taken out, in the order that the format needs, with little in memory.
//!
//! Parquet and CSV take them as history has them: day by day, entity by entity. OpenMetrics wants
//! all of one metric together, so history is read once for each metric, and only that.

use std::{io::Write, path::Path, process::ExitCode};

use super::{
    CommandError, Streams, csv,
    filter::Filter,
    flags::{Export, Format},
    numbers::{Numbers, numbers},
    openmetrics,
    output::{Output, write_text},
    parquet::ParquetFile,
};
use crate::history::{
    disk::read_only::ReadOnly,
    file::{Tier, Window},
    scan::Wanted,
    snapshot::Snapshot,
};

/// Exports what is asked for.
pub(super) fn run(
    asked: &Export,
    path: &Path,
    disk: &ReadOnly,
    streams: &mut Streams<'_>,
) -> Result<ExitCode, CommandError> {
    let filter = Filter::of(asked)?;
    let mut snapshot = Snapshot::take(disk)?;
    let tier = asked.tier.tier();
    let days = days(&mut snapshot, tier, &filter)?;
    let mut count = Count::default();
    let output = asked.output.as_deref();
    match asked.format {
        Format::Parquet => {
            let Some(output) = output else {
                let problem = "a Parquet file has its index at its end: say which file to write \
                               it to"
                    .to_owned();
                return Err(CommandError::Flag { flag: "--output", problem });
            };
            parquet(output, path, (&snapshot, tier, &days), &filter, &mut count)?;
        }
        Format::Csv => write_text(output, path, streams.out, |out| {
            csv::head(out).map_err(CommandError::stdout)?;
            each_by_day((&snapshot, tier, &days), &filter, |numbers| {
                count.add(&numbers);
                csv::lines(&numbers, out).map_err(CommandError::stdout)
            })
        })?,
        Format::Openmetrics => write_text(output, path, streams.out, |out| {
            count = openmetrics::write((&snapshot, tier, &days), &filter, out)?;
            Ok(())
        })?,
    }
    let told = tell(&count, &snapshot, tier, &filter, output, streams.notes);
    told.map_err(CommandError::stdout)?;
    Ok(ExitCode::SUCCESS)
}

/// What is read: which tier, of which days.
pub(super) type Read<'a> = (&'a Snapshot, Tier, &'a [Window]);

/// How much was exported.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    pub(super) numbers: u64,
    /// Numbers that the format has no room for.
    pub(super) left_out: u64,
}

impl Count {
    /// Counts a series.
    pub(super) fn add(&mut self, numbers: &Numbers) {
        self.numbers += u64::try_from(numbers.points.len()).unwrap_or(0);
    }
}

/// The days that are read; an error where one of their files can't be.
fn days(snapshot: &mut Snapshot, tier: Tier, filter: &Filter) -> Result<Vec<Window>, CommandError> {
    let (first, last) = filter.range();
    let in_range = |day: &Window| Window::of(first) <= *day && *day <= Window::of(last);
    let needed = snapshot
        .unreadable
        .iter()
        .position(|(name, _)| name.tier == tier && in_range(&name.window));
    if let Some(needed) = needed {
        let (name, source) = snapshot.unreadable.swap_remove(needed);
        return Err(CommandError::Unreadable { file: name.to_string(), source });
    }
    Ok(snapshot.days(tier).into_iter().filter(in_range).collect())
}

/// Gives the numbers day by day, and entity by entity in each.
fn each_by_day(
    (snapshot, tier, days): Read<'_>,
    filter: &Filter,
    mut each: impl FnMut(Numbers) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    for day in days {
        let mut scan = snapshot.scan(tier, std::slice::from_ref(day))?;
        while let Some(parts) = scan.parts(filter)? {
            for series in numbers(tier, parts, filter.range())? {
                each(series)?;
            }
        }
    }
    Ok(())
}

fn parquet(
    output: &Path,
    history: &Path,
    read: Read<'_>,
    filter: &Filter,
    count: &mut Count,
) -> Result<(), CommandError> {
    let (output, file) = Output::begin(output, history)?;
    let mut writer = ParquetFile::begin(&file)?;
    each_by_day(read, filter, |numbers| {
        count.add(&numbers);
        Ok(writer.push(numbers)?)
    })?;
    writer.finish()?;
    output.finish(&file)
}

/// Says what was done, and why it is less than one may have expected.
fn tell(
    count: &Count,
    snapshot: &Snapshot,
    tier: Tier,
    filter: &Filter,
    output: Option<&Path>,
    notes: &mut dyn Write,
) -> std::io::Result<()> {
    let (first, last) = filter.range();
    let mut coarser: Vec<Window> = Vec::new();
    if tier == Tier::Raw {
        let raw = snapshot.days(Tier::Raw);
        coarser = snapshot.days(Tier::FiveMinutes);
        coarser.retain(|day| day.last() >= first && day.first() <= last && !raw.contains(day));
    }
    if !coarser.is_empty() {
        let days = coarser.len();
        writeln!(notes, "note: {days} days have no raw samples any longer: see --tier 5m")?;
    }
    if 0 < count.left_out {
        let left_out = count.left_out;
        writeln!(notes, "note: {left_out} negative values of counters are no OpenMetrics")?;
    }
    if count.numbers == 0 {
        writeln!(notes, "note: nothing there is what was asked for: see `history inspect`")?;
    } else if let Some(output) = output {
        writeln!(notes, "{} numbers written to {}", count.numbers, output.display())?;
    }
    Ok(())
}
