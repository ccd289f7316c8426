//! A bucket of an aggregation, in the words of queries.

use super::super::Value;
use crate::history::aggregate::Bucket;

/// What is known of one bucket; no value where there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Its beginning, in milliseconds since the epoch; means nothing without a bucket size.
    pub start_ms: u64,
    /// How many values.
    pub count: u64,
    /// Their mean.
    pub average: Option<f64>,
    /// The greatest.
    pub greatest: Option<Value>,
    /// The least.
    pub least: Option<Value>,
    /// The middle one; of an even number the mean of the middle two.
    pub median: Option<f64>,
    /// The values that 50, 95 and 99 percent are at most.
    pub percentiles: [Option<Value>; 3],
}

impl Summary {
    pub(super) fn of(bucket: &Bucket) -> Self {
        Self {
            start_ms: bucket.start_ms,
            count: bucket.count(),
            average: bucket.average(),
            greatest: bucket.greatest().map(|(value, _)| value),
            least: bucket.least().map(|(value, _)| value),
            median: bucket.median(),
            percentiles: [50, 95, 99].map(|percent| bucket.percentile(percent)),
        }
    }
}
