//! In the steady state a tick allocates nothing and opens nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/captured.rs"]
mod captured;
#[path = "support/fake_host.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod fake_host;
#[path = "support/known_disks.rs"]
mod known_disks;

use std::{alloc::System, fs};

use captured::{captures, unpack};
use fake_host::{FakeHost, Watched};
use known_disks::volume_of_each;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tally_agent::{
    inquiry::inquiry,
    sampler::{Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    tick::{Resolution, Tick},
};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Every file was opened, slow ones at their turns, the idle groups are known, and what is not there
/// was tried at two slow turns and given up.
const WARM_UP: u64 = 64;

/// Two turns of every slow file.
const TICKS: u64 = 30;

/// The allocator counts for the whole process, so one comes after the other.
#[test]
fn a_steady_tick_allocates_and_opens_nothing() {
    of_a_host_that_works();
    of_every_captured_host();
}

fn of_a_host_that_works() {
    let host = FakeHost::new();
    for parent in ["", "/kubepods", "/docker"] {
        host.group(parent, 7, &[]);
    }
    for number in 0..20 {
        let (pod, id) = (format!("/kubepods/pod{number}"), 1000 + number);
        host.process(id, "app", &format!("net:[{id}]"));
        host.group(&pod, 7, &[]);
        host.group(&format!("{pod}/{number:064x}"), 7, &[id]);
    }
    host.process(1, "init", "net:[1]");
    host.process(2000, "app", "net:[1]");
    let id = format!("{:064x}", 99);
    host.group(&format!("/docker/{id}"), 7, &[]);
    host.group(&format!("/docker/{id}/nested"), 7, &[2000]);
    let mut watched = Watched::new(&host, 10_000);
    // Names were asked for, and nobody knew any.
    watched.sampler.ask_names(inquiry().0);
    // What is on disk was found out once, and is repeated.
    watched.sampler.watch_disk_usage(volume_of_each(20), u64::MAX);
    for _ in 0..WARM_UP {
        watched.read();
    }
    let on_disk = watched.metric("/kubepods/pod7", "ephemeral_storage/usage");
    assert_eq!(on_disk, Some(1), "it is repeated");
    let (readings_before, opens_before) = watched.sampler.readings_and_opens();
    let Watched { sampler, builder, tick, .. } = &mut watched;
    for round in 1..=TICKS {
        // Half of the pods work, the others are idle.
        for number in 0..10 {
            let usage = format!("usage_usec {}\nnr_periods 1\n", 7 + round);
            host.write(&format!("cg/kubepods/pod{number}/cpu.stat"), &usage);
            host.write(&format!("cg/kubepods/pod{number}/{number:064x}/cpu.stat"), &usage);
        }
        *tick = Tick(tick.0 + 1);
        let region = Region::new(ALLOCATOR);
        let said = sampler.read(*tick, &mut || 0, builder);
        builder.finish();
        let change = region.change();
        assert!(said.is_empty());
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    }
    let (readings, opens) = sampler.readings_and_opens();
    assert_eq!(opens, opens_before);
    // 22 idle groups with 5 files, 20 active ones with 9.
    assert!((22 * 5 + 20 * 9) * TICKS < readings - readings_before, "it did read");
}

/// Allocations and opens of a captured host's steady ticks. Nothing moves in it, but every group has
/// its turns in which all its files are read.
fn steady(archive: &str) -> (usize, u64) {
    let root = tempfile::tempdir().unwrap();
    unpack(archive, root.path());
    let options = SamplerOptions::new(root.path(), Resolution::from_seconds(1).unwrap());
    let mut sampler = Sampler::open(options).unwrap();
    let mut builder = Builder::new();
    let mut tick = |number| {
        sampler.read(Tick(number), &mut || 0, &mut builder);
        builder.finish();
        sampler.readings_and_opens().1
    };
    // Of an idle group most files are read at slow turns only, so it takes six of them until what is
    // not there is given up.
    let warm_up = 7 * 15;
    let opens_before = (0..warm_up).map(&mut tick).last().unwrap();
    let region = Region::new(ALLOCATOR);
    let opens = (warm_up..warm_up + TICKS).map(&mut tick).last().unwrap();
    let change = region.change();
    (change.allocations + change.reallocations, opens - opens_before)
}

fn of_every_captured_host() {
    for capture in captures() {
        let archive = fs::read_to_string(&capture).unwrap();
        assert_eq!(steady(&archive), (0, 0), "allocations and opens of {}", capture.display());
    }
}
