//! Writes the entities of one node.

use std::ops::ControlFlow;

use tally_proto::{catalogue, declaration::EntityNumber, name::NodeName};

use super::{
    super::{Value, newest::Newest},
    Pieces,
    cells::{Cells, Column},
    exported::{Exported, ExportedMetric, Heads},
    json::{push_label, push_node_labels, push_optional_label, push_pod_labels},
    stamp::{Stamp, Stamps},
};
use crate::{
    rollup,
    roster::{FreeContainer, Pod, PodContainer},
};

/// What is needed to write the entities of one node.
pub(super) struct Entities<'a> {
    exported: &'a Exported,
    heads: &'a Heads,
    newest: &'a Newest<'a>,
    columns: &'a [Column<'a>],
    cells: &'a Cells,
    stamps: &'a mut Stamps,
    /// Labels of the node, and after these the labels of a pod.
    labels: Vec<u8>,
}

impl<'a> Entities<'a> {
    pub(super) fn new(
        (exported, heads): (&'a Exported, &'a Heads),
        newest: &'a Newest<'a>,
        (columns, cells): (&'a [Column<'a>], &'a Cells),
        stamps: &'a mut Stamps,
    ) -> Self {
        Self { exported, heads, newest, columns, cells, stamps, labels: Vec::new() }
    }

    /// Writes all of them.
    pub(super) fn write(&mut self, node: &NodeName, pieces: &mut Pieces<'_>) -> ControlFlow<()> {
        let roster = &*self.newest.schema.roster;
        push_node_labels(node, self.newest, &mut self.labels);
        if let Some(row) = roster.node {
            self.node(row, pieces.begin());
            pieces.end()?;
        }
        for free in &roster.free_containers {
            self.free_container(free, pieces.begin());
            pieces.end()?;
        }
        let of_node = self.labels.len();
        for pod in &roster.pods {
            push_pod_labels(pod, &mut self.labels);
            self.pod(pod, pieces.begin());
            pieces.end()?;
            for container in &pod.containers {
                self.container(pod, container, pieces.begin());
                pieces.end()?;
            }
            self.labels.truncate(of_node);
        }
        ControlFlow::Continue(())
    }

    /// Requests and limits of a node are those of its pods.
    fn node(&mut self, row: EntityNumber, out: &mut Vec<u8>) {
        let roster = &*self.newest.schema.roster;
        self.metrics(Some(row), out, |metric| {
            let of_pod =
                |pod: &'a Pod| pod.containers.iter().filter_map(|one| specified(pod, one, metric));
            let pods = roster.pods.iter().filter(|_| metric.specified);
            pods.flat_map(of_pod).reduce(Value::plus)
        });
        let record = roster.node_record.as_ref();
        self.begin_labels("node", "machine", out);
        push_optional_label("labels", record.map(|record| &*record.labels), out);
        end_labels(out);
    }

    fn free_container(&mut self, free: &FreeContainer, out: &mut Vec<u8>) {
        self.metrics(Some(free.row), out, |_| None);
        self.begin_labels("sys_container", &free.name, out);
        let image = self.newest.schema.image(free.row).map(|image| image.as_str());
        push_optional_label("container_base_image", image, out);
        end_labels(out);
    }

    /// What a pod has none of itself is the sum over its containers.
    fn pod(&mut self, pod: &Pod, out: &mut Vec<u8>) {
        let (columns, cells) = (self.columns, self.cells);
        let amount = |container: &PodContainer, metric: &ExportedMetric| {
            let mut own = container.row.map_or(&[][..], |row| cells.of(row)).iter();
            let own = own.find_map(|cell| {
                let column = columns.get(cell.column)?;
                let counts = column.metric == metric.place && !column.labelled;
                if counts { column.value(cell.position) } else { None }
            });
            own.or_else(|| specified(pod, container, metric))
        };
        self.metrics(Some(pod.row), out, |metric| {
            let summed = pod.containers.iter().filter(|_| metric.summed);
            summed.filter_map(|one| amount(one, metric)).reduce(Value::plus)
        });
        self.begin_labels("pod", "/pod", out);
        end_labels(out);
    }

