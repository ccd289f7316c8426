//! A container is declared by its name from its first sample on, or by its id where nobody can tell.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail the test"
)]

#[path = "support/fake_host.rs"]
mod fake_host;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use fake_host::{FakeHost, Watched};
use tally_agent::{
    inquiry::{Inbox, inquiry},
    names::{
        Called,
        questions::{Reach, Round},
    },
};
use tally_proto::{
    declaration::{Declared, EntityDeclaration, PodKey},
    name::{ContainerId, ContainerName, ImageName, NamespaceName, PodName},
};

const SANDBOX: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const APP: &str = "00000000000000000000000000000000000000000000000000000000000000bb";
const FREE: &str = "00000000000000000000000000000000000000000000000000000000000000cc";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000dd";

/// What the runtimes know, whether they can be asked, and the time.
#[derive(Default)]
struct Runtimes {
    called: HashMap<ContainerId, Called>,
    reach: Reach,
    now: Duration,
    is_over: bool,
}

/// A host, its runtimes, and the agent that reads it.
struct World {
    host: FakeHost,
    watched: Watched,
    runtimes: Arc<Mutex<Runtimes>>,
    answering: Option<JoinHandle<()>>,
}

impl World {
    fn new() -> Self {
        let host = FakeHost::new();
        for path in ["/kubepods", "/docker"] {
            host.group(path, 7, &[]);
        }
        host.process(1, "init", "net:[1]");
        host.process(70, "pause", "net:[70]");
        host.process(80, "app", "net:[70]");
        let mut watched = Watched::new(&host, 100);
        let (inquiry, inbox) = inquiry();
        watched.sampler.ask_names(inquiry);
        let runtimes = Arc::<Mutex<Runtimes>>::default();
        let theirs = Arc::clone(&runtimes);
        let answering = Some(thread::spawn(move || answer(&inbox, &theirs)));
        let mut world = Self { host, watched, runtimes, answering };
        world.reach(1, 0);
        world.read();
        world
    }

    fn pod(&self) {
        self.host.group("/kubepods/poduid", 7, &[]);
    }

    fn container(&self, path: &str, id: &str, process: u32) {
        self.host.group(&format!("{path}/{id}"), 7, &[process]);
    }

    fn knows(&self, id: &str, called: Called) {
        let id = ContainerId::parse(id).unwrap();
        self.runtimes.lock().unwrap().called.insert(id, called);
    }

    fn knows_the_pod(&self) {
        self.knows(SANDBOX, Called::Sandbox(pod_key()));
        let image = ImageName::parse("image:1").ok();
        self.knows(APP, Called::InPod { pod: pod_key(), name: container_name("app"), image });
    }

    fn reach(&self, answered: usize, failed: usize) {
        self.runtimes.lock().unwrap().reach = Reach { answered, failed };
    }

    /// Seconds pass, and everything that is due is asked.
    fn pass(&self, seconds: u64) {
        self.runtimes.lock().unwrap().now += Duration::from_secs(seconds);
        // The loop below asks every millisecond.
        thread::sleep(Duration::from_millis(30));
    }

    /// Reads once; everybody who was declared, and how often somebody was retired.
    fn read(&mut self) -> Vec<String> {
        let (said, _) = self.watched.read();
        let mut words: Vec<String> = said.entities.iter().map(describe).collect();
        words.extend(said.retired.iter().map(|_| "retired".to_owned()));
        words
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runtimes.lock().unwrap().is_over = true;
        self.answering.take().unwrap().join().unwrap();
    }
}

