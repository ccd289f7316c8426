//! How a series is worked out from a node's frames: which cells, added up how.

use tally_proto::{
    catalogue::{self, MetricId},
    declaration::EntityNumber,
    entity::Entity,
    metric::{Labels, Source, Sum, ValueType},
    tick::{Tick, UnixMs},
};

use crate::{
    declared::MetricKey,
    point::{Reading, Value},
    rollup,
    roster::Pod,
    schema::Schema,
};

/// One part of a series.
#[derive(Clone, Debug)]
pub enum Term {
    /// A cell's value.
    Cell {
        /// The cell.
        cell: Cell,
        /// Whether its integers are the bits of doubles.
        floating: bool,
    },
    /// The growth of a cell.
    Rate {
        /// Whose cell it is.
        entity: EntityNumber,
        /// The counter.
        cell: Cell,
        /// When it was read.
        offset: Cell,
        /// In thousandths of a core; else a second.
        integer: bool,
    },
    /// The time since an entity's start.
    Uptime {
        /// The start.
        start: UnixMs,
        /// When the entity was read.
        offset: Cell,
    },
    /// The same at every tick.
    Constant(Value),
}

/// A cell's place: the column's index and the entity's position in it.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Index of its column.
    pub index: usize,
    /// Place of its entity in the column.
    pub position: usize,
}

/// The sum of some terms, perhaps over a constant.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// What is added up.
    pub terms: Vec<Term>,
    /// Ratios only: what the sum is divided by.
    pub divide_by: Option<f64>,
}

/// What a recipe gave.
#[derive(Clone, Debug, Default)]
pub struct Worked {
    /// At each tick.
    pub values: Vec<Option<Value>>,
    /// The last readings of the counters that it took rates of.
    pub readings: Vec<(EntityNumber, Reading)>,
}

impl Recipe {
    /// Works it out for successive frames of one schema: `values` gives a cell's values at their
    /// `ticks`, `before` the reading of an entity's cell before the first of them.
    pub fn work_out(
        &self,
        ticks: &[Tick],
        values: &dyn Fn(Cell) -> Vec<i64>,
        before: &dyn Fn(EntityNumber, Cell) -> Option<Reading>,
    ) -> Worked {
        let mut sums: Vec<Option<Value>> = vec![None; ticks.len()];
        let mut readings = Vec::new();
        for term in &self.terms {
            match term {
                Term::Cell { cell, floating } => {
                    let values = values(*cell).into_iter();
                    add(&mut sums, values.map(|value| Some(Value::of(value, *floating))));
                }
                Term::Constant(value) => add(&mut sums, std::iter::repeat(Some(*value))),
                Term::Uptime { start, offset } => {
                    let uptime = ticks.iter().zip(values(*offset)).map(|(tick, offset)| {
                        let since = tick.unix_ms().since(*start);
                        Some(Value::Integer(since.saturating_add(offset / 1000)))
                    });
                    add(&mut sums, uptime);
                }
                Term::Rate { entity, cell, offset, integer } => {
                    let mut last = before(*entity, *cell);
                    let read = ticks.iter().zip(values(*offset)).zip(values(*cell));
                    let rates = read.map(|((tick, offset), total)| {
                        let now = Reading { tick: *tick, offset, total };
                        let rate = last.and_then(|last| now.rate_since(last, *integer));
                        last = Some(now);
                        rate
                    });
                    add(&mut sums, rates);
                    readings.extend(last.map(|last| (*entity, last)));
                }
            }
        }
        let divided =
            |value: Value| self.divide_by.map_or(value, |by| Value::Float(value.as_f64() / by));
        Worked { values: sums.into_iter().map(|sum| sum.map(divided)).collect(), readings }
    }

    fn of(terms: impl IntoIterator<Item = Term>) -> Self {
        Self { terms: terms.into_iter().collect(), divide_by: None }
    }
}

/// How to work out a series of an entity that belongs to one node. No terms when the entity has
/// no such metric.
pub fn recipe(schema: &Schema, entity: &Entity, metric: &MetricKey, labels: &Labels) -> Recipe {
    let own = |row: EntityNumber| row_term(schema, row, metric, labels);
    match entity {
        Entity::Cluster | Entity::Namespace(_) => Recipe::default(),
        Entity::Node(_) => match schema.roster.node.and_then(own) {
            Some(term) => Recipe::of([term]),
            None if labels.is_empty() => node_recipe(schema, metric),
            None => Recipe::default(),
        },
        Entity::Pod(namespace, name) => match schema.roster.pod(namespace, name) {
            Some(pod) => pod_recipe(schema, pod, metric, labels),
            None => Recipe::default(),
        },
        Entity::PodContainer(namespace, pod, name) => {
            let pod = schema.roster.pod(namespace, pod);
            Recipe::of(pod.and_then(|pod| container_term(schema, pod, name, metric, labels)))
        }
        Entity::FreeContainer(_, name) => {
            Recipe::of(schema.roster.free_container(name).and_then(|container| own(container.row)))
        }
    }
}

/// What a row's own cells say.
fn row_term(
    schema: &Schema,
    row: EntityNumber,
    metric: &MetricKey,
    labels: &Labels,
) -> Option<Term> {
    let offset = || cell(schema, schema.read_offset?, row);
    if let Some(index) = schema.column_of(metric, labels)
        && let Some(position) = schema.layout.position(index, row)
    {
        let floating = schema.meaning(index)?.floating;
        return Some(Term::Cell { cell: Cell { index, position }, floating });
    }
    let MetricKey::Known(id) = metric else { return None };
    if *id == catalogue::UPTIME && labels.is_empty() {
        return Some(Term::Uptime { start: schema.start(row)?, offset: offset()? });
    }
    let source = MetricKey::Known(catalogue::rate_source(*id)?);
    let cell = cell(schema, schema.column_of(&source, labels)?, row)?;
    let integer = id.metric().value == ValueType::Integer;
    Some(Term::Rate { entity: row, cell, offset: offset()?, integer })
}

