//! The three pressure files of a cgroup, which v2 hosts and hybrids have in the same place.

use crate::{
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
    },
    parse::pressure::{Pressure, parse},
};

/// What a group's tasks waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// CPU time.
    pub cpu: Pressure,
    /// Memory.
    pub memory: Pressure,
    /// Input and output.
    pub io: Pressure,
}

/// Its files.
#[derive(Debug, Default)]
pub struct PressureFiles {
    cpu: HeldFile,
    memory: HeldFile,
    io: HeldFile,
}

impl PressureFiles {
    /// Reads the files of the group at `path` in the v2 tree at `mount`.
    pub fn read(&mut self, files: &mut Files, mount: &str, path: &str) -> Result<Pressures, Gone> {
        self.read_named(files, mount, path, ["cpu.pressure", "memory.pressure", "io.pressure"])
    }

    /// Reads the node's own, in `/proc/pressure`.
    pub fn read_node(&mut self, files: &mut Files, proc: &str) -> Result<Pressures, Gone> {
        self.read_named(files, proc, "/pressure", ["cpu", "memory", "io"])
    }

    fn read_named(
        &mut self,
        files: &mut Files,
        mount: &str,
        directory: &str,
        [cpu, memory, io]: [&str; 3],
    ) -> Result<Pressures, Gone> {
        let mut read = |file: &mut HeldFile, name| {
            let at = Location { mount, directory, name };
            Ok(files.read(file, Pace::Hot, at, parse)?.unwrap_or_default())
        };
        Ok(Pressures {
            cpu: read(&mut self.cpu, cpu)?,
            memory: read(&mut self.memory, memory)?,
            io: read(&mut self.io, io)?,
        })
    }

    /// Looks again for files that were not there.
    pub fn try_again(&mut self) {
        for file in [&mut self.cpu, &mut self.memory, &mut self.io] {
            file.try_again();
        }
    }
}
