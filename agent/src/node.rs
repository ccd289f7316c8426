//! What only the node as a whole has: its memory, tasks, disks, interfaces and filesystems.
//!
//! CPU and memory mean what the kubelet means by them: the root cgroup's figures where it has them.
//! v2's root has no memory files of its own, so there the usage is MemTotal - MemFree, and the
//! working set leaves out Inactive(file), both of one reading of meminfo.

mod filesystems;

use filesystems::Filesystems;
use tally_proto::catalogue::MetricId;

use crate::{
    assemble::{Sample, working_set},
    cgroup::{Disks, Extent, PressureFiles},
    columns::{Columns, ResourceNumber},
    host::{
        descriptors::Pace,
        facts,
        files::{Files, HeldFile, Location},
    },
    network::Network,
    parse::{
        device::DeviceNumber, diskstats, loadavg, meminfo, meminfo::Meminfo, number::parse_number,
        proc_stat, vmstat,
    },
};

/// The node's own files, and what they said.
#[derive(Debug)]
pub struct Node {
    /// Where the host's /proc is.
    proc: Box<str>,
    /// Where the host's /sys/block is.
    sys_block: String,
    loadavg: HeldFile,
    meminfo: HeldFile,
    vmstat: HeldFile,
    stat: HeldFile,
    diskstats: HeldFile,
    processes_limit: HeldFile,
    threads_limit: HeldFile,
    pressure: PressureFiles,
    network: Network,
    disks: Disks,
    /// Names of all block devices, in the order of `diskstats`.
    devices: Vec<Device>,
    filesystems: Filesystems,
    /// What changes seldom.
    slow: Sample,
}

/// A block device.
#[derive(Debug)]
struct Device {
    number: DeviceNumber,
    name: Box<str>,
    /// Not a partition of another.
    is_whole: bool,
}

impl Node {
    /// Of the host whose root is seen at `host_root`, without a slash at its end.
    /// What the disk of its kubelet's directory holds is its ephemeral storage.
    pub fn new(host_root: &str, kubelet_dir: &str) -> Self {
        let proc = format!("{host_root}/proc");
        let process = facts::visible_process(host_root);
        Self {
            proc: proc.into(),
            sys_block: format!("{host_root}/sys/block/"),
            loadavg: HeldFile::default(),
            meminfo: HeldFile::default(),
            vmstat: HeldFile::default(),
            stat: HeldFile::default(),
            diskstats: HeldFile::default(),
            processes_limit: HeldFile::default(),
            threads_limit: HeldFile::default(),
            pressure: PressureFiles::default(),
            network: Network::of_host(process),
            disks: Disks::default(),
            devices: Vec::new(),
            filesystems: Filesystems::new(host_root, process, kubelet_dir),
            slow: Sample::default(),
        }
    }

    /// Where the host's /proc is.
    pub fn proc(&self) -> &str {
        &self.proc
    }

    /// Reads the node's files and completes what its root cgroup said. A vanished /proc is no case
    /// worth an error: everything is then absent.
    pub fn read(
        &mut self,
        files: &mut Files,
        columns: &mut Columns,
        root: Sample,
        is_slow_turn: bool,
    ) -> Sample {
        self.read_disks(files);
        let extent = if is_slow_turn { Extent::Everything } else { Extent::Hot };
        self.network.read(files, &self.proc, columns, extent).unwrap_or_default();
        if is_slow_turn {
            self.read_slow(files, columns);
        }
        let mut sample = self.with_memory(files, root);
        self.with_tasks(files, &mut sample);
        let pressures = self.pressure.read_node(files, &self.proc).unwrap_or_default();
        if pressures != Default::default() {
            sample.pressures = pressures;
        }
        sample
    }

    fn read_slow(&mut self, files: &mut Files, columns: &mut Columns) {
        let at = |name| Location { mount: &self.proc, directory: "/sys/kernel", name };
        let mut read = |file, name| files.read(file, Pace::Slow, at(name), parse_number);
        self.slow.processes_limit = read(&mut self.processes_limit, "pid_max").ok().flatten();
        self.slow.threads_limit = read(&mut self.threads_limit, "threads-max").ok().flatten();
        self.filesystems.read(files, columns);
    }

    fn with_memory(&mut self, files: &mut Files, root: Sample) -> Sample {
        let at = |name| Location { mount: &self.proc, directory: "/", name };
        let info = files.read(&mut self.meminfo, Pace::Hot, at("meminfo"), meminfo::parse);
        let info = info.ok().flatten().unwrap_or_default();
        let counts = files.read(&mut self.vmstat, Pace::Hot, at("vmstat"), vmstat::parse);
        let counts = counts.ok().flatten().unwrap_or_default();
        Sample {
            memory_swap_bytes: less(info.swap_total, info.swap_free).or(root.memory_swap_bytes),
            page_faults: root.page_faults.or(counts.page_faults),
            major_page_faults: root.major_page_faults.or(counts.major_page_faults),
            // A group's own count leaves out what was killed in groups below.
            oom_kills: counts.oom_kills.or(root.oom_kills),
            ..with_meminfo(root, &info)
        }
    }

