//! What happens one after the other, and what must be right after each.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    kubectl::Cluster,
    kubelet::{Cadvisor, Summary},
    numbers::{has_within_one_read, longest_gap, rate, seconds},
    privilege,
    tally::{Point, Tally},
};

/// The namespace of the pods that are measured: see tests/real/cluster/loads.yaml.
const SHOP: &str = "shop";

/// Two ticks, and what a busy machine may take.
const TWO_TICKS: Duration = Duration::from_millis(2_500);

/// Until images have become running pods, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The kubelet looks at a container every 10 to 15 s.
const KUBELET_LOOKS: Duration = Duration::from_secs(60);

/// Between two looks at what burns.
const BURN_S: u64 = 30;

/// How long a part of the cluster is away.
const AWAY: Duration = Duration::from_secs(6);

/// An API server that comes back is asked again after at most half a minute.
const BACKOFF: Duration = Duration::from_secs(40);

/// What is sent from one pod to another.
const SENT_BYTES: f64 = 33_554_432.0;

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

/// The actors.
#[derive(Debug)]
pub struct Story {
    /// The node.
    pub cluster: Cluster,
    /// The agent's program, as it runs in its pod.
    pub agent: PathBuf,
    /// The pods that are measured.
    pub loads: PathBuf,
    /// Where Tally is installed.
    pub namespace: String,
}

/// The story under way.
struct Telling<R> {
    story: Story,
    tally: Tally,
    report: R,
    all_passed: bool,
}

impl Story {
    /// Tells all of it, from Tally's objects on, which are there already; whether all was right.
    pub async fn play(self, report: impl FnMut(Check)) -> anyhow::Result<bool> {
        let service = ["-n", &self.namespace, "service", "tally-aggregator"];
        let address = self.cluster.text(&service, "/spec/clusterIP")?;
        let tally = Tally { url: format!("http://{address}:8082") };
        let mut telling = Telling { story: self, tally, report, all_passed: true };
        telling.is_ready()?;
        telling.names_are_known().await?;
        telling.pods_come().await?;
        telling.rights_are_enough().await?;
        telling.memory_is_the_kubelets().await?;
        telling.networks_are_the_kubelets().await?;
        telling.filesystems_are_the_kubelets().await?;
        telling.cpu_is_the_kubelets().await?;
        telling.the_kubelet_restarts().await?;
        telling.the_api_server_goes().await?;
        telling.the_aggregator_restarts().await?;
        telling.pods_go().await?;
        Ok(telling.all_passed)
    }
}