fn cell(schema: &Schema, index: usize, number: EntityNumber) -> Option<Cell> {
    Some(Cell { index, position: schema.layout.position(index, number)? })
}

fn container_term(
    schema: &Schema,
    pod: &Pod,
    name: &str,
    metric: &MetricKey,
    labels: &Labels,
) -> Option<Term> {
    let container = pod.container(name)?;
    let own = container.row.and_then(|row| row_term(schema, row, metric, labels));
    own.or_else(|| {
        let record = pod.container_record(container).filter(|_| labels.is_empty())?;
        let amount = match metric {
            MetricKey::Known(id) => {
                let mut specified = rollup::specified(record, container.row.is_some());
                specified.find(|(known, _)| known == id)?.1
            }
            MetricKey::Custom(name) => record.extended.iter().find(|(known, _)| known == name)?.1,
        };
        Some(Term::Constant(Value::Integer(amount)))
    })
}

/// A pod's own cell where it has one, else the sum over its containers of what can be summed.
fn pod_recipe(schema: &Schema, pod: &Pod, metric: &MetricKey, labels: &Labels) -> Recipe {
    if let Some(own) = row_term(schema, pod.row, metric, labels) {
        return Recipe::of([own]);
    }
    let summable = match metric {
        MetricKey::Known(id) => id.metric().sum != Sum::Never,
        MetricKey::Custom(_) => true,
    };
    if !summable || !labels.is_empty() {
        return Recipe::default();
    }
    let containers = pod.containers.iter();
    Recipe::of(
        containers
            .filter_map(|container| container_term(schema, pod, &container.name, metric, labels)),
    )
}

/// What a node has beside its own cells: its pods' requests and limits, what it has and can
/// give, and how much of that is used.
fn node_recipe(schema: &Schema, metric: &MetricKey) -> Recipe {
    let MetricKey::Known(id) = *metric else { return Recipe::default() };
    if schema.roster.node.is_none() {
        return Recipe::default();
    }
    match id.metric().source {
        Source::Inventory if id.metric().sum == Sum::Node => Recipe::of(requested(schema, id)),
        Source::Inventory => {
            Recipe::of(given(schema, id).map(|amount| Term::Constant(Value::Float(amount))))
        }
        Source::Derived => ratio(schema, id).unwrap_or_default(),
        Source::Agent | Source::RateOf(_) => Recipe::default(),
    }
}

/// Requests or limits of the node's pods.
fn requested(schema: &Schema, id: MetricId) -> Option<Term> {
    let specified = schema.roster.pods.iter().flat_map(|pod| {
        let records = pod.containers.iter().filter_map(|one| pod.container_record(one));
        records.flat_map(|record| rollup::specified(record, false))
    });
    let amounts = specified.filter(|(known, _)| *known == id).map(|(_, amount)| amount);
    let sum = amounts.reduce(i64::saturating_add)?;
    Some(Term::Constant(Value::Integer(sum)))
}

/// Capacity or allocatable of the node.
#[expect(clippy::as_conversions, reason = "capacities are doubles in Heapster's API")]
fn given(schema: &Schema, id: MetricId) -> Option<f64> {
    let record = schema.roster.node_record.as_ref()?;
    let mut capacities = rollup::capacities(&record.capacity, &record.allocatable);
    capacities.find(|(known, _)| *known == id).map(|(_, amount)| amount as f64)
}

/// Usage or requests over what the node can give; left out where that is missing or 0.
fn ratio(schema: &Schema, id: MetricId) -> Option<Recipe> {
    use catalogue as all;
    let (part, whole) = match id {
        all::CPU_NODE_UTILIZATION => (all::CPU_USAGE_RATE, all::CPU_NODE_ALLOCATABLE),
        all::CPU_NODE_RESERVATION => (all::CPU_REQUEST, all::CPU_NODE_ALLOCATABLE),
        all::MEMORY_NODE_UTILIZATION => (all::MEMORY_USAGE, all::MEMORY_NODE_ALLOCATABLE),
        all::MEMORY_NODE_RESERVATION => (all::MEMORY_REQUEST, all::MEMORY_NODE_ALLOCATABLE),
        all::EPHEMERAL_STORAGE_NODE_UTILIZATION => {
            (all::EPHEMERAL_STORAGE_USAGE, all::EPHEMERAL_STORAGE_NODE_ALLOCATABLE)
        }
        all::EPHEMERAL_STORAGE_NODE_RESERVATION => {
            (all::EPHEMERAL_STORAGE_REQUEST, all::EPHEMERAL_STORAGE_NODE_ALLOCATABLE)
        }
        _ => return None,
    };
    let whole = given(schema, whole).filter(|whole| *whole != 0.0)?;
    let node = Entity::Node(schema.roster.node_record.as_ref()?.name.clone());
    let part = recipe(schema, &node, &MetricKey::Known(part), &Labels::none());
    Some(Recipe { divide_by: Some(whole), ..part })
}

fn add(sums: &mut [Option<Value>], values: impl Iterator<Item = Option<Value>>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = match (*sum, value) {
            (None, value) => value,
            (sum, None) => sum,
            (Some(a), Some(b)) => Some(a.plus(b)),
        };
    }
}
