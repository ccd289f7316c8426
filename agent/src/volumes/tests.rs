use std::{fs, io, os::unix::ffi::OsStrExt as _, thread};

use tally_proto::name::{ContainerId, ContainerName, PodUid};

use super::*;
use crate::disk_usage::{Layer, layer_questions};

const UID: &str = "11111111-2222-3333-4444-555555555501";

fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().spawn(work).map(drop)
}

/// A host with one pod, and who watches it.
struct Host {
    root: tempfile::TempDir,
    watch: Watch,
    board: Board,
    paused: Duration,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/1")).unwrap();
        fs::write(root.path().join("proc/1/mountinfo"), "").unwrap();
        let options = Options {
            host_root: root.path().to_owned(),
            kubelet_dir: "/var/lib/kubelet".into(),
            pod_logs_dir: "/var/log/pods".into(),
            interval: Duration::from_secs(60),
        };
        let watch = Watch::new(options, spawn);
        Self { root, watch, board: Board::default(), paused: Duration::ZERO }
    }

    fn write(&self, path: &str, bytes: usize) -> PathBuf {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![7; bytes]).unwrap();
        path
    }

    fn volume(name: &str) -> String {
        format!("var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/{name}")
    }

    fn round_with(&mut self, layers: Option<Layers>) -> Arc<DiskUsage> {
        let paused = &mut self.paused;
        let mut pause = |pause: Duration| {
            *paused += pause;
            Pause::Over
        };
        self.watch.round(layers, &self.board, &mut pause);
        self.board.newest().unwrap()
    }

    fn round(&mut self) -> Arc<DiskUsage> {
        self.round_with(Some(Layers::default()))
    }
}

fn pod(usage: &DiskUsage) -> &PodUsage {
    &usage.pods[&PodUid::parse(UID).unwrap()]
}

/// Bytes of the pod's only volume.
fn volume_bytes(usage: &DiskUsage) -> Option<u64> {
    let Some([volume]) = pod(usage).volumes.as_deref() else { panic!("one volume") };
    volume.space.used_bytes
}

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn large(bytes: Option<u64>, least: u64) -> bool {
    bytes.is_some_and(|bytes| (least..least + 20_000).contains(&bytes))
}

#[test]
fn volumes_and_logs_of_a_pod_are_measured() {
    let mut host = Host::new();
    host.write(&format!("{}/file", Host::volume("scratch")), 100_000);
    host.write(&format!("var/log/pods/default_web_{UID}/srv/0.log"), 50_000);
    let usage = host.round();
    let PodUsage { volumes, logs } = pod(&usage);
    let Some([Volume { resource, space, is_ephemeral: true, holds_data: true }]) =
        volumes.as_deref()
    else {
        panic!()
    };
    assert_eq!(&**resource, "Volume:scratch");
    assert!(large(space.used_bytes, 100_000), "{space:?}");
    assert!(space.room.unwrap().limit_bytes > 100_000);
    assert!(large(logs[&ContainerName::parse("srv").unwrap()].used_bytes, 50_000));
    assert_eq!((usage.given_up, usage.knows_layers), (0, false));
    host.write(&format!("{}/more", Host::volume("scratch")), 300_000);
    assert!(large(volume_bytes(&host.round()), 400_000));
}

#[test]
fn a_pod_that_is_gone_is_forgotten() {
    let mut host = Host::new();
    host.write(&format!("{}/file", Host::volume("scratch")), 1);
    host.round();
    fs::remove_dir_all(host.root.path().join("var/lib/kubelet/pods").join(UID)).unwrap();
    assert!(host.round().pods.is_empty());
    assert!(host.watch.known.is_empty());
}

#[test]
fn layers_that_runtimes_measured_are_as_they_say() {
    let mut host = Host::new();
    fs::create_dir_all(host.root.path().join("images")).unwrap();
    let layer = Layer { used_bytes: 4096, filesystem: "/images".into() };
    let measured = HashMap::from([(id("a"), Some(layer)), (id("b"), None)]);
    let layers = Layers { measured, has_cri: true, images_bytes: Some(9), ..Layers::default() };
    let usage = host.round_with(Some(layers));
    let ContainerUsage { layer, logs: None } = usage.containers[&id("a")] else { panic!() };
    assert_eq!(layer.unwrap().used_bytes, Some(4096));
    assert!(layer.unwrap().room.is_some());
    assert_eq!(usage.containers[&id("b")], ContainerUsage::default());
    assert_eq!((usage.knows_layers, usage.images_bytes), (true, Some(9)));
    // A runtime that is silent said so a while ago.
    for _ in 0..ROUNDS_KEPT {
        assert!(host.round_with(None).knows_layers);
    }
    let usage = host.round_with(None);
    assert!(!usage.knows_layers && usage.containers.is_empty() && usage.images_bytes.is_none());
}

#[test]
fn layers_and_logs_that_nobody_measured_are_walked() {
    let mut host = Host::new();
    host.write("docker/diff/tmp/file", 200_000);
    host.write("docker/a-json.log", 30_000);
    let paths = ContainerPaths {
        layer: Some("/docker/diff".into()),
        log: Some("/docker/a-json.log".into()),
    };
    let unmeasured = HashMap::from([(id("a"), paths)]);
    let usage = host.round_with(Some(Layers { unmeasured, ..Layers::default() }));
    let ContainerUsage { layer, logs } = usage.containers[&id("a")];
    assert!(large(layer.unwrap().used_bytes, 200_000));
    assert!(large(logs.unwrap().used_bytes, 30_000));
}

