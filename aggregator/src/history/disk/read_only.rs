//! A directory as others see it: listed and read, never changed and never locked, so that it does
//! not matter who owns it.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Disk, NewFile, OldFile,
    real::{LOCK, Opened, file_names},
};

/// A directory that is only read.
#[derive(Debug)]
pub struct ReadOnly {
    path: PathBuf,
}

impl ReadOnly {
    /// Looks at a directory, which must be there.
    pub fn look(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// The process that owns the directory now, if one does that this process can see.
    ///
    /// The kernel's own list of locks is read: trying the lock would take it for a moment, in
    /// which an aggregator that starts would be refused. On some file systems (btrfs, overlays)
    /// that list has another device than the file, so the process id that the owner wrote down
    /// counts as well.
    pub fn owner(&self) -> Option<i32> {
        let path = self.path.join(LOCK);
        let lock = fs::metadata(&path).ok()?;
        let written: Option<i32> = fs::read_to_string(path).ok()?.trim().parse().ok();
        let device = (rustix::fs::major(lock.dev()), rustix::fs::minor(lock.dev()));
        let held = procfs::locks().ok()?.into_iter().find(|held| {
            let same_device = (held.devmaj, held.devmin) == device;
            held.inode == lock.ino() && (same_device || held.pid == written)
        });
        held?.pid
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "this directory is only read")
}

impl Disk for ReadOnly {
    fn list(&self) -> io::Result<Vec<String>> {
        file_names(&self.path)
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn NewFile>> {
        Err(refused())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn OldFile>> {
        Ok(Arc::new(Opened(File::open(self.path.join(name))?)))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn sync(&self) -> io::Result<()> {
        Err(refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::disk::real::Directory;

    #[test]
    fn the_owner_is_known_for_as_long_as_there_is_one_and_keeps_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let looked = ReadOnly::look(folder.path()).unwrap();
        assert_eq!(looked.owner(), None);
        let process = std::process::id();
        let owned = Directory::take(folder.path(), process).unwrap();
        assert_eq!(looked.owner(), i32::try_from(process).ok());
        drop(owned);
        assert_eq!(looked.owner(), None);
    }

    #[test]
    fn what_is_read_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "b").unwrap();
        let looked = ReadOnly::look(folder.path()).unwrap();
        assert_eq!(looked.list().unwrap(), ["a"]);
        assert_eq!(looked.open("a").unwrap().length().unwrap(), 1);
        assert!(looked.create("c").is_err() && looked.remove("a").is_err());
        assert!(looked.rename("a", "c").is_err() && looked.sync().is_err());
        assert!(ReadOnly::look(&folder.path().join("no")).is_err());
    }
}
