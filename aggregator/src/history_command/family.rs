//! Names of OpenMetrics for Tally's metrics: which families there are, of what type and unit.
//!
//! `memory/usage` becomes `tally_memory_usage_bytes`: the prefix, the name with `_` for whatever is
//! no letter or digit, and the unit that the catalogue has, as the standard wants it. Numbers are
//! exported as they are stored, so times are nanoseconds and milliseconds. Counters get `_total`
//! where their samples are, and the numbers of a bucket end with what they are: `_min_bytes`.

use std::collections::BTreeSet;

use tally_proto::{
    catalogue,
    metric::{Labels, Unit},
};

use super::numbers::Aggregate;

/// One family: a metric and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The metric.
    pub(super) metric: String,
    /// Whether it counts.
    pub(super) cumulative: bool,
    /// Which of its numbers.
    pub(super) aggregate: Aggregate,
    /// Its name as OpenMetrics has it.
    pub(super) name: String,
}

impl Family {
    /// Families for metrics, each with a name of its own.
    pub(super) fn all(metrics: &BTreeSet<(String, bool)>, aggregates: &[Aggregate]) -> Vec<Self> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut families = Vec::new();
        for (metric, cumulative) in metrics {
            for aggregate in aggregates {
                let (metric, cumulative, aggregate) = (metric.clone(), *cumulative, *aggregate);
                let mut number = 1;
                // `custom/a-b` and `custom/a.b` would have one name; the later gets a number.
                let name = loop {
                    let name = name(&metric, aggregate, number);
                    let total = format!("{name}_total");
                    if !taken.contains(&name) && !taken.contains(&total) {
                        taken.extend([name.clone(), total]);
                        break name;
                    }
                    number += 1;
                };
                families.push(Self { metric, cumulative, aggregate, name });
            }
        }
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }

    /// Whether its samples are those of a counter.
    pub(super) fn is_counter(&self) -> bool {
        self.cumulative && self.aggregate == Aggregate::Value
    }

    /// The lines before its samples.
    pub(super) fn head(&self) -> String {
        let Self { name, metric, .. } = self;
        let kind = if self.is_counter() { "counter" } else { "gauge" };
        let mut head = format!("# TYPE {name} {kind}\n");
        if let Some(unit) = unit(metric, self.aggregate) {
            head.push_str(&format!("# UNIT {name} {unit}\n"));
        }
        let meaning = catalogue::find(metric).map_or(metric.as_str(), |id| id.metric().description);
        head.push_str(&format!("# HELP {name} {}\n", escaped(meaning)));
        head
    }

    /// The name of its samples.
    pub(super) fn sample(&self) -> String {
        let end = if self.is_counter() { "_total" } else { "" };
        format!("{}{end}", self.name)
    }
}

fn name(metric: &str, aggregate: Aggregate, number: u32) -> String {
    let mut name = format!("tally_{}", sanitized(metric));
    if number != 1 {
        name.push_str(&format!("_{number}"));
    }
    // These ends mean something else to readers than they do here.
    for reserved in ["_total", "_created", "_count", "_sum", "_bucket", "_info"] {
        if let Some(shorter) = name.strip_suffix(reserved) {
            let word = reserved.trim_start_matches('_');
            name = format!("{shorter}_{word}s");
        }
    }
    let aggregate_word = match aggregate {
        Aggregate::Value => "",
        Aggregate::Count => "_samples",
        Aggregate::Min => "_min",
        Aggregate::Max => "_max",
        Aggregate::Sum => "_summed",
    };
    name.push_str(aggregate_word);
    if let Some(unit) = unit(metric, aggregate) {
        let end = format!("_{unit}");
        if !name.ends_with(&end) {
            name.push_str(&end);
        }
    }
    name
}

/// The unit as OpenMetrics names it.
fn unit(metric: &str, aggregate: Aggregate) -> Option<&'static str> {
    if aggregate == Aggregate::Count {
        return None;
    }
    match catalogue::find(metric)?.metric().unit {
        Unit::Bytes => Some("bytes"),
        Unit::Milliseconds => Some("milliseconds"),
        Unit::Nanoseconds => Some("nanoseconds"),
        Unit::Millicores => Some("millicores"),
        Unit::Ratio => Some("ratio"),
        Unit::Count | Unit::PerSecond => None,
    }
}

/// Letters, digits and `_`.
fn sanitized(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

/// Text between quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A label's key as OpenMetrics may have it: letters, digits and `_`, no digit first.
pub fn label_name(key: &str) -> String {
    let mut clean = sanitized(key);
    if clean.starts_with(|first: char| first.is_ascii_digit()) || clean.starts_with("__") {
        clean.insert_str(0, "label_");
    }
    clean
}

/// A metric's own labels, behind those of the entity, or stored ones behind both. A key that is none
/// of OpenMetrics is made one, and one that is taken gets a number.
pub(super) fn push_labels(labels: &Labels, pairs: &mut Vec<(String, String)>) {
    for (key, value) in labels.iter() {
        let clean = label_name(key);
        let mut key = clean.clone();
        let mut number = 2;
        while pairs.iter().any(|(known, _)| *known == key) {
            key = format!("{clean}_{number}");
            number += 1;
        }
        pairs.push((key, value.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metrics: &[(&str, bool)], aggregate: Aggregate, names: &[&str]) {
        let metrics = metrics.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        let families = Family::all(&metrics, &[aggregate]);
        assert_eq!(families.iter().map(Family::sample).collect::<Vec<_>>(), names);
    }

    #[test]
    fn names_have_prefix_unit_and_total() {
        let all = [("memory/usage", false), ("cpu/usage", true), ("cpu/periods", true)];
        let raw = [
            "tally_cpu_periods_total",
            "tally_cpu_usage_nanoseconds_total",
            "tally_memory_usage_bytes",
        ];
        check(&all, Aggregate::Value, &raw);
        let least = [
            "tally_cpu_periods_min",
            "tally_cpu_usage_min_nanoseconds",
            "tally_memory_usage_min_bytes",
        ];
        check(&all, Aggregate::Min, &least);
    }

    #[test]
    fn names_that_would_be_the_same_get_numbers() {
        let all = [("custom/a-b", false), ("custom/a.b", false), ("custom/a_b", true)];
        let names = ["tally_custom_a_b", "tally_custom_a_b_2", "tally_custom_a_b_3_total"];
        check(&all, Aggregate::Value, &names);
    }

    #[test]
    fn reserved_ends_are_not_used() {
        let all = [("custom/x_total", false), ("processes/count", false)];
        check(&all, Aggregate::Value, &["tally_custom_x_totals", "tally_processes_counts"]);
    }

    #[test]
    fn labels_are_clean_and_unique() {
        let labels = Labels::new([("a.b", "1"), ("a_b", "2"), ("node", "3"), ("9", "4")]).unwrap();
        let mut pairs = vec![("node".to_owned(), "n".to_owned())];
        push_labels(&labels, &mut pairs);
        let keys: Vec<&str> = pairs.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["node", "label_9", "a_b", "a_b_2", "node_2"]);
    }
}
