//! The three pressure files of a cgroup, which v2 hosts and hybrids have in the same place.

use super::Activity;
use crate::{
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
    },
    parse::pressure::{Pressure, parse},
    reading::Pressures,
};

/// Its files.
#[derive(Debug, Default)]
pub struct PressureFiles {
    cpu: HeldFile,
    memory: HeldFile,
    io: HeldFile,
}

impl PressureFiles {
    /// Reads the files of the group at `path` in the v2 tree at `mount`. An idle group may still
    /// wait for a disk; for anything else a task has to run first.
    pub fn read(
        &mut self,
        files: &mut Files,
        mount: &str,
        path: &str,
        activity: Activity,
        pressures: &mut Pressures,
    ) -> Result<(), Gone> {
        let at = |name| Location { mount, directory: path, name };
        if activity == Activity::Active {
            pressures.cpu = read(files, &mut self.cpu, at("cpu.pressure"))?;
            pressures.memory = read(files, &mut self.memory, at("memory.pressure"))?;
        }
        pressures.io = read(files, &mut self.io, at("io.pressure"))?;
        Ok(())
    }

    /// Reads the node's own, in `/proc/pressure`.
    pub fn read_node(&mut self, files: &mut Files, proc: &str) -> Result<Pressures, Gone> {
        let at = |name| Location { mount: proc, directory: "/pressure", name };
        Ok(Pressures {
            cpu: read(files, &mut self.cpu, at("cpu"))?,
            memory: read(files, &mut self.memory, at("memory"))?,
            io: read(files, &mut self.io, at("io"))?,
        })
    }

    /// Looks again for files that were not there.
    pub fn try_again(&mut self) {
        for file in [&mut self.cpu, &mut self.memory, &mut self.io] {
            file.try_again();
        }
    }
}

fn read(files: &mut Files, file: &mut HeldFile, at: Location<'_>) -> Result<Pressure, Gone> {
    Ok(files.read(file, Pace::Hot, at, parse)?.unwrap_or_default())
}
