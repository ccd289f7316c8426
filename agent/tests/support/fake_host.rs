//! A host of v2 as plain files in a temporary directory: what a test says is there.

use std::{fs, path::PathBuf};

use tally_agent::{
    once::{Frame, Meanings, render},
    sampler::{Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    message::Declarations,
    tick::{Resolution, Tick},
};

/// The host.
pub(crate) struct FakeHost {
    root: tempfile::TempDir,
}

impl FakeHost {
    pub(crate) fn new() -> Self {
        let host = Self { root: tempfile::tempdir().unwrap() };
        host.write("proc/1/mountinfo", "30 20 0:26 / /cg rw - cgroup2 cgroup2 rw\n");
        host.write("proc/stat", "cpu 1 2 3 4 5 6 7 8\nbtime 1795423385\n");
        host.write("proc/loadavg", "0.35 0.78 0.54 2/102 10165\n");
        host.write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 40 kB\nInactive(file): 10 kB\n");
        host.write("proc/diskstats", "254 0 vda 11 22 33 44 55 66 77 88 0 99 100\n");
        host.write("proc/vmstat", "pgfault 1\npgmajfault 1\noom_kill 0\n");
        host.write("proc/sys/kernel/pid_max", "32768\n");
        host.write("proc/sys/kernel/threads-max", "50000\n");
        for resource in ["cpu", "memory", "io"] {
            host.write(&format!("proc/pressure/{resource}"), "some total=5\nfull total=3\n");
        }
        host.write("proc/1/net/dev", "eth0: 1 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n");
        host.write("cg/cgroup.procs", "1\n");
        host.write("cg/cpu.stat", "usage_usec 1000\n");
        host
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A cgroup whose counters all derive from `seed`.
    pub(crate) fn group(&self, path: &str, seed: u64, processes: &[u32]) {
        for (name, text) in [
            ("cpu.stat", format!("usage_usec {seed}\nnr_periods {seed}\n")),
            ("cpu.max", "50000 100000\n".to_owned()),
            ("memory.current", format!("{}\n", seed * 10)),
            ("memory.stat", format!("anon {seed}\nfile {seed}\ninactive_file {seed}\n")),
            ("memory.events", "oom_kill 0\n".to_owned()),
            ("memory.max", "max\n".to_owned()),
            ("memory.swap.current", "0\n".to_owned()),
            ("memory.swap.max", "max\n".to_owned()),
            ("memory.pressure", "some total=0\nfull total=0\n".to_owned()),
            ("io.pressure", "some total=0\nfull total=0\n".to_owned()),
            ("pids.max", "max\n".to_owned()),
            ("io.stat", format!("254:0 rbytes={seed} wbytes={seed} rios=1 wios=1\n")),
            ("pids.current", format!("{}\n", processes.len())),
            ("cpu.pressure", format!("some total={seed}\nfull total={seed}\n")),
            ("cgroup.procs", processes.iter().map(|id| format!("{id}\n")).collect()),
        ] {
            self.write(&format!("cg{path}/{name}"), &text);
        }
    }

    /// A process in a network namespace.
    pub(crate) fn process(&self, id: u32, name: &str, namespace: &str) {
        self.write(&format!("proc/{id}/stat"), &format!("{id} ({name}) S 1\n"));
        self.write(
            &format!("proc/{id}/net/dev"),
            &format!("eth0: {id} 2 3 4 0 0 0 0 5 6 7 8 0 0 0 0\n"),
        );
        let link = self.root.path().join(format!("proc/{id}/ns/net"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(namespace, link).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_dir_all(self.root.path().join(format!("cg{path}"))).unwrap();
    }
}

/// A sampler and all that it said.
pub(crate) struct Watched {
    pub(crate) sampler: Sampler,
    pub(crate) builder: Builder,
    pub(crate) tick: Tick,
    pub(crate) meanings: Meanings,
}

impl Watched {
    pub(crate) fn new(host: &FakeHost, open_files_max: usize) -> Self {
        let options = SamplerOptions::new(host.path(), Resolution::from_seconds(1).unwrap());
        let options = SamplerOptions { open_files_max: Some(open_files_max), ..options };
        Self {
            sampler: Sampler::open(options).unwrap(),
            builder: Builder::new(),
            tick: Tick(100),
            meanings: Meanings::default(),
        }
    }

    /// Reads once; what was said, and what there is now.
    pub(crate) fn read(&mut self) -> (Declarations, serde_json::Value) {
        self.tick = Tick(self.tick.0 + 1);
        let said = self.sampler.read(self.tick, &mut || 0, &mut self.builder);
        self.meanings.apply(said.clone());
        let frame = Frame { tick: self.tick, columns: self.builder.finish().clone() };
        (said, render(&self.meanings, &Frame::default(), &frame))
    }

    /// One metric of the entity at a path, after another reading.
    pub(crate) fn metric(&mut self, path: &str, metric: &str) -> Option<i64> {
        let (_, found) = self.read();
        let entities = found["entities"].as_array().unwrap();
        let entity = entities.iter().find(|entity| entity["cgroup"] == path)?;
        entity["metrics"][metric].as_i64()
    }
}
