//! The spool's files: one folder that one agent owns, and the thread that works in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use tokio::sync::mpsc;

use crate::spool::{
    SEGMENT_BYTES,
    disk::{Disk, Done, Job, SegmentNumber, perform},
};

/// The file whose lock says that the folder is owned.
const LOCK: &str = "lock";

/// What a segment's name ends with.
const SUFFIX: &str = ".spool";

/// The most that is read of one file. A segment has its limit and one batch more, with a key frame
/// and all declarations of the largest host.
const READ_BYTES: u64 = SEGMENT_BYTES + (64 << 20);

/// A folder that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It can't be made or written to.
    #[error("cannot use {} for the spool", path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another agent works in {}; give each its own --spool-dir", .0.display())]
    Owned(PathBuf),
}

/// A folder of segments, owned while this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// `None` while the folder can't be used.
    lock: Option<File>,
    /// The segment that was appended to last.
    open: Option<(SegmentNumber, File)>,
    /// A file was made since the folder was last synced.
    is_grown: bool,
}

impl Folder {
    /// A folder that is not taken yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, lock: None, open: None, is_grown: false }
    }

    /// Makes the folder if it must, readable by its owner only, and takes it.
    pub fn take(&mut self) -> Result<(), FolderError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = &self.path;
        let unusable = |source| FolderError::Unusable { path: path.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable)?;
        let lock = File::create(path.join(LOCK)).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => self.lock = Some(lock),
            Err(TryLockError::WouldBlock) => return Err(FolderError::Owned(path.clone())),
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        Ok(())
    }

    fn file(&self, segment: SegmentNumber) -> PathBuf {
        // As wide as the largest, so that names sort as numbers do.
        self.path.join(format!("{:020}{SUFFIX}", segment.0))
    }

    fn open(&mut self, segment: SegmentNumber) -> io::Result<&mut File> {
        let is_open = self.open.as_ref().is_some_and(|(open, _)| *open == segment);
        if !is_open {
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(self.file(segment))?;
            self.is_grown = true;
            self.open = Some((segment, file));
        }
        self.open.as_mut().map(|(_, file)| file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn number(name: &Path) -> Option<SegmentNumber> {
    let digits = name.to_str()?.strip_suffix(SUFFIX)?;
    // `parse` would take a plus sign too.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok().map(SegmentNumber)).flatten()
}

impl Disk for Folder {
    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        self.take().map_err(|error| match error {
            FolderError::Unusable { source, .. } => source,
            owned @ FolderError::Owned(_) => io::Error::other(owned),
        })?;
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            segments.extend(number(Path::new(&entry?.file_name())));
        }
        Ok(segments)
    }

    fn read(&mut self, segment: SegmentNumber) -> io::Result<Vec<u8>> {
        let file = File::open(self.file(segment))?;
        let size = file.metadata()?.len().min(READ_BYTES);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(READ_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, segment: SegmentNumber, bytes: &[u8]) -> io::Result<()> {
        let appended = self.open(segment).and_then(|file| file.write_all(bytes));
        if appended.is_err() {
            self.open = None;
        }
        appended
    }

    fn sync(&mut self, segment: SegmentNumber) -> io::Result<()> {
        self.open(segment)?.sync_data()?;
        if self.is_grown {
            File::open(&self.path)?.sync_all()?;
            self.is_grown = false;
        }
        Ok(())
    }

    fn remove(&mut self, segment: SegmentNumber) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(open, _)| *open == segment) {
            self.open = None;
        }
        match fs::remove_file(self.file(segment)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The way to a disk's thread and back: one job at a time.
#[derive(Debug)]
pub struct Worker {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<io::Result<Done>>,
}

/// A worker, and what its thread must run: it ends when the worker is dropped.
pub fn worker(mut disk: impl Disk) -> (Worker, impl FnOnce()) {
    let (jobs, mut to_do) = mpsc::channel(1);
    let (tell, done) = mpsc::channel(1);
    let work = move || {
        while let Some(job) = to_do.blocking_recv() {
            if tell.blocking_send(perform(&mut disk, job)).is_err() {
                return;
            }
        }
    };
    (Worker { jobs, done }, work)
}

impl Worker {
    /// Gives it something to do.
    pub fn give(&self, job: Job) {
        // If the thread has ended, the next question says so.
        drop(self.jobs.try_send(job));
    }

    /// How the job went, once it is done.
    pub async fn done(&mut self) -> io::Result<Done> {
        let ended = || Err(io::Error::other("the spool's thread has ended"));
        self.done.recv().await.unwrap_or_else(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SegmentNumber = SegmentNumber(9);
    const SECOND: SegmentNumber = SegmentNumber(10);

    #[test]
    fn what_is_appended_is_read_until_it_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(place.path().join("a/b"));
        assert_eq!(folder.list().unwrap(), []);
        for (segment, bytes) in [(FIRST, b"one"), (SECOND, b"two"), (FIRST, b"far")] {
            folder.append(segment, bytes).unwrap();
        }
        folder.sync(SECOND).unwrap();
        assert_eq!(folder.read(FIRST).unwrap(), b"onefar");
        let mut listed = folder.list().unwrap();
        listed.sort_unstable();
        assert_eq!(listed, [FIRST, SECOND]);
        for _ in 0..2 {
            folder.remove(FIRST).unwrap();
        }
        assert_eq!(folder.list().unwrap(), [SECOND]);
    }

    #[test]
    fn files_of_others_are_no_segments() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::new(place.path().to_owned());
        folder.take().unwrap();
        for name in ["notes", "+1.spool", "1.spool.bak", ".spool", "x.spool"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        assert_eq!(folder.list().unwrap(), []);
        assert_eq!(place.path().read_dir().unwrap().count(), 6);
    }

    #[test]
    fn a_folder_has_one_owner_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_owned();
        let mut first = Folder::new(path.clone());
        first.take().unwrap();
        let mut second = Folder::new(path);
        assert!(matches!(second.take(), Err(FolderError::Owned(_))));
        assert!(second.list().is_err());
        drop(first);
        second.take().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_taken_once_it_can() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("spool");
        fs::write(&path, "in the way").unwrap();
        let mut folder = Folder::new(path.clone());
        assert!(folder.list().is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(folder.list().unwrap(), []);
    }
}
