//! Where an export goes: standard output, or a file that is there only when it is whole.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::CommandError;

/// Ending of the name of a file that is being written.
const PART: &str = ".part";

/// A file under way.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    part: PathBuf,
    is_kept: bool,
}

impl Output {
    /// Begins a file; it must not be in the history directory, in which only the aggregator writes.
    pub(super) fn begin(path: &Path, history: &Path) -> Result<(Self, File), CommandError> {
        let failed = |source| CommandError::Output { to: path.display().to_string(), source };
        let Some(name) = path.file_name() else {
            let problem = format!("{} is no name of a file", path.display());
            return Err(CommandError::Flag { flag: "--output", problem });
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().map_err(failed)?;
        if history.canonicalize().is_ok_and(|history| folder.starts_with(history)) {
            let problem = "that is in the history directory, which only the aggregator writes to: \
                           choose another"
                .to_owned();
            return Err(CommandError::Flag { flag: "--output", problem });
        }
        let mut part = name.to_owned();
        part.push(PART);
        let part = folder.join(part);
        let file = File::create(&part).map_err(failed)?;
        Ok((Self { path: path.to_owned(), part, is_kept: false }, file))
    }

    /// Gives the file its name.
    pub(super) fn finish(mut self, file: &File) -> Result<(), CommandError> {
        let done = file.sync_all().and_then(|()| fs::rename(&self.part, &self.path));
        done.map_err(|source| self.failed(source))?;
        self.is_kept = true;
        Ok(())
    }

    /// An error of this file.
    pub(super) fn failed(&self, source: io::Error) -> CommandError {
        CommandError::Output { to: self.path.display().to_string(), source }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is not whole is of no use; where it can't be removed its name says so.
            let _left = fs::remove_file(&self.part);
        }
    }
}

/// Lets `write` write to a file, or to `out` without one.
pub(super) fn write_text(
    path: Option<&Path>,
    history: &Path,
    out: &mut (dyn Write + Send),
    write: impl FnOnce(&mut dyn Write) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let Some(path) = path else {
        let mut out = BufWriter::new(out);
        write(&mut out)?;
        return out.flush().map_err(CommandError::stdout);
    };
    let (output, file) = Output::begin(path, history)?;
    let mut buffered = BufWriter::new(&file);
    write(&mut buffered).map_err(|error| match error {
        // Whoever writes does not know where to.
        CommandError::Output { source, .. } => output.failed(source),
        other => other,
    })?;
    buffered.flush().map_err(|source| output.failed(source))?;
    drop(buffered);
    output.finish(&file)
}
