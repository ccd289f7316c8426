//! Entities that come, go and come again; few descriptors; values that change seldom.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/fake_host.rs"]
mod fake_host;

use fake_host::{FakeHost, Watched};
use tally_proto::declaration::{Declared, EntityNumber};

const POD: &str = "/kubepods/burstable/pod1b6f1dd1-3b5f-4a2e-9f5c-6c1d6f0a7b21";

fn id(number: u32) -> String {
    format!("{number:064x}")
}

/// A pod with a sandbox and one container, in a network of their own.
fn pod(host: &FakeHost) {
    host.group("/kubepods", 9, &[]);
    host.group("/kubepods/burstable", 9, &[]);
    host.group(POD, 9, &[]);
    for (number, name) in [(1, "pause"), (2, "app")] {
        host.group(&format!("{POD}/{}", id(number)), 7, &[number + 100]);
        host.process(number + 100, name, "net:[7]");
    }
    host.process(1, "init", "net:[1]");
}

#[test]
fn a_new_entity_is_in_the_next_frame_and_a_vanished_one_in_none() {
    let host = FakeHost::new();
    let mut watched = Watched::new(&host, 100);
    watched.read();
    host.group("/a", 7, &[]);
    assert_eq!(watched.metric("/a", "cpu/usage"), Some(7000));
    host.remove("/a");
    let (said, found) = watched.read();
    assert_eq!(said.retired, [EntityNumber(1)]);
    assert_eq!(found["entities"].as_array().unwrap().len(), 1, "only the node is left");
}

#[test]
fn a_retired_number_is_given_again_with_the_next_frame_at_the_earliest() {
    let host = FakeHost::new();
    host.group("/a", 7, &[]);
    let mut watched = Watched::new(&host, 100);
    watched.read();
    host.remove("/a");
    host.group("/b", 7, &[]);
    host.group("/c", 7, &[]);
    let numbers = |watched: &mut Watched| {
        let (said, _) = watched.read();
        said.entities.iter().map(|entity| entity.number.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut watched), [2, 3]);
    host.group("/d", 7, &[]);
    assert_eq!(numbers(&mut watched), [1]);
}

#[test]
fn a_pod_has_its_containers_processes_and_their_network() {
    let host = FakeHost::new();
    pod(&host);
    let mut watched = Watched::new(&host, 100);
    let (said, _) = watched.read();
    let sandboxes: Vec<bool> = said
        .entities
        .iter()
        .filter_map(|entity| match entity.what {
            Declared::PodContainer { sandbox, .. } => Some(sandbox),
            _ => None,
        })
        .collect();
    assert_eq!(sandboxes, [true, false]);
    assert_eq!(watched.metric(POD, "processes/count"), Some(2));
    assert_eq!(watched.metric(POD, "network/rx"), Some(101));
    assert_eq!(watched.metric(&format!("{POD}/{}", id(2)), "network/rx"), None);
    assert_eq!(watched.metric("/", "processes/count"), Some(3));
}

#[test]
fn a_pod_goes_with_all_its_containers() {
    let host = FakeHost::new();
    pod(&host);
    let mut watched = Watched::new(&host, 100);
    watched.read();
    host.remove(POD);
    let (said, _) = watched.read();
    assert_eq!(said.retired.len(), 3);
}

#[test]
fn hundreds_come_and_go_within_one_tick() {
    const MANY: u32 = 400;
    let host = FakeHost::new();
    host.group("/docker", 7, &[]);
    // A held plain file outlives its directory, as no cgroup's does; so none is held.
    let mut watched = Watched::new(&host, 0);
    watched.read();
    for round in 0..3 {
        let (old, new) = (MANY * round, MANY * (round + 1));
        for number in 0..MANY {
            if 0 < round {
                host.remove(&format!("/docker/{}", id(old + number)));
            }
            host.group(&format!("/docker/{}", id(new + number)), 7, &[]);
        }
        // As many came as went: the parent's count of links is the same as before.
        let (said, found) = watched.read();
        let many = usize::try_from(MANY).unwrap();
        assert_eq!(said.entities.len(), many, "round {round}");
        assert_eq!(said.retired.len(), if 0 < round { many } else { 0 }, "round {round}");
        assert_eq!(found["entities"].as_array().unwrap().len(), many + 2);
        assert_eq!(watched.sampler.unreadable(), []);
    }
}

#[test]
fn a_new_sandbox_has_a_new_network() {
    let host = FakeHost::new();
    pod(&host);
    let mut watched = Watched::new(&host, 100);
    watched.read();
    host.remove(&format!("{POD}/{}", id(1)));
    host.remove(&format!("{POD}/{}", id(2)));
    watched.read();
    host.process(103, "pause", "net:[8]");
    host.group(&format!("{POD}/{}", id(3)), 7, &[103]);
    assert_eq!(watched.metric(POD, "network/rx"), Some(103));
}

#[test]
fn a_container_without_a_process_waits_for_one_tick() {
    let host = FakeHost::new();
    host.group(POD, 9, &[]);
    let mut watched = Watched::new(&host, 100);
    watched.read();
    let container = format!("{POD}/{}", id(1));
    host.group(&container, 7, &[]);
    assert_eq!(watched.metric(&container, "cpu/usage"), None);
    assert_eq!(watched.metric(&container, "cpu/usage"), Some(7000));
}

