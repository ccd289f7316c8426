//! Rows of history as the import formats of others.

use std::fmt::Write as _;

use tally_aggregator::history::{
    life::Who,
    series::{Row, What},
};

/// A metric's name where no `/` may be.
pub fn name(metric: &str) -> String {
    metric.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

/// The names of an entity, as labels and tags.
pub fn labels(who: &Who) -> Vec<(&'static str, String)> {
    let mut labels = Vec::new();
    if let Some(node) = who.node() {
        labels.push(("node", node.to_string()));
    }
    match who {
        Who::Cluster | Who::Node(_) => {}
        Who::Namespace(namespace) => labels.push(("namespace", namespace.to_string())),
        Who::FreeContainer(_, container) => labels.push(("container", container.to_string())),
        Who::InPod(in_pod) => {
            labels.push(("namespace", in_pod.namespace.to_string()));
            labels.push(("pod", in_pod.pod.to_string()));
            labels.push(("uid", in_pod.uid.to_string()));
            if let Some(container) = &in_pod.container {
                labels.push(("container", container.to_string()));
            }
        }
    }
    labels
}

/// VictoriaMetrics' lines of JSON, one for each series.
pub fn victoria(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let mut labels: serde_json::Map<String, serde_json::Value> = labels(&row.life.who)
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        for series in &row.series {
            let What::Metric(quantity) = &*series.what else { continue };
            labels.insert("__name__".into(), name(quantity.metric.as_str()).into());
            let times: Vec<u64> = series.timeline.iter().map(|tick| tick.0 * 1000).collect();
            let values: Vec<serde_json::Value> =
                series.values.iter().map(|value| number(*value, quantity.floating)).collect();
            let line = serde_json::json!({"metric": labels, "values": values, "timestamps": times});
            text.push_str(&line.to_string());
            text.push('\n');
        }
    }
    text
}

/// InfluxDB's line protocol, one measurement a metric.
pub fn influx(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let labels = labels(&row.life.who);
        let tags: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let tags = tags.join(",");
        for series in &row.series {
            let What::Metric(quantity) = &*series.what else { continue };
            let head = format!("{},{tags} value=", name(quantity.metric.as_str()));
            let end = if quantity.floating { "" } else { "i" };
            for (tick, value) in series.timeline.iter().zip(&series.values) {
                let value = number(*value, quantity.floating);
                // Writing to a string can't fail.
                let _done = writeln!(text, "{head}{value}{end} {}", tick.0);
            }
        }
    }
    text
}

fn number(stored: i64, floating: bool) -> serde_json::Value {
    if floating { f64::from_bits(stored.cast_unsigned()).into() } else { stored.into() }
}