#[test]
fn a_volume_over_the_bound_has_no_size_and_is_left_alone_for_a_while() {
    let mut host = Host::new();
    let folder = host.write(&format!("{}/file", Host::volume("scratch")), 1);
    let folder = folder.parent().unwrap().to_owned();
    // A tree of links to one file is quickly made.
    for number in 0..=ENTRIES_A_WALK / 30_000 {
        fs::create_dir(folder.join(number.to_string())).unwrap();
        let file = folder.join(format!("f{number}"));
        fs::write(&file, "").unwrap();
        for link in 0..30_000 {
            fs::hard_link(&file, folder.join(format!("{number}/{link}"))).unwrap();
        }
    }
    let usage = host.round();
    assert_eq!((volume_bytes(&usage), usage.given_up), (None, 1));
    // 100,000 entries at 5,000 a second.
    assert_eq!(host.paused, Duration::from_secs(20));
    for round in 1..ROUNDS_RESTED {
        assert_eq!(host.round().given_up, 1 + round);
    }
    assert_eq!(host.paused, Duration::from_secs(20), "it rests");
    for number in 0..=ENTRIES_A_WALK / 30_000 {
        fs::remove_dir_all(folder.join(number.to_string())).unwrap();
    }
    assert!(volume_bytes(&host.round()).is_some());
}

#[test]
fn what_finds_no_time_keeps_its_value_for_some_rounds_and_is_the_next() {
    let mut host = Host::new();
    let path = format!("{}/file", Host::volume("scratch"));
    host.write(&path, 1);
    let first = volume_bytes(&host.round());
    assert!(first.is_some());
    host.write(&path, 500_000);
    // No time for a single entry.
    host.watch.options.interval = Duration::ZERO;
    for round in 1..=ROUNDS_KEPT {
        let usage = host.round();
        assert_eq!((volume_bytes(&usage), usage.given_up), (first, round));
    }
    assert_eq!(volume_bytes(&host.round()), None);
    host.watch.options.interval = Duration::from_secs(60);
    assert!(large(volume_bytes(&host.round()), 500_000));
}

#[test]
fn a_volume_with_a_part_that_cannot_be_read_has_no_size() {
    let mut host = Host::new();
    let file = host.write(&format!("{}/file", Host::volume("scratch")), 1);
    // Root may read everything, but no path of ours can name this.
    let name = std::ffi::OsStr::from_bytes(b"\xff");
    fs::create_dir(file.parent().unwrap().join(name)).unwrap();
    let usage = host.round();
    assert_eq!((volume_bytes(&usage), usage.given_up), (None, 1));
}

#[test]
fn a_mounted_volume_is_asked_and_another_filesystem_there_is_not_it() {
    let mut host = Host::new();
    let path = host.write(&format!("{}/file", Host::volume("memory")), 1);
    let folder = path.parent().unwrap();
    let found = rustix::fs::stat(folder).unwrap().st_dev;
    let mount = |major, minor| {
        let point = format!("/{}", Host::volume("memory"));
        let line = format!("1 0 {major}:{minor} / {point} rw - tmpfs tmpfs rw\n");
        fs::write(host.root.path().join("proc/1/mountinfo"), line).unwrap();
    };
    mount(rustix::fs::major(found), rustix::fs::minor(found));
    let space = host.watch.asker.ask(folder.to_str().unwrap(), None).unwrap();
    let usage = host.round();
    let Some([volume]) = pod(&usage).volumes.as_deref() else { panic!("one volume") };
    assert!(!volume.is_ephemeral);
    // Others write to that disk too.
    assert_eq!(volume.space.room.unwrap().limit_bytes, space.room.unwrap().limit_bytes);
    assert!(volume.space.used_bytes.is_some());
    let line = format!("1 0 4095:1 / /{} rw - tmpfs tmpfs rw\n", Host::volume("memory"));
    fs::write(host.root.path().join("proc/1/mountinfo"), line).unwrap();
    assert_eq!(volume_bytes(&host.round()), None);
}

#[test]
fn without_a_list_of_mounts_nothing_is_touched() {
    let mut host = Host::new();
    host.write(&format!("{}/file", Host::volume("scratch")), 1);
    fs::remove_file(host.root.path().join("proc/1/mountinfo")).unwrap();
    let usage = host.round();
    assert!(usage.pods.is_empty());
    assert_eq!(usage.given_up, 1);
}

#[test]
fn a_stop_ends_a_walk_at_its_next_pause() {
    let mut host = Host::new();
    for number in 0..2 * ENTRIES_A_PAUSE {
        host.write(&format!("{}/{number}", Host::volume("scratch")), 0);
    }
    let mut pauses = 0;
    let mut pause = |_| {
        pauses += 1;
        Pause::Stopped
    };
    host.watch.round(Some(Layers::default()), &host.board, &mut pause);
    assert_eq!(pauses, 1);
    assert_eq!(volume_bytes(&host.board.newest().unwrap()), None);
}

#[test]
fn rounds_go_on_until_the_agent_stops() {
    let host = Host::new();
    host.write(&format!("{}/file", Host::volume("scratch")), 1);
    let (questions, inbox) = layer_questions();
    // Nobody answers about layers; what is on disk is found all the same.
    drop(inbox);
    let mut seen = Vec::new();
    let pause = |pause| {
        seen.push((pause, host.board.newest().map(|usage| volume_bytes(&usage).is_some())));
        if seen.len() < 3 { Pause::Over } else { Pause::Stopped }
    };
    run(host.watch.options.clone(), &questions, &host.board, spawn, pause);
    assert_eq!(seen, [(Duration::from_secs(60), Some(true)); 3]);
}
