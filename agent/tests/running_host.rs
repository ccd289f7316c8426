//! The host that this test runs on, against procfs and sysinfo. Any host will do: without cgroups,
//! as in some sandboxes, there is nothing to compare.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

use std::ops::RangeInclusive;

use procfs::{Current as _, CurrentSI as _};
use serde_json::Value;
use tally_agent::{
    once::{Frame, Meanings, render},
    sampler::{OpenError, Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    tick::{Resolution, Tick},
};

/// The node as the agent reads it once; `None` on a host without cgroups.
fn node() -> Option<Value> {
    let options = SamplerOptions::new("/", Resolution::from_seconds(1).unwrap());
    let mut sampler = match Sampler::open(options) {
        Ok(sampler) => sampler,
        Err(OpenError::NoHierarchies { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let (mut builder, mut meanings) = (Builder::new(), Meanings::default());
    meanings.apply(sampler.read(Tick(1), &mut || 0, &mut builder));
    let frame = Frame { tick: Tick(1), columns: builder.finish().clone() };
    Some(render(&meanings, &Frame::default(), &frame)["entities"][0].take())
}

/// A number that moves is between what the oracle says before and after.
fn between(before: u64, found: &Value, after: u64) {
    let range: RangeInclusive<u64> = before.min(after)..=before.max(after);
    let found = found.as_u64().unwrap();
    assert!(range.contains(&found), "{found} is not in {range:?}");
}

fn labeled<'a>(node: &'a Value, metric: &str, resource: &str) -> &'a Value {
    let rows = node["labeled"].as_array().unwrap();
    let is_it = |row: &&Value| row["metric"] == metric && row["labels"]["resource_id"] == resource;
    &rows.iter().find(is_it).unwrap_or_else(|| panic!("no {metric} of {resource}"))["value"]
}

#[test]
fn interfaces_are_as_procfs_reads_them() {
    let before = procfs::net::dev_status().unwrap();
    let Some(node) = node() else { return };
    let after = procfs::net::dev_status().unwrap();
    let (before, after) = (&before["lo"], &after["lo"]);
    between(before.recv_bytes, labeled(&node, "network/interface/rx", "lo"), after.recv_bytes);
    between(
        before.sent_packets,
        labeled(&node, "network/interface/tx_packets", "lo"),
        after.sent_packets,
    );
}

#[test]
fn disks_are_as_procfs_reads_them() {
    let before = procfs::diskstats().unwrap();
    let Some(node) = node() else { return };
    let after = procfs::diskstats().unwrap();
    let rows = node["labeled"].as_array().unwrap();
    let disks = rows.iter().filter(|row| row["metric"] == "disk/io_write_operations");
    for row in disks {
        let of = |disks: &[procfs::DiskStat]| {
            let disk = disks.iter().find(|disk| disk.name == row["labels"]["resource_id"]);
            disk.unwrap().writes
        };
        between(of(&before), &row["value"], of(&after));
    }
}

#[test]
fn page_faults_and_limits_are_as_procfs_reads_them() {
    let Some(node) = node() else { return };
    let limit = procfs::sys::kernel::pid_max().unwrap();
    assert_eq!(node["metrics"]["processes/limit"], limit);
    let swap = procfs::Meminfo::current().unwrap();
    assert_eq!(node["metrics"]["memory/swap"], swap.swap_total - swap.swap_free);
}

#[test]
fn the_root_filesystem_is_as_sysinfo_reads_it() {
    let Some(node) = node() else { return };
    let disks = sysinfo::Disks::new_with_refreshed_list().unwrap();
    let root = disks.iter().find(|disk| disk.mount_point().as_os_str() == "/");
    // In some containers sysinfo does not take the root for a disk.
    let Some(root) = root else { return };
    assert_eq!(*labeled(&node, "filesystem/limit", "/"), root.total_space());
}

#[test]
fn the_node_began_when_it_booted() {
    let Some(node) = node() else { return };
    let start: jiff::Timestamp = node["start"].as_str().unwrap().parse().unwrap();
    let booted = procfs::KernelStats::current().unwrap().btime;
    assert_eq!(start.as_second(), i64::try_from(booted).unwrap());
}
