//! The thin edge to the disk: one directory, files that are appended to once and then only read.
//!
//! Everything else of history asks this trait, so that a simulated disk can crash after every
//! single write.

pub mod read_only;
pub mod real;
pub mod simulated;

use std::{fmt, io, sync::Arc};

/// A directory of files. What it promises after a crash: what was synced is there, and renames
/// and removals are there when the directory was synced after them; of anything else, any part.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Begins a file; one of this name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn NewFile>>;
    /// Opens a file for reading. It stays readable when it is removed.
    fn open(&self, name: &str) -> io::Result<Arc<dyn OldFile>>;
    /// Gives a file another name, in place of one that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes renames and removals durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is being written.
pub trait NewFile: fmt::Debug + Send {
    /// Appends all of the bytes.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Writes over bytes that were appended and not synced yet.
    fn amend(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts off everything after so many bytes: what a failed append or sync has left.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

/// A file that is read.
pub trait OldFile: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Fills the buffer from a place; an error when the file ends before.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}
