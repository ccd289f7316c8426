//! `metric-export`: every entity of the newest frames as one JSON document, in pieces.
//!
//! At full size the document has hundreds of megabytes, so it is written by hand, node by node,
//! into pieces that are sent as they are filled; the whole of it is never in memory.

mod json;

use std::sync::Arc;

use jiff::Timestamp;
use tally_proto::{
    catalogue::{self, MetricId},
    columns::Columns,
    declaration::EntityNumber,
    entity::Entity,
    metric::{Kind, Labels, Source, Sum},
    name::NodeName,
    tick::{Tick, UnixMs},
};

use self::json::{LabelWriter, json_text};
use super::{TickRange, Value, evaluate::evaluate};
use crate::{
    declared::MetricKey,
    model::{node::NodeSlot, past::View},
    rollup,
    roster::{FreeContainer, Pod, PodContainer, Roster},
    schema::Schema,
};

/// Size of a piece: large enough that sending it costs little, small enough to stay in cache.
const PIECE_BYTES: usize = 64 << 10;

/// Metrics of the catalogue that the export carries, sorted by name.
fn exported() -> Vec<MetricId> {
    let mut ids: Vec<MetricId> = catalogue::all().filter(|id| id.metric().exported).collect();
    ids.sort_by_key(|id| id.metric().name);
    ids
}

/// The document of these nodes' newest frames, in pieces.
pub fn export(nodes: Vec<Arc<NodeSlot>>) -> impl Iterator<Item = Vec<u8>> + Send + 'static {
    let metrics = exported();
    let mut nodes = nodes.into_iter();
    let mut first = true;
    let mut done = false;
    std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
        if first {
            piece.push(b'[');
        }
        while piece.len() < PIECE_BYTES {
            let Some(node) = nodes.next() else {
                done = true;
                piece.extend_from_slice(b"]\n");
                break;
            };
            let view = node.view();
            if let Some(newest) = Newest::of(&node.name, &view) {
                newest.write(&metrics, &mut piece, &mut first);
            }
        }
        first = false;
        Some(piece)
    })
}

/// A node's newest frame, unpacked.
struct Newest<'a> {
    node: &'a NodeName,
    view: &'a View,
    schema: &'a Schema,
    columns: Arc<Columns>,
    tick: Tick,
    /// `{"start":"…","end":"…",` of a gauge.
    gauge_head: String,
    /// `","end":"…",` of a cumulative metric.
    end: String,
}

/// One metric's columns.
struct Exported {
    id: MetricId,
    columns: Vec<ExportedColumn>,
}

struct ExportedColumn {
    index: usize,
    labels: Labels,
    /// `"labels":{…},`, or nothing.
    labels_json: String,
    /// By entity number, the position in the column.
    positions: Vec<Option<usize>>,
}

/// Writes one entity's metrics.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    newest: &'a Newest<'a>,
    /// `{"start":"…","end":"…",` of a cumulative metric of this entity.
    cumulative_head: String,
    any_metric: bool,
}

impl<'a> Newest<'a> {
    fn of(node: &'a NodeName, view: &'a View) -> Option<Self> {
        let era = view.eras().last()?;
        let columns = era.newest();
        let tick = era.frames.last()?.tick;
        let time = rfc3339(tick.unix_ms());
        let gauge_head = format!("{{\"start\":\"{time}\",\"end\":\"{time}\",");
        let end = format!("\",\"end\":\"{time}\",");
        Some(Self { node, view, schema: era.schema, columns, tick, gauge_head, end })
    }

    fn write(&self, metrics: &[MetricId], out: &mut Vec<u8>, first: &mut bool) {
        let exported: Vec<Exported> =
            metrics.iter().map(|id| Exported { id: *id, columns: self.columns_of(*id) }).collect();
        let roster = &*self.schema.roster;
        let mut entity = |out: &mut Vec<u8>| {
            if !std::mem::take(first) {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"metrics\":{");
        };
        if let Some(row) = roster.node {
            entity(out);
            self.write_node(&exported, row, out);
        }
        for free in &roster.free_containers {
            entity(out);
            self.write_free(&exported, free, out);
        }
        for pod in &roster.pods {
            entity(out);
            self.write_pod(&exported, pod, out);
            for container in &pod.containers {
                entity(out);
                self.write_container(&exported, pod, container, out);
            }
        }
    }

