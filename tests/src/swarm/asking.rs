//! Questions under load: one after the other on one connection, as a tool asks them.

use std::{collections::BTreeMap, thread, time::Duration};

use serde::Serialize;
use serde_json::Value;
use tally_proto::tick::UnixMs;

use super::{
    clock::Clock,
    http::{Answer, HttpClient, HttpError},
    names,
    punctuality::Verdict,
    quantiles::{Quantiles, rounded},
    random::Random,
    shape::Shape,
};

/// Bytes of an answer that tell whether it is empty.
const BEGINNING: usize = 64;

/// Time between an answer and the next question.
const PAUSE: Duration = Duration::from_millis(2);

/// Pods of one pod-list question.
const PODS_OF_A_LIST: usize = 20;

/// Exports, one after the other.
const EXPORTS: usize = 5;

const JSON: &str = "application/json";

/// What everything uses is asked for in these.
const USAGE_FORMS: [&str; 2] = [JSON, "application/vnd.kubernetes.protobuf"];

/// An answer that is not one.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There was none.
    #[error("cannot ask {path}")]
    Http {
        /// What was asked.
        path: String,
        /// Why there was no answer.
        source: HttpError,
    },
    /// It was a refusal.
    #[error("{path} answered {status}")]
    Refused {
        /// What was asked.
        path: String,
        /// The status.
        status: u16,
    },
}

/// One way to ask, and the route it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    ContainerSeries,
    PodRateSeries,
    NodeSeries,
    NamespaceSeries,
    ClusterSeries,
    Nodes,
    Namespaces,
    Pods,
    Containers,
    FreeContainers,
    MetricNames,
    PodList,
    EveryKey,
    Usage,
}

const KINDS: [(Kind, &str); 14] = [
    (Kind::ContainerSeries, "series of a container"),
    (Kind::PodRateSeries, "rate of a pod"),
    (Kind::NodeSeries, "series of a node"),
    (Kind::NamespaceSeries, "series of a namespace"),
    (Kind::ClusterSeries, "series of the cluster"),
    (Kind::Nodes, "list of nodes"),
    (Kind::Namespaces, "list of namespaces"),
    (Kind::Pods, "list of a namespace's pods"),
    (Kind::Containers, "list of a pod's containers"),
    (Kind::FreeContainers, "list of a node's free containers"),
    (Kind::MetricNames, "list of a pod's metrics"),
    (Kind::PodList, "pod-list of twenty pods"),
    (Kind::EveryKey, "list of every key"),
    (Kind::Usage, "usage of a namespace's pods"),
];

/// One long document.
#[derive(Clone, Debug, Serialize)]
pub struct Export {
    /// Length of the document.
    pub bytes: u64,
    /// Until its last byte.
    pub seconds: f64,
    /// Both together.
    pub megabytes_per_second: f64,
}

/// What the questions took.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// By kind of question.
    pub latencies: BTreeMap<&'static str, Quantiles>,
    /// Answers with nothing in them, which count nowhere else: of pods that were replaced and
    /// nodes that are cut off. In calm weather there is none.
    pub empty: u64,
    /// `metric-export`, one after the other.
    pub exports: Vec<Export>,
    /// What every pod uses, by media type, one after the other.
    pub usage: BTreeMap<&'static str, Vec<Export>>,
    /// How much longer than it wanted the asking thread slept between questions: answers wait as
    /// long for it, and that is no fault of the aggregator.
    pub overslept: Option<Quantiles>,
    /// How late frames were sent meanwhile.
    pub punctuality: Option<Verdict>,
}

/// Asks until `end`, then exports everything a few times. It sleeps as a thread, not as a task:
/// nothing else runs on its runtime.
pub async fn ask(rest: &str, shape: Shape, clock: Clock, end: UnixMs) -> Result<Asked, AskError> {
    let client = HttpClient::connect(rest).await;
    let client = client.map_err(|source| AskError::Http { path: rest.to_owned(), source })?;
    let mut asker = Asker { client, shape, clock, random: Random::new(shape.seed, u64::MAX) };
    let pods = asker.pods_by_namespace().await?;
    asker.client.keep_at_most(BEGINNING);
    let mut found: BTreeMap<&'static str, Vec<Duration>> = BTreeMap::new();
    let (mut overslept, mut empty) = (Vec::new(), 0);
    while clock.unix() < end {
        for (kind, name) in KINDS {
            let path = asker.path(kind, &pods);
            let (took, answer) = asker.get(&path, JSON).await?;
            if answer.is_empty() {
                empty += 1;
            } else {
                found.entry(name).or_default().push(took);
            }
            let begun = clock.elapsed();
            thread::sleep(PAUSE);
            overslept.push(clock.elapsed().saturating_sub(begun + PAUSE));
        }
    }
    let mut exports = Vec::new();
    for _ in 0..EXPORTS {
        let (took, answer) = asker.get("/api/v1/metric-export", JSON).await?;
        exports.push(Export::of(answer.bytes, took));
    }
    let mut usage: BTreeMap<&'static str, Vec<Export>> = BTreeMap::new();
    for form in [USAGE_FORMS; EXPORTS].concat() {
        let (took, answer) = asker.get("/apis/metrics.k8s.io/v1/pods", form).await?;
        usage.entry(form).or_default().push(Export::of(answer.bytes, took));
    }
    let latencies =
        found.into_iter().filter_map(|(name, all)| Some((name, Quantiles::of(all)?))).collect();
    let overslept = Quantiles::of(overslept);
    Ok(Asked { latencies, empty, exports, usage, overslept, punctuality: None })
}

