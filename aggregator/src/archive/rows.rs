//! Which rows of history the frames of one schema are: every entity in its life, its own cells as
//! they came, and beside them what is worked out of others' and of what the API server knows.
//!
//! Rates and `uptime` of an entity's own cells are not kept: history works them out when it is
//! asked, by the same rule as the live model.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use tally_proto::{
    catalogue::{self, MetricId},
    columns::{ColumnLayout, ColumnValues},
    declaration::{ColumnNumber, EntityNumber},
    entity::Entity,
    metric::{Kind, Labels, MetricName, Sum, ValueType},
    name::NodeName,
    tick::Tick,
};

use crate::{
    declared::{Meaning, MetricKey},
    history::{
        life::{InPod, Life, Who},
        selection::Selection,
        series::{Field, Quantity, Row, Series, What},
        timeline::Timeline,
    },
    model::writer::Before,
    point::{Reading, Value},
    recipe::{Cell, Recipe, recipe},
    rollup,
    roster::{Pod, PodContainer},
    schema::Schema,
};

/// What is wanted of all rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Whose; everybody's without.
    pub of: Option<&'a Selection>,
    /// Which metric; all without, and stored labels. Of a rate the counter is wanted too, and when
    /// it was read.
    pub metric: Option<&'a MetricName>,
}

/// One row: whose it is, and where its series come from.
#[derive(Debug)]
pub struct PlannedRow {
    life: Arc<Life>,
    series: Vec<PlannedSeries>,
    /// What the stored labels are that it has in all of the frames.
    stored_labels: Option<Arc<What>>,
}

#[derive(Debug)]
struct PlannedSeries {
    what: Arc<What>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Cell(Cell),
    Derived(Recipe),
}

/// What series of many nodes are, each kept once: who writes them knows them by their place in memory
/// and compares names only of those at new ones.
#[derive(Debug, Default)]
pub struct SharedWhats(HashSet<Arc<What>>);

impl SharedWhats {
    fn share(&mut self, what: What) -> Arc<What> {
        if let Some(known) = self.0.get(&what) {
            return Arc::clone(known);
        }
        let what = Arc::new(what);
        self.0.insert(Arc::clone(&what));
        what
    }
}

/// The values of successive frames of one schema.
pub trait Frames {
    /// Their ticks, ascending.
    fn ticks(&self) -> &[Tick];
    /// A cell's values at these.
    fn values(&self, cell: Cell) -> Vec<i64>;
    /// The reading of an entity's cell in the frame before the first.
    fn before(&self, entity: EntityNumber, cell: Cell) -> Option<Reading>;
}

/// The rows of frames with this schema, sent by `node`.
pub fn plan(
    schema: &Schema,
    node: &NodeName,
    wanted: Wanted<'_>,
    shared: &mut SharedWhats,
) -> Vec<PlannedRow> {
    let whats = Whats::new(schema, wanted.metric, shared);
    let mut derived: BTreeMap<MetricName, Arc<What>> = BTreeMap::new();
    let mut rows = Vec::new();
    for member in members(schema, node) {
        if wanted.of.is_some_and(|of| !of.matches(&member.life.who)) {
            continue;
        }
        let mut series = member.row.map(|row| whats.own(schema, row)).unwrap_or_default();
        let own = series.len();
        for (metric, recipe) in member.derived(schema, node) {
            if wanted.metric.is_none_or(|wanted| *wanted == metric) {
                let what = derived.entry(metric).or_insert_with_key(|metric| {
                    shared.share(What::Metric(derived_quantity(metric.clone())))
                });
                let what = Arc::clone(what);
                series.push(PlannedSeries { what, source: Source::Derived(recipe) });
            }
        }
        if own < series.len() {
            series.sort_by(|a, b| a.what.cmp(&b.what));
        }
        if !series.is_empty() {
            let stored = member.stored_labels(schema).filter(|_| wanted.metric.is_none());
            let stored_labels =
                stored.map(|labels| shared.share(What::StoredLabels(labels.clone())));
            rows.push(PlannedRow { life: Arc::new(member.life), series, stored_labels });
        }
    }
    rows
}

/// Everybody that frames with this schema are of, in their lives, with their rows in frames. The
/// node comes first where it is measured.
pub fn lives(schema: &Schema, node: &NodeName) -> Vec<(Life, Option<EntityNumber>)> {
    members(schema, node).into_iter().map(|member| (member.life, member.row)).collect()
}

