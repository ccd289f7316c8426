//! Recorded truth: the inputs that a real Heapster was fed go into a real aggregator over gRPC, and
//! every recorded request is answered with the same meaning, or differs as a rule says.
//!
//! `TALLY_GOLDEN` names another folder of recordings in the same form.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use tally_aggregator::{
    app::{self, Running},
    clock::{Clock, Now},
    history::store::Retention,
    inventory::LabelForm,
    settings::{ApiServer, HistorySettings, Settings},
};
use tally_proto::tick::{Resolution, Tick, UnixMs};
use tally_tests::golden::{
    compare::{Outcome, compare},
    facts::{Facts, Scrape},
    http,
    recording::{self, Case},
    sender::Sender,
    summary,
};

/// Groups of answers that this server gives.
const GROUPS: [&str; 12] = [
    "export", "header", "hist", "labels", "list", "meta", "method", "names", "podlist", "rm",
    "series", "time",
];

/// All of it, however old the recordings are.
const KEPT: Retention =
    Retention { raw_s: u64::MAX, five_minutes_s: u64::MAX, hour_s: u64::MAX, bytes: u64::MAX };

/// Heapster read the batch stamped T at T + 5 s.
const SCRAPE_DELAY: SignedDuration = SignedDuration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_answer_has_its_meaning() -> anyhow::Result<()> {
    let folder = env::var_os("TALLY_GOLDEN").map_or_else(own_recordings, PathBuf::from);
    let scrapes = scrapes(&folder.join("inputs/summaries"))?;
    let nodes = fs::read_to_string(folder.join("inputs/api_nodes.json"))?;
    let facts = Facts::collect(&nodes, &scrapes)?;
    let now = Arc::new(AtomicI64::new(0));
    let history = tempfile::tempdir()?;
    let server = app::start(settings(&folder, &scrapes, history.path())?, clock(&now)).await?;
    let mut play =
        Play { server, now, senders: BTreeMap::new(), resolution: resolution(&scrapes)? };

    let mut left = &*scrapes;
    let mut report = Report { skipped: other_groups(&folder)?, ..Report::default() };
    for case in cases(&folder)? {
        let sent = left.partition_point(|scrape| Some(scrape.batch) <= case.newest_batch);
        for scrape in left.get(..sent).unwrap_or_default() {
            play.send(scrape).await?;
        }
        left = left.get(sent..).unwrap_or_default();
        let outcome = play.ask(&case, &facts).await?;
        report.add(&case, outcome);
    }
    play.server.stop().await;
    report.print();
    ensure!(report.wrong.is_empty(), "{} answers differ, see above", report.wrong.len());
    Ok(())
}

/// The aggregator under test, and the streams into it.
struct Play {
    server: Running,
    now: Arc<AtomicI64>,
    senders: BTreeMap<String, Sender>,
    resolution: Resolution,
}

impl Play {
    async fn send(&mut self, scrape: &Scrape) -> anyhow::Result<()> {
        self.now.store(scrape.scraped.as_millisecond(), Ordering::Relaxed);
        if !self.senders.contains_key(&scrape.node) {
            let server = self.server.grpc_addr;
            let sender = Sender::connect(server, &scrape.node, self.resolution).await?;
            self.senders.insert(scrape.node.clone(), sender);
        }
        let sender = self.senders.get_mut(&scrape.node).context("just connected")?;
        let tick = Tick(u64::try_from(scrape.batch.as_second())?);
        sender.send(tick, scrape.scraped, &scrape.readings).await
    }

    async fn ask(&self, case: &Case, facts: &Facts) -> anyhow::Result<Outcome> {
        self.now.store(case.recorded_at.as_millisecond(), Ordering::Relaxed);
        let answer = http::ask(self.server.rest_addr, &case.request).await;
        Ok(compare(case, &answer.with_context(|| case.name.clone())?, facts))
    }
}

/// Counts by group, and what went wrong.
#[derive(Default)]
struct Report {
    compared: BTreeMap<String, usize>,
    skipped: Vec<String>,
    wrong: Vec<String>,
}

