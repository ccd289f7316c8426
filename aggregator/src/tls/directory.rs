//! A generated certificate, kept in a directory of the host.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::generated::{Kept, NotMade};

/// The authorities, for clients.
pub const BUNDLE: &str = "ca.crt";
const AUTHORITY_KEY: &str = "ca.key";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A directory that keeps nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It can't be read or written.
    #[error("cannot keep a certificate in {}", path.display())]
    Files {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to keep.
    #[error(transparent)]
    NotMade(#[from] NotMade),
}

/// What `directory` keeps for `names`, made or renewed at `now_s` if need be.
pub fn kept(directory: &Path, names: &[String], now_s: i64) -> Result<Kept, NotKept> {
    let failed = |source| NotKept::Files { path: directory.to_owned(), source };
    let held = read(directory).map_err(failed)?;
    match Kept::renewed(held.as_ref(), names, now_s)? {
        Some(new) => {
            write(directory, &new).map_err(failed)?;
            Ok(new)
        }
        None => Ok(held.unwrap_or_default()),
    }
}

/// What is there; what is not is empty.
fn read(directory: &Path) -> io::Result<Option<Kept>> {
    let file = |name: &str| match fs::read_to_string(directory.join(name)) {
        Ok(text) => Ok(text),
        // It is made anew.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) =>
        {
            Ok(String::new())
        }
        Err(error) => Err(error),
    };
    let kept = Kept {
        certificate: file(CERTIFICATE)?,
        key: file(KEY)?,
        bundle: file(BUNDLE)?,
        authority_key: file(AUTHORITY_KEY)?,
    };
    Ok((kept != Kept::default()).then_some(kept))
}

/// Each file is whole whenever it is there; if they do not belong together after a crash, they are
/// made anew.
fn write(directory: &Path, kept: &Kept) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let files = [
        (AUTHORITY_KEY, &kept.authority_key, 0o600),
        (BUNDLE, &kept.bundle, 0o644),
        (KEY, &kept.key, 0o600),
        (CERTIFICATE, &kept.certificate, 0o644),
    ];
    for (name, text, mode) in files {
        let part = directory.join(format!("{name}.part"));
        // One that a crash left may be readable by others.
        if let Err(error) = fs::remove_file(&part)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, directory.join(name))?;
    }
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW_S: i64 = 1_795_423_525;

    #[test]
    fn what_is_made_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("tls");
        let names = vec!["localhost".to_owned()];
        let made = kept(&directory, &names, NOW_S).unwrap();
        assert_eq!(kept(&directory, &names, NOW_S + 1).unwrap(), made);
        let mode =
            |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o77;
        assert_eq!([KEY, AUTHORITY_KEY].map(mode), [0, 0]);
        fs::write(directory.join(KEY), "torn").unwrap();
        let mended = kept(&directory, &names, NOW_S + 1).unwrap();
        assert_eq!(mended.bundle, made.bundle);
        assert_ne!(mended.certificate, made.certificate);
    }

    #[test]
    fn a_directory_that_cannot_be_is_named() {
        let error = kept(Path::new("/proc/version/tls"), &[], NOW_S).expect_err("no directory");
        assert_eq!(error.to_string(), "cannot keep a certificate in /proc/version/tls");
    }
}
