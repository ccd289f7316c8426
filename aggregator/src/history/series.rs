//! What history keeps: for each entity in one life, the values of its metrics at their ticks.

use std::sync::Arc;

use tally_proto::{
    limits::{LABEL_KEY_BYTES, LABEL_VALUE_BYTES, LABELS_PER_COLUMN, METRIC_NAME_BYTES},
    metric::{Labels, MetricName},
};

use super::{
    codec::{
        Malformed,
        bytes::{push_length, push_text, take_at_most, take_byte, take_text},
    },
    life::Life,
    timeline::Timeline,
};

/// What the numbers of a series are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// When the entity was read: microseconds after the tick. One for all metrics of an entity.
    ReadOffset,
    /// Labels of its Kubernetes object that an entity had, as `--store-label` names them: there is a
    /// value for each tick at which it had these. A value is by how many seconds the last of them is
    /// after the tick: nothing in the raw tier, in others up to the length of a bucket.
    StoredLabels(Labels),
    /// A metric.
    Metric(Quantity),
}

/// A metric's series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    /// The metric.
    pub metric: MetricName,
    /// Its labels; empty for a plain metric.
    pub labels: Labels,
    /// Which number of it.
    pub field: Field,
    /// Whether its integers are the bits of doubles.
    pub floating: bool,
    /// Whether it counts since the start of the life; else it is a level.
    pub cumulative: bool,
}

/// Which number of a metric: its value in the raw tier, what is known of a bucket in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The value itself.
    Value,
    /// How many values a bucket has.
    Count,
    /// The least of them.
    Least,
    /// The greatest of them.
    Greatest,
    /// By how much they exceed the least together; doubles: their sum.
    Excess,
}

/// One series of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What it is.
    pub what: Arc<What>,
    /// When it has values.
    pub timeline: Arc<Timeline>,
    /// The values, one for each tick of the timeline.
    pub values: Vec<i64>,
    /// Of [`Field::Count`] alone: the buckets' sketches, one after the other.
    pub sketches: Vec<u8>,
}

/// All series of an entity in one life, in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose they are.
    pub life: Arc<Life>,
    /// The series, ordered by what they are, each once.
    pub series: Vec<Series>,
}

impl Row {
    /// Values of metrics; read offsets and stored labels are not counted.
    pub fn samples(&self) -> usize {
        let metrics = self.series.iter().filter(|series| series.what.is_metric());
        metrics.map(|series| series.values.len()).sum()
    }

    /// The stored labels that the entity had at any time.
    pub fn stored_labels(&self) -> impl Iterator<Item = &Series> {
        // They are among the first: what a series is orders them.
        let others = self.series.iter().take_while(|series| !series.what.is_metric());
        others.filter(|series| series.what.is_stored_labels())
    }
}

const READ_OFFSET: u8 = 0;
/// No number of a field: a program that does not know it refuses it.
const STORED_LABELS: u8 = 0x20;
const FIELDS: [Field; 5] =
    [Field::Value, Field::Count, Field::Least, Field::Greatest, Field::Excess];
const FLOATING: u8 = 0x40;
const CUMULATIVE: u8 = 0x80;

impl What {
    /// Whether it is of a metric.
    pub(super) fn is_metric(&self) -> bool {
        matches!(self, Self::Metric(_))
    }

    /// Whether it says which labels an entity had.
    pub(super) fn is_stored_labels(&self) -> bool {
        matches!(self, Self::StoredLabels(_))
    }

    /// Whether sketches lie beside the values.
    pub(super) fn has_sketches(&self) -> bool {
        matches!(self, Self::Metric(Quantity { field: Field::Count, .. }))
    }

