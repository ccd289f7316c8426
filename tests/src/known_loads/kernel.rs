//! What the kernel's own files say of a process's cgroup and network namespace.
//!
//! On purpose it is written as plainly as possible and shares nothing with the agent, not even a
//! number's parser. A file that a load's figures need and the kernel lacks is an error here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    arguments::{Kind, Load},
    figure::{Figure, Figures},
};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The files of the cgroup of a load's process.
#[derive(Clone, Debug)]
pub struct Kernel {
    load: Load,
    /// The cgroup's path below the hierarchy.
    pub path: String,
    is_v2: bool,
    /// Whether crun has the container's processes, and its CPU limit, in a cgroup below its scope.
    is_of_crun: bool,
}

impl Kernel {
    /// Finds the cgroup of the load's process.
    pub fn of(load: Load) -> anyhow::Result<Self> {
        let is_v2 = Path::new(CGROUPS).join("cgroup.controllers").exists();
        let list = format!("/proc/{}/cgroup", load.process.pid);
        let text = read(Path::new(&list))?;
        let path = text.lines().find_map(|line| {
            let (_, named) = line.split_once(':')?;
            let (controllers, path) = named.split_once(':')?;
            let is_it = if is_v2 { controllers.is_empty() } else { controllers == "memory" };
            is_it.then(|| path.to_owned())
        });
        let path = path.with_context(|| format!("no cgroup in {list}"))?;
        let scope = path.strip_suffix("/container").filter(|scope| scope.ends_with(".scope"));
        let is_of_crun = scope.is_some();
        Ok(Self { load, path: scope.unwrap_or(&path).to_owned(), is_v2, is_of_crun })
    }

    /// Reads the figures that this load is about.
    pub fn figures(&self) -> anyhow::Result<Figures> {
        match (self.load.kind, self.is_v2) {
            (Kind::Burn, true) => self.cpu_v2(),
            (Kind::Burn, false) => self.cpu_v1(),
            (Kind::Fill, true) => self.memory_v2(),
            (Kind::Fill, false) => self.memory_v1(),
            (Kind::Write, true) => self.disks_v2(),
            (Kind::Write, false) => self.disks_v1(),
            (Kind::Receive, _) => self.network(),
            (Kind::Oom, _) => self.oom_kills(),
        }
    }

    fn cpu_v1(&self) -> anyhow::Result<Figures> {
        let stat = self.file("cpu", "cpu.stat")?;
        Ok(Figures::from([
            (Figure::plain("cpu/usage"), number(&self.file("cpuacct", "cpuacct.usage")?)?),
            (Figure::plain("cpu/periods"), key(&stat, "nr_periods")?),
            (Figure::plain("cpu/throttled_periods"), key(&stat, "nr_throttled")?),
            (Figure::plain("cpu/throttled_time"), key(&stat, "throttled_time")?),
        ]))
    }

    fn cpu_v2(&self) -> anyhow::Result<Figures> {
        let stat = self.file("", "cpu.stat")?;
        let limited =
            if self.is_of_crun { self.file("", "container/cpu.stat")? } else { stat.clone() };
        Ok(Figures::from([
            (Figure::plain("cpu/usage"), key(&stat, "usage_usec")? * 1000),
            (Figure::plain("cpu/periods"), key(&limited, "nr_periods")?),
            (Figure::plain("cpu/throttled_periods"), key(&limited, "nr_throttled")?),
            (Figure::plain("cpu/throttled_time"), key(&limited, "throttled_usec")? * 1000),
        ]))
    }

    fn memory_v1(&self) -> anyhow::Result<Figures> {
        let usage = number(&self.file("memory", "memory.usage_in_bytes")?)?;
        let stat = self.file("memory", "memory.stat")?;
        Ok(Figures::from([
            (Figure::plain("memory/usage"), usage),
            (Figure::plain("memory/working_set"), usage - key(&stat, "total_inactive_file")?),
            (Figure::plain("memory/rss"), key(&stat, "total_rss")?),
            (Figure::plain("memory/cache"), key(&stat, "total_cache")?),
        ]))
    }

