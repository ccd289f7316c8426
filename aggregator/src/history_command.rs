//! `tally-aggregator history`: what people do with a history directory: look, check, take out.
//!
//! ```text
//! flags                     what is asked
//! inspect -> table          what the directory holds
//! verify                    whether all of it can be read
//! filter, numbers           which numbers, series by series
//! stored_labels             with which labels of Kubernetes
//! export -> parquet, openmetrics (family), csv -> output
//! ```
//! Nothing here writes into the directory or locks it, so everything works beside a running
//! aggregator. Clock and streams are the caller's.

mod csv;
mod export;
mod family;
mod filter;
mod flags;
mod inspect;
mod numbers;
mod openmetrics;
mod output;
mod parquet;
mod stored_labels;
mod table;
#[cfg(test)]
mod tests;
mod verify;

use std::{
    env,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

pub use family::label_name;
pub use flags::{Action, HistoryFlags};
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
pub use stored_labels::ENTITY_LABELS;

use crate::{
    history::{disk::read_only::ReadOnly, error::HistoryError},
    history_dir::default_history_dir,
};

/// Where answers go.
pub struct Streams<'a> {
    /// What was asked for.
    pub out: &'a mut (dyn Write + Send),
    /// Progress and notes for people.
    pub notes: &'a mut dyn Write,
    /// Whether somebody watches the notes.
    pub is_watched: bool,
}

/// Why a command can't be carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No directory was named, and there is no default.
    #[error("--history-dir: there is no home directory to look in: say where history lies")]
    NoDirectory,
    /// The directory can't be read.
    #[error(
        "cannot read the history directory {path}: name another with --history-dir, or run this as \
         a user who may read it"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// History can't be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A file that is needed can't be read.
    #[error(
        "some of what was asked for can't be read, so nothing is exported; `tally-aggregator \
         history verify` tells of every fault, and without the file {file} in the directory the \
         rest can be exported"
    )]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: HistoryError,
    },
    /// A flag with a value that can't be used.
    #[error("{flag}: {problem}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The answer can't be written.
    #[error("cannot write to {to}")]
    Output {
        /// Where.
        to: String,
        /// Why not.
        source: io::Error,
    },
    /// The answer can't be written as Parquet.
    #[error("cannot write the Parquet file")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

impl CommandError {
    /// To standard output.
    fn stdout(source: io::Error) -> Self {
        Self::Output { to: "standard output".to_owned(), source }
    }
}

/// Carries out a command. The code says what was found: 1 when a check has found faults.
pub fn run(flags: &HistoryFlags, streams: &mut Streams<'_>) -> Result<ExitCode, CommandError> {
    let path = match &flags.history_dir {
        Some(path) => path.clone(),
        None => default_history_dir(geteuid().is_root(), |name| env::var_os(name))
            .ok_or(CommandError::NoDirectory)?,
    };
    allow_many_files();
    let disk = ReadOnly::look(&path)
        .map_err(|source| CommandError::Directory { path: path.clone(), source })?;
    let done = match &flags.action {
        Action::Inspect(asked) => inspect::run(asked, &path, &disk, streams),
        Action::Verify => verify::run(&disk, streams),
        Action::Export(asked) => export::run(asked, &path, &disk, streams),
    };
    match done {
        // Whoever reads has seen enough, as `head` does.
        Err(CommandError::Output { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        other => other,
    }
}

/// A directory of years has more files than a process may usually open.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where that is refused, what is allowed is enough for most.
    let _refused = setrlimit(Resource::Nofile, raised);
}
