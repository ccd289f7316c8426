//! What a metric is: its name, unit, kind, type, labels, and what it sums to.

use std::{borrow::Borrow, fmt, sync::Arc};

use crate::{
    limits::{LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS_PER_COLUMN, METRIC_NAME_BYTES},
    name::BadName,
};

/// What one of a metric's numbers counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Thousandths of a CPU core.
    Millicores,
    /// A count or an amount each second.
    PerSecond,
    /// A share of a whole; 1.0 is all of it.
    Ratio,
}

/// How a metric behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A level that goes up and down.
    Gauge,
    /// A total since the entity's start; it goes down only when a new life begins.
    Cumulative,
}

/// How a metric's numbers are represented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// Exact integers.
    Integer,
    /// IEEE 754 doubles.
    Float,
}

/// How far a metric's sum goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sum {
    /// Its sum means nothing: times, ratios, totals of different lives, labelled metrics.
    Never,
    /// From containers to their pod, where the pod has no number of its own.
    Pod,
    /// From pods also to their node, as Heapster did for requests and limits, to namespace and cluster.
    Node,
    /// From containers to pod, namespace and cluster.
    Cluster,
}

/// Where a metric's numbers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An agent reads it.
    Agent,
    /// The aggregator divides the named cumulative metric's growth by the time it took.
    RateOf(&'static str),
    /// The aggregator computes it from other metrics or from what is declared.
    Derived,
    /// The API server's objects say it.
    Inventory,
}

/// One row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, in Heapster's style.
    pub name: &'static str,
    /// What its numbers count.
    pub unit: Unit,
    /// How it behaves over time.
    pub kind: Kind,
    /// How its numbers are represented.
    pub value: ValueType,
    /// Keys of its labels; empty for a plain metric.
    pub labels: &'static [&'static str],
    /// How far its sum goes up.
    pub sum: Sum,
    /// Where its numbers come from.
    pub source: Source,
    /// Whether `metric-export` carries it: Heapster's clients know just these.
    pub exported: bool,
    /// What it means and where its numbers come from, for people.
    pub description: &'static str,
}

/// A metric's name: of the catalogue, `custom/…` or an extended resource's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricName(Arc<str>);

impl MetricName {
    /// Checks the text: not empty, at most 128 bytes, no control characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text.is_empty() {
            Err(BadName::Empty)
        } else if METRIC_NAME_BYTES < text.len() {
            Err(BadName::TooLong { bytes: text.len(), most: METRIC_NAME_BYTES })
        } else if text.chars().any(char::is_control) {
            Err(BadName::Control)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for MetricName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MetricName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Labels that tell several series of one metric apart, sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

/// A label set that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLabels {
    /// More labels than a column may have.
    #[error("{0} labels, at most {LABELS_PER_COLUMN} are allowed")]
    TooMany(usize),
    /// A key that is empty or too long.
    #[error("label key {0:?} is empty or over {LABEL_KEY_BYTES} bytes")]
    Key(String),
    /// A value that is empty or too long.
    #[error("the value of label {0:?} is empty or over {LABEL_VALUE_BYTES} bytes")]
    Value(String),
    /// A key twice.
    #[error("label {0:?} occurs twice")]
    Twice(String),
}

impl Labels {
    /// No labels.
    pub fn none() -> Self {
        Self::default()
    }

    /// Checks and sorts.
    pub fn new<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, BadLabels> {
        let mut sorted: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            if key.is_empty() || LABEL_KEY_BYTES < key.len() {
                return Err(BadLabels::Key(key.chars().take(LABEL_KEY_BYTES).collect()));
            }
            if value.is_empty() || LABEL_VALUE_BYTES < value.len() {
                return Err(BadLabels::Value(key));
            }
            sorted.push((key.into(), value.into()));
        }
        if LABELS_PER_COLUMN < sorted.len() {
            return Err(BadLabels::TooMany(sorted.len()));
        }
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find_map(|pair| match pair {
            [(a, _), (b, _)] if a == b => Some(a.to_string()),
            _ => None,
        }) {
            return Err(BadLabels::Twice(twice));
        }
        Ok(Self(sorted.into()))
    }

    /// Key and value of each label, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_unique() {
        let labels = Labels::new([("b", "2"), ("a", "1")]).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(Labels::new([("a", "1"), ("a", "2")]), Err(BadLabels::Twice("a".into())));
    }

    #[test]
    fn an_empty_or_huge_label_is_refused() {
        assert_eq!(Labels::new([("", "1")]), Err(BadLabels::Key(String::new())));
        assert_eq!(Labels::new([("a", "")]), Err(BadLabels::Value("a".into())));
        assert_eq!(Labels::new([("a", "x".repeat(1025))]), Err(BadLabels::Value("a".into())));
        let nine = (0..9).map(|n| (format!("k{n}"), "v"));
        assert_eq!(Labels::new(nine), Err(BadLabels::TooMany(9)));
    }
}
