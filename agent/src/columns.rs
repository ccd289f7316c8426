//! Which column number means which metric, and with which label.
//!
//! Numbers are given out from 1 when a metric first has a value, and stay for the agent's life. Looking
//! one up is two indexings, because it happens for every value of every tick.

use tally_proto::{
    catalogue::{METRICS, MetricId},
    declaration::{ColumnDeclaration, ColumnNumber},
    limits::COLUMNS_PER_NODE,
    metric::{Labels, MetricName},
};

/// The label of disks, interfaces and filesystems.
const RESOURCE_ID: &str = "resource_id";

/// Resources of a node, each of which takes 1 KiB. Most hosts have a dozen; a host that names an
/// interface anew for every container would have ever more.
const RESOURCES_MAX: usize = 1024;

/// A disk, interface or filesystem: one value of `resource_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceNumber(usize);

/// Columns of the metrics, without a label or with one and the same.
#[derive(Debug)]
struct Numbers(Box<[Option<ColumnNumber>; METRICS]>);

impl Numbers {
    fn none() -> Self {
        Self(Box::new([None; METRICS]))
    }
}

/// All columns of a node.
#[derive(Debug)]
pub struct Columns {
    plain: Numbers,
    resources: Vec<(Box<str>, Numbers)>,
    /// Columns that were given out.
    count: u32,
    /// Those that were not declared yet.
    new: Vec<ColumnDeclaration>,
    /// Values that had no column because there are too many.
    refused: u64,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            plain: Numbers::none(),
            resources: Vec::new(),
            count: 0,
            new: Vec::new(),
            refused: 0,
        }
    }
}

impl Columns {
    /// The column of a metric without labels.
    pub fn plain(&mut self, metric: MetricId) -> Option<ColumnNumber> {
        match self.plain.0.get(metric.index())? {
            Some(number) => Some(*number),
            None => self.add_plain(metric),
        }
    }

    /// The column of a metric of one resource.
    pub fn of_resource(
        &mut self,
        metric: MetricId,
        resource: ResourceNumber,
    ) -> Option<ColumnNumber> {
        match self.resources.get(resource.0)?.1.0.get(metric.index())? {
            Some(number) => Some(*number),
            None => self.add_of_resource(metric, resource),
        }
    }

    /// The number of a resource; `None` when there are too many. Names are kept forever, so that a
    /// disk or an interface that comes back has its columns again.
    pub fn resource(&mut self, name: &str) -> Option<ResourceNumber> {
        if let Some(known) = self.resources.iter().position(|(known, _)| **known == *name) {
            return Some(ResourceNumber(known));
        }
        if RESOURCES_MAX <= self.resources.len() {
            self.refused += 1;
            return None;
        }
        self.resources.push((name.into(), Numbers::none()));
        Some(ResourceNumber(self.resources.len() - 1))
    }

    /// Columns that were given out since the last call.
    pub fn take_new(&mut self) -> Vec<ColumnDeclaration> {
        std::mem::take(&mut self.new)
    }

    /// Values that found no column, for a node may have only so many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn add_plain(&mut self, metric: MetricId) -> Option<ColumnNumber> {
        let number = self.add(metric, Labels::none())?;
        *self.plain.0.get_mut(metric.index())? = Some(number);
        Some(number)
    }

    fn add_of_resource(
        &mut self,
        metric: MetricId,
        resource: ResourceNumber,
    ) -> Option<ColumnNumber> {
        let (name, _) = self.resources.get(resource.0)?;
        // A mount point may be too long for a label.
        let Ok(labels) = Labels::new([(RESOURCE_ID, &**name)]) else {
            self.refused += 1;
            return None;
        };
        let number = self.add(metric, labels)?;
        *self.resources.get_mut(resource.0)?.1.0.get_mut(metric.index())? = Some(number);
        Some(number)
    }

    fn add(&mut self, id: MetricId, labels: Labels) -> Option<ColumnNumber> {
        if COLUMNS_PER_NODE <= self.count + 1 {
            self.refused += 1;
            return None;
        }
        let metric = MetricName::parse(id.metric().name).ok()?;
        self.count += 1;
        let number = ColumnNumber(self.count);
        self.new.push(ColumnDeclaration {
            number,
            metric,
            labels,
            floating: false,
            cumulative: false,
        });
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::catalogue::{self, CPU_USAGE, DISK_READ_BYTES, MEMORY_USAGE};

    use super::*;

    #[test]
    fn a_metric_has_one_column_and_is_declared_once() {
        let mut columns = Columns::default();
        assert_eq!(columns.plain(CPU_USAGE), Some(ColumnNumber(1)));
        assert_eq!(columns.plain(MEMORY_USAGE), Some(ColumnNumber(2)));
        assert_eq!(columns.plain(CPU_USAGE), Some(ColumnNumber(1)));
        assert_eq!(columns.take_new().len(), 2);
        assert_eq!(columns.take_new(), []);
    }

    #[test]
    fn each_resource_has_its_own() {
        let mut columns = Columns::default();
        let (vda, vdb) = (columns.resource("vda").unwrap(), columns.resource("vdb").unwrap());
        assert_eq!(columns.resource("vda"), Some(vda));
        assert_eq!(columns.of_resource(DISK_READ_BYTES, vda), Some(ColumnNumber(1)));
        assert_eq!(columns.of_resource(DISK_READ_BYTES, vdb), Some(ColumnNumber(2)));
        let [first, _] = &columns.take_new()[..] else { panic!("two columns") };
        assert_eq!(first.labels, Labels::new([("resource_id", "vda")]).unwrap());
    }

    #[test]
    fn beyond_the_limit_nothing_is_declared() {
        let mut columns = Columns::default();
        for number in 0..RESOURCES_MAX {
            let resource = columns.resource(&number.to_string()).unwrap();
            for metric in catalogue::all().take(5) {
                columns.of_resource(metric, resource);
            }
        }
        assert_eq!(columns.take_new().len(), usize::try_from(COLUMNS_PER_NODE).unwrap() - 1);
        assert_eq!(columns.resource("one more"), None);
        assert_eq!(columns.refused(), 1024 * 5 - 4095 + 1);
    }
}
