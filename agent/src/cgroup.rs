//! The files of one cgroup, held and read: v1 and v2 apart, each into a typed reading.
//!
//! A reading keeps what it has: a slow file's value stays until its next turn.

mod disks;
mod pressure;
pub mod v1;
pub mod v2;

pub use disks::{Disk, Disks};
pub use pressure::{PressureFiles, Pressures};

use crate::{
    assemble::{self, Sample},
    host::{
        files::{Files, Gone},
        mounts::Hierarchies,
    },
};

/// How much of a cgroup is read this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What changes from tick to tick.
    Hot,
    /// Limits, counts of rare events and of processes as well.
    Everything,
}

/// The files of one cgroup, and what they said.
#[derive(Debug)]
pub enum Cgroup {
    /// On a v1 host or a hybrid.
    V1(Box<v1::CgroupV1>),
    /// On a v2 host.
    V2(Box<v2::CgroupV2>),
}

impl Cgroup {
    /// Nothing read yet.
    pub fn new(hierarchies: &Hierarchies) -> Self {
        match hierarchies {
            Hierarchies::V1(_) => Self::V1(Box::default()),
            Hierarchies::V2(_) => Self::V2(Box::default()),
        }
    }

    /// Files that a cgroup of such a host has read every tick.
    pub fn hot_files(hierarchies: &Hierarchies) -> usize {
        match hierarchies {
            Hierarchies::V1(mounts) => v1::HOT_FILES + mounts.unified.as_ref().map_or(0, |_| 3),
            Hierarchies::V2(_) => v2::HOT_FILES,
        }
    }

    /// Reads the files of the cgroup at `path`.
    pub fn read(
        &mut self,
        files: &mut Files,
        hierarchies: &Hierarchies,
        path: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        match (self, hierarchies) {
            (Self::V1(cgroup), Hierarchies::V1(mounts)) => cgroup.read(files, mounts, path, extent),
            (Self::V2(cgroup), Hierarchies::V2(mount)) => cgroup.read(files, mount, path, extent),
            // A host does not change its layout, and a cgroup is made for its host.
            _ => Ok(()),
        }
    }

    /// What the last reading comes to.
    pub fn sample(&self) -> Sample {
        match self {
            Self::V1(cgroup) => assemble::from_v1(&cgroup.reading),
            Self::V2(cgroup) => assemble::from_v2(&cgroup.reading),
        }
    }

    /// What went over each device.
    pub fn disks(&self) -> &Disks {
        match self {
            Self::V1(cgroup) => &cgroup.disks,
            Self::V2(cgroup) => &cgroup.disks,
        }
    }

    /// Looks again for files that were not there: a runtime may still have been making them.
    pub fn try_again(&mut self) {
        match self {
            Self::V1(cgroup) => cgroup.try_again(),
            Self::V2(cgroup) => cgroup.try_again(),
        }
    }
}