/// The reading of an entity's cell in a frame before, perhaps of another schema: of the same entity
/// in the same life.
pub fn reading(
    schema: &Schema,
    (entity, cell): (EntityNumber, Cell),
    before: &Before,
) -> Option<Reading> {
    let theirs = &before.schema;
    let row = theirs.row_of(schema, entity)?;
    let meaning = schema.meaning(cell.index)?;
    let value = |index: usize| {
        let position = theirs.layout.position(index, row)?;
        before.columns.values.get(index)?.at(position)
    };
    let total = value(theirs.column_of(&meaning.metric, &meaning.labels)?)?;
    Some(Reading { tick: before.tick, offset: value(theirs.read_offset?)?, total })
}

impl PlannedRow {
    /// Whose it is.
    pub fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// The row, with the values of `frames`, whose ticks are `timeline`.
    pub fn fill(&self, frames: &dyn Frames, timeline: &Arc<Timeline>) -> Row {
        let fill = |planned: &PlannedSeries| match &planned.source {
            Source::Cell(cell) => Some(Series {
                what: Arc::clone(&planned.what),
                timeline: Arc::clone(timeline),
                values: frames.values(*cell),
                sketches: Vec::new(),
            }),
            Source::Derived(recipe) => derived(planned, recipe, frames, timeline),
        };
        // Nearly all have values.
        let mut series = Vec::with_capacity(self.series.len());
        series.extend(self.series.iter().filter_map(fill));
        if let Some(what) = &self.stored_labels
            && let Some(timeline) = all_ticks(&series, timeline)
        {
            let (what, values) = (Arc::clone(what), vec![0; timeline.len()]);
            let place = series.partition_point(|one| one.what < what);
            series.insert(place, Series { what, timeline, values, sketches: Vec::new() });
        }
        Row { life: Arc::clone(&self.life), series }
    }
}

/// The ticks at which any series has a value; nearly always those of the frames. So labels make a row
/// reach no further than its numbers do.
fn all_ticks(series: &[Series], of_frames: &Arc<Timeline>) -> Option<Arc<Timeline>> {
    if series.iter().any(|one| Arc::ptr_eq(&one.timeline, of_frames)) {
        return Some(Arc::clone(of_frames));
    }
    let ticks: BTreeSet<Tick> = series.iter().flat_map(|one| one.timeline.iter()).collect();
    (!ticks.is_empty()).then(|| Arc::new(Timeline::of(ticks)))
}

fn derived(
    planned: &PlannedSeries,
    recipe: &Recipe,
    frames: &dyn Frames,
    timeline: &Arc<Timeline>,
) -> Option<Series> {
    let worked = recipe.work_out(frames.ticks(), &|cell| frames.values(cell), &|entity, cell| {
        frames.before(entity, cell)
    });
    let present = worked.values.iter().flatten();
    let count = present.clone().count();
    let is_float = |value: &Value| matches!(value, Value::Float(_));
    let floating = planned.what.floating() || present.clone().any(is_float);
    let stored = |value: &Value| {
        if floating { Value::Float(value.as_f64()).stored() } else { value.stored() }
    };
    let values: Vec<i64> = present.map(stored).collect();
    let timeline = if count == timeline.len() {
        Arc::clone(timeline)
    } else {
        let at = frames.ticks().iter().zip(&worked.values);
        Arc::new(Timeline::of(at.filter(|(_, value)| value.is_some()).map(|(tick, _)| *tick)))
    };
    let what = match &*planned.what {
        What::Metric(quantity) if quantity.floating != floating => {
            Arc::new(What::Metric(Quantity { floating, ..quantity.clone() }))
        }
        _ => Arc::clone(&planned.what),
    };
    (!values.is_empty()).then_some(Series { what, timeline, values, sketches: Vec::new() })
}

/// What each column of a schema is, where it is wanted, with its index; in the order of rows.
struct Whats(Vec<(usize, Arc<What>)>);

impl Whats {
    fn new(schema: &Schema, wanted: Option<&MetricName>, shared: &mut SharedWhats) -> Self {
        let source =
            wanted.and_then(|wanted| catalogue::rate_source(catalogue::find(wanted.as_str())?));
        let is_wanted = |meaning: &Meaning| {
            let name = meaning.metric.name();
            wanted.is_none_or(|wanted| wanted.as_str() == name)
                || source.is_some_and(|source| source.metric().name == name)
        };
        let mut what = |column: &ColumnLayout| {
            if column.number == ColumnNumber::READ_OFFSET {
                return Some(shared.share(What::ReadOffset));
            }
            let meaning = schema.declarations.column(column.number)?;
            Some(shared.share(What::Metric(quantity(is_wanted(meaning).then_some(meaning)?)?)))
        };
        let columns = schema.layout.columns.iter().enumerate();
        let mut all: Vec<(usize, Arc<What>)> =
            columns.filter_map(|(index, column)| Some((index, what(column)?))).collect();
        all.sort_by(|(_, a), (_, b)| a.cmp(b));
        Self(all)
    }

