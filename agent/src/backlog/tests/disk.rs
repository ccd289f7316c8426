//! A disk in memory that crashes, tears what it was writing, fills up and fails.

use std::{collections::BTreeMap, io};

use crate::spool::disk::{Disk, SegmentNumber};

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// After so many changes the process dies in the middle of the next.
    CrashAfter(u32),
    /// There is no room.
    Full,
    /// Nothing can be written, or read.
    Broken,
    /// What is written can't be made safe.
    NoSync,
}

/// What the process and the disk know of one file.
#[derive(Clone, Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// How many of them survive a power loss; `None` while not even its name does.
    safe: Option<usize>,
}

#[derive(Debug, Default)]
pub(super) struct SimulatedDisk {
    files: BTreeMap<u64, Held>,
    /// Removed, but not yet for certain.
    removed: BTreeMap<u64, Held>,
    pub(super) fault: Option<Fault>,
    pub(super) has_crashed: bool,
    pub(super) writes: u32,
    random: u64,
}

impl SimulatedDisk {
    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    pub(super) fn put(&mut self, segment: u64, bytes: &[u8]) {
        self.files.insert(segment, Held { bytes: bytes.to_vec(), safe: Some(bytes.len()) });
    }

    pub(super) fn damage_the_middle_of_the_second(&mut self) {
        let held = self.files.values_mut().nth(1).unwrap();
        let middle = held.bytes.len() / 2;
        held.bytes[middle] ^= 0x10;
    }

    /// The bytes of all files, as they are or as they would be after a power loss.
    pub(super) fn contents(&self, after_power_loss: bool) -> Vec<Vec<u8>> {
        let files = self.files.values();
        files
            .map(|held| match held.safe {
                _ if !after_power_loss => held.bytes.clone(),
                Some(safe) => held.bytes[..safe].to_vec(),
                None => Vec::new(),
            })
            .collect()
    }

    /// The power fails: of what was not made safe, any part remains, or zeros.
    pub(super) fn lose_power(&mut self) {
        let removed = std::mem::take(&mut self.removed);
        for (segment, held) in removed {
            if self.chance(2) {
                self.files.insert(segment, held);
            }
        }
        for (segment, mut held) in std::mem::take(&mut self.files) {
            let safe = held.safe.unwrap_or(0);
            let rest = held.bytes.len() - safe;
            let left = safe + self.below(rest + 1);
            let zeros = if self.chance(3) { left + self.below(64) } else { left };
            held.bytes.truncate(left);
            held.bytes.resize(zeros, 0);
            if held.safe.is_some() || self.chance(2) {
                held.safe = Some(held.bytes.len());
                self.files.insert(segment, held);
            }
        }
    }

    fn below(&mut self, most: usize) -> usize {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x5851_f42d);
        usize::try_from(self.random >> 33).unwrap() % most.max(1)
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    /// Whether a change goes through; else how much of it is done, and the error.
    fn change(&mut self, bytes: usize) -> Result<(), (usize, io::Error)> {
        self.writes += 1;
        let error = match &mut self.fault {
            _ if self.has_crashed => return Err((0, io::Error::other("there is no process"))),
            Some(Fault::CrashAfter(0)) => {
                self.has_crashed = true;
                io::Error::other("the process dies")
            }
            Some(Fault::CrashAfter(left)) => {
                *left -= 1;
                return Ok(());
            }
            Some(Fault::Full) => io::ErrorKind::StorageFull.into(),
            Some(Fault::Broken) => io::Error::other("broken"),
            Some(Fault::NoSync) | None => return Ok(()),
        };
        let done = if self.chance(3) { bytes } else { self.below(bytes + 1) };
        Err((done, error))
    }
}

impl Disk for SimulatedDisk {
    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        if self.fault == Some(Fault::Broken) {
            return Err(io::Error::other("broken"));
        }
        Ok(self.files.keys().rev().copied().map(SegmentNumber).collect())
    }

    fn read(&mut self, segment: SegmentNumber) -> io::Result<Vec<u8>> {
        let held = self.files.get(&segment.0);
        held.map(|held| held.bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn append(&mut self, segment: SegmentNumber, bytes: &[u8]) -> io::Result<()> {
        let (done, result) = match self.change(bytes.len()) {
            Ok(()) => (bytes.len(), Ok(())),
            Err((done, error)) => (done, Err(error)),
        };
        if !self.has_crashed || 0 < done {
            self.files.entry(segment.0).or_default().bytes.extend_from_slice(&bytes[..done]);
        }
        result
    }

    fn sync(&mut self, segment: SegmentNumber) -> io::Result<()> {
        self.change(0).map_err(|(_, error)| error)?;
        if self.fault == Some(Fault::NoSync) {
            return Err(io::Error::other("cannot sync"));
        }
        let held = self.files.get_mut(&segment.0);
        let held = held.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        held.safe = Some(held.bytes.len());
        self.removed.clear();
        Ok(())
    }

    fn remove(&mut self, segment: SegmentNumber) -> io::Result<()> {
        // A removal frees room, so it works on a full disk.
        if self.fault != Some(Fault::Full) {
            self.change(0).map_err(|(_, error)| error)?;
        }
        if let Some(held) = self.files.remove(&segment.0)
            && held.safe.is_some()
        {
            self.removed.insert(segment.0, held);
        }
        Ok(())
    }
}
