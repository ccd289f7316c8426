//! What history says of the node, of everything on it and of the cluster, against what the agent
//! read and what the witness saw.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tally_proto::tick::Tick;
use tokio::time::{Instant, sleep};

use super::{
    diary::Diary,
    witness::{COUNTERS, Testimony},
};
use crate::swarm::http::{Answer, HttpClient, HttpError};

/// Metrics of everything. `uptime` says itself when it was read.
const OF_ALL: [&str; 5] =
    ["uptime", "cpu/usage", "memory/page_faults", "memory/usage", "memory/working_set"];

/// What the agent gave up, by its own account: nothing.
const GIVEN_UP: [&str; 2] = ["agent/frames_dropped", "agent/samples_dropped"];

/// The cluster's sums over its one node.
const OF_CLUSTER: [(&str, &str); 2] =
    [("memory/node_usage", "memory/usage"), ("cpu/node_usage", "cpu/usage_rate")];

/// Everything is read within half a second of its tick, and reading takes a while.
const READ_WITHIN_MS: i64 = 1_000;

/// What must be there.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What was read.
    pub diary: Diary,
    /// What of it may be absent.
    pub may_be_lost: BTreeSet<Tick>,
    /// Ticks that the agent should have read and did not.
    pub unread: Vec<Tick>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Series that were looked at.
    pub series: u64,
    /// Their values.
    pub values: u64,
    /// Values that the witness confirms.
    pub witnessed: u64,
    /// Ticks that were read and are not there: those that a killed agent had not delivered.
    pub lost: usize,
    /// Answers that are the same bytes after another kill, from files.
    pub alike: u64,
    /// What is wrong, in words.
    pub faults: Vec<String>,
    answers: BTreeMap<String, Vec<u8>>,
}

/// Points by tick.
type Points = BTreeMap<Tick, i64>;

#[derive(Debug, Deserialize)]
struct Series {
    metrics: Vec<Point>,
}

#[derive(Debug, Deserialize)]
struct Point {
    timestamp: Timestamp,
    value: i64,
}

/// The one who is asked.
#[derive(Debug)]
pub struct Past {
    url: String,
    node: String,
    /// Kept from question to question, as long as it lasts.
    client: RefCell<Option<HttpClient>>,
}

/// One examination.
struct Examination<'a> {
    past: &'a Past,
    testimony: &'a Testimony,
    range: String,
    report: Report,
}

impl Past {
    /// Asks a server about a node.
    pub fn new(url: &str, node: &str) -> Self {
        Self { url: url.to_owned(), node: node.to_owned(), client: RefCell::default() }
    }

