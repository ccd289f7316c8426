//! Which column number means which metric, and with which label.
//!
//! Numbers are given out from 1 when a metric first has a value, and stay for the agent's life. Looking
//! one up is two indexings, because it happens for every value of every tick.

use std::collections::HashSet;

use tally_proto::{
    catalogue::{self, METRICS, MetricId},
    declaration::{ColumnDeclaration, ColumnNumber},
    limits::COLUMNS_PER_NODE,
    metric::{Labels, MetricName},
};

/// The label of disks, interfaces and filesystems.
const RESOURCE_ID: &str = "resource_id";

/// Resources of a node, each of which takes 1 KiB. Most hosts have a dozen; a host that names an
/// interface anew for every container would have ever more.
const RESOURCES_MAX: usize = 1024;

/// Volumes of pods among them, so that there is room for disks and interfaces whatever pods have. Many
/// have names of their own (`kube-api-access-x2k4q`), so what no pod has any more makes room.
const VOLUMES_MAX: usize = 512;

/// A disk, interface, filesystem or volume: one value of `resource_id`.
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

#[derive(Debug)]
struct Resource {
    name: Box<str>,
    numbers: Numbers,
    is_volume: bool,
}

/// All columns of a node.
#[derive(Debug)]
pub struct Columns {
    plain: Numbers,
    resources: Vec<Resource>,
    /// Volumes that no pod has any more.
    unused: Vec<ResourceNumber>,
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
            unused: Vec::new(),
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
        match self.resources.get(resource.0)?.numbers.0.get(metric.index())? {
            Some(number) => Some(*number),
            None => self.add_of_resource(metric, resource),
        }
    }

    /// The number of a resource; `None` when there are too many. Names are kept forever, so that a
    /// disk or an interface that comes back has its columns again.
    pub fn resource(&mut self, name: &str) -> Option<ResourceNumber> {
        self.known(name, false).or_else(|| self.add_resource(name, false, RESOURCES_MAX))
    }

    /// The number of a volume, a resource that goes with its pods.
    pub fn volume(&mut self, name: &str) -> Option<ResourceNumber> {
        if let Some(known) = self.known(name, true) {
            self.unused.retain(|unused| *unused != known);
            return Some(known);
        }
        match self.unused.pop() {
            Some(unused) => self.name_anew(unused, name),
            None => self.add_resource(name, true, VOLUMES_MAX),
        }
    }

    /// Only these volumes are there now: columns of others may mean another from the next call on.
    pub fn keep_volumes(&mut self, used: &HashSet<ResourceNumber>) {
        let volumes = self.resources.iter().enumerate().filter(|(_, resource)| resource.is_volume);
        let numbers = volumes.map(|(number, _)| ResourceNumber(number));
        self.unused = numbers.filter(|number| !used.contains(number)).collect();
    }

    fn known(&self, name: &str, is_volume: bool) -> Option<ResourceNumber> {
        let is_it = |known: &Resource| known.is_volume == is_volume && *known.name == *name;
        self.resources.iter().position(is_it).map(ResourceNumber)
    }

    fn add_resource(&mut self, name: &str, is_volume: bool, most: usize) -> Option<ResourceNumber> {
        let alike = self.resources.iter().filter(|other| !is_volume || other.is_volume).count();
        if most <= alike || RESOURCES_MAX <= self.resources.len() {
            self.refused += 1;
            return None;
        }
        self.resources.push(Resource { name: name.into(), numbers: Numbers::none(), is_volume });
        Some(ResourceNumber(self.resources.len() - 1))
    }

    /// Gives the columns of a volume to another.
    fn name_anew(&mut self, number: ResourceNumber, name: &str) -> Option<ResourceNumber> {
        let Ok(labels) = Labels::new([(RESOURCE_ID, name)]) else {
            self.refused += 1;
            self.unused.push(number);
            return None;
        };
        let resource = self.resources.get_mut(number.0)?;
        resource.name = name.into();
        for (id, column) in catalogue::all().zip(resource.numbers.0.iter()) {
            let Some(column) = *column else { continue };
            self.new.extend(declaration(column, id, labels.clone()));
        }
        Some(number)
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
        let Resource { name, .. } = self.resources.get(resource.0)?;
        // A mount point may be too long for a label.
        let Ok(labels) = Labels::new([(RESOURCE_ID, &**name)]) else {
            self.refused += 1;
            return None;
        };
        let number = self.add(metric, labels)?;
        *self.resources.get_mut(resource.0)?.numbers.0.get_mut(metric.index())? = Some(number);
        Some(number)
    }

    fn add(&mut self, id: MetricId, labels: Labels) -> Option<ColumnNumber> {
        if COLUMNS_PER_NODE <= self.count + 1 {
            self.refused += 1;
            return None;
        }
        let number = ColumnNumber(self.count + 1);
        self.new.push(declaration(number, id, labels)?);
        self.count += 1;
        Some(number)
    }
}

