//! A cgroup of v2: one directory with the files of all controllers that are on.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{Activity, Disks, Extent, PressureFiles, Stillness, crun::CrunFiles};
use crate::{
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
    },
    parse::{
        cpu_limit, cpu_stat_v2, io_stat_v2, memory_stat_v2,
        number::{parse_limit, parse_number},
        oom_kills,
    },
    reading::ReadingV2,
};

/// Files read every tick.
pub const HOT_FILES: usize = 9;

/// The files of one group, and what they said.
#[derive(Debug, Default)]
pub struct CgroupV2 {
    /// What the files said.
    pub reading: ReadingV2,
    /// What went over each device.
    pub disks: Disks,
    stillness: Stillness,
    cpu_stat: HeldFile,
    cpu_max: HeldFile,
    memory_usage: HeldFile,
    memory_stat: HeldFile,
    memory_events: HeldFile,
    memory_max: HeldFile,
    swap: HeldFile,
    swap_max: HeldFile,
    io_stat: HeldFile,
    threads: HeldFile,
    threads_limit: HeldFile,
    pressure: PressureFiles,
    crun: CrunFiles,
    controllers: HeldFile,
    /// Hash of the list of controllers when it was last read.
    known_controllers: Option<u64>,
}

impl CgroupV2 {
    /// Reads the group at `path`.
    pub fn read(
        &mut self,
        files: &mut Files,
        mount: &str,
        path: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        let at = |name| Location { mount, directory: path, name };
        let reading = &mut self.reading;
        reading.cpu_stat = files
            .read(&mut self.cpu_stat, Pace::Hot, at("cpu.stat"), cpu_stat_v2::parse)?
            .unwrap_or_default();
        reading.memory_usage =
            files.read(&mut self.memory_usage, Pace::Hot, at("memory.current"), parse_number)?;
        let (cpu, memory) = (reading.cpu_stat.usage_ns, reading.memory_usage);
        let activity = self.stillness.observe(cpu, memory, extent);
        let disks = &mut self.disks;
        disks.begin();
        files.read(&mut self.io_stat, Pace::Hot, at("io.stat"), |text| {
            io_stat_v2::each(text, |device, io| {
                if let Some(place) = disks.of(device) {
                    *place = io;
                }
            })
        })?;
        self.pressure.read(files, mount, path, activity, &mut reading.pressures)?;
        if activity == Activity::Active {
            self.read_active(files, mount, path)?;
        }
        self.crun.read(files, mount, path, &mut self.reading);
        match extent {
            Extent::Hot => Ok(()),
            Extent::Everything => self.read_slow(files, mount, path),
        }
    }

    /// Reads what only the group's own tasks move.
    fn read_active(&mut self, files: &mut Files, mount: &str, directory: &str) -> Result<(), Gone> {
        let at = |name| Location { mount, directory, name };
        let reading = &mut self.reading;
        reading.memory_stat = files
            .read(&mut self.memory_stat, Pace::Hot, at("memory.stat"), memory_stat_v2::parse)?
            .unwrap_or_default();
        reading.swap =
            files.read(&mut self.swap, Pace::Hot, at("memory.swap.current"), parse_number)?;
        reading.threads =
            files.read(&mut self.threads, Pace::Hot, at("pids.current"), parse_number)?;
        Ok(())
    }

    fn read_slow(&mut self, files: &mut Files, mount: &str, directory: &str) -> Result<(), Gone> {
        let at = |name| Location { mount, directory, name };
        // A controller that is switched on brings its files.
        let controllers =
            files.read(&mut self.controllers, Pace::Slow, at("cgroup.controllers"), |text| {
                Ok(hash(text))
            })?;
        if std::mem::replace(&mut self.known_controllers, controllers) != controllers {
            self.try_again();
        }
        let reading = &mut self.reading;
        let slow = Pace::Slow;
        reading.cpu_limit =
            files.read(&mut self.cpu_max, slow, at("cpu.max"), cpu_limit::parse_v2)?;
        reading.oom_kills = files
            .read(&mut self.memory_events, slow, at("memory.events"), oom_kills::parse)?
            .flatten();
        reading.memory_limit =
            files.read(&mut self.memory_max, slow, at("memory.max"), parse_limit)?;
        reading.swap_limit =
            files.read(&mut self.swap_max, slow, at("memory.swap.max"), parse_limit)?;
        reading.threads_limit =
            files.read(&mut self.threads_limit, slow, at("pids.max"), parse_limit)?;
        self.crun.read_limits(files, mount, slow, reading);
        Ok(())
    }

    /// Looks again for files that were not there.
    pub fn try_again(&mut self) {
        let files = [
            &mut self.cpu_stat,
            &mut self.cpu_max,
            &mut self.memory_usage,
            &mut self.memory_stat,
            &mut self.memory_events,
            &mut self.memory_max,
            &mut self.swap,
            &mut self.swap_max,
            &mut self.io_stat,
            &mut self.threads,
            &mut self.threads_limit,
            &mut self.controllers,
        ];
        files.into_iter().for_each(HeldFile::try_again);
        self.pressure.try_again();
        self.crun.try_again();
    }
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
