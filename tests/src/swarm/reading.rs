//! Where a node's values stand in its frames, and how they are put there.
//!
//! All nodes of a shape have the same columns, and an entity keeps its number when another takes
//! its place. So the layout is made once for the whole cluster, and values are pushed straight
//! into columns. The columns themselves are one buffer a thread: what a node needs of the frame
//! before is in its packer.

use std::{cell::RefCell, sync::Arc};

use tally_proto::{
    columns::{ColumnLayout, Columns, Layout, RowSet},
    declaration::{ColumnDeclaration, ColumnNumber, EntityNumber},
    metric::{Labels, MetricName},
};

use super::{
    meter::{Meter, Meters, of_containers, of_networked},
    random::Random,
    shape::Shape,
};

/// Disk, as the label of disk metrics has it.
const DISK: &str = "vda";

/// Microseconds that an agent takes to read one cgroup.
const READ_US: i64 = 27;

/// The columns of every node of a shape.
#[derive(Debug)]
pub struct Plan {
    layout: Arc<Layout>,
    /// The column of each meter of a container.
    of_containers: Vec<(usize, Meter)>,
    /// The column of each meter of a pod or node.
    of_networked: Vec<(usize, Meter)>,
    samples: u64,
}

impl Plan {
    /// The plan of a shape's nodes.
    pub fn of(shape: &Shape) -> Self {
        let row_sets = row_sets(shape);
        let (containers, networked) = (of_containers(shape.metrics), of_networked(shape.metrics));
        // In the order of `row_sets`.
        let columns = meters(shape.metrics).map(|meter| ColumnLayout {
            number: column_of(meter),
            row_set: match (containers.contains(&meter), networked.contains(&meter)) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => 2,
            },
        });
        let mut columns: Vec<_> = columns.collect();
        columns.push(ColumnLayout { number: ColumnNumber::READ_OFFSET, row_set: 0 });
        columns.sort_unstable_by_key(|column| column.number);
        let layout = Layout { row_sets, columns };
        let placed = |meters: &[Meter]| {
            let place = |meter: &Meter| Some((layout.index_of(column_of(*meter))?, *meter));
            meters.iter().filter_map(place).collect()
        };
        Self {
            of_containers: placed(containers),
            of_networked: placed(networked),
            samples: u64::from(shape.entities_per_node())
                * u64::try_from(shape.metrics).unwrap_or(0),
            layout: Arc::new(layout),
        }
    }

    /// Values of metrics in a frame; when each entity was read is not one.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Lets `fill` put the values of all entities, in the order of their numbers, and gives the
    /// filled columns to `take`.
    pub fn read<T>(
        &self,
        random: &mut Random,
        fill: impl FnOnce(&mut Reading<'_>),
        take: impl FnOnce(&Columns) -> T,
    ) -> T {
        thread_local! {
            static COLUMNS: RefCell<Columns> = RefCell::default();
        }
        COLUMNS.with_borrow_mut(|columns| {
            if !Arc::ptr_eq(&columns.layout, &self.layout) {
                columns.layout = Arc::clone(&self.layout);
                columns.values.resize_with(self.layout.columns.len(), Vec::new);
            }
            columns.values.iter_mut().for_each(Vec::clear);
            // An agent wakes some time after the tick and reads one cgroup after the other.
            let offset = random.between(60, 400);
            fill(&mut Reading { plan: self, random, values: &mut columns.values, offset });
            take(columns)
        })
    }
}

/// A frame while it is being filled.
#[derive(Debug)]
pub struct Reading<'a> {
    plan: &'a Plan,
    random: &'a mut Random,
    values: &'a mut [Vec<i64>],
    offset: i64,
}

impl Reading<'_> {
    /// Puts the next container.
    pub fn container(&mut self, meters: &Meters) {
        let plan = self.plan;
        self.put(meters, &plan.of_containers);
    }

    /// Puts the next pod, or the node.
    pub fn networked(&mut self, meters: &Meters) {
        let plan = self.plan;
        self.put(meters, &plan.of_networked);
    }

    /// Puts what the node sums up to in place of what was put for it, which is first.
    pub fn node_again(&mut self, meters: &Meters) {
        for (column, meter) in &self.plan.of_networked {
            if let Some(first) = self.values.get_mut(*column).and_then(|values| values.first_mut())
            {
                *first = meters[*meter];
            }
        }
    }

    fn put(&mut self, meters: &Meters, which: &[(usize, Meter)]) {
        self.offset += READ_US + self.random.between(-3, 6);
        if let Some(offsets) = self.values.first_mut() {
            offsets.push(self.offset);
        }
        for (column, meter) in which {
            if let Some(values) = self.values.get_mut(*column) {
                values.push(meters[*meter]);
            }
        }
    }
}

/// All entities, the containers, and those with a network.
fn row_sets(shape: &Shape) -> Vec<RowSet> {
    let pods = 1..1 + shape.pods * (1 + shape.containers);
    let is_networked = |number: &u32| {
        *number == 0 || (pods.contains(number) && (number - 1).is_multiple_of(1 + shape.containers))
    };
    let all = || 0..shape.entities_per_node();
    let (networked, containers): (Vec<u32>, Vec<u32>) = all().partition(is_networked);
    let set = |numbers: Vec<u32>| RowSet(numbers.into_iter().map(EntityNumber).collect());
    vec![set(all().collect()), set(containers), set(networked)]
}

/// The columns as a node declares them.
pub fn columns(metrics: usize) -> Vec<ColumnDeclaration> {
    let declare = |meter: Meter| {
        let metric = meter.metric().metric();
        let labels = metric.labels.iter().map(|key| (*key, DISK));
        Some(ColumnDeclaration {
            number: column_of(meter),
            metric: MetricName::parse(metric.name).ok()?,
            labels: Labels::new(labels).ok()?,
            floating: false,
            cumulative: false,
        })
    };
    meters(metrics).filter_map(declare).collect()
}

/// The meters of containers, then those that only pods and nodes have.
fn meters(metrics: usize) -> impl Iterator<Item = Meter> {
    let containers = of_containers(metrics);
    let others = of_networked(metrics).iter().filter(|meter| !containers.contains(meter));
    containers.iter().chain(others).copied()
}

fn column_of(meter: Meter) -> ColumnNumber {
    ColumnNumber(1 + u32::try_from(meter.place()).unwrap_or(u32::MAX))
}