    fn memory_v2(&self) -> anyhow::Result<Figures> {
        let usage = number(&self.file("", "memory.current")?)?;
        let stat = self.file("", "memory.stat")?;
        Ok(Figures::from([
            (Figure::plain("memory/usage"), usage),
            (Figure::plain("memory/working_set"), usage - key(&stat, "inactive_file")?),
            (Figure::plain("memory/rss"), key(&stat, "anon")?),
            (Figure::plain("memory/cache"), key(&stat, "file")?),
        ]))
    }

    /// Lines are `254:0 Write 4096`, and one more is the sum of all devices.
    fn disks_v1(&self) -> anyhow::Result<Figures> {
        let mut figures = Figures::new();
        for (name, metric) in [
            ("blkio.throttle.io_service_bytes_recursive", "disk/io_write_bytes"),
            ("blkio.throttle.io_serviced_recursive", "disk/io_write_operations"),
        ] {
            for line in self.file("blkio", name)?.lines() {
                let mut words = line.split(' ');
                if let (Some(device), Some("Write"), Some(value)) =
                    (words.next(), words.next(), words.next())
                {
                    figures.insert(Figure::of(metric, &device_name(device)?), number(value)?);
                }
            }
        }
        Ok(figures)
    }

    /// Lines are `254:0 rbytes=0 wbytes=4096 …`.
    fn disks_v2(&self) -> anyhow::Result<Figures> {
        let mut figures = Figures::new();
        for line in self.file("", "io.stat")?.lines() {
            let Some((device, pairs)) = line.split_once(' ') else { continue };
            for pair in pairs.split(' ') {
                let metric = match pair.split_once('=') {
                    Some(("wbytes", _)) => "disk/io_write_bytes",
                    Some(("wios", _)) => "disk/io_write_operations",
                    _ => continue,
                };
                let (_, value) = pair.split_once('=').context("no value")?;
                figures.insert(Figure::of(metric, &device_name(device)?), number(value)?);
            }
        }
        Ok(figures)
    }

    /// Lines are `eth0: BYTES PACKETS ERRORS DROPS …`: eight of receiving, then eight of sending.
    fn network(&self) -> anyhow::Result<Figures> {
        let text = read(Path::new(&format!("/proc/{}/net/dev", self.load.process.pid)))?;
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:"));
        let numbers: Vec<&str> = line.context("no eth0")?.split_whitespace().collect();
        let mut figures = Figures::new();
        for (column, name) in [
            (0, "rx"),
            (1, "rx_packets"),
            (2, "rx_errors"),
            (3, "rx_dropped"),
            (8, "tx"),
            (9, "tx_packets"),
            (10, "tx_errors"),
            (11, "tx_dropped"),
        ] {
            let value = number(numbers.get(column).context("too few columns")?)?;
            figures.insert(Figure::plain(&format!("network/{name}")), value);
            figures.insert(Figure::of(&format!("network/interface/{name}"), "eth0"), value);
        }
        Ok(figures)
    }

    fn oom_kills(&self) -> anyhow::Result<Figures> {
        let text = match self.is_v2 {
            true => self.file("", "memory.events")?,
            false => self.file("memory", "memory.oom_control")?,
        };
        Ok(Figures::from([(Figure::plain("memory/oom_kills"), key(&text, "oom_kill")?)]))
    }

    /// On v2 there is one tree, on v1 one for each controller.
    fn file(&self, controller: &str, name: &str) -> anyhow::Result<String> {
        let mut place = PathBuf::from(CGROUPS);
        place.push(controller);
        place.push(self.path.trim_start_matches('/'));
        read(&place.join(name))
    }
}

/// The value of the line `key value`.
fn key(text: &str, key: &str) -> anyhow::Result<i64> {
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(' ')
            && name == key
        {
            return number(value);
        }
    }
    bail!("no {key} in {text:?}")
}

fn number(text: &str) -> anyhow::Result<i64> {
    text.trim().parse().with_context(|| format!("{text:?} is no number"))
}

/// `vda` for `254:0`.
fn device_name(device: &str) -> anyhow::Result<String> {
    let link = fs::read_link(format!("/sys/dev/block/{device}")).context(device.to_owned())?;
    let name = link.file_name().and_then(|name| name.to_str());
    Ok(name.with_context(|| format!("{device} has no name"))?.to_owned())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
