//! A kubelet's `/stats/summary` as readings, by section 2.4 of the contract.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

/// What was read of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Of what.
    pub what: What,
    /// When its life began.
    pub start: Option<Timestamp>,
    /// When it was read; `None` when the summary does not say.
    pub read_at: Option<Timestamp>,
    /// Its numbers.
    pub values: BTreeMap<Column, Number>,
}

/// An entity of the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The node itself.
    Node,
    /// A pod.
    Pod(PodRef),
    /// A container of a pod.
    PodContainer(PodRef, String),
    /// A system container.
    FreeContainer(String),
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct PodRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid, as the node knows it.
    pub uid: String,
}

/// A metric, and its labels if it is labelled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    /// Its name.
    pub metric: String,
    /// Sorted by key.
    pub labels: Vec<(&'static str, String)>,
    /// Its numbers are doubles.
    pub floating: bool,
    /// A custom metric that is cumulative.
    pub cumulative: bool,
}

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Exact.
    Integer(u64),
    /// A double.
    Float(f64),
}

/// The summary's readings: the node, its system containers, each pod before its containers.
pub fn readings(json: &str) -> anyhow::Result<Vec<Reading>> {
    let Summary { node, pods } = serde_json::from_str(json).context("not a summary")?;
    let mut readings = vec![of_node(&node)];
    readings.extend(node.system_containers.iter().map(|container| {
        let name = match container.name.as_str() {
            "runtime" => "docker-daemon",
            "misc" => "system",
            name => name,
        };
        of_container(container, What::FreeContainer(name.to_owned()))
    }));
    for pod in &pods {
        readings.push(of_pod(pod));
        readings.extend(pod.containers.iter().flatten().map(|container| {
            of_container(container, What::PodContainer(pod.pod_ref.clone(), container.name.clone()))
        }));
    }
    Ok(readings)
}

fn of_node(node: &Node) -> Reading {
    let mut values = Values::default();
    values.cpu_and_memory(node.cpu.as_ref(), node.memory.as_ref());
    values.network(node.network.as_ref());
    values.filesystem("/", node.fs.as_ref());
    let used = node.fs.as_ref().and_then(|fs| fs.used_bytes);
    values.integer("ephemeral_storage/usage", used);
    let read_at = read_at(node.cpu.as_ref(), node.memory.as_ref(), node.network.as_ref());
    Reading { what: What::Node, start: node.start_time, read_at, values: values.0 }
}

fn of_pod(pod: &Pod) -> Reading {
    let mut values = Values::default();
    values.cpu_and_memory(pod.cpu.as_ref(), pod.memory.as_ref());
    values.network(pod.network.as_ref());
    for volume in pod.volume.iter().flatten() {
        values.filesystem(&format!("Volume:{}", volume.name), Some(&volume.fs));
    }
    let used = pod.ephemeral_storage.as_ref().and_then(|fs| fs.used_bytes);
    values.integer("ephemeral_storage/usage", used);
    let read_at = read_at(pod.cpu.as_ref(), pod.memory.as_ref(), pod.network.as_ref());
    Reading {
        what: What::Pod(pod.pod_ref.clone()),
        start: pod.start_time,
        read_at,
        values: values.0,
    }
}

fn of_container(container: &Container, what: What) -> Reading {
    let mut values = Values::default();
    values.cpu_and_memory(container.cpu.as_ref(), container.memory.as_ref());
    values.filesystem("/", container.rootfs.as_ref());
    values.filesystem("logs", container.logs.as_ref());
    if let (Some(rootfs), Some(logs)) = (&container.rootfs, &container.logs) {
        let used = rootfs.used_bytes.zip(logs.used_bytes).map(|(rootfs, logs)| rootfs + logs);
        values.integer("ephemeral_storage/usage", used);
    }
    for accelerator in container.accelerators.iter().flatten() {
        values.accelerator(accelerator);
    }
    for metric in container.user_defined_metrics.iter().flatten() {
        values.custom(metric);
    }
    let read_at = read_at(container.cpu.as_ref(), container.memory.as_ref(), None);
    Reading { what, start: container.start_time, read_at, values: values.0 }
}

fn read_at(
    cpu: Option<&Cpu>,
    memory: Option<&Memory>,
    network: Option<&Network>,
) -> Option<Timestamp> {
    let cpu = cpu.and_then(|cpu| cpu.time);
    let memory = memory.and_then(|memory| memory.time);
    cpu.or(memory).or(network.and_then(|network| network.time))
}

#[derive(Default)]
struct Values(BTreeMap<Column, Number>);