    fn columns_of(&self, id: MetricId) -> Vec<ExportedColumn> {
        let metric = MetricKey::Known(catalogue::rate_source(id).unwrap_or(id));
        let columns = (0..self.schema.layout.columns.len()).filter_map(|index| {
            let meaning = self.schema.meaning(index).filter(|meaning| meaning.metric == metric)?;
            let labels_json = if meaning.labels.is_empty() {
                String::new()
            } else {
                let pairs: Vec<String> = meaning
                    .labels
                    .iter()
                    .map(|(key, value)| format!("{}:{}", json_text(key), json_text(value)))
                    .collect();
                format!("\"labels\":{{{}}},", pairs.join(","))
            };
            let rows = self.schema.layout.rows(index);
            let size = rows.last().map_or(0, |last| place(*last) + 1);
            let mut positions = vec![None; size];
            for (position, row) in rows.iter().enumerate() {
                if let Some(slot) = positions.get_mut(place(*row)) {
                    *slot = Some(position);
                }
            }
            Some(ExportedColumn { index, labels: meaning.labels.clone(), labels_json, positions })
        });
        columns.collect()
    }

    fn writer<'b>(&'b self, row: Option<EntityNumber>, out: &'b mut Vec<u8>) -> Writer<'b> {
        let cumulative_head = match row.and_then(|row| self.schema.start(row)) {
            Some(start) => format!("{{\"start\":\"{}{}", rfc3339(start), self.end),
            None => self.gauge_head.clone(),
        };
        Writer { out, newest: self, cumulative_head, any_metric: false }
    }

    fn write_node(&self, exported: &[Exported], row: EntityNumber, out: &mut Vec<u8>) {
        let mut writer = self.writer(Some(row), out);
        for metric in exported {
            let amount = limits(&self.schema.roster, metric.id);
            if writer.row(metric, row, &|| Entity::Node(self.node.clone())) {
                continue;
            }
            if let Some(amount) = amount {
                writer.plain(metric.id, amount);
            }
        }
        let mut labels = LabelWriter::begin(out, "machine", "node");
        labels.node(self);
        labels.optional(
            "labels",
            self.schema.roster.node_record.as_ref().map(|record| &*record.labels),
        );
        labels.end();
    }

    fn write_free(&self, exported: &[Exported], free: &FreeContainer, out: &mut Vec<u8>) {
        let mut writer = self.writer(Some(free.row), out);
        for metric in exported {
            writer.row(metric, free.row, &|| {
                Entity::FreeContainer(self.node.clone(), free.name.clone())
            });
        }
        let mut labels = LabelWriter::begin(out, &free.name, "sys_container");
        labels.node(self);
        labels.optional(
            "container_base_image",
            self.schema.image(free.row).map(|image| image.as_str()),
        );
        labels.end();
    }

    fn write_pod(&self, exported: &[Exported], pod: &Pod, out: &mut Vec<u8>) {
        let mut writer = self.writer(Some(pod.row), out);
        for metric in exported {
            let entity = || Entity::Pod(pod.key.namespace.clone(), pod.key.name.clone());
            if writer.row(metric, pod.row, &entity) || metric.id.metric().sum == Sum::Never {
                continue;
            }
            let parts = pod.containers.iter().filter_map(|one| self.amount(metric, pod, one));
            if let Some(sum) = parts.reduce(i64::saturating_add) {
                writer.plain(metric.id, sum);
            }
        }
        let mut labels = LabelWriter::begin(out, "/pod", "pod");
        labels.pod(self, pod);
        labels.end();
    }

    fn write_container(
        &self,
        exported: &[Exported],
        pod: &Pod,
        container: &PodContainer,
        out: &mut Vec<u8>,
    ) {
        let mut writer = self.writer(container.row, out);
        for metric in exported {
            let entity = || {
                let (namespace, name) = (pod.key.namespace.clone(), pod.key.name.clone());
                Entity::PodContainer(namespace, name, container.name.clone())
            };
            let written = container.row.is_some_and(|row| writer.row(metric, row, &entity));
            if !written && let Some(amount) = specified(pod, container, metric.id) {
                writer.plain(metric.id, amount);
            }
        }
        let mut labels = LabelWriter::begin(out, &container.name, "pod_container");
        labels.pod(self, pod);
        labels.optional(
            "container_base_image",
            self.schema.image_of(pod, container).map(|image| image.as_str()),
        );
        labels.end();
    }

