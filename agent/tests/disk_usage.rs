//! What pods and containers have on disk is theirs at every tick, until it is too old.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/fake_host.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod fake_host;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fake_host::{FakeHost, Watched};
use serde_json::Value;
use tally_agent::{
    disk_usage::{Board, ContainerUsage, DiskUsage, PodUsage, Room, Space, Volume},
    inquiry::inquiry,
    names::{
        Called,
        questions::{Reach, Round},
    },
};
use tally_proto::{
    declaration::PodKey,
    name::{ContainerId, ContainerName, NamespaceName, PodName, PodUid},
    tick::Tick,
};

const UID: &str = "11111111-2222-3333-4444-555555555501";
const APP: &str = "00000000000000000000000000000000000000000000000000000000000000bb";
const FREE: &str = "00000000000000000000000000000000000000000000000000000000000000cc";

/// Seconds for which values hold.
const KEPT_S: u64 = 300;

const ROOM: Room = Room { limit_bytes: 1000, available_bytes: 600, inodes: 50, inodes_free: 40 };

fn space(used_bytes: u64) -> Space {
    Space { used_bytes: Some(used_bytes), room: Some(ROOM) }
}

fn volume(name: &str, space: Space) -> Volume {
    let resource = format!("Volume:{name}").into();
    Volume { resource, space, is_ephemeral: true, holds_data: true }
}

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn name(text: &str) -> ContainerName {
    ContainerName::parse(text).unwrap()
}

/// A host with a pod of one container and with a free one, and what is known of their disks.
struct World {
    watched: Watched,
    board: Board,
    _host: FakeHost,
}

impl World {
    fn new() -> Self {
        let host = FakeHost::new();
        host.process(1, "init", "net:[1]");
        host.process(80, "app", "net:[70]");
        for path in ["/kubepods", "/docker", &format!("/kubepods/pod{UID}")] {
            host.group(path, 7, &[]);
        }
        host.group(&format!("/kubepods/pod{UID}/{APP}"), 7, &[80]);
        host.group(&format!("/docker/{FREE}"), 7, &[80]);
        let mut watched = Watched::new(&host, 100);
        name_all(&mut watched);
        let board = Board::default();
        watched.sampler.watch_disk_usage(board.clone(), KEPT_S);
        Self { watched, board, _host: host }
    }

    fn put(&self, volumes: Vec<Volume>, containers: &[(&str, ContainerUsage)]) {
        let logs = HashMap::from([(name("app"), space(20))]);
        let pod = PodUsage { volumes: Some(volumes), logs };
        self.board.put(Arc::new(DiskUsage {
            pods: HashMap::from([(PodUid::parse(UID).unwrap(), pod)]),
            containers: containers.iter().map(|(of, usage)| (id(of), *usage)).collect(),
            knows_layers: true,
            images_bytes: Some(77),
            given_up: 3,
        }));
    }

    /// What is on the disks of the entity at a path after another reading, in words.
    fn read(&mut self, path: &str) -> Vec<String> {
        let (_, found) = self.watched.read();
        words(&found, path)
    }
}

/// Lets a runtime name them at the first reading.
fn name_all(watched: &mut Watched) {
    let (inquiry, inbox) = inquiry();
    watched.sampler.ask_names(inquiry);
    let is_over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&is_over);
    let answering = thread::spawn(move || {
        let pod = PodKey {
            namespace: NamespaceName::parse("space").unwrap(),
            name: PodName::parse("web").unwrap(),
        };
        let called = HashMap::from([
            (id(APP), Called::InPod { pod, name: name("app"), image: None }),
            (id(FREE), Called::Free { name: name("db"), image: None }),
        ]);
        let reach = Reach { answered: 1, failed: 0 };
        while !until.load(Ordering::Relaxed) {
            let due = inbox.due(Duration::ZERO);
            let round = Round { called: called.clone(), cri: reach, docker: reach };
            inbox.answer(Duration::ZERO, &due, round, 0);
            thread::sleep(Duration::from_millis(1));
        }
    });
    watched.read();
    is_over.store(true, Ordering::Relaxed);
    answering.join().unwrap();
}

