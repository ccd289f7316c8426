//! Every captured host must come out as the oracle beside it says: each entity, each value.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/captured.rs"]
mod captured;

use std::{collections::BTreeMap, fs, path::Path};

use captured::{captures, unpack};
use serde_json::Value;
use tally_agent::{
    once::{Frame, Meanings, render},
    sampler::{Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    tick::{Resolution, Tick},
};

/// One reading. A container whose process the capture lacks waits for a tick, hence two.
fn read(root: &Path) -> Value {
    let mut sampler =
        Sampler::open(SamplerOptions::new(root, Resolution::from_seconds(1).unwrap())).unwrap();
    let (mut builder, mut meanings) = (Builder::new(), Meanings::default());
    let mut last = Frame::default();
    for tick in [100, 101] {
        meanings.apply(sampler.read(Tick(tick), &mut || 0, &mut builder));
        last = Frame { tick: Tick(tick), columns: builder.finish().clone() };
    }
    assert_eq!(sampler.unreadable(), []);
    let mut reading = render(&meanings, &Frame::default(), &last);
    reading["cgroup"] = sampler.layout().to_string().into();
    reading
}

/// What the oracle does not tell: it is of the node's own files, of the machine the test runs on, or
/// of all interfaces. Other tests guard it. Of v1's root it asks the cgroup for disks and kills, where
/// the kernel says 0 or counts the root's own only; the agent asks diskstats and vmstat.
fn is_beyond_the_oracle(kind: &str, metric: &str) -> bool {
    const OF_THE_NODE: [&str; 7] = [
        "cpu/load",
        "threads/count",
        "threads/limit",
        "processes/limit",
        "memory/oom_kills",
        "memory/swap",
        "ephemeral_storage/usage",
    ];
    metric.starts_with("network/interface/")
        || kind == "node"
            && (OF_THE_NODE.contains(&metric)
                || ["agent/", "filesystem/", "disk/"].iter().any(|of| metric.starts_with(of)))
}

type Entities = BTreeMap<String, BTreeMap<String, Value>>;

/// Entities by cgroup, each with its fields and values by name.
fn entities(reading: &Value) -> Entities {
    let list = reading["entities"].as_array().unwrap();
    list.iter()
        .map(|entity| (entity["cgroup"].as_str().unwrap().to_owned(), facts(entity)))
        .collect()
}

fn facts(entity: &Value) -> BTreeMap<String, Value> {
    let kind = entity["kind"].as_str().unwrap();
    let mut facts = BTreeMap::new();
    for field in ["kind", "pod_uid", "container_id", "runtime"] {
        if let Some(value) = entity.get(field) {
            facts.insert(field.to_owned(), value.clone());
        }
    }
    for (metric, value) in entity["metrics"].as_object().unwrap() {
        if metric != "uptime" && !is_beyond_the_oracle(kind, metric) {
            facts.insert(metric.clone(), value.clone());
        }
    }
    for row in entity["labeled"].as_array().unwrap() {
        let metric = row["metric"].as_str().unwrap();
        if !is_beyond_the_oracle(kind, metric) {
            facts.insert(format!("{metric} {}", row["labels"]), row["value"].clone());
        }
    }
    facts
}

/// Every difference, one a line.
fn differences(expected: &Entities, found: &Entities) -> Vec<String> {
    let none = BTreeMap::new();
    let mut differences = Vec::new();
    for cgroup in
        expected.keys().chain(found.keys().filter(|cgroup| !expected.contains_key(*cgroup)))
    {
        let [expected, found] = [expected, found].map(|all| all.get(cgroup).unwrap_or(&none));
        for fact in expected.keys().chain(found.keys().filter(|fact| !expected.contains_key(*fact)))
        {
            let values = [expected, found].map(|all| all.get(fact));
            if values[0] != values[1] {
                differences.push(format!(
                    "{cgroup} {fact}: expected {:?}, found {:?}",
                    values[0], values[1]
                ));
            }
        }
    }
    differences
}

fn check(capture: &Path) -> Result<(), String> {
    let root = tempfile::tempdir().unwrap();
    unpack(&fs::read_to_string(capture).unwrap(), root.path());
    let expected = fs::read_to_string(capture.with_extension("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&expected).unwrap();
    let found = read(root.path());
    let mut differences = differences(&entities(&expected), &entities(&found));
    if expected["cgroup"] != found["cgroup"] {
        differences
            .push(format!("layout: expected {}, found {}", expected["cgroup"], found["cgroup"]));
    }
    let name = capture.file_name().unwrap().to_string_lossy().into_owned();
    if differences.is_empty() {
        Ok(())
    } else {
        Err(format!("{name}:\n  {}", differences.join("\n  ")))
    }
}

#[test]
fn every_captured_host_is_read_as_its_oracle_says() {
    let wrong: Vec<String> = captures().iter().filter_map(|capture| check(capture).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
