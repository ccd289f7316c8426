//! A cgroup of v1: one directory of the same path in each controller's tree.

use super::{Activity, Disks, Extent, PressureFiles, Stillness};
use crate::{
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
        mounts::MountsV1,
    },
    parse::{
        blkio_v1::{self, Direction},
        cpu_limit::{limit_v1, parse_quota_v1},
        cpu_stat_v1,
        device::DeviceIo,
        line::BadLine,
        memory_stat_v1,
        number::{Limit, parse_limit, parse_memory_limit_v1, parse_number},
        oom_kills,
    },
    reading::ReadingV1,
};

/// Files read every tick, without pressure.
pub const HOT_FILES: usize = 8;

/// The files of one group, and what they said.
#[derive(Debug, Default)]
pub struct CgroupV1 {
    /// What the files said.
    pub reading: ReadingV1,
    /// What went over each device.
    pub disks: Disks,
    stillness: Stillness,
    cpu_usage: HeldFile,
    cpu_stat: HeldFile,
    cpu_quota: HeldFile,
    cpu_period: HeldFile,
    memory_usage: HeldFile,
    memory_stat: HeldFile,
    memory_kernel: HeldFile,
    memory_limit: HeldFile,
    oom_control: HeldFile,
    io_bytes: HeldFile,
    io_operations: HeldFile,
    threads: HeldFile,
    threads_limit: HeldFile,
    pressure: PressureFiles,
    /// The files with all below are not there.
    io_is_plain: bool,
}

impl CgroupV1 {
    /// Reads the group at `path`.
    pub fn read(
        &mut self,
        files: &mut Files,
        mounts: &MountsV1,
        path: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        if let Some(mount) = &mounts.cpuacct {
            let at = Location { mount, directory: path, name: "cpuacct.usage" };
            self.reading.cpu_usage_ns =
                files.read(&mut self.cpu_usage, Pace::Hot, at, parse_number)?;
        }
        if let Some(mount) = &mounts.memory {
            let at = Location { mount, directory: path, name: "memory.usage_in_bytes" };
            self.reading.memory_usage =
                files.read(&mut self.memory_usage, Pace::Hot, at, parse_number)?;
        }
        let (cpu, memory) = (self.reading.cpu_usage_ns, self.reading.memory_usage);
        let activity = self.stillness.observe(cpu, memory, extent);
        if let Some(mount) = &mounts.blkio {
            self.read_io(files, mount, path, extent)?;
        }
        if let Some(mount) = &mounts.unified {
            let pressures = &mut self.reading.pressures;
            self.pressure.read(files, mount, path, activity, pressures)?;
        }
        match activity {
            Activity::Idle => Ok(()),
            Activity::Active => self.read_active(files, mounts, path, extent),
        }
    }

    /// Reads what only the group's own tasks move.
    fn read_active(
        &mut self,
        files: &mut Files,
        mounts: &MountsV1,
        path: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        if let Some(mount) = &mounts.cpu {
            self.read_cpu(files, mount, path, extent)?;
        }
        if let Some(mount) = &mounts.memory {
            self.read_memory(files, mount, path, extent)?;
        }
        match &mounts.pids {
            Some(mount) => self.read_threads(files, mount, path, extent),
            None => Ok(()),
        }
    }

    fn read_cpu(
        &mut self,
        files: &mut Files,
        mount: &str,
        directory: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        let at = |name| Location { mount, directory, name };
        if extent == Extent::Everything {
            let quota = files.read(
                &mut self.cpu_quota,
                Pace::Slow,
                at("cpu.cfs_quota_us"),
                parse_quota_v1,
            )?;
            let period = files.read(
                &mut self.cpu_period,
                Pace::Slow,
                at("cpu.cfs_period_us"),
                parse_number,
            )?;
            self.reading.cpu_limit =
                quota.zip(period).and_then(|(quota, period)| limit_v1(quota, period));
        }
        // Without a limit nothing is ever throttled, so the counters stand still.
        let is_limited = matches!(self.reading.cpu_limit, Some(Limit::At(_)));
        if is_limited || extent == Extent::Everything {
            self.reading.cpu_stat = files
                .read(&mut self.cpu_stat, Pace::Hot, at("cpu.stat"), cpu_stat_v1::parse)?
                .unwrap_or_default();
        }
        Ok(())
    }

