//! `--store-label` as a whole: labels of an inventory, frames, history, a restart with a label that has
//! changed, and what is exported in the end. What the live API answers is the same without the flag.
#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};
use tally_aggregator::{
    app::{self, Running},
    clock::{Clock, Now},
    history_command::{self, Streams},
    settings::{Command, Flags, Settings},
};
use tally_proto::{
    message::Run,
    tick::{Resolution, Tick},
};
use tally_tests::golden::{
    http,
    recording::Request,
    sender::Sender,
    summary::{Column, Number, PodRef, Reading, What},
};
use tokio::time::{Instant, sleep, timeout};

const BEGIN: u64 = 1_795_423_500;
const STEP_S: u64 = 15;

/// How long a segment may take to become history.
const PATIENCE: Duration = Duration::from_secs(30);

const STORED: [&str; 2] = ["--store-label=app", "--store-label=zone=topology.kubernetes.io/zone"];

/// What the live API is asked.
const QUESTIONS: [&str; 4] = [
    "/api/v1/metric-export",
    "/api/v1/metric-export-schema",
    "/api/v1/model/namespaces/shop/pods/web-1/metrics/memory/usage",
    "/api/v1/model/debug/allkeys",
];

/// A node and its one pod, in files as an API server lists them.
fn write_inventory(folder: &Path, app: &str) {
    let node = json!({"kind": "NodeList", "items": [{
        "metadata": {"name": "node-a", "labels": {"topology.kubernetes.io/zone": "z1"}},
    }]});
    let pod = json!({"kind": "PodList", "items": [{
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u-1",
            "labels": {"app": app, "team": "a"},
        },
        "spec": {"nodeName": "node-a", "containers": [{"name": "main"}]},
    }]});
    for (name, list) in [("nodes.json", node), ("pods.json", pod)] {
        fs::write(folder.join(name), list.to_string()).unwrap();
    }
}

/// An aggregator that has its history and its inventory in a folder; its clock stands at a tick.
async fn started(folder: &Path, number: u64, flags: &[&str]) -> Running {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (nodes, pods) = (path("nodes.json"), path("pods.json"));
    let (nodes, pods) = (format!("--inventory={nodes}"), format!("--inventory={pods}"));
    let history = format!("--history-dir={}", path("history"));
    let usual = ["tally-aggregator", "--rest-listen=127.0.0.1:0", "--grpc-listen=127.0.0.1:0"];
    let of_folder = [&*nodes, &pods, &history];
    let all = usual.iter().chain(&of_folder).chain(flags);
    let settings = Settings::check(&Flags::try_parse_from(all).unwrap()).unwrap();
    let unix = tick(number).unix_ms();
    app::start(settings, Clock::new(move || Now { unix, elapsed: Duration::ZERO })).await.unwrap()
}

fn tick(number: u64) -> Tick {
    Tick(BEGIN + number * STEP_S)
}

fn readings(number: u64) -> Vec<Reading> {
    let pod = PodRef { name: "web-1".into(), namespace: "shop".into(), uid: "u-1".into() };
    let container = What::PodContainer(pod.clone(), "main".to_owned());
    let whats = [What::Node, What::Pod(pod), container, What::FreeContainer("kubelet".to_owned())];
    let column = Column {
        metric: "memory/usage".to_owned(),
        labels: Vec::new(),
        floating: false,
        cumulative: false,
    };
    let values = BTreeMap::from([(column, Number::Integer(number))]);
    let of = |what| Reading { what, start: None, read_at: None, values: values.clone() };
    whats.map(of).into()
}

/// Delivers the frames of some ticks, from an agent that was just started, and waits until each is
/// acknowledged.
async fn deliver(server: &Running, numbers: std::ops::Range<u64>) {
    let (to, run) = (server.grpc_addr, Run(1 + numbers.start));
    let sender = Sender::connect_run(to, "node-a", Resolution::DEFAULT, run);
    let mut sender = sender.await.unwrap();
    for number in numbers {
        let scraped = Timestamp::from_millisecond(tick(number).unix_ms().0).unwrap();
        sender.send(tick(number), scraped, &readings(number)).await.unwrap();
    }
}

async fn answers(server: &Running) -> Vec<String> {
    let mut all = Vec::new();
    for target in QUESTIONS {
        let (method, target) = ("GET".to_owned(), target.to_owned());
        let request = Request { method, target, headers: BTreeMap::new() };
        let answer = http::ask(server.rest_addr, &request).await.unwrap();
        assert_eq!(answer.status, 200, "{}", request.target);
        all.push(String::from_utf8(answer.body.to_vec()).unwrap());
    }
    all
}

/// `tally-aggregator history` with some arguments.
fn history(folder: &Path, arguments: &[&str]) -> String {
    let directory = folder.join("history");
    let all = ["tally-aggregator", "history", "--history-dir", directory.to_str().unwrap()];
    let flags = Flags::try_parse_from(all.iter().chain(arguments)).unwrap();
    let Some(Command::History(asked)) = flags.command else { panic!("no command") };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut streams = Streams { out: &mut out, notes: &mut notes, is_watched: false };
    history_command::run(&asked, &mut streams).unwrap();
    String::from_utf8(out).unwrap()
}

