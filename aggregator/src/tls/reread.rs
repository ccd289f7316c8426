//! Files that somebody else may change while we run: certificates, keys, authorities, tokens.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A bundle of all authorities that the world knows has 200 KiB; so have thousands of tokens.
const FILE_BYTES: u64 = 4 << 20;

/// Files that belong together.
#[derive(Clone, Debug)]
pub struct Reread<const N: usize> {
    paths: [PathBuf; N],
    /// As they were when they were last found changed.
    last: Option<[Vec<u8>; N]>,
}

/// A file that can't be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl<const N: usize> Reread<N> {
    /// Not read yet.
    pub fn new(paths: [PathBuf; N]) -> Self {
        Self { paths, last: None }
    }

    /// Which files they are.
    pub fn paths(&self) -> &[PathBuf; N] {
        &self.paths
    }

    /// Their content, if any differs from what it was.
    pub fn changed(&mut self) -> Result<Option<&[Vec<u8>; N]>, Unreadable> {
        let mut now = [const { Vec::new() }; N];
        for (content, path) in now.iter_mut().zip(&self.paths) {
            let failed = |source| Unreadable { path: path.clone(), source };
            *content = read(path).map_err(failed)?;
        }
        if self.last.as_ref() == Some(&now) {
            return Ok(None);
        }
        Ok(Some(self.last.insert(now)))
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES + 1).read_to_end(&mut content)?;
    let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if FILE_BYTES < size {
        let message = format!("it has more than {FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_has_not_changed_is_not_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a", "b"].map(|name| folder.path().join(name));
        for path in &paths {
            fs::write(path, "1").unwrap();
        }
        let mut files = Reread::new(paths.clone());
        let one = b"1".to_vec();
        assert_eq!(files.changed().unwrap(), Some(&[one.clone(), one.clone()]));
        assert_eq!(files.changed().unwrap(), None);
        fs::write(&paths[1], "2").unwrap();
        assert_eq!(files.changed().unwrap(), Some(&[one, b"2".to_vec()]));
        fs::remove_file(&paths[0]).unwrap();
        assert_eq!(files.changed().expect_err("gone").path, paths[0]);
    }

    #[test]
    fn what_never_ends_is_refused() {
        let error = Reread::new(["/dev/zero".into()]).changed().expect_err("endless").source;
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