impl Report {
    fn add(&mut self, case: &Case, outcome: Outcome) {
        let group = case.name.split('/').next().unwrap_or_default().to_owned();
        let target = &case.request.target;
        match outcome {
            Outcome::Right => *self.compared.entry(group).or_default() += 1,
            Outcome::Skipped(reason) => self.skipped.push(format!("{}: {reason}", case.name)),
            Outcome::Wrong(difference) => self.wrong.push(format!(
                "{}: {} {target} {:?}\n{difference}\n",
                case.name, case.request.method, case.request.headers
            )),
        }
    }

    #[expect(clippy::print_stdout, reason = "counts and differences are for people")]
    fn print(&self) {
        for (group, compared) in &self.compared {
            println!("{group}: {compared} right");
        }
        println!("skipped: {:#?}", self.skipped);
        for wrong in &self.wrong {
            println!("WRONG {wrong}");
        }
    }
}

fn own_recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn settings(folder: &Path, scrapes: &[Scrape], history: &Path) -> anyhow::Result<Settings> {
    let inputs = folder.join("inputs");
    let lists = ["api_nodes.json", "api_pods.json", "api_namespaces.json"];
    Ok(Settings {
        rest_listen: ([127, 0, 0, 1], 0).into(),
        grpc_listen: ([127, 0, 0, 1], 0).into(),
        secure: None,
        resolution: resolution(scrapes)?,
        model_window: Duration::from_secs(15 * 60),
        history: Some(HistorySettings { directory: history.to_owned(), retention: KEPT }),
        inventory: lists.iter().map(|list| inputs.join(list)).collect(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 100,
        max_entities_per_node: 1_000,
        max_clock_skew: Duration::from_secs(60),
    })
}

/// The least distance between two batches.
fn resolution(scrapes: &[Scrape]) -> anyhow::Result<Resolution> {
    let batches: BTreeSet<i64> = scrapes.iter().map(|scrape| scrape.batch.as_second()).collect();
    let distances = batches.iter().zip(batches.iter().skip(1)).map(|(one, next)| next - one);
    let least = distances.min().context("fewer than two batches")?;
    Ok(Resolution::from_seconds(u64::try_from(least)?)?)
}

fn clock(now: &Arc<AtomicI64>) -> Clock {
    let now = Arc::clone(now);
    Clock::new(move || Now { unix: UnixMs(now.load(Ordering::Relaxed)), elapsed: Duration::ZERO })
}

/// Every summary, by time.
fn scrapes(folder: &Path) -> anyhow::Result<Vec<Scrape>> {
    let mut scrapes = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).context("a name of a file")?;
        let (node, seconds) = name.rsplit_once('.').context("NODE.SECONDS.json")?;
        let scraped = Timestamp::from_second(seconds.parse()?)?;
        let readings = summary::readings(&fs::read_to_string(&path)?)
            .with_context(|| path.display().to_string())?;
        let batch = scraped - SCRAPE_DELAY;
        scrapes.push(Scrape { node: node.to_owned(), batch, scraped, readings });
    }
    scrapes.sort_by(|one, other| (one.batch, &one.node).cmp(&(other.batch, &other.node)));
    Ok(scrapes)
}

/// Groups of recordings that are not compared here, with the reason.
fn other_groups(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut others = Vec::new();
    for entry in fs::read_dir(folder.join("responses"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let reason = match name.as_str() {
            "rm" => "the resource-metrics API is another issue",
            _ => "a group that this test does not know",
        };
        if !GROUPS.contains(&name.as_str()) {
            others.push(format!("{name}/*: {reason}"));
        }
    }
    others.sort();
    Ok(others)
}

/// Every case, by the newest batch it was asked at.
fn cases(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for group in GROUPS {
        let group = folder.join("responses").join(group);
        if group.is_dir() {
            cases.extend(recording::group(&group)?);
        }
    }
    ensure!(!cases.is_empty(), "no recordings in {}", folder.display());
    cases.sort_by_key(|case| (case.newest_batch, case.recorded_at));
    Ok(cases)
}
