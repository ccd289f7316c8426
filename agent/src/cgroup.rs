//! The files of one cgroup, held and read: v1 and v2 apart, each into a typed reading.
//!
//! A reading keeps what it has: a slow file's value stays until its next turn. So do most of an idle
//! group's: when neither its CPU time nor its memory usage moved for some ticks, no task of it ran
//! and nothing was charged to it, so its other figures stand where they stood. Only what others can
//! move is read then: disks, pressure of input and output, interfaces. The kernel may still age the page
//! cache of an idle group; that is seen at its next slow turn. On hosts full of idle containers this is
//! most of the cost.

mod crun;
mod disks;
mod pressure;
pub mod v1;
pub mod v2;

pub use disks::{Disk, Disks};
pub use pressure::PressureFiles;

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

/// Whether a group did anything since its last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Its CPU time and its memory usage stand where they stood.
    Idle,
    /// It did something, or nobody can tell.
    Active,
}

/// Readings without a change after which a group is idle. The kernel adds a group's memory figures up
/// every two seconds, so the first readings after its last deed may not have all of it.
const QUIET_READINGS: u8 = 3;

/// Tells idle groups from active ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stillness {
    cpu_ns: Option<u64>,
    memory_bytes: Option<u64>,
    quiet_readings: u8,
}

impl Stillness {
    /// Compares with the reading before. Where there is no CPU time nothing can be told; a group
    /// without memory accounting has no usage at either time.
    fn observe(
        &mut self,
        cpu_ns: Option<u64>,
        memory_bytes: Option<u64>,
        extent: Extent,
    ) -> Activity {
        let is_same = (self.cpu_ns, self.memory_bytes) == (cpu_ns, memory_bytes);
        let quiet_readings = match cpu_ns {
            Some(_) if is_same => self.quiet_readings.saturating_add(1),
            _ => 0,
        };
        *self = Self { cpu_ns, memory_bytes, quiet_readings };
        if QUIET_READINGS <= quiet_readings && extent == Extent::Hot {
            Activity::Idle
        } else {
            Activity::Active
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The activity after each of these readings of CPU time and memory.
    fn after(readings: &[(Option<u64>, Option<u64>)]) -> Activity {
        let mut stillness = Stillness::default();
        let observe = |(cpu, memory): &(_, _)| stillness.observe(*cpu, *memory, Extent::Hot);
        readings.iter().map(observe).last().unwrap()
    }

    #[test]
    fn a_group_is_idle_when_cpu_time_and_memory_stand_still_for_a_while() {
        let same = (Some(1), Some(1));
        assert_eq!(after(&[same; 3]), Activity::Active);
        assert_eq!(after(&[same; 4]), Activity::Idle);
        for moved in [(Some(2), Some(1)), (Some(1), Some(2))] {
            assert_eq!(after(&[same, same, same, same, moved]), Activity::Active);
        }
    }

    #[test]
    fn without_cpu_time_nobody_can_tell() {
        assert_eq!(after(&[(None, Some(1)); 9]), Activity::Active);
        assert_eq!(after(&[(Some(1), None); 9]), Activity::Idle);
    }

    #[test]
    fn everything_is_read_of_an_idle_group_too_when_it_is_its_turn() {
        let mut stillness = Stillness::default();
        for _ in 0..9 {
            stillness.observe(Some(1), Some(1), Extent::Hot);
        }
        let activity = stillness.observe(Some(1), Some(1), Extent::Everything);
        assert_eq!(activity, Activity::Active);
    }
}
