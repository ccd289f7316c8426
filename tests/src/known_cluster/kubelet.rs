//! What the kubelet says of pods, with its own times: `/stats/summary` and `/metrics/cadvisor` of its
//! port that only reads.

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::tally::Point;
use crate::swarm::http::HttpClient;

/// In the node's network.
const URL: &str = "http://127.0.0.1:10255";

/// One answer of `/stats/summary`.
#[derive(Debug)]
pub struct Summary(Value);

impl Summary {
    /// Asks for it.
    pub async fn read() -> anyhow::Result<Self> {
        Ok(Self(serde_json::from_slice(&get("/stats/summary").await?)?))
    }

    /// A number of a container, such as `memory` and `workingSetBytes`.
    pub fn container(&self, pod: &str, container: &str, part: &str, key: &str) -> Option<Point> {
        let containers = self.pod(pod)?.get("containers")?.as_array()?;
        let is_it = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(container);
        point(containers.iter().find(is_it)?.get(part)?, key)
    }

    /// A number of a pod, such as `network` and `rxBytes`.
    pub fn pod_number(&self, pod: &str, part: &str, key: &str) -> Option<Point> {
        point(self.pod(pod)?.get(part)?, key)
    }

    /// A number of a pod's volume, such as `usedBytes`.
    pub fn volume(&self, pod: &str, volume: &str, key: &str) -> Option<Point> {
        let volumes = self.pod(pod)?.get("volume")?.as_array()?;
        let is_it = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(volume);
        point(volumes.iter().find(is_it)?, key)
    }

    /// A number of the node, such as `fs` and `capacityBytes`.
    pub fn node(&self, part: &str, key: &str) -> Option<Point> {
        point(self.0.pointer(&format!("/node/{part}"))?, key)
    }

    fn pod(&self, pod: &str) -> Option<&Value> {
        let pods = self.0.get("pods")?.as_array()?;
        pods.iter().find(|found| found.pointer("/podRef/name").and_then(Value::as_str) == Some(pod))
    }
}

fn point(part: &Value, key: &str) -> Option<Point> {
    let at: Timestamp = part.get("time")?.as_str()?.parse().ok()?;
    // They are stamped with the whole second in which they were read.
    Some(Point { at_ms: at.as_millisecond(), value: part.get(key)?.as_f64()? })
}

/// The text of `/metrics/cadvisor`.
#[derive(Debug)]
pub struct Cadvisor(String);

impl Cadvisor {
    /// Asks for it.
    pub async fn read() -> anyhow::Result<Self> {
        Ok(Self(String::from_utf8(get("/metrics/cadvisor").await?)?))
    }

    /// The value of a metric that has all these labels.
    pub fn value(&self, metric: &str, labels: &[(&str, &str)]) -> Option<Point> {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        let of_metric = self.0.lines().filter_map(|line| line.strip_prefix(metric));
        of_metric
            .filter_map(|rest| rest.strip_prefix('{')?.split_once("} "))
            .find(|(found, _)| labels.iter().all(|label| found.contains(label)))
            .and_then(|(_, numbers)| {
                let (value, at_ms) = numbers.split_once(' ')?;
                Some(Point { at_ms: at_ms.parse().ok()?, value: value.parse().ok()? })
            })
    }
}

async fn get(path: &str) -> anyhow::Result<Vec<u8>> {
    let mut client = HttpClient::connect(URL).await.context("no kubelet")?;
    let answer = client.get(path).await?;
    ensure!(answer.status == 200, "the kubelet's {path}: {}", answer.status);
    Ok(answer.body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_labels() {
        let text =
            "# HELP a_b b\na_b{container=\"x\",pod=\"p\"} 1.5e+06 1700\na_b_c{pod=\"p\"} 7 1\n";
        let cadvisor = Cadvisor(text.to_owned());
        let found = cadvisor.value("a_b", &[("pod", "p"), ("container", "x")]);
        assert_eq!(found, Some(Point { at_ms: 1700, value: 1_500_000.0 }));
        assert_eq!(cadvisor.value("a_b", &[("pod", "q")]), None);
        assert_eq!(cadvisor.value("a_b_c", &[]), Some(Point { at_ms: 1, value: 7.0 }));
    }
}