fn words(found: &Value, path: &str) -> Vec<String> {
    let entities = found["entities"].as_array().unwrap();
    let entity = entities.iter().find(|entity| entity["cgroup"] == path).unwrap();
    let mut words = Vec::new();
    for row in entity["labeled"].as_array().unwrap() {
        if let Some(short) = row["metric"].as_str().unwrap().strip_prefix("filesystem/") {
            let resource = row["labels"]["resource_id"].as_str().unwrap();
            words.push(format!("{resource} {short} {}", row["value"]));
        }
    }
    let metrics = &entity["metrics"];
    for metric in ["ephemeral_storage/usage", "images/usage", "agent/disk_usage_given_up"] {
        if let Some(value) = metrics[metric].as_i64() {
            words.push(format!("{metric} {value}"));
        }
    }
    words.sort();
    words
}

/// A space with [`ROOM`], in the order of words.
fn all_of(resource: &str, used: u64) -> Vec<String> {
    let parts =
        [("available", 600), ("inodes", 50), ("inodes_free", 40), ("limit", 1000), ("usage", used)];
    parts.iter().map(|(part, value)| format!("{resource} {part} {value}")).collect()
}

fn pod() -> String {
    format!("/kubepods/pod{UID}")
}

fn app() -> String {
    format!("/kubepods/pod{UID}/{APP}")
}

#[test]
fn everybody_has_what_heapster_gave_them() {
    let mut world = World::new();
    let layer = |used| ContainerUsage { layer: Some(space(used)), logs: None };
    let free = ContainerUsage { layer: Some(space(5)), logs: Some(space(6)) };
    world.put(vec![volume("data", space(300))], &[(APP, layer(1)), (FREE, free)]);
    let expected = [all_of("Volume:data", 300), vec!["ephemeral_storage/usage 321".to_owned()]];
    assert_eq!(world.read(&pod()), expected.concat());
    let ephemeral = |bytes: u64| vec![format!("ephemeral_storage/usage {bytes}")];
    let expected = [all_of("/", 1), ephemeral(21), all_of("logs", 20)];
    assert_eq!(world.read(&app()), expected.concat());
    let expected = [all_of("/", 5), ephemeral(11), all_of("logs", 6)];
    assert_eq!(world.read(&format!("/docker/{FREE}")), expected.concat());
    let of_node = world.read("/");
    assert!(of_node.contains(&"images/usage 77".to_owned()), "{of_node:?}");
    assert!(of_node.contains(&"agent/disk_usage_given_up 3".to_owned()), "{of_node:?}");
}

#[test]
fn what_is_not_known_is_absent() {
    let mut world = World::new();
    world.put(vec![volume("data", Space { used_bytes: None, room: Some(ROOM) })], &[]);
    assert!(world.read(&pod()).is_empty());
    assert_eq!(world.read(&app()), all_of("logs", 20));
    assert!(world.read(&format!("/docker/{FREE}")).is_empty());
}

#[test]
fn values_are_repeated_until_they_are_too_old_or_there_are_newer_ones() {
    let mut world = World::new();
    world.put(vec![volume("data", space(300))], &[]);
    let first = world.read(&pod());
    assert!(first.contains(&"Volume:data usage 300".to_owned()));
    assert_eq!(world.read(&pod()), first);
    let taken = world.watched.tick.0 - 1;
    world.watched.tick = Tick(taken + KEPT_S - 2);
    assert_eq!(world.read(&pod()), first);
    for _ in 0..2 {
        assert!(world.read(&pod()).is_empty());
    }
    assert!(!world.read("/").iter().any(|word| word.starts_with("images")));
    world.put(vec![volume("data", space(400))], &[]);
    assert!(world.read(&pod()).contains(&"Volume:data usage 400".to_owned()));
}

#[test]
fn a_volume_of_another_name_takes_the_columns_of_one_that_is_gone() {
    let mut world = World::new();
    let mut columns = Vec::new();
    for number in 0..6 {
        world.put(vec![volume(&format!("v{number}"), space(number))], &[]);
        let found = world.read(&pod());
        assert!(found.contains(&format!("Volume:v{number} usage {number}")), "{found:?}");
        assert_eq!(found.len(), 6, "no other volume: {found:?}");
        columns.push(world.watched.meanings.columns.len());
    }
    // One rests while the other is used.
    assert_eq!(columns[1..], [columns[1]; 5]);
}
