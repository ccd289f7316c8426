//! Questions to the live model and to [history](past), and their answers. REST sees this and
//! nothing behind it.

mod evaluate;
pub mod export;
mod key_list;
mod names;
mod newest;
pub mod past;
mod sums;
mod text;
pub mod usage;
mod workloads;

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tally_proto::{
    entity::Entity,
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, WorkloadKind, WorkloadName},
    tick::Tick,
};

pub use self::workloads::WorkloadKey;
use self::{
    key_list::{KeyList, PodLists, Present},
    workloads::Members,
};
pub use crate::point::{Point, Value};
use crate::{
    declared::MetricKey,
    inventory::Workload,
    model::{self, Model, directory::Namespace, node::NodeSlot, past::View},
};

/// Ticks from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickRange {
    /// The first.
    pub first: Tick,
    /// The last.
    pub last: Tick,
}

impl TickRange {
    /// Every tick there is.
    pub const ALL: TickRange = TickRange { first: Tick(0), last: Tick(u64::MAX) };

    /// Whether `tick` is in the range.
    pub fn contains(&self, tick: Tick) -> bool {
        self.first <= tick && tick <= self.last
    }
}

/// Pods of a namespace that are looked at one after the other when it is asked for. They are all over
/// the memory, a tenth of a microsecond each, so the list of more is kept.
const PODS_WALKED: usize = 4_000;

/// Answers questions from the live model. Cheap to clone; never blocks the pipeline.
#[derive(Clone, Debug)]
pub struct Queries {
    model: Arc<Model>,
    key_list: Arc<Mutex<KeyList>>,
    pod_lists: Arc<Mutex<PodLists>>,
}

impl Queries {
    /// Questions to `model`.
    pub fn new(model: Arc<Model>) -> Self {
        Self { model, key_list: Arc::default(), pod_lists: Arc::default() }
    }

    /// The newest tick that any frame brought; `None` before the first.
    pub fn newest_tick(&self) -> Option<Tick> {
        self.model.cluster().progress.newest()
    }

    /// The ticks in which what is present was delivered; `None` before the first frame.
    pub fn recent_range(&self) -> Option<TickRange> {
        let newest = self.newest_tick()?;
        Some(TickRange { first: self.model.recent(newest), last: newest })
    }

    /// Nodes with a recent frame, sorted.
    pub fn nodes(&self) -> Vec<NodeName> {
        self.recent_nodes().iter().map(|node| node.name.clone()).collect()
    }

    /// Namespaces with a pod in a recent frame, sorted.
    pub fn namespaces(&self) -> Vec<NamespaceName> {
        let all: Vec<(NamespaceName, Arc<Namespace>)> = self
            .model
            .directory()
            .namespaces
            .iter()
            .map(|(name, namespace)| (name.clone(), Arc::clone(namespace)))
            .collect();
        let recent = self.recent_since();
        let present = all.into_iter().filter(|(_, namespace)| namespace.has_present_pod(recent));
        present.map(|(name, _)| name).collect()
    }

    /// Pods of a namespace in recent frames, sorted.
    pub fn pods(&self, namespace: &str) -> Vec<PodName> {
        let Some(namespace) = self.namespace(namespace) else { return Vec::new() };
        namespace.present_pods(self.recent_since())
    }

    /// The same as a JSON array of texts, in pieces that together are the document. Of a large
    /// namespace it takes long only the first time.
    pub fn pods_in_json(&self, namespace: &str) -> Vec<Bytes> {
        let found = self.namespace(namespace).filter(|found| PODS_WALKED < found.pods_so_far());
        match NamespaceName::parse(namespace) {
            Ok(name) if found.is_some() => {
                model::lock(&self.pod_lists).update(name, self.present())
            }
            _ => vec![text::list(&self.pods(namespace))],
        }
    }

