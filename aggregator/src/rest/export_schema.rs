//! `metric-export-schema`: what `metric-export` carries, from the catalogue.

use serde::Serialize;
use tally_proto::{
    catalogue::CATALOGUE,
    metric::{Kind, Metric, Unit, ValueType},
};

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct ExportSchema {
    metrics: Vec<MetricSchema>,
    common_labels: Vec<LabelSchema>,
    pod_labels: Vec<LabelSchema>,
}

#[derive(Debug, Serialize)]
struct MetricSchema {
    name: &'static str,
    description: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<LabelSchema>,
    #[serde(rename = "type")]
    kind: &'static str,
    value_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct LabelSchema {
    key: &'static str,
    description: &'static str,
}

/// Labels of every exported entity. The export's `type` and `namespace_name` are not in the schema:
/// it is Heapster's, word for word, because there are clients that check it.
const COMMON_LABELS: [LabelSchema; 5] = [
    label("nodename", "nodename where the container ran"),
    label("hostname", "Hostname where the container ran"),
    label("host_id", "Identifier specific to a host. Set by cloud provider or user"),
    label(
        "container_name",
        "User-provided name of the container or full container name for system containers",
    ),
    label("container_base_image", "User-defined image name that is run inside the container"),
];

/// Labels of exported pods and their containers.
const POD_LABELS: [LabelSchema; 4] = [
    label("pod_name", "The name of the pod"),
    label("pod_id", "The unique ID of the pod"),
    label("namespace_id", "The UID of namespace of the pod"),
    label("labels", "Comma-separated list of user-provided labels"),
];

/// Keys of labelled metrics' labels.
const METRIC_LABELS: [LabelSchema; 4] = [
    label("resource_id", "Identifier(s) specific to a metric"),
    label("make", "Make of the accelerator (nvidia, amd, google etc.)"),
    label("model", "Model of the accelerator (tesla-p100, tesla-k80 etc.)"),
    label("accelerator_id", "ID of the accelerator"),
];

/// Counts that Heapster's schema calls bytes. Its clients read the unit, so it stays.
const BYTES_IN_HEAPSTER: [&str; 2] = ["filesystem/inodes", "filesystem/inodes_free"];

impl ExportSchema {
    /// The schema of what this version exports.
    pub(super) fn new() -> Self {
        Self {
            metrics: CATALOGUE.iter().filter(|metric| metric.exported).map(metric).collect(),
            common_labels: COMMON_LABELS.to_vec(),
            pod_labels: POD_LABELS.to_vec(),
        }
    }
}

impl Default for ExportSchema {
    fn default() -> Self {
        Self::new()
    }
}

const fn label(key: &'static str, description: &'static str) -> LabelSchema {
    LabelSchema { key, description }
}

fn metric(metric: &Metric) -> MetricSchema {
    let described = |key: &&'static str| {
        METRIC_LABELS.iter().find(|label| label.key == *key).copied().unwrap_or(label(key, ""))
    };
    MetricSchema {
        name: metric.name,
        description: metric.description,
        labels: metric.labels.iter().map(described).collect(),
        kind: match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Cumulative => "cumulative",
        },
        value_type: match metric.value {
            ValueType::Integer => "int64",
            ValueType::Float => "double",
        },
        units: units(metric),
    }
}

fn units(metric: &Metric) -> Option<&'static str> {
    if BYTES_IN_HEAPSTER.contains(&metric.name) {
        return Some("bytes");
    }
    match metric.unit {
        Unit::Bytes => Some("bytes"),
        Unit::Milliseconds => Some("ms"),
        Unit::Nanoseconds => Some("ns"),
        Unit::Millicores => Some("millicores"),
        Unit::Count | Unit::PerSecond | Unit::Ratio => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::stored_labels::EXPORT_LABELS;

    #[test]
    fn no_label_of_the_export_can_be_stored() {
        for label in COMMON_LABELS.iter().chain(&POD_LABELS) {
            assert!(EXPORT_LABELS.contains(&label.key), "{}", label.key);
        }
        assert_eq!(EXPORT_LABELS.len(), COMMON_LABELS.len() + POD_LABELS.len() + 2);
    }

    #[track_caller]
    fn check(name: &str, expected: serde_json::Value) {
        let schema = serde_json::to_value(ExportSchema::new()).unwrap();
        let metrics = schema["metrics"].as_array().unwrap();
        let found = metrics.iter().find(|metric| metric["name"] == name).cloned();
        assert_eq!(found, Some(expected));
    }

    #[test]
    fn a_metric_says_its_unit_unless_it_is_a_count() {
        check(
            "cpu/usage",
            json!({
                "name": "cpu/usage", "description": "Cumulative CPU usage on all cores",
                "type": "cumulative", "value_type": "int64", "units": "ns",
            }),
        );
        check(
            "cpu/limit",
            json!({
                "name": "cpu/limit", "description": "CPU hard limit in millicores.",
                "type": "gauge", "value_type": "int64",
            }),
        );
    }

    #[test]
    fn every_label_of_an_exported_metric_is_described() {
        let labels =
            CATALOGUE.iter().filter(|metric| metric.exported).flat_map(|metric| metric.labels);
        for label in labels {
            assert!(METRIC_LABELS.iter().any(|known| known.key == *label), "{label}");
        }
    }

    #[test]
    fn what_is_internal_is_not_in_it() {
        let schema = serde_json::to_value(ExportSchema::new()).unwrap();
        assert_eq!(schema["metrics"].as_array().unwrap().len(), 28);
    }
}
