//! Workloads: what owns pods, and sums over their pods of what is summed for a namespace.
//!
//! Nothing is kept for them. Whose a pod is stands in the rosters of its frames, so a question
//! looks for the workload's pods there and adds their series up, over ticks that are closed. A pod
//! that is gone still counts for the ticks in which it was there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tally_proto::{
    catalogue::MetricId,
    entity::Entity,
    metric::{Labels, MetricName, Sum},
    name::{BadName, NamespaceName, PodName, WorkloadKind, WorkloadName},
    tick::Tick,
};

use super::{Point, TickRange, Value, evaluate, names};
use crate::{
    declared::MetricKey,
    inventory::Workload,
    model::{directory::Namespace, node::NodeSlot, past::View},
    rollup::sums::{as_double, thousandths},
    roster::Pod,
};

/// One workload of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadKey {
    /// Its namespace.
    pub namespace: NamespaceName,
    /// Its kind and name.
    pub workload: Workload,
}

impl WorkloadKey {
    /// Checks the names.
    pub fn parse(namespace: &str, kind: &str, name: &str) -> Result<Self, BadName> {
        let namespace = NamespaceName::parse(namespace)?;
        let (kind, name) = (WorkloadKind::parse(kind)?, WorkloadName::parse(name)?);
        Ok(Self { namespace, workload: Workload { kind, name } })
    }
}

/// The workloads that have a pod in a frame since `recent`.
pub(super) fn present(namespace: &Namespace, name: &str, recent: Tick) -> BTreeSet<Arc<Workload>> {
    let mut found = BTreeSet::new();
    for node in nodes(namespace).into_iter().filter(|node| recent <= node.newest()) {
        let schema = node.schema();
        let pods = schema.as_ref().map_or(&[][..], |schema| schema.roster.pods_of(name));
        found.extend(pods.iter().filter_map(workload).cloned());
    }
    found
}

/// The pods of one workload, as frames of the window have them.
pub(super) struct Members(Vec<(View, Vec<Entity>)>);

impl Members {
    /// Looks for them.
    pub(super) fn of(key: &WorkloadKey, namespace: &Namespace) -> Self {
        let with_pods = |node: Arc<NodeSlot>| {
            let view = node.view();
            let pods = members(&view, key);
            (!pods.is_empty()).then_some((view, pods))
        };
        Self(nodes(namespace).into_iter().filter_map(with_pods).collect())
    }

    /// Names of the metrics that any of them has.
    pub(super) fn metric_names(&self, range: TickRange) -> BTreeSet<MetricName> {
        let mut found = BTreeSet::new();
        for (view, pods) in &self.0 {
            pods.iter().for_each(|pod| names::names(view, pod, &mut found));
        }
        found.retain(|name| match summed(&MetricKey::of(name)) {
            Some(id) => {
                let key = MetricKey::Known(id);
                !names::needs_two_readings(&key) || !self.series(&key, range).is_empty()
            }
            None => false,
        });
        found
    }

    /// The sum over them at each tick.
    pub(super) fn series(&self, metric: &MetricKey, range: TickRange) -> Vec<Point> {
        let Some(id) = summed(metric) else { return Vec::new() };
        let mut sums: BTreeMap<Tick, i64> = BTreeMap::new();
        for (view, pods) in &self.0 {
            for pod in pods {
                for point in evaluate::evaluate(view, pod, metric, &Labels::none(), range) {
                    let amount = match point.value {
                        Value::Integer(amount) => amount,
                        Value::Float(amount) => thousandths(amount),
                    };
                    let sum = sums.entry(point.at).or_default();
                    *sum = sum.saturating_add(amount);
                }
            }
        }
        let point = |(at, sum)| {
            let value = as_double(id, sum).map_or(Value::Integer(sum), Value::Float);
            Point { at, value }
        };
        sums.into_iter().map(point).collect()
    }
}

/// The metric, where it is summed to namespaces.
fn summed(metric: &MetricKey) -> Option<MetricId> {
    let MetricKey::Known(id) = *metric else { return None };
    (Sum::Node <= id.metric().sum).then_some(id)
}

/// Every node that a pod of the namespace is or was on.
fn nodes(namespace: &Namespace) -> Vec<Arc<NodeSlot>> {
    let mut nodes = namespace.nodes();
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes.dedup_by(|one, other| Arc::ptr_eq(one, other));
    nodes
}

/// The workload's pods in any frame of a node.
fn members(view: &View, key: &WorkloadKey) -> Vec<Entity> {
    let mut found: BTreeSet<&PodName> = BTreeSet::new();
    for era in view.eras() {
        let pods = era.schema.roster.pods_of(&key.namespace);
        let own = pods.iter().filter(|pod| workload(pod).is_some_and(|own| **own == key.workload));
        found.extend(own.map(|pod| &pod.key.name));
    }
    found.into_iter().map(|pod| Entity::Pod(key.namespace.clone(), pod.clone())).collect()
}

fn workload(pod: &Pod) -> Option<&Arc<Workload>> {
    pod.record.as_ref()?.workload.as_ref()
}