fn declaration(number: ColumnNumber, id: MetricId, labels: Labels) -> Option<ColumnDeclaration> {
    let metric = MetricName::parse(id.metric().name).ok()?;
    Some(ColumnDeclaration { number, metric, labels, floating: false, cumulative: false })
}

#[cfg(test)]
mod tests {
    use tally_proto::catalogue::{
        CPU_USAGE, DISK_READ_BYTES, FILESYSTEM_LIMIT, FILESYSTEM_USAGE, MEMORY_USAGE,
    };

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
    fn columns_of_a_volume_that_is_gone_become_anothers() {
        let mut columns = Columns::default();
        let [first, second] = ["Volume:a", "Volume:b"].map(|name| columns.volume(name).unwrap());
        columns.of_resource(FILESYSTEM_USAGE, first);
        columns.of_resource(FILESYSTEM_LIMIT, first);
        columns.of_resource(FILESYSTEM_USAGE, second);
        columns.take_new();
        columns.keep_volumes(&HashSet::from([second]));
        assert_eq!(columns.volume("Volume:b"), Some(second));
        assert_eq!(columns.volume("Volume:c"), Some(first));
        let declared = columns.take_new();
        let numbers: Vec<u32> = declared.iter().map(|column| column.number.0).collect();
        assert_eq!(numbers, [1, 2]);
        let labels = Labels::new([("resource_id", "Volume:c")]).unwrap();
        assert!(declared.iter().all(|column| column.labels == labels));
        assert_eq!(columns.of_resource(FILESYSTEM_USAGE, first), Some(ColumnNumber(1)));
        assert!(columns.take_new().is_empty());
    }

    #[test]
    fn a_volume_that_comes_back_in_time_has_its_columns_again() {
        let mut columns = Columns::default();
        let volume = columns.volume("Volume:a").unwrap();
        columns.keep_volumes(&HashSet::new());
        assert_eq!(columns.volume("Volume:a"), Some(volume));
        assert_ne!(columns.volume("Volume:b"), Some(volume));
    }

    #[test]
    fn ever_new_volumes_leave_room_for_disks() {
        let mut columns = Columns::default();
        for number in 0..10 * VOLUMES_MAX {
            let volume = columns.volume(&format!("Volume:{number}")).unwrap();
            columns.of_resource(FILESYSTEM_USAGE, volume);
            columns.keep_volumes(&HashSet::new());
        }
        assert_eq!(columns.take_new().len(), 10 * VOLUMES_MAX);
        for number in 0..VOLUMES_MAX - 1 {
            columns.unused.clear();
            assert!(columns.volume(&format!("Volume:at once {number}")).is_some());
        }
        columns.unused.clear();
        assert_eq!(columns.volume("Volume:one more"), None);
        assert_eq!(columns.refused(), 1);
        assert!(columns.resource("vda").is_some());
        // A mount point may have a volume's name.
        assert_ne!(columns.resource("Volume:0"), columns.volume("Volume:0"));
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
