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

/// InfluxDB's line protocol, one measurement a metric, times in seconds.
pub fn influx(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let labels = labels(&row.life.who);
        let tags: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}={}", escaped(value))).collect();
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

/// Commas, spaces and equals signs end a tag in line protocol.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, ',' | ' ' | '=') {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Where the line ends that has the byte at `least`; the end where there are less.
pub fn end_of_line(lines: &str, least: usize) -> usize {
    let after = lines.as_bytes().get(least..);
    let end = after.and_then(|after| after.iter().position(|byte| *byte == b'\n'));
    end.map_or(lines.len(), |end| least + end + 1)
}

fn number(stored: i64, floating: bool) -> serde_json::Value {
    if floating { f64::from_bits(stored.cast_unsigned()).into() } else { stored.into() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tally_aggregator::history::{
        life::Life,
        series::{Field, Quantity, Series},
        timeline::Timeline,
    };
    use tally_proto::{
        metric::{Labels, MetricName},
        name::NodeName,
        tick::Tick,
    };

    use super::*;

    fn row(floating: bool, values: [i64; 2]) -> [Row; 1] {
        let quantity = Quantity {
            metric: MetricName::parse("memory/usage").unwrap(),
            labels: Labels::none(),
            field: Field::Value,
            floating,
            cumulative: false,
        };
        let series = Series {
            what: Arc::new(What::Metric(quantity)),
            timeline: Arc::new(Timeline::of([Tick(60), Tick(75)])),
            values: values.to_vec(),
            sketches: Vec::new(),
        };
        let who = Who::Node(NodeName::parse("n1").unwrap());
        [Row { life: Arc::new(Life { who, start: None }), series: vec![series] }]
    }

    #[test]
    fn whole_numbers_and_doubles_stay_what_they_are() {
        let rows = row(false, [7, -8]);
        assert_eq!(
            influx(&rows),
            "memory_usage,node=n1 value=7i 60\nmemory_usage,node=n1 value=-8i 75\n"
        );
        let line = r#"{"metric":{"__name__":"memory_usage","node":"n1"},"timestamps":[60000,75000],"values":[7,-8]}"#;
        assert_eq!(victoria(&rows), format!("{line}\n"));
        let rows = row(true, [1.5f64, 2.0].map(|value| value.to_bits().cast_signed()));
        assert_eq!(
            influx(&rows),
            "memory_usage,node=n1 value=1.5 60\nmemory_usage,node=n1 value=2.0 75\n"
        );
        assert!(victoria(&rows).contains(r#""values":[1.5,2.0]"#));
    }

    #[test]
    fn what_would_end_a_tag_does_not() {
        assert_eq!(escaped("/a b,c=d"), r"/a\ b\,c\=d");
    }

    #[test]
    fn batches_end_with_lines() {
        assert_eq!(end_of_line("ab\ncd\n", 0), 3);
        assert_eq!(end_of_line("ab\ncd\n", 2), 3);
        assert_eq!(end_of_line("ab\ncd\n", 3), 6);
        assert_eq!(end_of_line("ab\ncd\n", 6), 6);
        assert_eq!(end_of_line("ab\n", 99), 3);
    }
}
