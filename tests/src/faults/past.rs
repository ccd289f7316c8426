//! Questions about the past: two servers must give the same bytes, and the values that were sent.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use serde::Deserialize;
use tally_proto::{
    declaration::Declared,
    tick::{Tick, UnixMs},
};

use super::{
    cluster::{self, Cluster, Entity, NODES},
    server::Server,
};
use crate::swarm::http::HttpClient;

/// All there are; what is exact from raw values is exact here.
const AGGREGATIONS: &str = "count,min,max,average,median,50-perc,95-perc,99-perc";

/// Differences that are told; the rest is counted.
const TOLD_MOST: usize = 12;

/// What was compared and what differs.
#[derive(Debug, Default)]
pub struct Report {
    /// Answers that both servers gave alike.
    pub alike: u64,
    /// Points that are as they were sent.
    pub true_points: u64,
    /// What differs, in words.
    pub faults: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Series {
    metrics: Vec<Point>,
}

#[derive(Debug, Deserialize)]
struct Point {
    timestamp: Timestamp,
    value: i64,
}

/// Points by tick.
type Points = BTreeMap<Tick, i64>;

/// What was sent: by path and metric.
type Truth = BTreeMap<(String, usize), Points>;

/// Two servers, and the time that is asked for.
struct Asking {
    disturbed: HttpClient,
    calm: HttpClient,
    range: String,
    report: Report,
}

/// Compares everything.
pub async fn compare(
    cluster: &Cluster,
    disturbed: &Server,
    calm: &Server,
) -> anyhow::Result<Report> {
    let at = |tick: Tick| anyhow::Ok(Timestamp::from_millisecond(tick.unix_ms().0)?);
    let range = format!(
        "start={}&end={}",
        at(Tick(cluster.tick(0).0 - 1))?,
        at(Tick(cluster.tick(cluster.ticks() - 1).0 + 1))?
    );
    // Worked out first: an idle connection is closed.
    let truth = truth(cluster)?;
    let (theirs, calm) = (disturbed.client().await?, calm.client().await?);
    let mut asking = Asking { disturbed: theirs, calm, range, report: Report::default() };
    asking.everything_by_name().await?;
    asking.disturbed = disturbed.client().await?;
    asking.everything_by_uid(truth).await?;
    Ok(asking.report)
}

impl Asking {
    /// Every object that has a name, with each of its metrics.
    async fn everything_by_name(&mut self) -> anyhow::Result<()> {
        let mut objects = vec![String::new()];
        for node in self.names("nodes").await? {
            for free in self.names(&format!("nodes/{node}/freecontainers")).await? {
                objects.push(format!("nodes/{node}/freecontainers/{free}/"));
            }
            objects.push(format!("nodes/{node}/"));
        }
        for namespace in self.names("namespaces").await? {
            let namespace = format!("namespaces/{namespace}");
            for pod in self.names(&format!("{namespace}/pods")).await? {
                let pod = format!("{namespace}/pods/{pod}");
                for container in self.names(&format!("{pod}/containers")).await? {
                    objects.push(format!("{pod}/containers/{container}/"));
                }
                objects.push(format!("{pod}/"));
            }
            objects.push(format!("{namespace}/"));
        }
        ensure!(100 < objects.len(), "only {} objects have names", objects.len());
        for object in objects {
            // Of containers the values are checked by uid.
            let metrics = self.names(&format!("{object}metrics")).await?;
            for metric in metrics.into_iter().filter(|_| !object.contains("/containers/")) {
                self.same(&format!("{object}metrics/{metric}")).await?;
                if !object.contains("/pods/") {
                    let path = format!("{object}metrics-aggregated/{AGGREGATIONS}/{metric}");
                    self.same(&path).await?;
                    self.same_bytes(&format!("{path}?bucket=5m&{}", self.range)).await?;
                }
            }
        }
        Ok(())
    }

    /// Every life of everything, against the values that were sent.
    async fn everything_by_uid(&mut self, truth: Truth) -> anyhow::Result<()> {
        let names: Vec<&str> = cluster::metrics().map(|(_, name)| name).collect();
        for ((path, metric), expected) in truth {
            let name = names.get(metric).context("a metric without a name")?;
            self.is_true(&format!("{path}metrics/{name}"), &expected).await?;
        }
        Ok(())
    }

    /// What both say a list has; where they differ, that is a fault.
    async fn names(&mut self, path: &str) -> anyhow::Result<Vec<String>> {
        let body = self.same(path).await?;
        let names: Vec<String> =
            serde_json::from_slice(&body).with_context(|| format!("{path}: no list"))?;
        let keeps_slashes = path.ends_with("metrics");
        let segment = |name: String| if keeps_slashes { name } else { name.replace('/', "%2F") };
        Ok(names.into_iter().map(segment).collect())
    }