    /// Containers of a pod in recent frames, sorted, those that only its specification names
    /// included.
    pub fn containers(&self, namespace: &str, pod: &str) -> Vec<ContainerName> {
        let mut found = BTreeSet::new();
        let recent = self.recent_since();
        let places = self.namespace(namespace).map(|found| found.places(pod)).unwrap_or_default();
        for place in places.iter().filter(|place| place.is_present(recent)) {
            let schema = place.node.schema();
            let pod = schema.as_ref().and_then(|schema| schema.roster.pod(namespace, pod));
            let containers = pod.map_or(&[][..], |pod| &pod.containers);
            found.extend(containers.iter().map(|container| container.name.clone()));
        }
        found.into_iter().collect()
    }

    /// Free containers of a node in its recent frame, sorted.
    pub fn free_containers(&self, node: &str) -> Vec<ContainerName> {
        let recent = self.recent_since();
        let node = self.node(node).filter(|node| recent <= node.newest());
        let schema = node.and_then(|node| node.schema());
        let free = schema.as_ref().map_or(&[][..], |schema| &schema.roster.free_containers);
        free.iter().map(|container| container.name.clone()).collect()
    }

    /// Every entity of recent frames, cluster and namespaces included, sorted.
    pub fn keys(&self) -> BTreeSet<Entity> {
        self.present().iter().flat_map(key_list::keys).collect()
    }

    /// The same as a JSON array of texts, sorted as such, in pieces that together are the document.
    /// Takes long only the first time.
    pub fn key_list(&self) -> Vec<Bytes> {
        model::lock(&self.key_list).update(self.present())
    }

    /// Lets go of kept lists that nobody asked for since this was called before: they are megabytes of
    /// text, and hold what nodes had then.
    pub fn forget_unasked(&self) {
        model::lock(&self.key_list).forget_unasked();
        model::lock(&self.pod_lists).forget_unasked();
    }

    /// Names of the unlabelled metrics that `entity` has in the window, sorted.
    pub fn metric_names(&self, entity: &Entity) -> Vec<MetricName> {
        let mut found = BTreeSet::new();
        match entity {
            Entity::Cluster => sums::cluster_names(&self.model, &mut found),
            Entity::Namespace(namespace) => {
                if let Some(namespace) = self.namespace(namespace) {
                    sums::namespace_names(&namespace, &mut found);
                }
            }
            _ => {
                self.views(entity).iter().for_each(|view| names::names(view, entity, &mut found));
                found.retain(|name| {
                    !names::needs_two_readings(&MetricKey::of(name))
                        || !self
                            .series(entity, name.as_str(), &Labels::none(), TickRange::ALL)
                            .is_empty()
                });
            }
        }
        found.into_iter().collect()
    }

    /// One series, ascending by time; empty when the entity or the metric is unknown. `labels`
    /// must match exactly; none means the unlabelled series.
    pub fn series(
        &self,
        entity: &Entity,
        metric: &str,
        labels: &Labels,
        range: TickRange,
    ) -> Vec<Point> {
        let Ok(metric) = MetricName::parse(metric) else { return Vec::new() };
        let metric = MetricKey::of(&metric);
        let Some(newest) = self.newest_tick() else { return Vec::new() };
        let range = TickRange { first: range.first.max(self.model.oldest(newest)), ..range };
        match entity {
            Entity::Cluster => sums::cluster_series(&self.model, &metric, labels, range),
            Entity::Namespace(namespace) => self
                .namespace(namespace)
                .map(|namespace| {
                    sums::namespace_series(&self.model, &namespace, &metric, labels, range)
                })
                .unwrap_or_default(),
            _ => {
                let views = self.views(entity);
                let series = views
                    .iter()
                    .map(|view| evaluate::evaluate(view, entity, &metric, labels, range));
                merged(series.collect())
            }
        }
    }

    /// Kinds of the workloads that have a pod of a namespace in recent frames, sorted.
    pub fn workload_kinds(&self, namespace: &str) -> Vec<WorkloadKind> {
        let kinds = self.present_workloads(namespace).into_iter();
        let mut kinds: Vec<WorkloadKind> = kinds.map(|workload| workload.kind.clone()).collect();
        kinds.dedup();
        kinds
    }

    /// Workloads of a kind that have a pod of a namespace in recent frames, sorted.
    pub fn workloads(&self, namespace: &str, kind: &str) -> Vec<WorkloadName> {
        let all = self.present_workloads(namespace).into_iter();
        all.filter(|workload| *workload.kind == *kind).map(|found| found.name.clone()).collect()
    }