impl Values {
    fn put(&mut self, metric: &str, labels: Vec<(&'static str, String)>, value: Option<u64>) {
        let metric = metric.to_owned();
        let column = Column { metric, labels, floating: false, cumulative: false };
        self.0.extend(value.map(|value| (column, Number::Integer(value))));
    }

    fn integer(&mut self, metric: &str, value: Option<u64>) {
        self.put(metric, Vec::new(), value);
    }

    fn cpu_and_memory(&mut self, cpu: Option<&Cpu>, memory: Option<&Memory>) {
        self.integer("cpu/usage", cpu.and_then(|cpu| cpu.usage_core_nano_seconds));
        let Some(memory) = memory else { return };
        self.integer("memory/usage", memory.usage_bytes);
        self.integer("memory/working_set", memory.working_set_bytes);
        self.integer("memory/rss", memory.rss_bytes);
        self.integer("memory/page_faults", memory.page_faults);
        self.integer("memory/major_page_faults", memory.major_page_faults);
    }

    fn network(&mut self, network: Option<&Network>) {
        let Some(network) = network else { return };
        self.integer("network/rx", network.rx_bytes);
        self.integer("network/rx_errors", network.rx_errors);
        self.integer("network/tx", network.tx_bytes);
        self.integer("network/tx_errors", network.tx_errors);
    }

    fn filesystem(&mut self, resource: &str, fs: Option<&Filesystem>) {
        let Some(fs) = fs else { return };
        for (metric, value) in [
            ("filesystem/usage", fs.used_bytes),
            ("filesystem/limit", fs.capacity_bytes),
            ("filesystem/available", fs.available_bytes),
            ("filesystem/inodes", fs.inodes),
            ("filesystem/inodes_free", fs.inodes_free),
        ] {
            self.put(metric, vec![("resource_id", resource.to_owned())], value);
        }
    }

    fn accelerator(&mut self, accelerator: &Accelerator) {
        let Accelerator { make, model, id, memory_total, memory_used, duty_cycle } = accelerator;
        for (metric, value) in [
            ("accelerator/memory_total", memory_total),
            ("accelerator/memory_used", memory_used),
            ("accelerator/duty_cycle", duty_cycle),
        ] {
            let labels = vec![
                ("accelerator_id", id.clone()),
                ("make", make.clone()),
                ("model", model.clone()),
            ];
            self.put(metric, labels, *value);
        }
    }

    fn custom(&mut self, metric: &UserDefinedMetric) {
        if matches!(metric.kind.as_str(), "gauge" | "cumulative" | "delta") {
            let column = Column {
                metric: format!("custom/{}", metric.name),
                labels: Vec::new(),
                floating: true,
                cumulative: metric.kind == "cumulative",
            };
            self.0.insert(column, Number::Float(metric.value));
        }
    }
}

#[derive(Deserialize)]
struct Summary {
    node: Node,
    #[serde(default)]
    pods: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    start_time: Option<Timestamp>,
    #[serde(default)]
    system_containers: Vec<Container>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    network: Option<Network>,
    fs: Option<Filesystem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pod {
    pod_ref: PodRef,
    start_time: Option<Timestamp>,
    containers: Option<Vec<Container>>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    network: Option<Network>,
    volume: Option<Vec<Volume>>,
    #[serde(rename = "ephemeral-storage")]
    ephemeral_storage: Option<Filesystem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    start_time: Option<Timestamp>,
    cpu: Option<Cpu>,
    memory: Option<Memory>,
    rootfs: Option<Filesystem>,
    logs: Option<Filesystem>,
    accelerators: Option<Vec<Accelerator>>,
    user_defined_metrics: Option<Vec<UserDefinedMetric>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Option<Timestamp>,
    usage_core_nano_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    time: Option<Timestamp>,
    usage_bytes: Option<u64>,
    working_set_bytes: Option<u64>,
    rss_bytes: Option<u64>,
    page_faults: Option<u64>,
    major_page_faults: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Network {
    time: Option<Timestamp>,
    rx_bytes: Option<u64>,
    rx_errors: Option<u64>,
    tx_bytes: Option<u64>,
    tx_errors: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filesystem {
    available_bytes: Option<u64>,
    capacity_bytes: Option<u64>,
    used_bytes: Option<u64>,
    inodes_free: Option<u64>,
    inodes: Option<u64>,
}

#[derive(Deserialize)]
struct Volume {
    name: String,
    #[serde(flatten)]
    fs: Filesystem,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accelerator {
    make: String,
    model: String,
    id: String,
    memory_total: Option<u64>,
    memory_used: Option<u64>,
    duty_cycle: Option<u64>,
}

#[derive(Deserialize)]
struct UserDefinedMetric {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    value: f64,
}
