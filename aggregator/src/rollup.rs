//! What one frame adds to its namespaces and to the cluster.
//!
//! A pod's number is its own where its row has one, else the sum over its containers; a
//! namespace's is the sum over its pods, the cluster's over namespaces. Which cells of a frame
//! count where changes only with the schema, so it is worked out once, as a plan, and a frame is
//! one walk over that.

mod earlier;
pub mod progress;
pub mod sums;

use std::{collections::HashMap, sync::Arc};

use tally_proto::{
    catalogue::{self, MetricId},
    columns::{ColumnValues, Compact, CompactColumns},
    declaration::EntityNumber,
    metric::{Sum, ValueType},
    name::NamespaceName,
    rate,
    tick::Tick,
};

use crate::{
    declared::MetricKey,
    inventory::{ContainerRecord, Resources},
    point::elapsed_us,
    roster::Roster,
    schema::Schema,
};
pub use earlier::Earlier;
use sums::{Addends, place_of, thousandths};

/// What one frame adds, by destination.
#[derive(Clone, Debug, Default)]
pub struct FrameSums {
    /// To the cluster beside the namespaces: totals of the node itself.
    pub node: Addends,
    /// To each namespace of the plan.
    pub namespaces: Vec<Addends>,
}

/// Which cells of a frame count where.
#[derive(Debug)]
pub struct Plan {
    /// The namespaces that the node has pods in.
    pub namespaces: Vec<NamespaceName>,
    columns: Vec<PlannedColumn>,
    /// Values of all columns that are counters.
    counted: usize,
    /// What every frame adds whatever it holds: requests, limits, capacities. Without an
    /// inventory there is nothing of the kind.
    constants: Vec<Constant>,
}

/// One amount that every frame adds.
#[derive(Clone, Copy, Debug)]
struct Constant {
    destination: Destination,
    place: usize,
    amount: i64,
}

/// One column that counts.
#[derive(Debug)]
struct PlannedColumn {
    /// Its index in the layout.
    index: u16,
    /// The metric's place among the summed ones.
    place: u16,
    how: How,
    /// Of a counter, where its values begin in [`Earlier`].
    earlier: u32,
    cells: Arc<[Cell]>,
}

impl PlannedColumn {
    fn index(&self) -> usize {
        usize::from(self.index)
    }

    /// Where a counter's value is in [`Earlier`].
    fn earlier(&self, cell: &Cell) -> Option<usize> {
        usize::try_from(self.earlier + u32::from(cell.position)).ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Level,
    Millicores,
    PerSecond,
}

/// A node has few enough entities and columns for places of 16 bits, see `tally_proto::limits`.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Its position in its column.
    position: u16,
    /// Its entity's position in the read offsets.
    offset: u16,
    destination: Destination,
}

#[derive(Clone, Copy, Debug)]
enum Destination {
    Node,
    Namespace(u16),
}

impl Plan {
    /// Works out what counts where.
    pub fn new(schema: &Schema) -> Self {
        let mut namespaces: Vec<NamespaceName> =
            schema.roster.pods.iter().map(|pod| pod.key.namespace.clone()).collect();
        namespaces.dedup();
        let members = Members::new(&schema.roster, &namespaces);
        let mut cells: HashMap<(u32, bool), Arc<[Cell]>> = HashMap::new();
        let (mut columns, mut counters) = (Vec::new(), 0);
        for (number, layout) in (0..).zip(&schema.layout.columns) {
            let index = usize::from(number);
            let Some(meaning) = schema.meaning(index).filter(|meaning| meaning.labels.is_empty())
            else {
                continue;
            };
            let MetricKey::Known(id) = meaning.metric else { continue };
            for (sum, of_node) in destinations(id) {
                let place = place_of(sum).and_then(|place| u16::try_from(place).ok());
                let (Some(place), Ok(earlier)) = (place, u32::try_from(counters)) else { continue };
                let cells = cells
                    .entry((layout.row_set, of_node))
                    .or_insert_with(|| members.cells(schema, index, of_node));
                if !cells.is_empty() {
                    let (how, cells) = (how(id), Arc::clone(cells));
                    if how != How::Level {
                        counters += schema.layout.rows(index).len();
                    }
                    columns.push(PlannedColumn { index: number, place, how, earlier, cells });
                }
            }
        }
        let constants = constants(&schema.roster, &namespaces);
        namespaces.shrink_to_fit();
        columns.shrink_to_fit();
        Self { namespaces, columns, counted: counters, constants }
    }