/// The exported values of `memory/usage`, by series, as soon as there are so many ticks.
async fn exported(folder: &Path, ticks: usize) -> BTreeMap<String, Vec<String>> {
    let begun = Instant::now();
    loop {
        let text = history(folder, &["export", "--metric", "memory/usage"]);
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut parts = line.rsplitn(3, ' ');
            let (_, value, series) = (parts.next(), parts.next().unwrap(), parts.next().unwrap());
            let name = series.trim_start_matches("tally_memory_usage_bytes");
            found.entry(name.to_owned()).or_default().push(value.to_owned());
        }
        let of_nodes = found.iter().filter(|(name, _)| name.contains("kind=\"node\""));
        if of_nodes.map(|(_, values)| values.len()).sum::<usize>() == ticks {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn check(found: &BTreeMap<String, Vec<String>>, expected: &[(&str, std::ops::Range<u64>)]) {
    let expected: BTreeMap<String, Vec<String>> = expected
        .iter()
        .map(|(name, values)| {
            let values = values.clone().map(|value| value.to_string()).collect();
            (format!("{{{name}}}"), values)
        })
        .collect();
    assert_eq!(*found, expected);
}

const NODE: &str = r#"kind="node",node="node-a",zone="z1""#;
const POD: &str = r#"kind="pod",node="node-a",namespace="shop",pod="web-1",pod_uid="u-1""#;
const CONTAINER: &str = r#"kind="pod-container",node="node-a",namespace="shop",pod="web-1",pod_uid="u-1",container="main""#;
const SLICE: &str = r#"kind="free-container",node="node-a",container="kubelet""#;
const SUMS: [&str; 2] = [r#"kind="cluster""#, r#"kind="namespace",namespace="shop""#];

#[tokio::test]
async fn stored_labels_are_in_exports_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_inventory(folder, "web");
    let server = started(folder, 4, &STORED).await;
    deliver(&server, 0..4).await;
    timeout(PATIENCE, server.stop()).await.unwrap();

    // What was open when it ended becomes history now, with the labels of then.
    write_inventory(folder, "kiosk");
    let server = started(folder, 7, &STORED).await;
    let [web, kiosk] =
        ["web", "kiosk"].map(|app| [POD, CONTAINER].map(|name| format!(r#"{name},app="{app}""#)));
    let of_web = |values: std::ops::Range<u64>| {
        let all = [NODE, SLICE, SUMS[0], SUMS[1]].map(|name| (name, values.clone()));
        [&all[..], &[(&*web[0], 0..4), (&*web[1], 0..4)]].concat()
    };
    check(&exported(folder, 4).await, &of_web(0..4));
    deliver(&server, 4..7).await;
    timeout(PATIENCE, server.stop()).await.unwrap();

    // Nothing is stored any more; what was stays.
    let server = started(folder, 9, &[]).await;
    deliver(&server, 7..9).await;
    let of_kiosk = [(&*kiosk[0], 4..7), (&*kiosk[1], 4..7)];
    let expected = [&of_web(0..7)[..], &of_kiosk].concat();
    check(&exported(folder, 7).await, &expected);
    timeout(PATIENCE, server.stop()).await.unwrap();

    let server = started(folder, 9, &[]).await;
    let bare = [(r#"kind="node",node="node-a""#, 7..9), (POD, 7..9), (CONTAINER, 7..9)];
    let mut expected = [expected, bare.to_vec()].concat();
    for (name, values) in &mut expected {
        if name.contains("cluster") || name.contains("=\"namespace\"") || *name == SLICE {
            *values = 0..9;
        }
    }
    check(&exported(folder, 9).await, &expected);
    timeout(PATIENCE, server.stop()).await.unwrap();
    assert!(history(folder, &["verify"]).ends_with("no faults\n"));
}

#[tokio::test]
async fn the_live_api_is_the_same_with_and_without_stored_labels() {
    let mut said = Vec::new();
    for (flags, version) in [(&STORED[..], 2), (&[], 1)] {
        let folder = tempfile::tempdir().unwrap();
        write_inventory(folder.path(), "web");
        let server = started(folder.path(), 4, flags).await;
        deliver(&server, 0..4).await;
        said.push(answers(&server).await);
        timeout(PATIENCE, server.stop()).await.unwrap();
        // Only what an older program can't read is refused by it.
        let segment = folder.path().join("history/journal-000000000001.tally");
        assert_eq!(fs::read(segment).unwrap()[8..12], [version, 0, 0, 0]);
    }
    let export: Value = serde_json::from_str(&said[0][0]).unwrap();
    let pods = export.as_array().unwrap().iter().filter(|set| set["labels"]["type"] == "pod");
    let labels: Vec<&Value> = pods.map(|set| &set["labels"]["labels"]).collect();
    assert_eq!(labels, [&json!("app:web,team:a")]);
    assert_eq!(said[0], said[1]);
}