impl<R: FnMut(Check)> Telling<R> {
    fn is_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        for what in ["deployment/tally-aggregator", "daemonset/tally-agent"] {
            let status = ["rollout", "status", what, "--timeout=120s"];
            let namespace = ["-n", &self.story.namespace];
            let done = self.story.cluster.kubectl(&[&namespace[..], &status].concat());
            self.note(&format!("{what} is ready"), done.is_ok());
            done?;
        }
        self.note(&format!("ready after {} s", began.elapsed().as_secs()), began.elapsed() < START);
        Ok(())
    }

    async fn names_are_known(&mut self) -> anyhow::Result<()> {
        self.names("nodes", &["node1"], START).await;
        let ours = self.story.namespace.clone();
        self.has_names("namespaces", &["kube-system", &ours], START).await;
        let parts = ["docker-daemon", "kubelet", "pods", "system"];
        self.has_names("nodes/node1/freecontainers", &parts, START).await;
        let pods = self.pods_of(&ours)?;
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        self.names(&format!("namespaces/{ours}/pods"), &pods, START).await;
        for (pod, container) in pods.iter().zip(["agent", "aggregator"]) {
            self.names(&format!("namespaces/{ours}/pods/{pod}/containers"), &[container], START)
                .await;
        }
        Ok(())
    }

    async fn pods_come(&mut self) -> anyhow::Result<()> {
        let loads = self.story.loads.to_string_lossy().into_owned();
        self.story.cluster.kubectl(&["apply", "-f", &loads])?;
        let ready = ["-n", SHOP, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"];
        self.story.cluster.kubectl(&ready)?;
        let pods = self.pods_of(SHOP)?;
        let pods: Vec<&str> = pods.iter().map(String::as_str).collect();
        let of_pods = format!("namespaces/{SHOP}/pods");
        self.names(&of_pods, &pods, TWO_TICKS).await;
        self.names(&format!("{of_pods}/still/containers"), &["still"], TWO_TICKS).await;
        let limit = format!("{of_pods}/still/containers/still");
        self.newest(&limit, "memory/limit", 134_217_728.0).await;
        Ok(())
    }

    async fn rights_are_enough(&mut self) -> anyhow::Result<()> {
        let Story { cluster, agent, namespace, .. } = &self.story;
        let found = privilege::compare(cluster, agent, namespace).await?;
        let shared = found.shared;
        self.note(&format!("a pod and root both read {shared} entities"), 20 < shared);
        let missing = format!("the pod reads every metric that root reads {:?}", found.missing);
        self.note(&missing, found.missing.is_empty());
        let unreadable =
            format!("the pod can read every file that root can {:?}", found.unreadable);
        self.note(&unreadable, found.unreadable.is_empty());
        Ok(())
    }

    async fn memory_is_the_kubelets(&mut self) -> anyhow::Result<()> {
        let still = format!("namespaces/{SHOP}/pods/still/containers/still");
        let metric = "memory/working_set";
        self.agrees("summary's memory of a container", &still, metric, async || {
            let summary = Summary::read().await.ok()?;
            summary.container("still", "still", "memory", "workingSetBytes")
        })
        .await;
        self.agrees("cadvisor's memory of a container", &still, metric, async || {
            let labels = [("namespace", SHOP), ("pod", "still"), ("container", "still")];
            Cadvisor::read().await.ok()?.value("container_memory_working_set_bytes", &labels)
        })
        .await;
        Ok(())
    }

    async fn networks_are_the_kubelets(&mut self) -> anyhow::Result<()> {
        let receiver = ["-n", SHOP, "pod", "receiver"];
        let address = self.story.cluster.text(&receiver, "/status/podIP")?;
        let send = format!("dd if=/dev/zero bs=1048576 count=32 2>/dev/null | nc {address} 5000");
        self.story.cluster.kubectl(&["-n", SHOP, "exec", "sender", "--", "sh", "-c", &send])?;
        for (pod, metric, key, name) in [
            ("receiver", "network/rx", "rxBytes", "container_network_receive_bytes_total"),
            ("receiver", "network/tx", "txBytes", "container_network_transmit_bytes_total"),
            ("sender", "network/tx", "txBytes", "container_network_transmit_bytes_total"),
        ] {
            let object = format!("namespaces/{SHOP}/pods/{pod}");
            let what = format!("summary's network of {pod}");
            self.agrees(&what, &object, metric, async || {
                Summary::read().await.ok()?.pod_number(pod, "network", key)
            })
            .await;
            let what = format!("cadvisor's network of {pod}");
            self.agrees(&what, &object, metric, async || {
                let labels = [("namespace", SHOP), ("pod", pod), ("interface", "eth0")];
                Cadvisor::read().await.ok()?.value(name, &labels)
            })
            .await;
        }
        let received = self.last(&format!("namespaces/{SHOP}/pods/receiver"), "network/rx").await?;
        // Headers come on top.
        let sent = SENT_BYTES..SENT_BYTES * 1.1;
        let what = format!("{} bytes were received of {SENT_BYTES}", received.value);
        self.note(&what, sent.contains(&received.value));
        Ok(())
    }

    async fn filesystems_are_the_kubelets(&mut self) -> anyhow::Result<()> {
        let summary = Summary::read().await?;
        for (metric, key) in
            [("filesystem/limit", "capacityBytes"), ("filesystem/inodes", "inodes")]
        {
            let theirs = summary.node("fs", key).context("no filesystem")?.value;
            let path = format!("/api/v1/model/nodes/node1/metrics/{metric}?labels=resource_id:/");
            let answer = self.tally.json(&path).await?;
            let points = answer.get("metrics").and_then(Value::as_array);
            let ours = points.and_then(|points| points.last()?.get("value")?.as_f64());
            self.note(&format!("summary's {key} of the node is {metric}"), ours == Some(theirs));
        }
        Ok(())
    }

    async fn cpu_is_the_kubelets(&mut self) -> anyhow::Result<()> {
        let pod = self
            .pods_of(SHOP)?
            .into_iter()
            .find(|pod| pod.starts_with("burn"))
            .context("no burn")?;
        let object = format!("namespaces/{SHOP}/pods/{pod}/containers/burn");
        let labels = [("namespace", SHOP), ("pod", pod.as_str()), ("container", "burn")];
        let name = "container_cpu_usage_seconds_total";
        let look = async || -> anyhow::Result<(Point, Point)> {
            loop {
                let cadvisor = Cadvisor::read().await?.value(name, &labels);
                let mut cadvisor = cadvisor.context("no CPU of cadvisor")?;
                cadvisor.value = (cadvisor.value * 1e9).round();
                let summary = Summary::read().await?;
                let summary = summary.container(&pod, "burn", "cpu", "usageCoreNanoSeconds");
                let mut summary = summary.context("no CPU in summary")?;
                // Both tell the same reading, the summary with the second alone.
                if (summary.value - cadvisor.value).abs() < 1e3 {
                    summary.at_ms = cadvisor.at_ms;
                    return Ok((summary, cadvisor));
                }
                sleep(Duration::from_secs(1)).await;
            }
        };
        let first = look().await?;
        sleep(Duration::from_secs(BURN_S)).await;
        let mut second = look().await?;
        // cadvisor looks when it likes.
        while second.1.at_ms - first.1.at_ms < 30_000 {
            sleep(Duration::from_secs(1)).await;
            second = look().await?;
        }
        sleep(TWO_TICKS).await;
        let series = self.tally.series(&object, "cpu/usage").await?;
        for (who, first, second) in
            [("summary", first.0, second.0), ("cadvisor", first.1, second.1)]
        {
            let theirs = (second.value - first.value) / seconds(second.at_ms - first.at_ms);
            let ours = rate(&series, first.at_ms, second.at_ms).unwrap_or_default();
            let (percent, elapsed) = ((ours / theirs - 1.0) * 100.0, second.at_ms - first.at_ms);
            let what =
                format!("{who}'s CPU of a container over {elapsed} ms, {percent:.2} % apart");
            self.note(&what, percent.abs() < 1.0 && 1e6 < theirs);
        }
        Ok(())
    }

    async fn the_kubelet_restarts(&mut self) -> anyhow::Result<()> {
        let began_ms = now_ms();
        let before = self.pods_of(SHOP)?;
        self.story.cluster.down(&["kubelet"])?;
        sleep(AWAY).await;
        self.is_going_on("without a kubelet", began_ms).await?;
        self.story.cluster.up(&["kubelet"])?;
        sleep(AWAY).await;
        self.is_going_on("after a kubelet's restart", began_ms).await?;
        let pods: Vec<&str> = before.iter().map(String::as_str).collect();
        self.names(&format!("namespaces/{SHOP}/pods"), &pods, TWO_TICKS).await;
        Ok(())
    }

    async fn the_api_server_goes(&mut self) -> anyhow::Result<()> {
        let began_ms = now_ms();
        let before = self.pods_of(SHOP)?;
        let before: Vec<&str> = before.iter().map(String::as_str).collect();
        let list = format!("namespaces/{SHOP}/pods");
        self.story.cluster.down(&["kube-apiserver"])?;
        sleep(AWAY).await;
        self.is_going_on("without an API server", began_ms).await?;
        self.names(&list, &before, TWO_TICKS).await;
        self.story.cluster.up(&["kube-apiserver"])?;
        self.story.cluster.create(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "late", "namespace": SHOP},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "late", "image": "registry.local/busybox:1",
                    "command": ["sleep", "100000"], "imagePullPolicy": "Never"}],
            },
        }))?;
        self.has_names(&list, &["late"], BACKOFF).await;
        self.is_going_on("after an API server's restart", began_ms).await
    }

    async fn the_aggregator_restarts(&mut self) -> anyhow::Result<()> {
        let began_ms = now_ms();
        let namespace = self.story.namespace.clone();
        let of = ["-n", &namespace, "rollout"];
        let what = "deployment/tally-aggregator";
        self.story.cluster.kubectl(&[&of[..], &["restart", what]].concat())?;
        self.story.cluster.kubectl(&[&of[..], &["status", what, "--timeout=120s"]].concat())?;
        // What it missed comes from the agent's outbox, what it had from its volume.
        let began = Instant::now();
        while !self.is_fresh().await && began.elapsed() < BACKOFF {
            sleep(Duration::from_millis(200)).await;
        }
        self.note(
            &format!("agents deliver again after {} s", began.elapsed().as_secs()),
            began.elapsed() < BACKOFF,
        );
        self.is_going_on("after the aggregator's restart", began_ms - 30_000).await
    }

    async fn pods_go(&mut self) -> anyhow::Result<()> {
        let delete = ["-n", SHOP, "delete", "pod", "still", "late", "--grace-period=0", "--wait"];
        self.story.cluster.kubectl(&delete)?;
        let left = self.pods_of(SHOP)?;
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        self.names(&format!("namespaces/{SHOP}/pods"), &left, TWO_TICKS).await;
        Ok(())
    }

    /// Checks that what burns has values since some time, up to now.
    async fn is_going_on(&mut self, when: &str, since_ms: i64) -> anyhow::Result<()> {
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

    /// Whether the node's newest value is of now.
    async fn is_fresh(&self) -> bool {
        let newest = self.last("nodes/node1", "cpu/usage_rate").await;
        newest.is_ok_and(|newest| now_ms() - newest.at_ms < FRESH_MS)
    }

    /// Checks that the newest value of somebody else is one of ours, as soon as nothing moves.
    async fn agrees(
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

    async fn newest(&mut self, object: &str, metric: &str, expected: f64) {
        let began = Instant::now();
        let mut found = None;
        while found != Some(expected) && began.elapsed() < TWO_TICKS {
            found = self.last(object, metric).await.ok().map(|point| point.value);
        }
        let what = format!("{metric} of {object} is {expected}, found {found:?}");
        self.note(&what, found == Some(expected));
    }

    async fn last(&self, object: &str, metric: &str) -> anyhow::Result<Point> {
        let series = self.tally.series(object, metric).await?;
        series.last().copied().with_context(|| format!("{object} has no {metric}"))
    }

    /// Checks that a list is exactly this, in time.
    async fn names(&mut self, list: &str, expected: &[&str], patience: Duration) {
        self.list(list, expected, patience, |found| found == expected).await;
    }

    /// Checks that a list has these, in time.
    async fn has_names(&mut self, list: &str, expected: &[&str], patience: Duration) {
        let has =
            |found: &[String]| expected.iter().all(|name| found.iter().any(|found| found == name));
        self.list(list, expected, patience, has).await;
    }

    async fn list(
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
    fn pods_of(&self, namespace: &str) -> anyhow::Result<Vec<String>> {
        let jsonpath = "jsonpath={range .items[*]}{.metadata.name} {end}";
        let list = ["-n", namespace, "get", "pods", "--field-selector=status.phase=Running"];
        let printed = self.story.cluster.kubectl(&[&list[..], &["-o", jsonpath]].concat())?;
        let mut names: Vec<String> = printed.split_whitespace().map(str::to_owned).collect();
        names.sort();
        Ok(names)
    }

    fn note(&mut self, what: &str, passed: bool) {
        self.all_passed &= passed;
        (self.report)(Check { what: what.to_owned(), passed });
    }
}

fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