    fn with_tasks(&mut self, files: &mut Files, sample: &mut Sample) {
        let at = |name| Location { mount: &self.proc, directory: "/", name };
        let tasks = files.read(&mut self.loadavg, Pace::Hot, at("loadavg"), loadavg::parse);
        if let Ok(Some(tasks)) = tasks {
            sample.cpu_load = Some(tasks.runnable);
            sample.threads = Some(tasks.existing);
        }
        sample.processes_limit = self.slow.processes_limit;
        sample.threads_limit = self.slow.threads_limit;
        if sample.cpu_usage_ns.is_none() {
            let stat = files.read(&mut self.stat, Pace::Hot, at("stat"), proc_stat::parse);
            sample.cpu_usage_ns = stat.ok().flatten().and_then(|stat| stat.busy_ns);
        }
    }

    fn read_disks(&mut self, files: &mut Files) {
        let at = Location { mount: &self.proc, directory: "/", name: "diskstats" };
        let (disks, devices) = (&mut self.disks, &mut self.devices);
        let sys_block = &self.sys_block;
        disks.begin();
        let mut place = 0;
        let read = files.read(&mut self.diskstats, Pace::Hot, at, |text| {
            diskstats::each(text, |disk| {
                let is_known = devices.get(place).is_some_and(|known| {
                    known.number == disk.number && known.name.as_bytes() == disk.name
                });
                if !is_known {
                    devices.truncate(place);
                    devices.push(Device::look_up(sys_block, disk.number, disk.name));
                }
                let is_whole = devices.get(place).is_some_and(|device| device.is_whole);
                place += 1;
                // Loop devices and drives that never did anything are many and say nothing.
                let is_used =
                    disk.io.read_operations != Some(0) || disk.io.write_operations != Some(0);
                if is_whole
                    && is_used
                    && let Some(io) = disks.of(disk.number)
                {
                    *io = disk.io;
                }
            })
        });
        // Without the file nothing is known of any device.
        if read != Ok(Some(())) {
            self.devices.clear();
        }
    }

    /// The name of a block device, if there is one.
    pub fn device_name(&self, number: DeviceNumber) -> Option<&str> {
        let device = self.devices.iter().find(|device| device.number == number)?;
        Some(&device.name)
    }

    /// What went over the node's disks.
    pub fn disks(&self) -> &Disks {
        &self.disks
    }

    /// The host's interfaces.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Calls `put` with each metric of every filesystem.
    pub fn each_filesystem(&self, put: impl FnMut(MetricId, Option<ResourceNumber>, u64)) {
        self.filesystems.each(put);
    }
}

impl Device {
    fn look_up(sys_block: &str, number: DeviceNumber, name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        // Partitions have no entry there. Slashes in names are written as exclamation marks.
        let entry = format!("{sys_block}{}", name.replace('/', "!"));
        let is_whole = rustix::fs::stat(entry).is_ok() || rustix::fs::stat(sys_block).is_err();
        Self { number, name: name.into(), is_whole }
    }
}

/// Fills what the root cgroup does not have.
fn with_meminfo(root: Sample, info: &Meminfo) -> Sample {
    let usage = less(info.total, info.free);
    let (usage, working_set) = match root.memory_usage_bytes {
        Some(_) => (root.memory_usage_bytes, root.memory_working_set_bytes),
        None => (usage, working_set(usage, info.inactive_file)),
    };
    Sample {
        memory_usage_bytes: usage,
        memory_working_set_bytes: working_set,
        memory_rss_bytes: root.memory_rss_bytes.or(info.anonymous),
        memory_cache_bytes: root.memory_cache_bytes.or(info.cached),
        ..root
    }
}

fn less(all: Option<u64>, part: Option<u64>) -> Option<u64> {
    Some(all?.saturating_sub(part?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: Meminfo = Meminfo {
        total: Some(100),
        free: Some(30),
        anonymous: Some(40),
        cached: Some(20),
        inactive_file: Some(15),
        swap_total: None,
        swap_free: None,
    };

    #[test]
    fn a_root_without_memory_files_has_meminfos_figures() {
        let sample = with_meminfo(Sample::default(), &INFO);
        assert_eq!(sample.memory_usage_bytes, Some(70));
        assert_eq!(sample.memory_working_set_bytes, Some(55));
        assert_eq!(sample.memory_rss_bytes, Some(40));
    }

    #[test]
    fn a_root_with_memory_files_keeps_its_own() {
        let root = Sample {
            memory_usage_bytes: Some(9),
            memory_working_set_bytes: Some(8),
            memory_rss_bytes: Some(1),
            ..Sample::default()
        };
        let sample = with_meminfo(root, &INFO);
        assert_eq!(sample.memory_usage_bytes, Some(9));
        assert_eq!(sample.memory_working_set_bytes, Some(8));
        assert_eq!((sample.memory_rss_bytes, sample.memory_cache_bytes), (Some(1), Some(20)));
    }

    #[test]
    fn what_meminfo_lacks_is_absent() {
        assert_eq!(with_meminfo(Sample::default(), &Meminfo::default()), Sample::default());
        assert_eq!(less(None, Some(1)), None);
    }
}