    /// What `now` adds, with rates against `earlier`.
    pub fn sum(
        &self,
        schema: &Schema,
        tick: Tick,
        now: &CompactColumns,
        earlier: Option<&Earlier>,
    ) -> FrameSums {
        let mut sums = FrameSums::new(self.namespaces.len());
        for Constant { destination, place, amount } in &self.constants {
            sums.add(*destination, *place, *amount);
        }
        let elapsed = earlier.map(|earlier| {
            let offsets = column(now, schema.read_offset).map(Compact::all).unwrap_or_default();
            let elapsed = offsets.into_iter().enumerate().map(|(place, offset)| {
                elapsed_us((earlier.tick, earlier.offsets.get(place)?), (tick, offset))
            });
            elapsed.collect::<Vec<Option<u64>>>()
        });
        let before = earlier.zip(elapsed.as_deref());
        let mut values = Vec::new();
        for planned in &self.columns {
            values.clear();
            if let Some(column) = column(now, Some(planned.index())) {
                column.append_to(&mut values);
            }
            let sum = usize::from(planned.place);
            if planned.how == How::Level {
                for cell in &*planned.cells {
                    if let Some(value) = values.get(usize::from(cell.position)) {
                        sums.add(cell.destination, sum, *value);
                    }
                }
            } else if let Some((earlier, elapsed)) = before {
                for cell in &*planned.cells {
                    let was = planned.earlier(cell).and_then(|place| earlier.values.get(place));
                    let is = values.get(usize::from(cell.position)).copied();
                    let elapsed = elapsed.get(usize::from(cell.offset)).copied().flatten();
                    if let Some(rate) = planned.how.rate(was, is, elapsed) {
                        sums.add(cell.destination, sum, rate);
                    }
                }
            }
        }
        sums
    }

    fn counters(&self) -> impl Iterator<Item = &PlannedColumn> {
        self.columns.iter().filter(|planned| planned.how != How::Level)
    }
}

impl FrameSums {
    fn new(namespaces: usize) -> Self {
        Self { node: Addends::default(), namespaces: vec![Addends::default(); namespaces] }
    }

    fn add(&mut self, destination: Destination, place: usize, amount: i64) {
        match destination {
            Destination::Node => self.node.add(place, amount),
            Destination::Namespace(namespace) => {
                if let Some(addends) = self.namespaces.get_mut(usize::from(namespace)) {
                    addends.add(place, amount);
                }
            }
        }
    }

    /// What the cluster gets: the namespaces' parts and the node's own.
    pub fn cluster(&self) -> Addends {
        let mut all = self.node.clone();
        self.namespaces.iter().for_each(|addends| all.add_all(addends));
        all
    }
}

impl How {
    /// In the unit of sums.
    fn rate(self, was: Option<i64>, is: Option<i64>, elapsed_us: Option<u64>) -> Option<i64> {
        let growth = rate::growth(was?, is?).ok()?;
        match self {
            Self::Level => None,
            Self::Millicores => rate::millicores(growth, elapsed_us?).ok(),
            Self::PerSecond => rate::per_second(growth, elapsed_us?).ok().map(thousandths),
        }
    }
}

/// Which sums a column goes to: of pods, of nodes.
fn destinations(id: MetricId) -> impl Iterator<Item = (MetricId, bool)> {
    let rate = catalogue::rate_of(id).unwrap_or(id);
    let of_pods = (rate.metric().sum == Sum::Cluster).then_some((rate, false));
    let of_nodes = match id {
        catalogue::CPU_USAGE => Some(catalogue::CPU_NODE_USAGE),
        catalogue::MEMORY_USAGE => Some(catalogue::MEMORY_NODE_USAGE),
        catalogue::EPHEMERAL_STORAGE_USAGE => Some(catalogue::EPHEMERAL_STORAGE_NODE_USAGE),
        _ => None,
    };
    of_pods.into_iter().chain(of_nodes.map(|sum| (sum, true)))
}

fn how(id: MetricId) -> How {
    match catalogue::rate_of(id).map(|rate| rate.metric().value) {
        None => How::Level,
        Some(ValueType::Integer) => How::Millicores,
        Some(ValueType::Float) => How::PerSecond,
    }
}

fn column(columns: &CompactColumns, index: Option<usize>) -> Option<&Compact> {
    columns.values.get(index?)
}

/// Where each row of a node belongs.
struct Members {
    node: Option<EntityNumber>,
    /// The namespace of each pod's row.
    pods: HashMap<EntityNumber, u16>,
    /// The pod's row and the namespace of each container's row.
    containers: HashMap<EntityNumber, (EntityNumber, u16)>,
}

impl Members {
    fn new(roster: &Roster, namespaces: &[NamespaceName]) -> Self {
        let (mut pods, mut containers) = (HashMap::new(), HashMap::new());
        for pod in &roster.pods {
            let Some(namespace) = place_in(namespaces, &pod.key.namespace) else { continue };
            pods.insert(pod.row, namespace);
            for row in pod.containers.iter().filter_map(|container| container.row) {
                containers.insert(row, (pod.row, namespace));
            }
        }
        Self { node: roster.node, pods, containers }
    }

