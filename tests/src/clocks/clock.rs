//! A program's clock: libfaketime answers in the kernel's stead, and reads a file to know by how much
//! it is to be wrong.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where Debian's package puts the library, below a folder for each architecture.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The clock of one program.
#[derive(Debug)]
pub struct SetClock {
    file: PathBuf,
    library: PathBuf,
    /// By how much it is wrong, in seconds.
    wrong_by_s: i64,
}

impl SetClock {
    /// A clock that is right. What it is told is kept in `file`.
    pub fn new(file: PathBuf, library: &Path) -> io::Result<Self> {
        let mut clock = Self { file, library: library.to_owned(), wrong_by_s: 0 };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it ahead, or back.
    pub fn set(&mut self, wrong_by_s: i64) -> io::Result<()> {
        // At no moment there is half a file.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{wrong_by_s:+}\n"))?;
        fs::rename(new, &self.file)?;
        self.wrong_by_s = wrong_by_s;
        Ok(())
    }

    /// By how much it is wrong, in seconds.
    pub fn wrong_by_s(&self) -> i64 {
        self.wrong_by_s
    }

    /// A command that becomes a program with this clock.
    pub fn launcher(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            // Each reading of the clock looks into the file.
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ]
    }
}

/// The library, where it is installed.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    folders.map(|folder| folder.path().join(LIBRARY)).find(|file| file.exists())
}
