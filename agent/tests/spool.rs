//! The real agent, with real files, killed in an outage: what it read arrives all the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests may fail the test"
)]

#[path = "../src/uplink/loopback.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod loopback;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use loopback::{Aggregator, Talk};
use tally_proto::{
    columns::{Columns, unpack},
    message::{AgentMessage, BootId},
};
use tokio::time::timeout;

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn agent(aggregator: SocketAddr, spool: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tally-agent"))
        .args(["--resolution=1s", "--node=node-a", "--log=warn"])
        .arg(format!("--aggregator=http://{aggregator}"))
        .arg(format!("--spool-dir={}", spool.display()))
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// No test listens at this address.
fn nobody() -> SocketAddr {
    "127.0.0.9:9".parse().unwrap()
}

fn segments(spool: &Path) -> Vec<(String, u64)> {
    let files = fs::read_dir(spool).into_iter().flatten().map(|entry| entry.unwrap());
    let named = files.filter_map(|file| {
        let name = file.file_name().into_string().unwrap();
        name.ends_with(".spool").then(|| (name, file.metadata().map_or(0, |file| file.len())))
    });
    named.collect()
}

/// Waits until there are so many segments, the newest of them with some frames after its first.
fn wait_for_segments(spool: &Path, count: usize) {
    let begun = Instant::now();
    let mut first_size = 0;
    loop {
        let mut found = segments(spool);
        found.sort();
        if found.len() == count {
            let size = found[count - 1].1;
            first_size = if first_size == 0 { size } else { first_size };
            if first_size < size {
                return;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What an aggregator counts: for each run its boot, and the tick of each sequence.
type Counted = BTreeMap<u64, (BootId, BTreeMap<u64, u64>)>;

/// Takes all frames of one stream and acknowledges each, until the agent ends it or `enough`.
async fn take(talk: &mut Talk, counted: &mut Counted, enough: impl Fn(&Counted) -> bool) {
    let hello = talk.hello.clone().unwrap();
    let mut state = Columns::default();
    let mut last = (0, 0);
    while !enough(counted) {
        let Some(message) = timeout(PATIENCE, talk.next()).await.unwrap() else { return };
        let AgentMessage::Frame(frame) = message else { continue };
        unpack(&mut state, &frame.columns).unwrap();
        let now = (frame.sequence.0, frame.tick.0);
        assert!(last.0 < now.0 && last.1 < now.1, "{last:?}, {now:?}");
        last = now;
        let run = counted.entry(hello.run.0).or_insert_with(|| (hello.boot, BTreeMap::new()));
        assert_eq!(run.1.insert(frame.sequence.0, frame.tick.0), None, "sent twice");
        talk.acknowledge(frame.sequence.0).await;
    }
}

#[tokio::test]
async fn what_a_killed_agent_read_in_an_outage_arrives_after_its_restart() {
    let spool = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let mut agent = agent(nobody(), spool.path());
        wait_for_segments(spool.path(), round);
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    // What a crash in the middle of a write leaves.
    let mut files = segments(spool.path());
    files.sort();
    let torn = fs::OpenOptions::new().append(true).open(spool.path().join(&files[1].0));
    std::io::Write::write_all(&mut torn.unwrap(), &[9, 0, 0, 0, 1, 2, 3]).unwrap();

    let mut aggregator = Aggregator::start();
    let mut agent = agent(aggregator.address(), spool.path());
    let mut counted = Counted::new();
    for stream in 1..=3 {
        let mut talk = timeout(PATIENCE, aggregator.welcome(0)).await.unwrap();
        let last = |counted: &Counted| stream == 3 && counted.len() == 3;
        take(&mut talk, &mut counted, last).await;
    }
    let boots: Vec<BootId> = counted.values().map(|(boot, _)| *boot).collect();
    assert_eq!((boots[0], boots[1]), (boots[1], boots[2]), "one host");
    let mut runs: Vec<&BTreeMap<u64, u64>> = counted.values().map(|(_, ticks)| ticks).collect();
    runs.sort_by_key(|ticks| ticks[&1]);
    for run in &runs[..2] {
        assert!(2 <= run.len());
        assert!(run.keys().copied().eq(1..=u64::try_from(run.len()).unwrap()), "{run:?}");
        assert!(run.values().is_sorted());
    }
    let begun = Instant::now();
    while !segments(spool.path()).is_empty() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", segments(spool.path()));
        std::thread::sleep(Duration::from_millis(20));
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[tokio::test]
async fn what_is_not_acknowledged_when_the_agent_is_asked_to_stop_is_in_the_spool() {
    let spool = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start();
    let mut agent = agent(aggregator.address(), spool.path());
    let mut talk = timeout(PATIENCE, aggregator.welcome(0)).await.unwrap();
    // The first frame arrives, but is never acknowledged.
    while !matches!(timeout(PATIENCE, talk.next()).await.unwrap(), Some(AgentMessage::Frame(_))) {}
    assert_eq!(segments(spool.path()), []);
    let pid = agent.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(agent.wait().unwrap().success());
    assert_eq!(segments(spool.path()).len(), 1);
}

#[test]
fn two_agents_do_not_share_a_folder() {
    let spool = tempfile::tempdir().unwrap();
    let mut first = agent(nobody(), spool.path());
    wait_for_segments(spool.path(), 1);
    let second = Command::new(env!("CARGO_BIN_EXE_tally-agent"))
        .arg(format!("--spool-dir={}", spool.path().display()))
        .output()
        .unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("another agent works in"), "{said}");
}
