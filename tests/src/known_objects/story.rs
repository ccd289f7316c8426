//! What happens one after the other, and what must be right after each.

use std::{collections::BTreeMap, future::Future, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    aggregator::Aggregator,
    api::{ApiServer, NAMESPACE, PodWanted, container_id},
    host::{self, Running, USAGE},
};

/// Two ticks, and what a busy machine may take.
const TWO_TICKS: Duration = Duration::from_millis(2_500);

/// An API server that comes back is asked again after at most half a minute.
const BACKOFF: Duration = Duration::from_secs(40);

/// One thing that was right or wrong.
#[derive(Clone, Debug)]
pub struct Check {
    /// What, for people.
    pub what: String,
    /// Whether it was right.
    pub passed: bool,
}

/// The actors.
#[derive(Debug)]
pub struct Story {
    api: ApiServer,
    aggregator: Aggregator,
    /// What runs on `node-a` and on `node-b`.
    hosts: BTreeMap<&'static str, watch::Sender<Running>>,
    checks: Vec<Check>,
}

fn web(name: &'static str, node: &'static str) -> PodWanted {
    PodWanted {
        name,
        node,
        owner: ("ReplicaSet", "web-5d59d67564"),
        labels: json!({"app": "web", "tier": "front", "pod-template-hash": "5d59d67564"}),
        containers: vec![
            (
                "app",
                json!({
                    "requests": {"cpu": "250m", "memory": "64Mi"},
                    "limits": {"cpu": "1", "memory": "128Mi"},
                }),
            ),
            ("side", json!({"requests": {"cpu": "50m"}})),
        ],
    }
}

fn db(name: &'static str, node: &'static str) -> PodWanted {
    let resources = json!({
        "requests": {"cpu": "2", "memory": "1Gi", "example.com/disk": "2"},
        "limits": {"example.com/disk": "2"},
    });
    let containers = vec![("db", resources)];
    PodWanted { name, node, owner: ("StatefulSet", "db"), labels: json!({}), containers }
}

impl Story {
    /// The API server is up and empty, the aggregator does not run yet.
    pub fn new(api: ApiServer, aggregator: Aggregator) -> Self {
        let hosts = ["node-a", "node-b"].map(|node| (node, watch::Sender::default()));
        Self { api, aggregator, hosts: hosts.into(), checks: Vec::new() }
    }