    async fn same(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.same_bytes(&format!("{path}?{}", self.range)).await
    }

    async fn same_bytes(&mut self, path: &str) -> anyhow::Result<Vec<u8>> {
        let path = format!("/api/v1/historical/{path}");
        let (ours, theirs) = tokio::try_join!(self.disturbed.get(&path), self.calm.get(&path))?;
        if theirs.status != 200 {
            bail!("{path}: status {}: {}", theirs.status, String::from_utf8_lossy(&theirs.body));
        }
        if ours.status == 200 && ours.body == theirs.body {
            self.report.alike += 1;
        } else {
            let place = ours.body.iter().zip(&theirs.body).take_while(|(a, b)| a == b).count();
            let part = |body: &[u8]| {
                let from = place.saturating_sub(60);
                let shown = body.iter().skip(from).take(160).copied().collect::<Vec<u8>>();
                String::from_utf8_lossy(&shown).into_owned()
            };
            self.report.tell(format!(
                "{path}: status {}, {} bytes, undisturbed {} bytes; …{} undisturbed …{}",
                ours.status,
                ours.body.len(),
                theirs.body.len(),
                part(&ours.body),
                part(&theirs.body)
            ));
        }
        Ok(theirs.body)
    }

    async fn is_true(&mut self, path: &str, expected: &Points) -> anyhow::Result<()> {
        let path = format!("/api/v1/historical/{path}?{}", self.range);
        let answer = self.disturbed.get(&path).await?;
        let series: Series =
            serde_json::from_slice(&answer.body).with_context(|| format!("{path}: no series"))?;
        let count = series.metrics.len();
        let seconds = |point: &Point| u64::try_from(point.timestamp.as_second());
        let points = series.metrics.iter().map(|point| Ok((Tick(seconds(point)?), point.value)));
        let points: Points = points.collect::<anyhow::Result<_>>()?;
        if points == *expected && count == expected.len() {
            self.report.true_points += u64::try_from(count)?;
            return Ok(());
        }
        let lost = expected.keys().filter(|tick| !points.contains_key(tick)).count();
        let wrong = expected
            .iter()
            .filter(|(tick, value)| points.get(tick).is_some_and(|found| found != *value));
        let first = expected.iter().find(|(tick, value)| points.get(tick) != Some(value));
        self.report.tell(format!(
            "{path}: {count} points, {} sent, {lost} lost, {} wrong, first {first:?}",
            expected.len(),
            wrong.count()
        ));
        Ok(())
    }
}

impl Report {
    fn tell(&mut self, fault: String) {
        self.faults.push(fault);
    }

    /// The faults, and how many there are if they are too many.
    pub fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self.faults.iter().take(TOLD_MOST).cloned().collect();
        if TOLD_MOST < self.faults.len() {
            told.push(format!("and {} more", self.faults.len() - TOLD_MOST));
        }
        told
    }
}

/// Every value, by the path and the metric that it is asked for by.
fn truth(cluster: &Cluster) -> anyhow::Result<Truth> {
    let mut truth: Truth = Truth::new();
    for node in 0..NODES {
        for place in 0..cluster.ticks() {
            let entities = cluster.entities(node, place)?;
            for entity in &entities {
                let Some(path) = path(cluster, node, entity, &entities)? else { continue };
                for (metric, _) in cluster::metrics() {
                    if let Some(value) = cluster.value(node, entity, metric, place) {
                        let points = truth.entry((path.clone(), metric)).or_default();
                        points.insert(cluster.tick(place), value);
                    }
                }
            }
        }
    }
    Ok(truth)
}

/// How an entity is asked for. Two lives of a container in one pod are one series; and so are
/// those of a service.
fn path(
    cluster: &Cluster,
    node: u32,
    entity: &Entity,
    all: &[Entity],
) -> anyhow::Result<Option<String>> {
    let name = cluster.node(node)?;
    Ok(match &entity.declaration.what {
        Declared::Node => Some(format!("nodes/{name}/")),
        Declared::Pod { uid, .. } => Some(format!("pod-id/{uid}/")),
        Declared::PodContainer { pod, name: Some(name), .. } => {
            let pod = all.iter().find(|other| other.number == *pod);
            match pod.map(|pod| &pod.declaration.what) {
                Some(Declared::Pod { uid, .. }) => Some(format!("pod-id/{uid}/containers/{name}/")),
                _ => None,
            }
        }
        Declared::FreeContainer { path: Some(path), .. } => {
            let path = path.to_string().replace('/', "%2F");
            Some(format!("nodes/{name}/freecontainers/{path}/"))
        }
        _ => None,
    })
}

/// The present, in ticks.
pub fn now() -> anyhow::Result<Tick> {
    let UnixMs(now) = UnixMs(Timestamp::now().as_millisecond());
    Ok(Tick(u64::try_from(now / 1000)?))
}
