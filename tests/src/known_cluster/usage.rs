//! What is told of usage in the resource metrics API, to people and to autoscalers.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    story::SHOP,
    telling::{Check, Telling},
};

/// The aggregator looks every 30 s whether its certificate and the APIServices are as they should be.
const MENDED: Duration = Duration::from_secs(90);

/// Pods have to start, and autoscalers to look twice.
const SCALED: Duration = Duration::from_secs(90);

/// Values of a series among which is what was told a moment ago.
const RECENT: usize = 8;

const API_SERVICE: &str = "v1beta1.metrics.k8s.io";

/// One row of `kubectl top`: what it is of, thousandths of a core, and MiB.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    millicores: f64,
    mebibytes: f64,
}

impl<R: FnMut(Check)> Telling<R> {
    pub(super) async fn usage_is_told(&mut self) -> anyhow::Result<()> {
        let available = format!("apiservice/{API_SERVICE}");
        let wait = ["wait", "--for=condition=Available", &available, "--timeout=90s"];
        let waited = self.story.cluster.kubectl(&wait);
        self.note(&format!("{API_SERVICE} is available"), waited.is_ok());
        self.tells("nodes", &["top", "nodes"], "nodes/node1", "node1").await?;
        let containers = ["-n", SHOP, "top", "pods", "--containers"];
        for container in ["burn", "still"] {
            let pods = self.pods_of(SHOP)?;
            let pod = pods.iter().find(|pod| pod.starts_with(container)).context("no pod")?;
            let object = format!("namespaces/{SHOP}/pods/{pod}/containers/{container}");
            self.tells("containers", &containers, &object, container).await?;
        }
        let all = ["top", "pods", "-A", "--sort-by=cpu", "-l", "app in (burn, scaled)"];
        let found = self.top(&all)?;
        let sorted = found.iter().zip(found.iter().skip(1));
        let sorted = sorted.into_iter().all(|(a, b)| b.millicores <= a.millicores);
        self.note(
            &format!("top of all pods by label, sorted by CPU: {found:?}"),
            sorted && found.len() == 2,
        );
        Ok(())
    }

    /// Checks that a row of `kubectl top` has recent values of the model.
    async fn tells(
        &mut self,
        what: &str,
        command: &[&str],
        object: &str,
        name: &str,
    ) -> anyhow::Result<()> {
        let rows = self.top(command)?;
        let row = rows.into_iter().find(|row| row.name == name).context("not in top")?;
        let cpu = self.tally.series(object, "cpu/usage_rate").await?;
        let memory = self.tally.series(object, "memory/working_set").await?;
        // kubectl rounds up.
        let has_cpu =
            cpu.iter().rev().take(RECENT).any(|at| (row.millicores - at.value).abs() <= 1.0);
        let mut sets = memory.iter().rev().take(RECENT).map(|at| at.value / 1_048_576.0);
        let has_memory = sets.any(|set| (row.mebibytes - set).abs() <= 1.0);
        let what = format!("top of {what}: {name} has {}m and {}Mi", row.millicores, row.mebibytes);
        self.note(&what, has_cpu && has_memory);
        Ok(())
    }

    fn top(&self, command: &[&str]) -> anyhow::Result<Vec<Row>> {
        let printed = self.story.cluster.kubectl(&[command, &["--no-headers"]].concat())?;
        Ok(printed.lines().filter_map(row).collect())
    }

    /// The role for looking at a namespace has usage in it.
    pub(super) fn whoever_may_look_may_look_at_usage(&mut self) -> anyhow::Result<()> {
        let viewer = ["--clusterrole=view", "--user=viewer"];
        let binding = ["-n", SHOP, "create", "rolebinding", "viewer"];
        self.story.cluster.kubectl(&[&binding[..], &viewer].concat())?;
        let own = self.top(&["-n", SHOP, "top", "pods", "--as=viewer"]);
        self.note(
            "who may view a namespace may ask for its usage",
            own.is_ok_and(|own| !own.is_empty()),
        );
        let all = self.top(&["top", "nodes", "--as=viewer"]);
        self.note("and for no other", all.is_err());
        Ok(())
    }

