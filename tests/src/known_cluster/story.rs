//! What happens one after the other, and what must be right after each.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    kubectl::Cluster,
    kubelet::{Cadvisor, Summary},
    numbers::{rate, seconds},
    privilege,
    tally::{Point, Tally},
    telling::{Check, Telling, now_ms},
};

/// The namespace of the pods that are measured: see tests/real/cluster/loads.yaml.
pub(super) const SHOP: &str = "shop";

/// Two ticks, and what a busy machine may take.
pub(super) const TWO_TICKS: Duration = Duration::from_millis(2_500);

/// Until images have become running pods, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The kubelet looks at volumes once a minute, and may have looked too early.
const VOLUMES: Duration = Duration::from_secs(130);

/// Between two looks at what burns.
const BURN_S: u64 = 30;

/// How long a part of the cluster is away.
const AWAY: Duration = Duration::from_secs(6);

/// An API server that comes back is asked again after at most half a minute.
const BACKOFF: Duration = Duration::from_secs(40);

/// What is sent from one pod to another.
const SENT_BYTES: f64 = 33_554_432.0;

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
        telling.volumes_are_the_kubelets().await?;
        telling.cpu_is_the_kubelets().await?;
        telling.usage_is_told().await?;
        telling.whoever_may_look_may_look_at_usage()?;
        telling.an_autoscaler_scales().await?;
        telling.the_certificate_is_made_anew().await?;
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
        let containers = ["private", "still"];
        self.names(&format!("{of_pods}/still/containers"), &containers, TWO_TICKS).await;
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

    /// The kubelet looks at volumes once a minute.
    async fn volumes_are_the_kubelets(&mut self) -> anyhow::Result<()> {
        let path = format!("namespaces/{SHOP}/pods/still/metrics/filesystem/usage");
        let path = format!("/api/v1/model/{path}?labels=resource_id:Volume:own");
        let (began, mut found) = (Instant::now(), (None, None));
        while (found.0.is_none() || found.0 != found.1) && began.elapsed() < VOLUMES {
            sleep(Duration::from_secs(1)).await;
            let theirs = Summary::read().await?.volume("still", "own", "usedBytes");
            let answer = self.tally.json(&path).await.unwrap_or_default();
            let points = answer.get("metrics").and_then(Value::as_array);
            let ours = points.and_then(|points| points.last()?.get("value")?.as_f64());
            found = (theirs.map(|theirs| theirs.value), ours);
        }
        let is_it = found.0.is_some_and(|bytes| 4_194_304.0 <= bytes) && found.0 == found.1;
        self.note(&format!("summary's usage of a volume is filesystem/usage {found:?}"), is_it);
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
        let before = self.pods_of(SHOP)?;
        let pods: Vec<&str> = before.iter().map(String::as_str).collect();
        let list = format!("namespaces/{SHOP}/pods");
        // The API server forgets a pod before its containers have ended, and without a kubelet they would not.
        self.names(&list, &pods, START).await;
        let began_ms = now_ms();
        self.story.cluster.down(&["kubelet"])?;
        sleep(AWAY).await;
        self.is_going_on("without a kubelet", began_ms).await?;
        self.story.cluster.up(&["kubelet"])?;
        sleep(AWAY).await;
        self.is_going_on("after a kubelet's restart", began_ms).await?;
        self.names(&list, &pods, TWO_TICKS).await;
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
        let (began, is_new_ms) = (Instant::now(), now_ms());
        while !self.has_since(is_new_ms).await && began.elapsed() < BACKOFF {
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
}