fn answer(inbox: &Inbox, runtimes: &Mutex<Runtimes>) {
    loop {
        let Runtimes { called, reach, now, is_over } = &*runtimes.lock().unwrap();
        if *is_over {
            return;
        }
        let due = inbox.due(*now);
        if !due.is_empty() {
            let called = if 0 < reach.answered { called.clone() } else { HashMap::new() };
            inbox.answer(*now, &due, Round { called, cri: *reach, docker: *reach }, 0);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn pod_key() -> PodKey {
    let namespace = NamespaceName::parse("space").unwrap();
    PodKey { namespace, name: PodName::parse("web").unwrap() }
}

fn container_name(name: &str) -> ContainerName {
    ContainerName::parse(name).unwrap()
}

fn free(name: &str) -> Called {
    Called::Free { name: container_name(name), image: ImageName::parse("image:2").ok() }
}

fn describe(declared: &EntityDeclaration) -> String {
    let text = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
    match &declared.what {
        Declared::Pod { key, .. } => {
            format!(
                "pod {}",
                text(key.as_ref().map(|key| format!("{}/{}", key.namespace, key.name)))
            )
        }
        Declared::PodContainer { sandbox: true, .. } => "sandbox".to_owned(),
        Declared::PodContainer { name, image, .. } => format!(
            "container {} {}",
            text(name.as_ref().map(ToString::to_string)),
            text(image.as_ref().map(ToString::to_string))
        ),
        Declared::FreeContainer { name, image, .. } => format!(
            "free {} {}",
            text(name.as_ref().map(ToString::to_string)),
            text(image.as_ref().map(ToString::to_string))
        ),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_pod_and_its_containers_have_their_names_in_the_reading_that_finds_them() {
    let mut world = World::new();
    world.knows_the_pod();
    world.pod();
    world.container("/kubepods/poduid", SANDBOX, 70);
    world.container("/kubepods/poduid", APP, 80);
    assert_eq!(world.read(), ["pod space/web", "sandbox", "container app image:1"]);
    assert!(world.read().is_empty());
}

#[test]
fn a_free_container_has_its_name_in_the_reading_that_finds_it() {
    let mut world = World::new();
    world.knows(FREE, free("db"));
    world.container("/docker", FREE, 80);
    assert_eq!(world.read(), ["free db image:2"]);
    let path = format!("/docker/{FREE}");
    assert_eq!(world.watched.metric(&path, "memory/usage"), Some(70), "it was read too");
}

#[test]
fn whoever_is_not_known_yet_is_no_entity_until_it_is() {
    let mut world = World::new();
    world.pod();
    world.container("/kubepods/poduid", APP, 80);
    world.container("/docker", FREE, 80);
    assert!(world.read().is_empty());
    assert!(world.read().is_empty());
    world.knows_the_pod();
    world.knows(FREE, free("db"));
    world.pass(1);
    assert_eq!(world.read(), ["free db image:2", "pod space/web", "container app image:1"]);
}

#[test]
fn a_pod_without_containers_waits_for_the_first() {
    let mut world = World::new();
    world.knows_the_pod();
    world.pod();
    for _ in 0..9 {
        assert!(world.read().is_empty());
    }
    world.container("/kubepods/poduid", SANDBOX, 70);
    assert_eq!(world.read(), ["pod space/web", "sandbox"]);
    world.container("/kubepods/poduid", APP, 80);
    assert_eq!(world.read(), ["container app image:1"]);
}

#[test]
fn a_pod_that_stays_empty_is_there_after_all() {
    let mut world = World::new();
    world.pod();
    assert!(world.read().is_empty());
    world.watched.tick.0 += 298;
    assert!(world.read().is_empty());
    assert_eq!(world.read(), ["pod ?"]);
    world.knows_the_pod();
    world.container("/kubepods/poduid", APP, 80);
    assert_eq!(world.read(), ["pod space/web", "container app image:1"], "it is named now");
}

#[test]
fn where_nobody_can_be_asked_ids_serve_at_once_and_names_come_later() {
    let mut world = World::new();
    world.reach(0, 0);
    world.knows_the_pod();
    world.knows(FREE, free("db"));
    world.pod();
    world.container("/kubepods/poduid", SANDBOX, 70);
    world.container("/kubepods/poduid", APP, 80);
    world.container("/docker", FREE, 80);
    assert_eq!(world.read(), ["free ? ?", "pod ?", "sandbox", "container ? ?"]);
    world.pass(1);
    assert!(world.read().is_empty());
    world.reach(1, 0);
    world.pass(60);
    let mut named = world.read();
    named.sort();
    assert_eq!(named, ["container app image:1", "free db image:2", "pod space/web", "sandbox"]);
    assert!(world.read().is_empty());
}

#[test]
fn whoever_stays_unknown_is_measured_by_its_id() {
    let mut world = World::new();
    world.pod();
    world.container("/kubepods/poduid", APP, 80);
    world.container("/docker", FREE, 80);
    assert!(world.read().is_empty());
    world.pass(10);
    assert_eq!(world.read(), ["free ? ?", "pod ?", "container ? ?"]);
}

#[test]
fn of_two_with_one_name_the_second_keeps_its_path() {
    let mut world = World::new();
    world.knows(FREE, free("db"));
    world.knows(OTHER, free("db"));
    world.container("/docker", FREE, 80);
    world.container("/docker", OTHER, 80);
    assert_eq!(world.read(), ["free db image:2", "free ? ?"]);
}

#[test]
fn whoever_goes_before_it_is_named_was_never_there() {
    let mut world = World::new();
    world.pod();
    world.container("/kubepods/poduid", APP, 80);
    assert!(world.read().is_empty());
    world.host.remove("/kubepods/poduid");
    assert!(world.read().is_empty());
    world.knows_the_pod();
    world.pass(1);
    assert!(world.read().is_empty());
}

#[test]
fn whoever_is_named_and_goes_in_one_reading_is_retired() {
    let mut world = World::new();
    world.reach(0, 1);
    world.knows(FREE, free("db"));
    world.container("/docker", FREE, 80);
    assert_eq!(world.read(), ["free ? ?"]);
    world.reach(1, 0);
    world.pass(60);
    world.host.remove(&format!("/docker/{FREE}"));
    assert_eq!(world.read(), ["retired"]);
}

/// The groups of a node of Kubernetes that have names of their own.
fn make_node(host: &FakeHost) {
    for (path, seed) in [("", 1), ("/containerd.service", 2), ("/kubelet.service", 3)] {
        host.group(&format!("/system.slice{path}"), seed, &[]);
    }
}

#[test]
fn parts_of_a_node_have_heapsters_names_besides_their_own_for_the_same_values() {
    let mut world = World::new();
    make_node(&world.host);
    assert_eq!(
        world.read(),
        [
            "free ? ?",
            "free ? ?",
            "free ? ?",
            "free kubelet ?",
            "free docker-daemon ?",
            "free system ?"
        ]
    );
    let (_, found) = world.watched.read();
    let metrics = |path: &str| -> Vec<String> {
        let entities = found["entities"].as_array().unwrap().iter();
        let at = entities.filter(|entity| entity["cgroup"] == path);
        at.map(|entity| format!("{} {}", entity["metrics"], entity["labeled"])).collect()
    };
    for path in ["/system.slice", "/system.slice/kubelet.service", "/kubepods"] {
        let both = metrics(path);
        assert_eq!(both.len(), 2, "{path}");
        assert_eq!(both[0], both[1], "{path}");
        assert!(both[0].contains("cpu/usage"), "{path}: {both:?}");
    }
    assert_eq!(metrics("/docker").len(), 1);
}

#[test]
fn a_part_that_goes_takes_both_names_along() {
    let mut world = World::new();
    make_node(&world.host);
    world.read();
    world.host.remove("/system.slice/kubelet.service");
    assert_eq!(world.read(), ["retired", "retired"]);
    world.host.group("/system.slice/kubelet.service", 4, &[]);
    assert_eq!(world.read(), ["free ? ?", "free kubelet ?"]);
}

#[test]
fn a_container_that_is_called_like_a_part_keeps_its_path() {
    let mut world = World::new();
    world.knows(FREE, free("kubelet"));
    world.knows(OTHER, free("pods"));
    world.container("/docker", FREE, 80);
    world.container("/docker", OTHER, 80);
    assert_eq!(world.read(), ["free kubelet image:2", "free ? ?"]);
    make_node(&world.host);
    assert!(!world.read().contains(&"free kubelet ?".to_owned()));
}