    /// How long it is as bytes, at most.
    pub(super) fn bytes(&self) -> usize {
        const NUMBERS: usize = 16;
        let (name, labels) = match self {
            Self::ReadOffset => return NUMBERS,
            Self::StoredLabels(labels) => (0, labels),
            Self::Metric(Quantity { metric, labels, .. }) => (metric.as_str().len(), labels),
        };
        let labels = labels.iter().map(|(key, value)| key.len() + value.len() + NUMBERS);
        NUMBERS + name + labels.sum::<usize>()
    }

    /// Whether the values are the bits of doubles.
    pub fn floating(&self) -> bool {
        matches!(self, Self::Metric(Quantity { floating: true, .. }))
    }

    /// Appends it.
    pub(super) fn push_to(&self, out: &mut Vec<u8>) {
        let Quantity { metric, labels, field, floating, cumulative } = match self {
            Self::ReadOffset => return out.push(READ_OFFSET),
            Self::StoredLabels(labels) => {
                out.push(STORED_LABELS);
                return push_labels(labels, out);
            }
            Self::Metric(quantity) => quantity,
        };
        let place = FIELDS.iter().position(|known| known == field).unwrap_or(0);
        let mut head = 1 + u8::try_from(place).unwrap_or(0);
        if *floating {
            head |= FLOATING;
        }
        if *cumulative {
            head |= CUMULATIVE;
        }
        out.push(head);
        push_text(metric.as_str(), out);
        push_labels(labels, out);
    }

    /// Takes one from the front.
    pub(super) fn take_from(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let head = take_byte(bytes, "a field")?;
        if head == STORED_LABELS {
            return take_labels(bytes).map(Self::StoredLabels);
        }
        let Some(place) = (head & !(FLOATING | CUMULATIVE)).checked_sub(1) else {
            return Ok(Self::ReadOffset);
        };
        let field = FIELDS.get(usize::from(place)).ok_or(Malformed::Range("a field"))?;
        let metric = take_text(bytes, METRIC_NAME_BYTES, "a metric's name")?;
        let metric = MetricName::parse(metric).map_err(|_| Malformed::Range("a metric's name"))?;
        Ok(Self::Metric(Quantity {
            metric,
            labels: take_labels(bytes)?,
            field: *field,
            floating: head & FLOATING != 0,
            cumulative: head & CUMULATIVE != 0,
        }))
    }
}

/// Appends labels.
pub fn push_labels(labels: &Labels, out: &mut Vec<u8>) {
    push_length(labels.iter().len(), out);
    for (key, value) in labels.iter() {
        push_text(key, out);
        push_text(value, out);
    }
}

/// Takes labels from the front.
pub fn take_labels(bytes: &mut &[u8]) -> Result<Labels, Malformed> {
    let count = take_at_most(bytes, LABELS_PER_COLUMN, "labels")?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let key = take_text(bytes, LABEL_KEY_BYTES, "a label's key")?;
        pairs.push((key, take_text(bytes, LABEL_VALUE_BYTES, "a label's value")?));
    }
    Labels::new(pairs).map_err(|_| Malformed::Range("labels"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_series_is_comes_back() {
        let labels = Labels::new([("resource_id", "/"), ("a", "b")]).unwrap();
        for field in FIELDS {
            for (floating, cumulative) in [(false, false), (true, false), (false, true)] {
                let metric = MetricName::parse("filesystem/usage").unwrap();
                let labels = labels.clone();
                let quantity = Quantity { metric, labels, field, floating, cumulative };
                let (what, mut bytes) = (What::Metric(quantity), Vec::new());
                what.push_to(&mut bytes);
                assert_eq!(What::take_from(&mut bytes.as_slice()), Ok(what));
            }
        }
        let (what, mut bytes) = (What::StoredLabels(labels), Vec::new());
        what.push_to(&mut bytes);
        assert_eq!(What::take_from(&mut bytes.as_slice()), Ok(what));
        assert_eq!(What::take_from(&mut &[0][..]), Ok(What::ReadOffset));
        assert_eq!(What::take_from(&mut &[9][..]), Err(Malformed::Range("a field")));
    }
}
