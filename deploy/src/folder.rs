//! The folder that this host's pair keeps its data in: one process owns it.

use std::{
    env,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// The file whose lock says that the folder is owned.
const LOCK: &str = "lock";

/// A folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// It can't be made or opened.
    #[error("cannot use {}; name another by --data-dir", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another tally works in {}; stop it, or name another folder by --data-dir", .0.display())]
    Owned(PathBuf),
}

/// The folder, owned until this is dropped.
#[derive(Debug)]
pub(crate) struct DataFolder {
    /// Where it is.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder, readable by its owner only, and takes it.
    pub(crate) fn own(path: &Path) -> Result<Self, FolderError> {
        let unusable = |source| FolderError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = File::create(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(FolderError::Owned(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// Leaves a note of where the pair listens, for scripts.
    pub(crate) fn note_addresses(&self, rest: &str, grpc: &str) -> io::Result<()> {
        fs::write(self.path.join("addresses"), format!("rest={rest}\ngrpc={grpc}\n"))
    }
}

/// Where data goes when nothing is said: the user's own place for it.
pub(crate) fn default_path() -> PathBuf {
    let named = |variable: &str| env::var_os(variable).map(PathBuf::from);
    named("XDG_STATE_HOME")
        .or_else(|| named("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(env::temp_dir)
        .join("tally")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let first = DataFolder::own(&path).unwrap();
        assert!(matches!(DataFolder::own(&path), Err(FolderError::Owned(_))));
        drop(first);
        assert!(DataFolder::own(&path).is_ok());
    }
}