impl Export {
    #[expect(clippy::as_conversions, reason = "figures for people")]
    fn of(bytes: u64, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let megabytes_per_second = rounded(bytes as f64 / 1e6 / seconds);
        Self { bytes, seconds: rounded(seconds), megabytes_per_second }
    }
}

struct Asker {
    client: HttpClient,
    shape: Shape,
    clock: Clock,
    random: Random,
}

type Pods = Vec<(String, Vec<String>)>;

impl Asker {
    async fn get(&mut self, path: &str, form: &str) -> Result<(Duration, Answer), AskError> {
        let begun = self.clock.elapsed();
        let answer = self
            .client
            .get_as(path, form)
            .await
            .map_err(|source| AskError::Http { path: path.to_owned(), source })?;
        let took = self.clock.elapsed().saturating_sub(begun);
        if ![200, 404].contains(&answer.status) {
            return Err(AskError::Refused { path: path.to_owned(), status: answer.status });
        }
        Ok((took, answer))
    }

    async fn pods_by_namespace(&mut self) -> Result<Pods, AskError> {
        let mut found = Vec::new();
        for number in 0..self.shape.namespaces {
            let namespace = names::namespace(number);
            let path = format!("/api/v1/model/namespaces/{namespace}/pods");
            let (_, answer) = self.get(&path, JSON).await?;
            let pods: Vec<String> = serde_json::from_slice::<Value>(&answer.body)
                .ok()
                .and_then(|pods| serde_json::from_value(pods).ok())
                .unwrap_or_default();
            // A small cluster may have no pod in it.
            if !pods.is_empty() {
                found.push((namespace, pods));
            }
        }
        Ok(found)
    }

    fn path(&mut self, kind: Kind, pods: &Pods) -> String {
        const MODEL: &str = "/api/v1/model";
        let no_pods = (String::new(), Vec::new());
        let (namespace, pods) = pick(&mut self.random, pods).unwrap_or(&no_pods);
        let pod = pick(&mut self.random, pods).map_or("", String::as_str);
        let node = u32::try_from(self.random.below(u64::from(self.shape.nodes))).unwrap_or(0);
        let node = names::node(node).map(|node| node.to_string()).unwrap_or_default();
        let in_namespace = format!("{MODEL}/namespaces/{namespace}");
        match kind {
            Kind::ContainerSeries => {
                format!("{in_namespace}/pods/{pod}/containers/app/metrics/memory/working_set")
            }
            Kind::PodRateSeries => format!("{in_namespace}/pods/{pod}/metrics/cpu/usage_rate"),
            Kind::NodeSeries => format!("{MODEL}/nodes/{node}/metrics/cpu/usage_rate"),
            Kind::NamespaceSeries => format!("{in_namespace}/metrics/memory/usage"),
            Kind::ClusterSeries => format!("{MODEL}/metrics/memory/usage"),
            Kind::Usage => format!("/apis/metrics.k8s.io/v1/namespaces/{namespace}/pods"),
            Kind::EveryKey => format!("{MODEL}/debug/allkeys"),
            Kind::Nodes => format!("{MODEL}/nodes"),
            Kind::Namespaces => format!("{MODEL}/namespaces"),
            Kind::Pods => format!("{in_namespace}/pods"),
            Kind::Containers => format!("{in_namespace}/pods/{pod}/containers"),
            Kind::FreeContainers => format!("{MODEL}/nodes/{node}/freecontainers"),
            Kind::MetricNames => format!("{in_namespace}/pods/{pod}/metrics"),
            Kind::PodList => {
                let list: Vec<&str> =
                    pods.iter().take(PODS_OF_A_LIST).map(String::as_str).collect();
                format!("{in_namespace}/pod-list/{}/metrics/cpu/usage_rate", list.join(","))
            }
        }
    }
}

fn pick<'a, T>(random: &mut Random, all: &'a [T]) -> Option<&'a T> {
    let place = random.below(u64::try_from(all.len()).unwrap_or(0));
    all.get(usize::try_from(place).unwrap_or(0))
}