    fn cells(&self, schema: &Schema, index: usize, of_node: bool) -> Arc<[Cell]> {
        let rows = schema.layout.rows(index);
        let has_own = |pod: &EntityNumber| rows.binary_search(pod).is_ok();
        let destination = |number: &EntityNumber| {
            if of_node {
                return (self.node == Some(*number)).then_some(Destination::Node);
            }
            let of_container = || {
                let (pod, namespace) = self.containers.get(number)?;
                (!has_own(pod)).then_some(namespace)
            };
            self.pods.get(number).or_else(of_container).map(|place| Destination::Namespace(*place))
        };
        let cells = (0..).zip(rows).filter_map(|(position, number)| {
            let offset = schema.layout.position(schema.read_offset?, *number)?;
            let offset = u16::try_from(offset).ok()?;
            Some(Cell { position, offset, destination: destination(number)? })
        });
        cells.collect()
    }
}

fn place_in(namespaces: &[NamespaceName], name: &NamespaceName) -> Option<u16> {
    u16::try_from(namespaces.binary_search(name).ok()?).ok()
}

/// Requests and limits of the pods, capacity and allocatable of the node.
fn constants(roster: &Roster, namespaces: &[NamespaceName]) -> Vec<Constant> {
    let mut constants = Vec::new();
    let mut add = |destination, id, amount| {
        if let Some(place) = place_of(id) {
            constants.push(Constant { destination, place, amount });
        }
    };
    for pod in &roster.pods {
        let Some(namespace) = place_in(namespaces, &pod.key.namespace) else { continue };
        for container in &pod.containers {
            let Some(record) = pod.container_record(container) else { continue };
            for (id, amount) in specified(record, container.row.is_some()) {
                add(Destination::Namespace(namespace), id, amount);
            }
        }
    }
    if let Some(record) = &roster.node_record {
        for (id, amount) in capacities(&record.capacity, &record.allocatable) {
            // Capacities are doubles in Heapster's API, so they are summed as such.
            add(Destination::Node, id, amount.saturating_mul(1000));
        }
    }
    constants
}

/// What the specification gives a container: requests and limits, 0 when unset, and how often it
/// was restarted once it is reported.
pub fn specified(
    record: &ContainerRecord,
    reported: bool,
) -> impl Iterator<Item = (MetricId, i64)> {
    let Resources { cpu_millicores, memory_bytes, ephemeral_storage_bytes } = record.requests;
    let limits = record.limits;
    [
        (catalogue::CPU_REQUEST, cpu_millicores),
        (catalogue::CPU_LIMIT, limits.cpu_millicores),
        (catalogue::MEMORY_REQUEST, memory_bytes),
        (catalogue::MEMORY_LIMIT, limits.memory_bytes),
        (catalogue::EPHEMERAL_STORAGE_REQUEST, ephemeral_storage_bytes),
        (catalogue::EPHEMERAL_STORAGE_LIMIT, limits.ephemeral_storage_bytes),
    ]
    .into_iter()
    .map(|(id, amount)| (id, amount.unwrap_or(0)))
    .chain(
        record
            .restart_count
            .filter(|_| reported)
            .map(|restarts| (catalogue::RESTART_COUNT, restarts)),
    )
}

/// What a node has and can give. As Heapster had it, an allocatable or capacity that is missing
/// counts as 0, but ephemeral storage is left out unless both name it.
pub fn capacities(
    capacity: &Resources,
    allocatable: &Resources,
) -> impl Iterator<Item = (MetricId, i64)> {
    let storage = capacity.ephemeral_storage_bytes.zip(allocatable.ephemeral_storage_bytes);
    [
        (catalogue::CPU_NODE_CAPACITY, Some(capacity.cpu_millicores.unwrap_or(0))),
        (catalogue::CPU_NODE_ALLOCATABLE, Some(allocatable.cpu_millicores.unwrap_or(0))),
        (catalogue::MEMORY_NODE_CAPACITY, Some(capacity.memory_bytes.unwrap_or(0))),
        (catalogue::MEMORY_NODE_ALLOCATABLE, Some(allocatable.memory_bytes.unwrap_or(0))),
        (catalogue::EPHEMERAL_STORAGE_NODE_CAPACITY, storage.map(|(has, _)| has)),
        (catalogue::EPHEMERAL_STORAGE_NODE_ALLOCATABLE, storage.map(|(_, gives)| gives)),
    ]
    .into_iter()
    .filter_map(|(id, amount)| Some((id, amount?)))
}