    /// The series of a row's own cells.
    fn own(&self, schema: &Schema, row: EntityNumber) -> Vec<PlannedSeries> {
        let cells = self.0.iter().filter_map(|(index, what)| {
            let (index, what) = (*index, Arc::clone(what));
            let position = schema.layout.position(index, row)?;
            Some(PlannedSeries { what, source: Source::Cell(Cell { index, position }) })
        });
        cells.collect()
    }
}

fn quantity(meaning: &Meaning) -> Option<Quantity> {
    Some(Quantity {
        metric: meaning.metric.metric_name()?,
        labels: meaning.labels.clone(),
        field: Field::Value,
        floating: meaning.floating,
        cumulative: meaning.kind == Kind::Cumulative,
    })
}

fn derived_quantity(metric: MetricName) -> Quantity {
    let known = catalogue::find(metric.as_str()).map(MetricId::metric);
    Quantity {
        floating: known.is_some_and(|known| known.value == ValueType::Float),
        cumulative: known.is_some_and(|known| known.kind == Kind::Cumulative),
        metric,
        labels: Labels::none(),
        field: Field::Value,
    }
}

/// An entity of a node's frames.
struct Member<'a> {
    life: Life,
    row: Option<EntityNumber>,
    kind: MemberKind<'a>,
}

enum MemberKind<'a> {
    Node,
    FreeContainer,
    Pod(&'a Pod),
    PodContainer(&'a Pod, &'a PodContainer),
}

fn members<'a>(schema: &'a Schema, node: &NodeName) -> Vec<Member<'a>> {
    let roster = &schema.roster;
    let start = |row: Option<EntityNumber>| row.and_then(|row| schema.start(row));
    let mut all = Vec::new();
    if let Some(row) = roster.node {
        let life = Life { who: Who::Node(node.clone()), start: start(Some(row)) };
        all.push(Member { life, row: Some(row), kind: MemberKind::Node });
    }
    for free in &roster.free_containers {
        let who = Who::FreeContainer(node.clone(), free.name.clone());
        let life = Life { who, start: start(Some(free.row)) };
        all.push(Member { life, row: Some(free.row), kind: MemberKind::FreeContainer });
    }
    for pod in &roster.pods {
        let in_pod = |container| {
            Who::InPod(InPod {
                namespace: pod.key.namespace.clone(),
                pod: pod.key.name.clone(),
                uid: pod.uid.clone(),
                container,
                node: node.clone(),
            })
        };
        let life = Life { who: in_pod(None), start: start(Some(pod.row)) };
        all.push(Member { life, row: Some(pod.row), kind: MemberKind::Pod(pod) });
        for container in &pod.containers {
            let who = in_pod(Some(container.name.clone()));
            let life = Life { who, start: start(container.row) };
            let kind = MemberKind::PodContainer(pod, container);
            all.push(Member { life, row: container.row, kind });
        }
    }
    all
}

impl Member<'_> {
    /// The labels of its own that are stored, as the API server knew them; a container's are its
    /// pod's.
    fn stored_labels<'a>(&'a self, schema: &'a Schema) -> Option<&'a Labels> {
        let stored = match self.kind {
            MemberKind::FreeContainer => None,
            MemberKind::Node => schema.roster.node_record.as_ref()?.stored_labels.as_ref(),
            MemberKind::Pod(pod) | MemberKind::PodContainer(pod, _) => {
                pod.record.as_ref()?.stored_labels.as_ref()
            }
        };
        stored.map(|stored| &**stored)
    }

    /// What is worked out, and not from the entity's own cells: from what the API server knows, and
    /// of a pod from its containers.
    fn derived(&self, schema: &Schema, node: &NodeName) -> Vec<(MetricName, Recipe)> {
        let (entity, candidates) = match self.kind {
            MemberKind::FreeContainer => return Vec::new(),
            MemberKind::Node => (Entity::Node(node.clone()), node_candidates(schema)),
            MemberKind::Pod(pod) => {
                let (namespace, name) = (pod.key.namespace.clone(), pod.key.name.clone());
                (Entity::Pod(namespace, name), pod_candidates(schema, pod))
            }
            MemberKind::PodContainer(pod, container) => {
                let (namespace, name) = (pod.key.namespace.clone(), pod.key.name.clone());
                let entity = Entity::PodContainer(namespace, name, container.name.clone());
                (entity, specified(pod, container).collect())
            }
        };
        let has_own = |metric: &MetricKey| {
            let has = |metric: &MetricKey| {
                let index = schema.column_of(metric, &Labels::none());
                index.zip(self.row).and_then(|(index, row)| schema.layout.position(index, row))
            };
            let source = match metric {
                MetricKey::Known(id) => catalogue::rate_source(*id).map(MetricKey::Known),
                MetricKey::Custom(_) => None,
            };
            has(metric).is_some() || source.is_some_and(|source| has(&source).is_some())
        };
        let missing = candidates.into_iter().filter(|metric| !has_own(metric));
        let worked = missing.filter_map(|metric| {
            let recipe = recipe(schema, &entity, &metric, &Labels::none());
            Some((metric.metric_name()?, recipe)).filter(|(_, recipe)| !recipe.terms.is_empty())
        });
        worked.collect()
    }
}

