//! In the steady state a tick allocates nothing and opens nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/fake_host.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod fake_host;

use std::alloc::System;

use fake_host::{FakeHost, Watched};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tally_proto::tick::Tick;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Every file was opened, slow ones at their turns, and the idle groups are known.
const WARM_UP: u64 = 32;

/// Two turns of every slow file.
const TICKS: u64 = 30;

#[test]
fn a_steady_tick_allocates_and_opens_nothing() {
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
    for _ in 0..WARM_UP {
        watched.read();
    }
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
