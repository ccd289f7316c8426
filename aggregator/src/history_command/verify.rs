//! Everything read and checked.

use std::process::ExitCode;

use tally_proto::record::End;

use super::{CommandError, Streams, table::bytes};
use crate::{
    history::{disk::read_only::ReadOnly, file::read::HistoryFile, snapshot::Snapshot},
    journal::{
        entry::Entry,
        segment::{self, SegmentError, SegmentName, SegmentState},
    },
    telemetry::chain,
};

/// Checks every file; code 1 when any is damaged.
pub(super) fn run(disk: &ReadOnly, streams: &mut Streams<'_>) -> Result<ExitCode, CommandError> {
    let snapshot = Snapshot::take(disk)?;
    let mut faults = 0;
    for (_, error) in &snapshot.unreadable {
        faults += 1;
        say(streams, &format!("fault: {}", chain(error)))?;
    }
    let mut progress = Progress {
        files: snapshot.files.len(),
        bytes: snapshot.files.values().map(|file| file.bytes).sum(),
        done: 0,
        percent: None,
    };
    let mut samples = 0;
    for (place, file) in snapshot.files.values().enumerate() {
        let mut found = Vec::new();
        let before = progress.done;
        let read = |bytes| {
            progress.done += bytes;
            progress.show(place, streams);
        };
        samples += file.faults(read, |fault| push(&mut found, chain(&fault)));
        progress.done = before + file.bytes;
        progress.show(place, streams);
        if !found.is_empty() {
            progress.clear(streams);
        }
        for (fault, times) in found {
            faults += 1;
            let times = if times == 1 { String::new() } else { format!(" ({times} times)") };
            say(streams, &format!("fault: {}{times}", with_name(file, &fault)))?;
        }
    }
    progress.clear(streams);
    for name in &snapshot.replaced {
        say(streams, &format!("harmless: {name} was merged into another and is not read"))?;
    }
    for name in &snapshot.unfinished {
        say(streams, &format!("harmless: {name} is being written, or a crash has left it"))?;
    }
    for name in &snapshot.others {
        say(streams, &format!("harmless: {name} is none of history's and is not read"))?;
    }
    faults += verify_journal(disk, &snapshot, streams)?;
    let held = bytes(progress.bytes);
    let files = progress.files + snapshot.unreadable.len();
    let result = if faults == 0 { "no faults".to_owned() } else { format!("{faults} faults") };
    say(streams, &format!("{files} files, {held}, {samples} values: {result}"))?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks what is no history yet, or still fills the live model after a restart. How many faults.
fn verify_journal(
    disk: &ReadOnly,
    snapshot: &Snapshot,
    streams: &mut Streams<'_>,
) -> Result<u64, CommandError> {
    let (mut segments, mut held, mut frames, mut faults) = (0, 0, 0u64, 0);
    for name in snapshot.journal.iter().filter_map(|(name, _)| SegmentName::parse(name)) {
        let mut fault = |what: &str| {
            faults += 1;
            say(streams, &format!("fault: {name}: {what}"))
        };
        if name.state == SegmentState::Aside {
            fault("was set aside, as it could not be read; what it holds is in no answer")?;
            continue;
        }
        let read = segment::read(disk, name, |_, entry| {
            frames += u64::from(matches!(entry, Entry::Frame(..)));
        });
        match read {
            // Its owner renamed or removed it meanwhile.
            Err(SegmentError::Disk { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => fault(&chain(&error))?,
            Ok(read) => {
                segments += 1;
                held += read.bytes;
                // A torn end is where a crash was, or where it is being written.
                if read.end == End::Damaged {
                    fault("is damaged: what follows from some record on is lost")?;
                }
                if read.malformed != 0 {
                    fault(&format!("has {} records that make no sense", read.malformed))?;
                }
            }
        }
    }
    if segments != 0 {
        say(streams, &format!("journal: {segments} segments, {}, {frames} frames", bytes(held)))?;
    }
    Ok(faults)
}

/// The same fault of many rows of a file is told once, with how often.
fn push(found: &mut Vec<(String, u64)>, fault: String) {
    match found.iter_mut().find(|(known, _)| *known == fault) {
        Some((_, times)) => *times += 1,
        None => found.push((fault, 1)),
    }
}

/// Faults name their file already.
fn with_name(file: &HistoryFile, fault: &str) -> String {
    let name = file.name.to_string();
    if fault.contains(&name) { fault.to_owned() } else { format!("{name}: {fault}") }
}

fn say(streams: &mut Streams<'_>, line: &str) -> Result<(), CommandError> {
    writeln!(streams.out, "{line}").map_err(CommandError::stdout)
}

/// How far it is, for whoever watches.
struct Progress {
    files: usize,
    bytes: u64,
    done: u64,
    /// What was shown last.
    percent: Option<u64>,
}

impl Progress {
    fn show(&mut self, file: usize, streams: &mut Streams<'_>) {
        let percent = self.done.saturating_mul(100) / self.bytes.max(1);
        if !streams.is_watched || self.percent == Some(percent) {
            return;
        }
        self.percent = Some(percent);
        let (files, held) = (self.files, bytes(self.bytes));
        // Nothing is lost when progress can't be shown.
        let _unseen =
            write!(streams.notes, "\rfile {} of {files}, {percent} % of {held} ", file + 1);
        let _unseen = streams.notes.flush();
    }

    /// Makes room for a line.
    fn clear(&mut self, streams: &mut Streams<'_>) {
        if self.percent.take().is_some() {
            let _unseen = write!(streams.notes, "\r\u{1b}[K");
            let _unseen = streams.notes.flush();
        }
    }
}
