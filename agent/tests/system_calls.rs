//! In the steady state a tick reads held files and looks at held directories: strace counts no other
//! system call, above all no open. Where there is no strace, or it may not trace, nothing is tested.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests may fail the test, and a skipped one says so"
)]

#[path = "support/fake_host.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod fake_host;
#[path = "support/known_disks.rs"]
mod known_disks;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    process::{Command, Stdio},
};

use fake_host::{FakeHost, Watched};
use known_disks::volume_of_each;
use tally_agent::inquiry::inquiry;
use tally_proto::tick::Tick;

/// Says to the traced process how many files it may hold.
const FILES_MAX: &str = "TALLY_TEST_TRACED_WITH_FILES";

/// Looked up before and after each tick that counts: a call that shows in the trace.
const BEGINS: &str = "/a-tick-begins";
const ENDS: &str = "/a-tick-ends";

/// Ticks until everything is open, and what is not there is given up.
const WARM_UP: u64 = 64;
/// Two turns of every slow file.
const TICKS: u64 = 30;

const PODS: u32 = 20;

/// What is traced: pods of which half work, some containers, and a steady host around them.
#[test]
fn traced() {
    let Some(files_max) = env::var(FILES_MAX).ok().and_then(|most| most.parse().ok()) else {
        return;
    };
    let host = FakeHost::new();
    for parent in ["", "/kubepods", "/docker"] {
        host.group(parent, 7, &[]);
    }
    host.process(1, "init", "net:[1]");
    for number in 0..PODS {
        let (pod, id) = (format!("/kubepods/pod{number}"), 1000 + number);
        host.process(id, "app", &format!("net:[{id}]"));
        host.group(&pod, 7, &[]);
        host.group(&format!("{pod}/{number:064x}"), 7, &[id]);
    }
    let mut watched = Watched::new(&host, files_max);
    // Names were asked for, and nobody knew any.
    watched.sampler.ask_names(inquiry().0);
    // What is on disk was found out once, and is repeated.
    watched.sampler.watch_disk_usage(volume_of_each(PODS), u64::MAX);
    for _ in 0..WARM_UP {
        watched.read();
    }
    let Watched { sampler, builder, tick, .. } = &mut watched;
    for round in 1..=TICKS {
        for number in 0..PODS / 2 {
            let usage = format!("usage_usec {}\nnr_periods 1\n", 7 + round);
            host.write(&format!("cg/kubepods/pod{number}/{number:064x}/cpu.stat"), &usage);
        }
        *tick = Tick(tick.0 + 1);
        assert!(fs::metadata(BEGINS).is_err());
        sampler.read(*tick, &mut || 0, builder);
        builder.finish();
        assert!(fs::metadata(ENDS).is_err());
    }
}

/// How often each system call was made during the ticks of [`traced`].
fn calls(files_max: usize) -> Option<BTreeMap<String, u64>> {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(&trace)
        .arg(env::current_exe().unwrap())
        .args(["--exact", "traced"])
        .env(FILES_MAX, files_max.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        return None;
    }
    Some(count(&fs::read_to_string(trace).unwrap()))
}

/// Counts the calls between the marks, of the thread that makes the marks.
fn count(trace: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut reading = None;
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        if call.contains(ENDS) {
            reading = None;
        } else if reading == Some(thread) {
            let name = call.trim_start().split('(').next().unwrap_or_default();
            *counts.entry(name.to_owned()).or_insert(0) += 1;
        } else if call.contains(BEGINS) {
            reading = Some(thread);
        }
    }
    counts
}

#[test]
fn a_steady_tick_reads_what_it_holds_and_opens_nothing() {
    let Some(counts) = calls(10_000) else {
        println!("SKIPPED: strace is not installed, or may not trace here");
        assert!(
            env::var("CI").is_err() || !could_trace(),
            "tests/setup/install-strace was not run"
        );
        return;
    };
    // Held files; held directories; the size of filesystems; this process's CPU time; and, at slow
    // turns, whether the process of a network is still there.
    let expected = ["pread64", "fstat", "statfs", "clock_gettime", "newfstatat", "stat"];
    let expected: BTreeSet<&str> = expected.into_iter().collect();
    let found: BTreeSet<&str> = counts.keys().map(String::as_str).collect();
    assert!(found.is_subset(&expected), "{counts:?}");
    // Thirty idle groups with 5 files, ten active ones with 9.
    assert!((30 * 5 + 10 * 9) * TICKS < counts["pread64"], "it did read: {counts:?}");
    // The same with too few descriptors, so that this test is known to see an open.
    assert!(calls(50).unwrap().contains_key("openat"));
}

/// Whether this machine lets a process be traced at all.
fn could_trace() -> bool {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    scope.trim() != "3" && fs::metadata("/usr/bin/apt-get").is_ok() && is_root()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
