//! A real directory. One process owns it, by a lock that the kernel lets go of when the process
//! ends, however it ends.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Disk, NewFile, OldFile};

/// Name of the file that is locked; it holds the owner's process id.
pub(super) const LOCK: &str = "lock";

/// A directory that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It can't be made, opened or locked.
    #[error("cannot use the history directory {path}")]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("the history directory {path} belongs to the running process {owner}")]
    Owned {
        /// The directory.
        path: PathBuf,
        /// The other's process id, as it wrote it down.
        owner: String,
    },
}

/// A directory that this process owns.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Directory {
    /// Makes the directory if there is none, readable by its owner only, and takes it. `process` is this process's id.
    pub fn take(path: &Path, process: u32) -> Result<Self, DirectoryError> {
        let unusable = |source| DirectoryError::Unusable { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = path.join(LOCK);
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut lock = options.open(lock).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                lock.read_to_string(&mut owner).map_err(unusable)?;
                let owner = owner.trim().to_owned();
                return Err(DirectoryError::Owned { path: path.to_owned(), owner });
            }
        }
        lock.set_len(0).map_err(unusable)?;
        lock.write_all(format!("{process}\n").as_bytes()).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }
}

/// Names of the files of a directory, but for the lock.
pub(super) fn file_names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && name != LOCK
            && entry.file_type()?.is_file()
        {
            names.push(name);
        }
    }
    Ok(names)
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        file_names(&self.path)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(Appended(options.open(self.path.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn OldFile>> {
        Ok(Arc::new(Opened(File::open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

#[derive(Debug)]
struct Appended(File);

impl NewFile for Appended {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn amend(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&mut self) -> io::Result<()> {
        // The length counts as data: without it there would be nothing to find.
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// An open file.
#[derive(Debug)]
pub(super) struct Opened(pub(super) File);

impl OldFile for Opened {
    fn length(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_who_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Directory::take(folder.path(), 4711).unwrap();
        let refused = Directory::take(folder.path(), 4712).unwrap_err();
        assert!(refused.to_string().ends_with("belongs to the running process 4711"), "{refused}");
        drop(first);
        Directory::take(folder.path(), 4712).unwrap();
    }

    #[test]
    fn only_the_owner_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        Directory::take(&path, 1).unwrap().create("a").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("a"))), (0o700, 0o600));
    }

    #[test]
    fn what_is_written_is_listed_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::take(folder.path(), 1).unwrap();
        let mut file = directory.create("a.new").unwrap();
        file.append(b"he").unwrap();
        file.append(b"llo").unwrap();
        file.sync().unwrap();
        directory.rename("a.new", "a").unwrap();
        directory.sync().unwrap();
        assert_eq!(directory.list().unwrap(), ["a"]);
        let old = directory.open("a").unwrap();
        directory.remove("a").unwrap();
        let mut read = [0; 3];
        old.read_at(2, &mut read).unwrap();
        assert_eq!((old.length().unwrap(), &read), (5, b"llo"));
        assert!(old.read_at(3, &mut read).is_err());
    }

    #[test]
    fn what_is_cut_off_is_gone_and_writing_goes_on_there() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::take(folder.path(), 1).unwrap();
        let mut file = directory.create("a").unwrap();
        file.append(b"good bad").unwrap();
        file.cut(5).unwrap();
        file.append(b"again").unwrap();
        let mut read = [0; 10];
        let old = directory.open("a").unwrap();
        old.read_at(0, &mut read).unwrap();
        assert_eq!((old.length().unwrap(), &read), (10, b"good again"));
    }
}