    fn container(&mut self, pod: &Pod, container: &PodContainer, out: &mut Vec<u8>) {
        self.metrics(container.row, out, |metric| specified(pod, container, metric));
        self.begin_labels("pod_container", &container.name, out);
        let image = self.newest.schema.image_of(pod, container).map(|image| image.as_str());
        push_optional_label("container_base_image", image, out);
        end_labels(out);
    }

    /// Writes what a row has of each metric and, where it has nothing, what `otherwise` says.
    fn metrics(
        &mut self,
        row: Option<EntityNumber>,
        out: &mut Vec<u8>,
        otherwise: impl Fn(&ExportedMetric) -> Option<Value>,
    ) {
        out.extend_from_slice(b"{\"metrics\":{");
        let start = row
            .and_then(|row| self.newest.schema.start(row))
            .and_then(|start| self.stamps.of(start));
        let start = start.unwrap_or(self.heads.at);
        let mut cells = row.map_or(&[][..], |row| self.cells.of(row)).iter().peekable();
        for (metric, head) in self.exported.metrics.iter().zip(&self.heads.texts) {
            let mut points = Points { metric, start: &start, any: false };
            while let Some((cell, column)) = cells
                .peek()
                .and_then(|cell| Some((*cell, self.columns.get(cell.column)?)))
                .filter(|(_, column)| column.metric == metric.place)
            {
                cells.next();
                if let Some(value) = column.value(cell.position) {
                    points.push(&column.text, value, out);
                }
            }
            if !points.any {
                let other = if metric.id == catalogue::UPTIME {
                    row.and_then(|row| self.uptime(row)).map(Value::Integer)
                } else {
                    otherwise(metric)
                };
                if let Some(value) = other {
                    points.push(head, value, out);
                }
            }
            points.end(out);
        }
        if out.last() == Some(&b',') {
            out.pop();
        }
    }

    fn uptime(&self, row: EntityNumber) -> Option<i64> {
        let offset = self.newest.offset(row)?;
        Some(
            self.newest
                .tick
                .unix_ms()
                .since(self.newest.schema.start(row)?)
                .saturating_add(offset / 1000),
        )
    }

    fn begin_labels(&self, kind: &str, container: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"},\"labels\":{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",");
        push_label("container_name", container, out);
        out.extend_from_slice(&self.labels);
    }
}

/// Each label ends in a comma, and there is at least one.
fn end_labels(out: &mut Vec<u8>) {
    out.pop();
    out.extend_from_slice(b"}}");
}

/// Writes one metric's points.
struct Points<'a> {
    metric: &'a ExportedMetric,
    start: &'a Stamp,
    any: bool,
}

impl Points<'_> {
    /// `text` is that of [`ExportedMetric::text`].
    fn push(&mut self, text: &[u8], value: Value, out: &mut Vec<u8>) {
        // Points after the first are without the metric's name.
        let left_out = if self.any { self.metric.name } else { 0 };
        if std::mem::replace(&mut self.any, true) {
            out.push(b',');
        }
        let begin = out.len();
        out.extend_from_slice(text.get(left_out..).unwrap_or_default());
        if self.metric.cumulative {
            let start = begin + self.metric.start() - left_out;
            if let Some(place) = out.get_mut(start..start + self.start.len()) {
                place.copy_from_slice(self.start);
            }
        }
        push_value(value, out);
        out.push(b'}');
    }

    fn end(self, out: &mut Vec<u8>) {
        if self.any {
            out.extend_from_slice(b"],");
        }
    }
}

fn push_value(value: Value, out: &mut Vec<u8>) {
    match value {
        Value::Integer(value) => {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Value::Float(value) if value.is_finite() => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(value).as_bytes());
        }
        Value::Float(_) => out.extend_from_slice(b"null"),
    }
}

fn specified(pod: &Pod, container: &PodContainer, metric: &ExportedMetric) -> Option<Value> {
    if !metric.specified {
        return None;
    }
    let record = pod.container_record(container)?;
    let mut amounts = rollup::specified(record, container.row.is_some());
    amounts.find(|(known, _)| *known == metric.id).map(|(_, amount)| Value::Integer(amount))
}