#[test]
fn a_container_whose_pod_has_no_cgroup_has_a_pod_nevertheless() {
    let host = FakeHost::new();
    let name = format!("kubepods-pod1b6f1dd1_3b5f.slice:cri-containerd:{}", id(1));
    let path = format!("/system.slice/containerd.service/{name}");
    host.process(101, "app", "net:[7]");
    host.group("/system.slice", 7, &[]);
    host.group("/system.slice/containerd.service", 7, &[]);
    host.group(&path, 7, &[101]);
    let mut watched = Watched::new(&host, 100);
    let (said, found) = watched.read();
    let pods = said.entities.iter().filter(|entity| matches!(entity.what, Declared::Pod { .. }));
    assert_eq!(pods.count(), 1);
    let container =
        found["entities"].as_array().unwrap().iter().find(|entity| entity["cgroup"] == path);
    assert_eq!(container.unwrap()["pod_uid"], "1b6f1dd1-3b5f");
    host.remove(&path);
    let (said, _) = watched.read();
    assert_eq!(said.retired.len(), 2, "the pod goes with its last container");
}

#[test]
fn in_another_pid_namespace_the_hosts_proc_tells_whose_process_is_whose() {
    let host = FakeHost::new();
    pod(&host);
    for number in [1, 2] {
        let path = format!("{POD}/{}", id(number));
        host.write(&format!("cg{path}/cgroup.procs"), "0\n");
        host.write(&format!("proc/{}/cgroup", number + 100), &format!("0::/..{path}\n"));
    }
    let number = (std::process::id() + 1).to_string();
    std::os::unix::fs::symlink(number, host.path().join("proc/self")).unwrap();
    let mut watched = Watched::new(&host, 100);
    let (said, _) = watched.read();
    let is_sandbox = |what: &Declared| matches!(what, Declared::PodContainer { sandbox: true, .. });
    assert_eq!(said.entities.iter().filter(|entity| is_sandbox(&entity.what)).count(), 1);
    assert_eq!(watched.metric(POD, "network/rx"), Some(101));
    assert_eq!(watched.metric(POD, "processes/count"), Some(2));
    assert_eq!(watched.sampler.unreadable(), []);
}

#[test]
fn where_nothing_tells_whose_process_is_whose_that_is_said_once() {
    let host = FakeHost::new();
    pod(&host);
    for number in [1, 2] {
        host.write(&format!("cg{POD}/{}/cgroup.procs", id(number)), "0\n");
    }
    let mut watched = Watched::new(&host, 100);
    for _ in 0..3 {
        watched.read();
    }
    let [fault] = watched.sampler.unreadable() else { panic!("one fault") };
    assert!(fault.reason.contains("--pid host"), "{fault}");
    assert_eq!(watched.metric(POD, "network/rx"), None);
}

#[test]
fn few_descriptors_change_no_value() {
    let host = FakeHost::new();
    pod(&host);
    let reading = |descriptors| {
        let mut watched = Watched::new(&host, descriptors);
        watched.read();
        let (_, mut found) = watched.read();
        assert!(watched.sampler.open_files() <= descriptors);
        for entity in found["entities"].as_array_mut().unwrap() {
            entity["metrics"]
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !name.starts_with("agent/"));
        }
        found["entities"].take()
    };
    let all = reading(1000);
    for descriptors in [0, 1, 10, 30] {
        assert_eq!(reading(descriptors), all, "{descriptors} descriptors");
    }
}

#[test]
fn what_changes_seldom_is_seen_within_fifteen_seconds() {
    let host = FakeHost::new();
    host.group("/a", 7, &[]);
    let mut watched = Watched::new(&host, 100);
    assert_eq!(watched.metric("/a", "memory/oom_kills"), Some(0));
    host.write("cg/a/memory.events", "oom_kill 3\n");
    let seen = (1..=15).find(|_| watched.metric("/a", "memory/oom_kills") == Some(3));
    assert!(seen.is_some());
}

#[test]
fn every_tick_has_the_current_counters() {
    let host = FakeHost::new();
    let mut watched = Watched::new(&host, 100);
    for seed in 1..5 {
        host.group("/a", seed, &[]);
        assert_eq!(watched.metric("/a", "cpu/usage"), Some(i64::try_from(seed).unwrap() * 1000));
        assert_eq!(watched.metric("/a", "memory/rss"), Some(i64::try_from(seed).unwrap()));
    }
}

#[test]
fn the_node_alone_is_read_where_there_are_no_other_cgroups() {
    let host = FakeHost::new();
    let mut watched = Watched::new(&host, 100);
    assert_eq!(watched.metric("/", "cpu/usage"), Some(1_000_000));
    assert_eq!(watched.metric("/", "memory/usage"), Some(60 << 10));
    assert_eq!(watched.metric("/", "memory/working_set"), Some(50 << 10));
    assert_eq!(watched.metric("/", "cpu/load"), Some(2));
    assert_eq!(watched.metric("/", "network/rx"), Some(1));
}

#[test]
fn an_idle_group_keeps_its_figures_until_it_does_something_or_has_its_turn() {
    let host = FakeHost::new();
    host.group("/a", 7, &[]);
    let mut watched = Watched::new(&host, 100);
    for _ in 0..5 {
        assert_eq!(watched.metric("/a", "memory/working_set"), Some(63));
    }
    // The kernel aged its page cache.
    host.write("cg/a/memory.stat", "anon 7\nfile 7\ninactive_file 9\n");
    assert_eq!(watched.metric("/a", "memory/working_set"), Some(63));
    host.write("cg/a/memory.current", "71\n");
    assert_eq!(watched.metric("/a", "memory/working_set"), Some(62));
    for _ in 0..5 {
        watched.read();
    }
    host.write("cg/a/memory.stat", "anon 7\nfile 7\ninactive_file 11\n");
    let seen = (1..=15).find(|_| watched.metric("/a", "memory/working_set") == Some(60));
    assert!(seen.is_some());
}