    /// Plays all of it.
    pub async fn play(mut self) -> anyhow::Result<Vec<Check>> {
        self.api.create(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE},
        }))?;
        for node in ["node-a", "node-b"] {
            let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
            self.api.create(&json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {"zone": "one"}},
                "status": {"capacity": amounts, "allocatable": amounts,
                    "addresses": [{"type": "Hostname", "address": format!("{node}.local")}]},
            }))?;
        }
        let first = self.begin(&web("web-1", "node-a"))?;
        self.begin(&db("db-0", "node-b"))?;
        self.aggregator.start().await?;
        let hosts = self.hosts.iter();
        let agents: Vec<_> = hosts
            .map(|(node, running)| {
                tokio::spawn(host::play(node, self.aggregator.url(), running.subscribe()))
            })
            .collect();
        self.objects_are_known().await?;
        self.pods_come_and_go(&first).await?;
        self.the_api_server_goes().await?;
        self.a_watch_expires().await?;
        self.the_aggregator_restarts_without_an_api_server().await?;
        self.hosts.clear();
        for agent in agents {
            agent.await??;
        }
        self.aggregator.kill().await?;
        Ok(self.checks)
    }

    /// Makes a pod that runs from now on; its uid.
    fn begin(&mut self, pod: &PodWanted) -> anyhow::Result<String> {
        let uid = self.api.create_pod(pod)?;
        self.api.report(pod, &uid, 0)?;
        let ids = pod.containers.iter().map(|(name, _)| container_id(&uid, name)).collect();
        self.host(pod.node)?.send_modify(|running| drop(running.insert(uid.clone(), ids)));
        Ok(uid)
    }

    /// Ends a pod.
    fn end(&mut self, node: &str, name: &str, uid: &str) -> anyhow::Result<()> {
        self.api.delete_pod(name)?;
        self.host(node)?.send_modify(|running| drop(running.remove(uid)));
        Ok(())
    }

    fn host(&self, node: &str) -> anyhow::Result<&watch::Sender<Running>> {
        self.hosts.get(node).context("no such node")
    }

    async fn objects_are_known(&mut self) -> anyhow::Result<()> {
        let patience = Duration::from_secs(10);
        self.names("pods", &["db-0", "web-1"], patience).await;
        self.names("pods/web-1/containers", &["app", "side"], patience).await;
        for (object, metric, expected) in [
            ("namespaces/shop/pods/web-1/containers/app", "cpu/request", 250),
            ("namespaces/shop/pods/web-1/containers/app", "memory/limit", 128 << 20),
            ("namespaces/shop/pods/web-1/containers/side", "cpu/limit", 0),
            ("namespaces/shop/pods/web-1/containers/side", "memory/usage", USAGE.unsigned_abs()),
            ("namespaces/shop/pods/web-1", "cpu/request", 300),
            ("namespaces/shop/pods/db-0", "example.com/disk/request", 2),
            ("namespaces/shop", "cpu/request", 2_300),
            ("namespaces/shop", "memory/usage", 3 * USAGE.unsigned_abs()),
            ("nodes/node-a", "cpu/node_capacity", 4_000),
            ("nodes/node-b", "memory/node_allocatable", 8 << 30),
            ("nodes/node-b", "cpu/request", 2_000),
        ] {
            self.series(object, metric, Some(expected), patience).await;
        }
        let whole = self.aggregator.json("/api/v1/model/metrics/cpu/node_reservation").await?;
        let share = whole.pointer("/metrics").and_then(Value::as_array).and_then(|all| all.last());
        let share = share.and_then(|point| point.get("floatValue")).and_then(Value::as_f64);
        self.note("the cluster's cpu/node_reservation is 2.3 of 8 cores", share == Some(2.3 / 8.0));
        let export = self.aggregator.json("/api/v1/metric-export").await?;
        let labels = export.as_array().into_iter().flatten().filter_map(|set| set.get("labels"));
        let of_pod = labels.clone().find(|labels| {
            labels.get("pod_name") == Some(&json!("web-1"))
                && labels.get("container_name") == Some(&json!("app"))
        });
        let label = |key| of_pod.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        let joined = label("labels").map(str::to_owned);
        let base = label("container_base_image").map(str::to_owned);
        let host = label("hostname").map(str::to_owned);
        let has_namespace = label("namespace_id").is_some_and(|id| id.len() == 36);
        self.note(
            "labels are joined by --label-separator, without --ignore-label",
            joined.as_deref() == Some("app:web;tier:front"),
        );
        self.note("container_base_image is the specification's", base.as_deref() == Some("app:1"));
        self.note("hostname is the node's address", host.as_deref() == Some("node-a.local"));
        self.note("namespace_id is the API server's", has_namespace);
        Ok(())
    }

    async fn pods_come_and_go(&mut self, first: &str) -> anyhow::Result<()> {
        let second = self.begin(&web("web-2", "node-b"))?;
        self.names("pods", &["db-0", "web-1", "web-2"], TWO_TICKS).await;
        self.series("namespaces/shop", "cpu/request", Some(2_600), TWO_TICKS).await;
        self.names("workloads", &["deployment", "statefulset"], TWO_TICKS).await;
        self.names("workloads/deployment", &["web"], TWO_TICKS).await;
        let deployment = "namespaces/shop/workloads/deployment/web";
        self.series(deployment, "cpu/request", Some(600), TWO_TICKS).await;
        self.series(deployment, "memory/usage", Some(4 * USAGE.unsigned_abs()), TWO_TICKS).await;
        self.series(
            "namespaces/shop/workloads/statefulset/db",
            "cpu/request",
            Some(2_000),
            TWO_TICKS,
        )
        .await;

        self.api.report(&web("web-2", "node-b"), &second, 7)?;
        let container = "namespaces/shop/pods/web-2/containers/app";
        self.series(container, "restart_count", Some(7), TWO_TICKS).await;

        self.end("node-a", "web-1", first)?;
        self.names("pods", &["db-0", "web-2"], TWO_TICKS).await;
        self.series("namespaces/shop", "cpu/request", Some(2_300), TWO_TICKS).await;
        self.series(deployment, "cpu/request", Some(300), TWO_TICKS).await;
        Ok(())
    }

    async fn the_api_server_goes(&mut self) -> anyhow::Result<()> {
        self.api.down()?;
        self.own("kubernetes_watch_ok{kind=\"pod\"}", 0.0, Duration::from_secs(10)).await;
        sleep(Duration::from_secs(3)).await;
        let ready = self.aggregator.text("/readyz").await?;
        let tells = ready.starts_with("ok\nthe API server can't be watched");
        self.note("/readyz is ok, and tells it", tells);
        self.names("pods", &["db-0", "web-2"], TWO_TICKS).await;
        self.series("namespaces/shop", "cpu/request", Some(2_300), TWO_TICKS).await;
        self.api.up()?;
        self.begin(&web("web-3", "node-a"))?;
        self.names("pods", &["db-0", "web-2", "web-3"], BACKOFF).await;
        self.own("kubernetes_watch_ok{kind=\"pod\"}", 1.0, BACKOFF).await;
        self.series("namespaces/shop", "cpu/request", Some(2_600), TWO_TICKS).await;
        Ok(())
    }

    /// An API server that was started anew has no past: what happened while nobody watched, and
    /// before it was started, only a list can tell.
    async fn a_watch_expires(&mut self) -> anyhow::Result<()> {
        let lists = "tally_kubernetes_lists_total{kind=\"pod\"}";
        let before = self.aggregator.own(lists).await?.unwrap_or_default();
        self.aggregator.stand_still(true)?;
        self.api.down()?;
        self.api.up()?;
        let fourth = web("web-4", "node-a");
        self.begin(&fourth)?;
        self.api.delete_pod("web-3")?;
        self.api.down()?;
        self.api.up()?;
        self.aggregator.stand_still(false)?;
        self.own_of(lists, before + 1.0, BACKOFF).await;
        // The node still says that web-3 runs: it has no name any longer.
        self.names("pods", &["db-0", "web-2", "web-4"], TWO_TICKS).await;
        self.series("namespaces/shop", "cpu/request", Some(2_600), TWO_TICKS).await;
        Ok(())
    }

    async fn the_aggregator_restarts_without_an_api_server(&mut self) -> anyhow::Result<()> {
        self.api.down()?;
        self.aggregator.kill().await?;
        self.aggregator.start().await?;
        let patience = Duration::from_secs(15);
        self.own("kubernetes_watch_ok{kind=\"pod\"}", 0.0, patience).await;
        self.own_of("tally_streams_open", 2.0, patience).await;
        sleep(Duration::from_secs(2)).await;
        self.names("pods", &["db-0", "web-2", "web-4"], TWO_TICKS).await;
        self.series("namespaces/shop", "cpu/request", Some(2_600), TWO_TICKS).await;
        self.api.up()?;
        let fifth = web("web-5", "node-b");
        self.begin(&fifth)?;
        self.names("pods", &["db-0", "web-2", "web-4", "web-5"], BACKOFF).await;
        self.series("namespaces/shop", "cpu/request", Some(2_900), TWO_TICKS).await;
        Ok(())
    }

    /// Checks a list below the namespace.
    async fn names(&mut self, list: &str, expected: &[&str], patience: Duration) {
        let path = format!("/api/v1/model/namespaces/{NAMESPACE}/{list}");
        let found = until(patience, json!(expected), async || {
            self.aggregator.json(&path).await.unwrap_or_default()
        });
        let found = found.await;
        self.note_found(format!("{list} are {expected:?}"), found);
    }

    /// Checks the newest value of a series.
    async fn series(
        &mut self,
        object: &str,
        metric: &str,
        expected: Option<u64>,
        patience: Duration,
    ) {
        let found = until(patience, json!(expected), async || {
            json!(self.aggregator.newest(object, metric).await.ok().flatten())
        });
        let found = found.await;
        self.note_found(format!("{metric} of {object} is {expected:?}"), found);
    }

    async fn own(&mut self, metric: &str, expected: f64, patience: Duration) {
        self.own_of(&format!("tally_{metric}"), expected, patience).await;
    }

    /// Checks one of the aggregator's own metrics.
    async fn own_of(&mut self, metric: &str, expected: f64, patience: Duration) {
        let found = until(patience, json!(expected), async || {
            json!(self.aggregator.own(metric).await.ok().flatten())
        });
        let found = found.await;
        self.note_found(format!("{metric} is {expected}"), found);
    }

    fn note_found(&mut self, what: String, found: Result<Duration, Value>) {
        match found {
            Ok(after) => self.note(&format!("{what} ({} ms)", after.as_millis()), true),
            Err(last) => self.note(&format!("{what}, not {last}"), false),
        }
    }

    fn note(&mut self, what: &str, passed: bool) {
        self.checks.push(Check { what: what.to_owned(), passed });
    }
}

/// Asks again and again: how long it took until the answer was right, or the last that was not.
async fn until<F: Future<Output = Value>>(
    patience: Duration,
    expected: Value,
    ask: impl Fn() -> F,
) -> Result<Duration, Value> {
    let began = Instant::now();
    loop {
        let found = ask().await;
        if found == expected {
            return Ok(began.elapsed());
        }
        if patience < began.elapsed() {
            return Err(found);
        }
        sleep(Duration::from_millis(50)).await;
    }
}
