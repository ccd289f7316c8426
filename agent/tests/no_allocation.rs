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

/// Every slow file has had three turns. Files that this host lacks were tried for the third time
/// then, and slow ones are tried again after three more turns.
const WARM_UP: u64 = 45;

/// One turn of every slow file.
const TICKS: u64 = 15;

#[test]
fn a_steady_tick_allocates_and_opens_nothing() {
    let host = FakeHost::new();
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
    let region = Region::new(ALLOCATOR);
    for _ in 0..TICKS {
        *tick = Tick(tick.0 + 1);
        let said = sampler.read(*tick, &mut || 0, builder);
        assert!(said.is_empty());
        builder.finish();
    }
    let change = region.change();
    let (readings, opens) = sampler.readings_and_opens();
    assert_eq!((change.allocations, change.reallocations), (0, 0), "{change:?}");
    assert_eq!(opens, opens_before);
    assert!(40 * 7 * TICKS < readings - readings_before, "it did read");
}
