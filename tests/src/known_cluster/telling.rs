//! The story under way: checks that are made again and again, and what was found.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    numbers::{has_within_one_read, longest_gap},
    story::{SHOP, Story, TWO_TICKS},
    tally::{Point, Tally},
};

/// The kubelet looks at a container every 10 to 15 s.
const KUBELET_LOOKS: Duration = Duration::from_secs(60);

/// The newest value may be this old: a tick, a read and an answer on a busy machine.
const FRESH_MS: i64 = 3_000;

/// One thing that was right or wrong.
#[derive(Clone, Debug)]
pub struct Check {
    /// What, for people.
    pub what: String,
    /// Whether it was right.
    pub passed: bool,
}

/// The story under way.
pub(super) struct Telling<R> {
    pub(super) story: Story,
    pub(super) tally: Tally,
    pub(super) report: R,
    pub(super) all_passed: bool,
}

impl<R: FnMut(Check)> Telling<R> {
    /// Checks that what burns has values since some time, up to now.
    pub(super) async fn is_going_on(&mut self, when: &str, since_ms: i64) -> anyhow::Result<()> {
        let pods = self.tally.names(&format!("namespaces/{SHOP}/pods")).await;
        let pod = pods.into_iter().find(|pod| pod.starts_with("burn")).context("no burn")?;
        let object = format!("namespaces/{SHOP}/pods/{pod}/containers/burn");
        let series = self.tally.series(&object, "cpu/usage").await?;
        let end_ms = now_ms() - FRESH_MS;
        // A busy machine may be too late for one tick.
        let gap = longest_gap(&series, since_ms, end_ms);
        self.note(&format!("{when} numbers go on, {gap} lack in a row"), gap <= 1);
        let grows = series.iter().zip(series.iter().skip(1)).all(|(a, b)| a.value <= b.value);
        self.note(&format!("{when} a counter never falls"), grows);
        Ok(())
    }

    /// Whether the node has a value that was read since then.
    pub(super) async fn has_since(&self, since_ms: i64) -> bool {
        let newest = self.last("nodes/node1", "cpu/usage_rate").await;
        newest.is_ok_and(|newest| since_ms < newest.at_ms)
    }

    /// Checks that the newest value of somebody else is one of ours, as soon as nothing moves.
    pub(super) async fn agrees(
        &mut self,
        what: &str,
        object: &str,
        metric: &str,
        ask: impl AsyncFn() -> Option<Point>,
    ) {
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < KUBELET_LOOKS {
            let theirs = ask().await;
            // Two ticks later ours of that time is there.
            sleep(TWO_TICKS).await;
            let ours = self.tally.series(object, metric).await.unwrap_or_default();
            if theirs.is_some_and(|theirs| has_within_one_read(&ours, theirs)) {
                return self.note(&format!("{what} is {metric}"), true);
            }
            last = Some((theirs, ours.last().copied()));
        }
        self.note(&format!("{what} is {metric}, not {last:?}"), false);
    }

    pub(super) async fn newest(&mut self, object: &str, metric: &str, expected: f64) {
        let began = Instant::now();
        let mut found = None;
        while found != Some(expected) && began.elapsed() < TWO_TICKS {
            found = self.last(object, metric).await.ok().map(|point| point.value);
        }
        let what = format!("{metric} of {object} is {expected}, found {found:?}");
        self.note(&what, found == Some(expected));
    }

    pub(super) async fn last(&self, object: &str, metric: &str) -> anyhow::Result<Point> {
        let series = self.tally.series(object, metric).await?;
        series.last().copied().with_context(|| format!("{object} has no {metric}"))
    }

    /// Checks that a list is exactly this, in time.
    pub(super) async fn names(&mut self, list: &str, expected: &[&str], patience: Duration) {
        self.list(list, expected, patience, |found| found == expected).await;
    }

    /// Checks that a list has these, in time.
    pub(super) async fn has_names(&mut self, list: &str, expected: &[&str], patience: Duration) {
        let has =
            |found: &[String]| expected.iter().all(|name| found.iter().any(|found| found == name));
        self.list(list, expected, patience, has).await;
    }

    pub(super) async fn list(
        &mut self,
        list: &str,
        expected: &[&str],
        patience: Duration,
        is_right: impl Fn(&[String]) -> bool,
    ) {
        let began = Instant::now();
        let mut found = self.tally.names(list).await;
        while !is_right(&found) && began.elapsed() < patience {
            sleep(Duration::from_millis(50)).await;
            found = self.tally.names(list).await;
        }
        let after_ms = began.elapsed().as_millis();
        if is_right(&found) {
            self.note(&format!("{list} has {expected:?} ({after_ms} ms)"), true);
        } else {
            self.note(&format!("{list} has {expected:?}, found {found:?}"), false);
        }
    }

    /// The names of a namespace's pods that run, in order, as the API server has them.
    pub(super) fn pods_of(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let jsonpath = "jsonpath={range .items[*]}{.metadata.name} {end}";
        let list = ["-n", namespace, "get", "pods", "--field-selector=status.phase=Running"];
        let printed = self.story.cluster.kubectl(&[&list[..], &["-o", jsonpath]].concat())?;
        let mut names: Vec<String> = printed.split_whitespace().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn note(&mut self, what: &str, passed: bool) {
        self.all_passed &= passed;
        (self.report)(Check { what: what.to_owned(), passed });
    }
}

/// Milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
