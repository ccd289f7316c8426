//! What the recorded inputs say that a rule needs to know.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;

use super::summary::{Number, PodRef, Reading, What};

/// One node's summary of one batch.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The node.
    pub node: String,
    /// The batch's stamp.
    pub batch: Timestamp,
    /// When it was read.
    pub scraped: Timestamp,
    /// What was read.
    pub readings: Vec<Reading>,
}

/// Facts about the recorded cluster.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Host names by node name, as the API server has them.
    pub hostnames: BTreeMap<String, String>,
    /// System containers by node and batch.
    pub free_containers: BTreeMap<(String, Timestamp), BTreeSet<String>>,
    /// Pods that nodes reported, with the first batch of each.
    pub pods: BTreeMap<PodRef, Timestamp>,
    /// By namespace, pod, metric and batch: what a pod on its host's network used by its own cgroup,
    /// and what its containers' rates add up to.
    pub host_network: BTreeMap<(String, String, &'static str), BTreeMap<Timestamp, OwnAndSum>>,
}

/// The two candidates for a pod's rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnAndSum {
    /// By the pod's own cgroup.
    pub own: f64,
    /// By its containers.
    pub sum: f64,
}

/// Each rate that a pod may have of its own beside its network's, and what it is the rate of.
const RATES: [(&str, &str); 3] = [
    ("cpu/usage_rate", "cpu/usage"),
    ("memory/page_faults_rate", "memory/page_faults"),
    ("memory/major_page_faults_rate", "memory/major_page_faults"),
];

impl Facts {
    /// Collects them from the API server's nodes and from all scrapes, in order of time.
    pub fn collect(nodes: &str, scrapes: &[Scrape]) -> anyhow::Result<Self> {
        let mut facts = Self { hostnames: hostnames(nodes)?, ..Self::default() };
        let mut before: BTreeMap<&str, &Scrape> = BTreeMap::new();
        for scrape in scrapes {
            let free = scrape.readings.iter().filter_map(|reading| match &reading.what {
                What::FreeContainer(name) => Some(name.clone()),
                _ => None,
            });
            facts.free_containers.insert((scrape.node.clone(), scrape.batch), free.collect());
            for reading in &scrape.readings {
                if let What::Pod(pod) | What::PodContainer(pod, _) = &reading.what {
                    facts.pods.entry(pod.clone()).or_insert(scrape.batch);
                }
            }
            if let Some(earlier) = before.insert(&scrape.node, scrape) {
                facts.add_host_network(earlier, scrape);
            }
        }
        Ok(facts)
    }

    fn add_host_network(&mut self, earlier: &Scrape, later: &Scrape) {
        for (pod, reading) in later.readings.iter().filter_map(host_network_pod) {
            for (rate, source) in RATES {
                let before = earlier.readings.iter().find(|before| before.what == reading.what);
                let Some(own) = before.and_then(|before| growth(before, reading, source)) else {
                    continue;
                };
                let containers = containers(later, pod).into_iter().filter_map(|(name, after)| {
                    growth(containers(earlier, pod).get(name)?, after, source)
                });
                let shown = |growth: f64| shown(rate, growth);
                let both = OwnAndSum { own: shown(own), sum: containers.map(shown).sum() };
                let key = (pod.namespace.clone(), pod.name.clone(), rate);
                self.host_network.entry(key).or_default().insert(later.batch, both);
            }
        }
    }
}

/// A pod that has numbers of its own, but none of a network.
fn host_network_pod(reading: &Reading) -> Option<(&PodRef, &Reading)> {
    let What::Pod(pod) = &reading.what else { return None };
    let has = |metric: &str| reading.values.keys().any(|column| column.metric == metric);
    (has("cpu/usage") && !has("network/rx")).then_some((pod, reading))
}

/// A pod's containers; of two lives with one name, the later.
fn containers<'a>(scrape: &'a Scrape, pod: &PodRef) -> BTreeMap<&'a str, &'a Reading> {
    let mut found: BTreeMap<&str, &Reading> = BTreeMap::new();
    for reading in &scrape.readings {
        if let What::PodContainer(its_pod, name) = &reading.what
            && its_pod == pod
            && found.get(name.as_str()).is_none_or(|other| other.start <= reading.start)
        {
            found.insert(name, reading);
        }
    }
    found
}

/// Growth a second of one counter within one life.
#[expect(clippy::as_conversions, reason = "doubles are what Heapster computed with")]
fn growth(before: &Reading, after: &Reading, source: &str) -> Option<f64> {
    let value = |reading: &Reading| {
        let mut values = reading.values.iter();
        match values.find(|(column, _)| column.metric == source)?.1 {
            Number::Integer(value) => Some(*value),
            Number::Float(_) => None,
        }
    };
    let elapsed = after.read_at?.duration_since(before.read_at?).as_secs_f64();
    let grown = value(after)?.checked_sub(value(before)?)?;
    (before.start == after.start && 0.0 < elapsed).then_some(grown as f64 / elapsed)
}

/// A rate as Heapster has it: CPU in whole millicores, anything else as it is.
fn shown(rate: &str, growth: f64) -> f64 {
    if rate == "cpu/usage_rate" { (growth / 1e6 + 1e-9).trunc() } else { growth }
}

/// By node name: the last Hostname address, else the name.
fn hostnames(nodes: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let nodes: Value = serde_json::from_str(nodes)?;
    let items = nodes.pointer("/items").and_then(Value::as_array).context("no list of nodes")?;
    let hostname = |node: &Value| {
        let name = node.pointer("/metadata/name")?.as_str()?.to_owned();
        let addresses = node.pointer("/status/addresses").and_then(Value::as_array);
        let text = |address: &Value, key| Some(address.get(key)?.as_str()?.to_owned());
        let of_kind = |address: &&Value| text(address, "type").as_deref() == Some("Hostname");
        let found = addresses.and_then(|all| all.iter().rfind(of_kind));
        let hostname = found.and_then(|address| text(address, "address"));
        Some((name.clone(), hostname.unwrap_or(name)))
    };
    items.iter().map(|node| hostname(node).context("a node without a name")).collect()
}