    pub(super) async fn an_autoscaler_scales(&mut self) -> anyhow::Result<()> {
        let bounds = ["--min=1", "--max=3", "--cpu-percent=60"];
        let scale = ["-n", SHOP, "autoscale", "deployment", "scaled"];
        self.story.cluster.kubectl(&[&scale[..], &bounds].concat())?;
        self.has_replicas(3, "what burns is scaled up").await?;
        let ready = ["-n", SHOP, "wait", "--for=condition=Ready", "pod", "-l", "app=scaled"];
        self.story.cluster.kubectl(&[&ready[..], &["--timeout=60s"]].concat())?;
        for pod in self.pods_of(SHOP)?.iter().filter(|pod| pod.starts_with("scaled")) {
            self.story.cluster.kubectl(&["-n", SHOP, "exec", pod, "--", "touch", "/rest"])?;
        }
        self.has_replicas(1, "what rests is scaled down").await?;
        self.story.cluster.kubectl(&["-n", SHOP, "delete", "hpa,deployment", "scaled"])?;
        Ok(())
    }

    async fn has_replicas(&mut self, wanted: u64, what: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut found = None;
        while found != Some(wanted) && began.elapsed() < SCALED {
            sleep(Duration::from_secs(1)).await;
            let deployment = self.story.cluster.get(&["-n", SHOP, "deployment", "scaled"])?;
            found = deployment.pointer("/spec/replicas").and_then(serde_json::Value::as_u64);
        }
        let after = began.elapsed().as_secs();
        self.note(&format!("{what} to {found:?} of {wanted} ({after} s)"), found == Some(wanted));
        Ok(())
    }

    /// A Secret that somebody emptied is filled again, and whoever asks notices nothing in the end.
    pub(super) async fn the_certificate_is_made_anew(&mut self) -> anyhow::Result<()> {
        let before = self.story.cluster.text(&["apiservice", API_SERVICE], "/spec/caBundle")?;
        let empty = json!([{"op": "remove", "path": "/data"}]).to_string();
        let namespace = self.story.namespace.clone();
        let patch = ["-n", &namespace, "patch", "secret", "tally-aggregator-tls"];
        self.story.cluster.kubectl(&[&patch[..], &["--type=json", "-p", &empty]].concat())?;
        let began = Instant::now();
        let mut is_new = false;
        while !is_new && began.elapsed() < MENDED {
            sleep(Duration::from_secs(1)).await;
            let now = self.story.cluster.text(&["apiservice", API_SERVICE], "/spec/caBundle")?;
            is_new = now != before && self.top(&["top", "nodes"]).is_ok();
        }
        let after = began.elapsed().as_secs();
        self.note(&format!("a certificate is made anew, and trusted ({after} s)"), is_new);
        Ok(())
    }
}

/// The last two cells with their units, and the one of the name before them; a node has percentages
/// too.
fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.split_whitespace().collect();
    let number = |cell: &str, unit| cell.strip_suffix(unit)?.parse().ok();
    let at = cells.iter().position(|cell| number(cell, "m").is_some())?;
    let name = (*cells.get(at.checked_sub(1)?)?).to_owned();
    let millicores = number(cells.get(at)?, "m")?;
    let mebibytes = cells.iter().rev().find_map(|cell| number(cell, "Mi"))?;
    Some(Row { name, millicores, mebibytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, name: &str, millicores: f64, mebibytes: f64) {
        assert_eq!(row(line), Some(Row { name: name.to_owned(), millicores, mebibytes }));
    }

    #[test]
    fn a_row_is_read_by_its_units() {
        check("node1   154m   7%   2233Mi   14%", "node1", 154.0, 2233.0);
        check("shop   burn-5d-x   burn   200m   1Mi", "burn", 200.0, 1.0);
        assert_eq!(row("No resources found"), None);
    }
}