    fn present_workloads(&self, name: &str) -> BTreeSet<Arc<Workload>> {
        let namespace = self.namespace(name);
        let present = |found: Arc<Namespace>| workloads::present(&found, name, self.recent_since());
        namespace.map(present).unwrap_or_default()
    }

    /// Names of the metrics that a workload has in the window, sorted.
    pub fn workload_metric_names(&self, key: &WorkloadKey) -> Vec<MetricName> {
        let Some(range) = self.closed(TickRange::ALL) else { return Vec::new() };
        let members = self.namespace(&key.namespace).map(|found| Members::of(key, &found));
        members.map(|pods| pods.metric_names(range).into_iter().collect()).unwrap_or_default()
    }

    /// The sums over a workload's pods, ascending by time, of closed ticks; empty when the workload
    /// is unknown, or the metric is none that is summed.
    pub fn workload_series(
        &self,
        key: &WorkloadKey,
        metric: &str,
        labels: &Labels,
        range: TickRange,
    ) -> Vec<Point> {
        let metric = MetricName::parse(metric).ok().filter(|_| labels.is_empty());
        let members = self.namespace(&key.namespace).map(|found| Members::of(key, &found));
        match (metric, members, self.closed(range)) {
            (Some(metric), Some(pods), Some(range)) => pods.series(&MetricKey::of(&metric), range),
            _ => Vec::new(),
        }
    }

    /// The part of a range that is closed and in the window.
    fn closed(&self, range: TickRange) -> Option<TickRange> {
        let cluster = self.model.cluster();
        let (newest, closed) = (cluster.progress.newest()?, cluster.progress.closed()?);
        let first = range.first.max(self.model.oldest(newest));
        Some(TickRange { first, last: range.last.min(closed) })
    }

    /// `metric-export`: the JSON array of every entity of the newest frames, in pieces of about
    /// [`export::PIECE_BYTES`] that together are the document. Ends early when `take` breaks.
    pub fn export(&self, take: impl FnMut(Vec<u8>) -> ControlFlow<()>) -> ControlFlow<()> {
        export::export(&self.recent_nodes(), take)
    }

    fn node(&self, name: &str) -> Option<Arc<NodeSlot>> {
        self.model.directory().nodes.get(name).cloned()
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.model.directory().namespaces.get(name).cloned()
    }

    /// The frames of every node that an entity is or was on.
    fn views(&self, entity: &Entity) -> Vec<View> {
        if let Some(node) = names::node_of(entity) {
            return self.node(node).map(|node| node.view()).into_iter().collect();
        }
        let (Entity::Pod(namespace, pod) | Entity::PodContainer(namespace, pod, _)) = entity else {
            return Vec::new();
        };
        let places = self.namespace(namespace).map(|found| found.places(pod)).unwrap_or_default();
        places.iter().map(|place| place.node.view()).collect()
    }

    fn recent_since(&self) -> Tick {
        self.newest_tick().map_or(Tick(u64::MAX), |newest| self.model.recent(newest))
    }

    fn present(&self) -> Vec<Present> {
        let nodes = self.recent_nodes().into_iter();
        let roster = |node: &NodeSlot| Some(Arc::clone(&node.schema()?.roster));
        nodes.filter_map(|node| Some((node.name.clone(), roster(&node)?))).collect()
    }

    fn recent_nodes(&self) -> Vec<Arc<NodeSlot>> {
        let recent = self.recent_since();
        let directory = self.model.directory();
        directory.nodes.values().filter(|node| recent <= node.newest()).cloned().collect()
    }
}

/// A pod that moved has a part of its series on each of its nodes.
fn merged(mut series: Vec<Vec<Point>>) -> Vec<Point> {
    if series.len() == 1 {
        return series.pop().unwrap_or_default();
    }
    let mut all: Vec<Point> = series.into_iter().flatten().collect();
    all.sort_by_key(|point| point.at);
    all.dedup_by_key(|point| point.at);
    all
}
