//! What is compared: numbers under the agent's metric names.

use std::{collections::BTreeMap, fmt};

/// A metric, and what it is of where it has more than one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    /// Such as `disk/io_write_bytes`.
    pub metric: String,
    /// Such as `vda`.
    pub resource: Option<String>,
}

/// Figures of one entity at one time.
pub type Figures = BTreeMap<Figure, i64>;

impl Figure {
    /// A metric of the entity as a whole.
    pub fn plain(metric: &str) -> Self {
        Self { metric: metric.to_owned(), resource: None }
    }

    /// A metric of one of its disks or interfaces.
    pub fn of(metric: &str, resource: &str) -> Self {
        Self { metric: metric.to_owned(), resource: Some(resource.to_owned()) }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.metric)?;
        match &self.resource {
            Some(resource) => write!(out, " of {resource}"),
            None => Ok(()),
        }
    }
}
