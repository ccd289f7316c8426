//! What the agent reads with the rights that its manifest gives it, beside what the same program reads
//! as root of the node with no bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::kubectl::{Cluster, run};

/// The pod that reads once.
const POD: &str = "tally-once";

/// Seconds that one reading may take, its rates over one second included.
const PATIENCE_S: u32 = 60;

/// Entities of a reading, by all that tells them apart, and their metrics.
type Entities = BTreeMap<String, BTreeSet<String>>;

/// What a pod lacks.
#[derive(Debug)]
pub struct Comparison {
    /// Entities that both have.
    pub shared: usize,
    /// Metrics that only root reads, by entity.
    pub missing: BTreeMap<String, Vec<String>>,
    /// What the pod says that it could not read, and root could.
    pub unreadable: Vec<String>,
}

/// Reads twice at about the same time.
pub async fn compare(
    cluster: &Cluster,
    agent: &Path,
    namespace: &str,
) -> anyhow::Result<Comparison> {
    let confined = read_in_pod(cluster, namespace).await?;
    let mut command = Command::new(agent);
    command.args(["--once", "--node=node1", "--log=error"]);
    let free: Value = serde_json::from_str(&run(command, None)?)?;
    let (all, some) = (entities(&free), entities(&confined));
    let shared: Vec<_> = all.iter().filter(|(key, _)| some.contains_key(*key)).collect();
    let missing = shared.iter().filter_map(|(key, metrics)| {
        let lacks: Vec<String> = metrics.difference(some.get(*key)?).cloned().collect();
        (!lacks.is_empty()).then(|| ((*key).clone(), lacks))
    });
    let readable = unreadable(&free);
    Ok(Comparison {
        shared: shared.len(),
        missing: missing.collect(),
        unreadable: unreadable(&confined).difference(&readable).cloned().collect(),
    })
}

/// One reading in a pod that is the agent's in all but its name and that it ends.
async fn read_in_pod(cluster: &Cluster, namespace: &str) -> anyhow::Result<Value> {
    let set = cluster.get(&["-n", namespace, "daemonset", "tally-agent"])?;
    let mut spec = set.pointer("/spec/template/spec").context("no pod")?.clone();
    *spec.get_mut("restartPolicy").context("no policy")? = json!("Never");
    let container = spec.pointer_mut("/containers/0").and_then(Value::as_object_mut);
    // Its spool belongs to the one that runs; --once has none.
    container.context("no container")?.insert("args".to_owned(), json!(["--once", "--log=error"]));
    cluster.create(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "namespace": namespace},
        "spec": spec,
    }))?;
    let phase = ["-n", namespace, "pod", POD];
    for _ in 0..PATIENCE_S {
        match cluster.text(&phase, "/status/phase").unwrap_or_default().as_str() {
            "Succeeded" => break,
            "Failed" => bail!("{POD}: {}", cluster.kubectl(&["-n", namespace, "logs", POD])?),
            _ => sleep(Duration::from_secs(1)).await,
        }
    }
    let printed = cluster.kubectl(&["-n", namespace, "logs", POD])?;
    cluster.kubectl(&["-n", namespace, "delete", "pod", POD, "--wait=false"])?;
    serde_json::from_str(&printed).with_context(|| printed.clone())
}

fn entities(reading: &Value) -> Entities {
    let all = reading.get("entities").and_then(Value::as_array).into_iter().flatten();
    all.map(|entity| {
        let mut what = entity.clone();
        let mut metrics = BTreeSet::new();
        if let Some(fields) = what.as_object_mut() {
            let plain = fields.remove("metrics");
            let plain = plain.as_ref().and_then(Value::as_object).into_iter().flatten();
            metrics.extend(plain.map(|(name, _)| name.clone()));
            let labeled = fields.remove("labeled");
            let labeled = labeled.as_ref().and_then(Value::as_array).into_iter().flatten();
            metrics.extend(labeled.filter(|row| !is_of_a_pods_cable(row)).map(|row| {
                let part = |key| row.get(key).map(Value::to_string).unwrap_or_default();
                format!("{} {}", part("metric"), part("labels"))
            }));
        }
        (what.to_string(), metrics)
    })
    .collect()
}

/// The node's end of a pod's network comes and goes with the pod, also with the one that reads.
fn is_of_a_pods_cable(row: &Value) -> bool {
    let resource = row.pointer("/labels/resource_id").and_then(Value::as_str);
    resource.is_some_and(|resource| resource.starts_with("veth"))
}

fn unreadable(reading: &Value) -> BTreeSet<String> {
    let all = reading.get("unreadable").and_then(Value::as_array).into_iter().flatten();
    // The same file below another root.
    all.map(|fault| fault.to_string().replace("/host/", "/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_told_apart_by_all_but_its_numbers() {
        let reading = json!({"entities": [
            {"kind": "pod", "pod": "a", "metrics": {"cpu/usage": 1},
             "labeled": [
                {"metric": "network/rx", "labels": {"resource_id": "eth0"}, "value": 2},
                {"metric": "network/rx", "labels": {"resource_id": "veth7"}, "value": 2},
             ]},
        ]});
        let found = entities(&reading);
        let (what, metrics) = found.first_key_value().unwrap();
        assert_eq!(what, r#"{"kind":"pod","pod":"a"}"#);
        let metrics: Vec<&str> = metrics.iter().map(String::as_str).collect();
        assert_eq!(metrics, [r#""network/rx" {"resource_id":"eth0"}"#, "cpu/usage"]);
    }
}