    /// What a container adds to its pod.
    fn amount(&self, metric: &Exported, pod: &Pod, container: &PodContainer) -> Option<i64> {
        let own = container.row.and_then(|row| {
            let plain = metric.columns.iter().find(|column| column.labels.is_empty())?;
            self.value(plain, row)
        });
        own.or_else(|| specified(pod, container, metric.id))
    }

    fn value(&self, column: &ExportedColumn, row: EntityNumber) -> Option<i64> {
        let position = (*column.positions.get(place(row))?)?;
        self.columns.values.get(column.index)?.get(position).copied()
    }

    /// The value of a rate at the newest tick.
    fn rate(&self, entity: &Entity, id: MetricId, labels: &Labels) -> Option<Value> {
        let range = TickRange { first: self.tick, last: self.tick };
        let metric = MetricKey::Known(id);
        evaluate(self.view, entity, &metric, labels, range).pop().map(|point| point.value)
    }
}

impl Writer<'_> {
    /// Writes what a row itself has of a metric. Whether it has any.
    fn row(&mut self, metric: &Exported, row: EntityNumber, entity: &dyn Fn() -> Entity) -> bool {
        if metric.id == catalogue::UPTIME {
            return self.uptime(row);
        }
        let is_rate = matches!(metric.id.metric().source, Source::RateOf(_));
        let mut any = false;
        for column in &metric.columns {
            let Some(value) = self.newest.value(column, row) else { continue };
            let value = if is_rate {
                self.newest.rate(&entity(), metric.id, &column.labels)
            } else {
                Some(Value::Integer(value))
            };
            let Some(value) = value else { continue };
            if any {
                self.out.push(b',');
            } else {
                self.begin(metric.id);
            }
            any = true;
            self.point(metric.id.metric().kind, &column.labels_json, value);
        }
        if any {
            self.out.push(b']');
        }
        any
    }

    fn uptime(&mut self, row: EntityNumber) -> bool {
        let offsets = self.newest.schema.read_offset.and_then(|index| {
            let position = self.newest.schema.layout.position(index, row)?;
            self.newest.columns.values.get(index)?.get(position).copied()
        });
        let Some((start, offset)) = self.newest.schema.start(row).zip(offsets) else {
            return false;
        };
        let uptime = self.newest.tick.unix_ms().since(start).saturating_add(offset / 1000);
        self.plain(catalogue::UPTIME, uptime);
        true
    }

    /// Writes a metric of one unlabelled value.
    fn plain(&mut self, id: MetricId, value: i64) {
        self.begin(id);
        self.point(id.metric().kind, "", Value::Integer(value));
        self.out.push(b']');
    }

    fn begin(&mut self, id: MetricId) {
        if std::mem::replace(&mut self.any_metric, true) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(id.metric().name.as_bytes());
        self.out.extend_from_slice(b"\":[");
    }

    fn point(&mut self, kind: Kind, labels: &str, value: Value) {
        let head = match kind {
            Kind::Cumulative => &self.cumulative_head,
            Kind::Gauge => &self.newest.gauge_head,
        };
        self.out.extend_from_slice(head.as_bytes());
        self.out.extend_from_slice(labels.as_bytes());
        self.out.extend_from_slice(b"\"value\":");
        match value {
            Value::Integer(value) => {
                self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
            }
            Value::Float(value) if value.is_finite() => {
                self.out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
            }
            Value::Float(_) => self.out.extend_from_slice(b"null"),
        }
        self.out.push(b'}');
    }
}

fn specified(pod: &Pod, container: &PodContainer, id: MetricId) -> Option<i64> {
    if id.metric().source != Source::Inventory {
        return None;
    }
    let record = pod.container_record(container)?;
    let mut amounts = rollup::specified(record, container.row.is_some());
    amounts.find(|(known, _)| *known == id).map(|(_, amount)| amount)
}

fn limits(roster: &Roster, id: MetricId) -> Option<i64> {
    let containers =
        roster.pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)));
    containers.filter_map(|(pod, one)| specified(pod, one, id)).reduce(i64::saturating_add)
}

fn place(number: EntityNumber) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

fn rfc3339(at: UnixMs) -> String {
    let seconds = at.0.div_euclid(1000);
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
