//! Everything read and checked.

use std::process::ExitCode;

use super::{CommandError, Streams, table::bytes};
use crate::{
    history::{disk::read_only::ReadOnly, file::read::HistoryFile, snapshot::Snapshot},
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
    if !snapshot.journal.is_empty() {
        let files = snapshot.journal.len();
        say(streams, &format!("note: {files} journal files are checked when they are replayed"))?;
    }
    let held = bytes(progress.bytes);
    let files = progress.files + snapshot.unreadable.len();
    let result = if faults == 0 { "no faults".to_owned() } else { format!("{faults} faults") };
    say(streams, &format!("{files} files, {held}, {samples} values: {result}"))?;
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