    /// Whether the server is there.
    pub async fn is_answering(&self) -> bool {
        self.ask("/livez").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until all that was written before this process began is columns of history.
    pub async fn sealed(&self, most: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + most;
        loop {
            if let Ok(answer) = self.ask("/metrics").await {
                let text = String::from_utf8_lossy(&answer.body);
                let has_counted = text.contains("tally_history_files{tier=\"journal\"}");
                let none = "tally_history_segments_waiting 0";
                if has_counted && text.lines().any(|line| line == none) {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < until, "history is not made within {most:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ticks that must be there and are not.
    pub async fn missing(&self, expected: &Expected) -> anyhow::Result<Vec<Tick>> {
        let path = format!("nodes/{}/metrics/uptime?{}", self.node, range(expected)?);
        let body = self.history(&path).await?;
        let found = points(&body)?;
        let required = expected.diary.read.difference(&expected.may_be_lost);
        Ok(required.filter(|tick| !found.contains_key(tick)).copied().collect())
    }

    /// Looks at everything.
    pub async fn examine(
        &self,
        expected: &Expected,
        testimony: &Testimony,
    ) -> anyhow::Result<Report> {
        let range = range(expected)?;
        let report = Report::default();
        let mut examination = Examination { past: self, testimony, range, report };
        examination.node(expected).await?;
        Ok(examination.report)
    }

    /// Asks all that was asked once more: the answers must be the same.
    pub async fn is_still_so(&self, report: &mut Report) -> anyhow::Result<()> {
        for (path, before) in std::mem::take(&mut report.answers) {
            if self.history(&path).await? == before {
                report.alike += 1;
            } else {
                report.faults.push(format!("{path}: another answer after a restart"));
            }
        }
        Ok(())
    }

    async fn history(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let path = format!("/api/v1/historical/{path}");
        let answer = self.ask(&path).await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "{path}: status {}: {body}", answer.status);
        Ok(answer.body)
    }

    async fn ask(&self, path: &str) -> Result<Answer, HttpError> {
        let kept = self.client.take();
        if let Some(mut client) = kept
            && let Ok(answer) = client.get(path).await
        {
            self.client.replace(Some(client));
            return Ok(answer);
        }
        let mut client = HttpClient::connect(&self.url).await?;
        let answer = client.get(path).await?;
        self.client.replace(Some(client));
        Ok(answer)
    }
}

impl Examination<'_> {
    /// The node, what is on it, and the cluster.
    async fn node(&mut self, expected: &Expected) -> anyhow::Result<()> {
        let node = format!("nodes/{}/", self.past.node);
        let there = self.points(&format!("{node}metrics/uptime")).await?;
        let there: BTreeSet<Tick> = there.into_keys().collect();
        self.is_complete(expected, &there);
        self.entity(&node, "/", &there).await?;
        for metric in GIVEN_UP {
            let points = self.points(&format!("{node}metrics/{metric}")).await?;
            if points.is_empty() || points.values().any(|given_up| *given_up != 0) {
                let most = points.values().max();
                self.fault(format!("{metric}: {most:?} in {} values", points.len()));
            }
        }
        let containers = self.list(&format!("{node}freecontainers")).await?;
        let lived: Vec<_> =
            self.testimony.throughout().filter(|cgroup| containers.contains(*cgroup)).collect();
        for cgroup in &lived {
            let name = cgroup.replace('/', "%2F");
            self.entity(&format!("{node}freecontainers/{name}/"), cgroup, &there).await?;
        }
        if lived.is_empty() {
            self.fault("no container lived all the time".to_owned());
        }
        self.cluster(&node).await
    }

    fn is_complete(&mut self, expected: &Expected, there: &BTreeSet<Tick>) {
        let Expected { diary, may_be_lost, unread } = expected;
        self.report.lost = diary.read.difference(there).count();
        let all: BTreeSet<Tick> = there.union(may_be_lost).copied().collect();
        let lost: Vec<u64> = diary.read.difference(&all).map(|tick| tick.0).collect();
        let invented: Vec<u64> = there.difference(&diary.read).map(|tick| tick.0).collect();
        if !lost.is_empty() {
            self.fault(format!("{} ticks were read and are lost: {lost:?}", lost.len()));
        }
        if !invented.is_empty() {
            self.fault(format!("ticks that nobody read: {invented:?}"));
        }
        if !diary.twice.is_empty() {
            self.fault(format!("ticks that were read twice: {:?}", diary.twice));
        }
        if diary.skipped < u64::try_from(unread.len()).unwrap_or(u64::MAX) {
            self.fault(format!("{unread:?} were not read, {} were skipped", diary.skipped));
        }
    }

    /// Everything that is watched of one entity: a value at each tick, at its own time, counters that
    /// never go down and are what the witness saw.
    async fn entity(
        &mut self,
        path: &str,
        cgroup: &str,
        there: &BTreeSet<Tick>,
    ) -> anyhow::Result<()> {
        // Not every cgroup has every controller.
        let (names, testimony) = (self.list(&format!("{path}metrics")).await?, self.testimony);
        let is_seen = |metric: &str| {
            COUNTERS.into_iter().any(|name| name == metric && testimony.has(cgroup, name))
        };
        let watched = |metric: &&str| names.contains(*metric) || is_seen(metric);
        for metric in OF_ALL.into_iter().filter(watched) {
            let of = format!("{path}metrics/{metric}");
            let points = self.points(&of).await?;
            if !points.keys().eq(there.iter()) {
                let ticks: BTreeSet<Tick> = points.keys().copied().collect();
                let other: Vec<_> = ticks.symmetric_difference(there).take(9).collect();
                self.fault(format!("{of}: other ticks than the node's uptime: {other:?}"));
            }
            if metric == "uptime" {
                self.is_timely(&of, &points);
            }
            if let Some(counter) = COUNTERS.into_iter().find(|counter| *counter == metric) {
                self.is_witnessed(&of, (cgroup, counter), &points);
            }
        }
        let counted = self.count(&format!("{path}metrics-aggregated/count/memory/usage")).await?;
        if counted != there.len() {
            self.fault(format!("{path}: {counted} values are counted of {}", there.len()));
        }
        let rates = self.points(&format!("{path}metrics/cpu/usage_rate")).await?;
        if let Some((tick, rate)) = rates.iter().find(|(_, rate)| **rate < 0) {
            self.fault(format!("{path}: cpu/usage_rate is {rate} at {}", tick.0));
        }
        Ok(())
    }

    /// How long something has been up at a tick, less the tick, is when it began, at all ticks.
    fn is_timely(&mut self, of: &str, points: &Points) {
        let began = points.iter().map(|(tick, up_ms)| tick.unix_ms().0 - up_ms);
        let (first, last) = (began.clone().min(), began.max());
        let spread_ms = last.zip(first).map_or(0, |(last, first)| last - first);
        if READ_WITHIN_MS < spread_ms {
            self.fault(format!("{of}: values are {spread_ms} ms from their ticks"));
        }
    }

    fn is_witnessed(&mut self, of: &str, (cgroup, metric): (&str, &'static str), points: &Points) {
        let mut before = i64::MIN;
        for (tick, value) in points {
            let (least, most) = self.testimony.bounds(cgroup, metric, *tick);
            if *value < before {
                self.fault(format!("{of}: goes down to {value} at {}", tick.0));
            }
            if (least..=most).contains(value) {
                self.report.witnessed += 1;
            } else {
                let at = tick.0;
                self.fault(format!("{of}: {value} at {at}, the witness saw {least} to {most}"));
            }
            before = *value;
        }
    }

    /// With one node the cluster's sums are the node's own values.
    async fn cluster(&mut self, node: &str) -> anyhow::Result<()> {
        for (sum, metric) in OF_CLUSTER {
            let theirs = self.points(&format!("metrics/{sum}")).await?;
            let own = self.points(&format!("{node}metrics/{metric}")).await?;
            if theirs != own || own.is_empty() {
                let differs = own.iter().find(|(tick, value)| theirs.get(tick) != Some(*value));
                self.fault(format!(
                    "{sum} of the cluster: {} values, {metric} of its node: {}; {differs:?}",
                    theirs.len(),
                    own.len()
                ));
            }
        }
        Ok(())
    }

    async fn points(&mut self, of: &str) -> anyhow::Result<Points> {
        let body = self.answer(of).await?;
        let points = points(&body).with_context(|| of.to_owned())?;
        self.report.series += 1;
        self.report.values += u64::try_from(points.len())?;
        Ok(points)
    }

    async fn count(&mut self, of: &str) -> anyhow::Result<usize> {
        let body: Value = serde_json::from_slice(&self.answer(of).await?)?;
        let count = body.pointer("/buckets/0/count").and_then(Value::as_u64);
        Ok(usize::try_from(count.with_context(|| format!("{of}: no count"))?)?)
    }

    async fn list(&mut self, of: &str) -> anyhow::Result<BTreeSet<String>> {
        Ok(serde_json::from_slice(&self.answer(of).await?)?)
    }

    async fn answer(&mut self, of: &str) -> anyhow::Result<Vec<u8>> {
        let path = format!("{of}?{}", self.range);
        let body = self.past.history(&path).await?;
        self.report.answers.insert(path, body.clone());
        Ok(body)
    }

    fn fault(&mut self, fault: String) {
        self.report.faults.push(fault);
    }
}

/// From the first tick that was read to the last.
fn range(expected: &Expected) -> anyhow::Result<String> {
    let read = &expected.diary.read;
    let at = |tick: Option<&Tick>| {
        let tick = tick.context("the agent has read nothing")?;
        anyhow::Ok(Timestamp::from_millisecond(tick.unix_ms().0)?)
    };
    Ok(format!("start={}&end={}", at(read.first())?, at(read.last())?))
}

/// The points of a series. Two at one tick are an error.
fn points(body: &[u8]) -> anyhow::Result<Points> {
    let series: Series = serde_json::from_slice(body)?;
    let mut points = Points::new();
    for Point { timestamp, value } in series.metrics {
        let tick = Tick(u64::try_from(timestamp.as_second())?);
        ensure!(points.insert(tick, value).is_none(), "two values at {}", tick.0);
    }
    Ok(points)
}