/// What the specification gives a container.
fn specified(pod: &Pod, container: &PodContainer) -> impl Iterator<Item = MetricKey> {
    let record = pod.container_record(container);
    let reported = container.row.is_some();
    record.into_iter().flat_map(move |record| {
        let known = rollup::specified(record, reported).map(|(id, _)| MetricKey::Known(id));
        let extended = record.extended.iter().map(|(name, _)| MetricKey::Custom(name.clone()));
        known.chain(extended)
    })
}

/// What a pod may have from its containers.
fn pod_candidates(schema: &Schema, pod: &Pod) -> Vec<MetricKey> {
    let mut found: Vec<MetricKey> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut add = |metric: MetricKey| {
        if seen.insert(metric.name().to_owned()) {
            found.push(metric);
        }
    };
    for container in &pod.containers {
        specified(pod, container).for_each(&mut add);
    }
    let rows: Vec<EntityNumber> = pod.containers.iter().filter_map(|one| one.row).collect();
    for index in 0..schema.layout.columns.len() {
        let Some(meaning) = schema.meaning(index).filter(|meaning| meaning.labels.is_empty())
        else {
            continue;
        };
        let has = |row: EntityNumber| schema.layout.position(index, row).is_some();
        if has(pod.row) || !rows.iter().any(|row| has(*row)) {
            continue;
        }
        if let MetricKey::Known(id) = meaning.metric
            && let Some(rate) = catalogue::rate_of(id)
        {
            add(MetricKey::Known(rate));
        }
        let is_summed = match &meaning.metric {
            MetricKey::Known(id) => id.metric().sum != Sum::Never,
            MetricKey::Custom(_) => true,
        };
        if is_summed {
            add(meaning.metric.clone());
        }
    }
    found
}

/// What a node has beside its own cells, where the API server knows of it or its pods.
fn node_candidates(schema: &Schema) -> Vec<MetricKey> {
    use catalogue as all;
    let roster = &schema.roster;
    if roster.node_record.is_none() && roster.pods.iter().all(|pod| pod.record.is_none()) {
        return Vec::new();
    }
    [
        all::CPU_REQUEST,
        all::CPU_LIMIT,
        all::MEMORY_REQUEST,
        all::MEMORY_LIMIT,
        all::EPHEMERAL_STORAGE_REQUEST,
        all::EPHEMERAL_STORAGE_LIMIT,
        all::CPU_NODE_CAPACITY,
        all::CPU_NODE_ALLOCATABLE,
        all::CPU_NODE_UTILIZATION,
        all::CPU_NODE_RESERVATION,
        all::MEMORY_NODE_CAPACITY,
        all::MEMORY_NODE_ALLOCATABLE,
        all::MEMORY_NODE_UTILIZATION,
        all::MEMORY_NODE_RESERVATION,
        all::EPHEMERAL_STORAGE_NODE_CAPACITY,
        all::EPHEMERAL_STORAGE_NODE_ALLOCATABLE,
        all::EPHEMERAL_STORAGE_NODE_UTILIZATION,
        all::EPHEMERAL_STORAGE_NODE_RESERVATION,
    ]
    .map(MetricKey::Known)
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_reach_no_further_than_numbers() {
        let of_frames = Arc::new(Timeline::of([15, 30, 45].map(Tick)));
        let series = |timeline: &Arc<Timeline>| Series {
            what: Arc::new(What::ReadOffset),
            timeline: Arc::clone(timeline),
            values: vec![0; timeline.len()],
            sketches: Vec::new(),
        };
        let later = Arc::new(Timeline::of([Tick(45)]));
        assert_eq!(all_ticks(&[], &of_frames), None);
        assert_eq!(all_ticks(&[series(&later)], &of_frames), Some(Arc::clone(&later)));
        assert_eq!(
            all_ticks(&[series(&later), series(&of_frames)], &of_frames),
            Some(of_frames.clone())
        );
    }
}