    fn read_memory(
        &mut self,
        files: &mut Files,
        mount: &str,
        directory: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        let at = |name| Location { mount, directory, name };
        let reading = &mut self.reading;
        reading.memory_stat = files
            .read(&mut self.memory_stat, Pace::Hot, at("memory.stat"), memory_stat_v1::parse)?
            .unwrap_or_default();
        reading.memory_kernel = files.read(
            &mut self.memory_kernel,
            Pace::Hot,
            at("memory.kmem.usage_in_bytes"),
            parse_number,
        )?;
        if extent == Extent::Everything {
            let kills = at("memory.oom_control");
            reading.oom_kills =
                files.read(&mut self.oom_control, Pace::Slow, kills, oom_kills::parse)?.flatten();
            reading.memory_limit = files.read(
                &mut self.memory_limit,
                Pace::Slow,
                at("memory.limit_in_bytes"),
                parse_memory_limit_v1,
            )?;
        }
        Ok(())
    }

    fn read_io(
        &mut self,
        files: &mut Files,
        mount: &str,
        directory: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        let [bytes, operations] = if self.io_is_plain { IO_PLAIN } else { IO_WITH_BELOW };
        let disks = &mut self.disks;
        disks.begin();
        let at = Location { mount, directory, name: bytes };
        let moved = files.read(&mut self.io_bytes, Pace::Hot, at, |text| {
            take_io(text, disks, |io, direction| match direction {
                Direction::Read => &mut io.read_bytes,
                Direction::Write => &mut io.write_bytes,
            })
        })?;
        if moved.is_none() && !self.io_is_plain {
            self.io_is_plain = true;
            self.io_bytes = HeldFile::Untried;
            return self.read_io(files, mount, directory, extent);
        }
        // Operations that move no bytes, such as flushes, are seen at the next slow turn.
        if moved == Some(true) || extent == Extent::Everything {
            let at = Location { mount, directory, name: operations };
            files.read(&mut self.io_operations, Pace::Hot, at, |text| {
                take_io(text, disks, |io, direction| match direction {
                    Direction::Read => &mut io.read_operations,
                    Direction::Write => &mut io.write_operations,
                })
            })?;
        }
        Ok(())
    }

    fn read_threads(
        &mut self,
        files: &mut Files,
        mount: &str,
        directory: &str,
        extent: Extent,
    ) -> Result<(), Gone> {
        let at = |name| Location { mount, directory, name };
        self.reading.threads =
            files.read(&mut self.threads, Pace::Hot, at("pids.current"), parse_number)?;
        if extent == Extent::Everything {
            self.reading.threads_limit =
                files.read(&mut self.threads_limit, Pace::Slow, at("pids.max"), parse_limit)?;
        }
        Ok(())
    }

    /// Looks again for files that were not there.
    pub fn try_again(&mut self) {
        let files = [
            &mut self.cpu_usage,
            &mut self.cpu_stat,
            &mut self.cpu_quota,
            &mut self.cpu_period,
            &mut self.memory_usage,
            &mut self.memory_stat,
            &mut self.memory_kernel,
            &mut self.memory_limit,
            &mut self.oom_control,
            &mut self.io_bytes,
            &mut self.io_operations,
            &mut self.threads,
            &mut self.threads_limit,
        ];
        files.into_iter().for_each(HeldFile::try_again);
        self.pressure.try_again();
    }
}

/// Bytes and operations of the group and all below it.
const IO_WITH_BELOW: [&str; 2] =
    ["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"];

/// The same of the group alone: all that kernels before 5.0 have.
const IO_PLAIN: [&str; 2] = ["blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"];

/// Takes the numbers over; says whether any of them moved.
fn take_io(
    text: &[u8],
    disks: &mut Disks,
    place: fn(&mut DeviceIo, Direction) -> &mut Option<u64>,
) -> Result<bool, BadLine> {
    let mut moved = false;
    blkio_v1::each(text, |device, direction, number| {
        if let Some(io) = disks.of(device) {
            moved |= place(io, direction).replace(number) != Some(number);
        }
    })?;
    Ok(moved)
}
