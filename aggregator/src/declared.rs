//! What a stream has declared: which entity a number is and in which life, which metric a column
//! is.

use std::{num::NonZeroI64, sync::Arc};

use tally_proto::{
    catalogue::{self, MetricId},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message,
    metric::{Kind, Labels, MetricName},
    name::{CgroupPath, ContainerId, ContainerName},
    tick::UnixMs,
};

/// A metric of the catalogue, or one that only its sender knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MetricKey {
    /// In the catalogue.
    Known(MetricId),
    /// `custom/…` and the like.
    Custom(MetricName),
}

impl MetricKey {
    /// The key for a name.
    pub fn of(name: &MetricName) -> Self {
        match catalogue::find(name.as_str()) {
            Some(id) => Self::Known(id),
            None => Self::Custom(name.clone()),
        }
    }

    /// The metric's name as a type.
    pub fn metric_name(&self) -> Option<MetricName> {
        match self {
            Self::Known(id) => MetricName::parse(id.metric().name).ok(),
            Self::Custom(name) => Some(name.clone()),
        }
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(id) => id.metric().name,
            Self::Custom(name) => name.as_str(),
        }
    }
}

/// What a column is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Meaning {
    /// The metric.
    pub metric: MetricKey,
    /// Its labels.
    pub labels: Labels,
    /// Whether its integers are the bits of doubles.
    pub floating: bool,
    /// Whether it is a gauge or cumulative; the catalogue decides for the metrics it knows.
    pub kind: Kind,
}

impl Meaning {
    /// What a declaration says, in the catalogue's words where it knows the metric.
    pub fn of(declared: &ColumnDeclaration) -> Self {
        let metric = MetricKey::of(&declared.metric);
        let kind = match (&metric, declared.cumulative) {
            (MetricKey::Known(id), _) => id.metric().kind,
            (MetricKey::Custom(_), true) => Kind::Cumulative,
            (MetricKey::Custom(_), false) => Kind::Gauge,
        };
        Self { metric, labels: declared.labels.clone(), floating: declared.floating, kind }
    }
}

/// An entity in one of its lives.
#[derive(Clone, Debug)]
pub struct Life {
    /// When it began, in milliseconds since the epoch, if known.
    start_ms: Option<NonZeroI64>,
    /// What the entity is.
    pub what: Declared,
}

impl Life {
    /// An entity in the life that began then. The beginning of time is no time that is known.
    pub fn new(start: Option<UnixMs>, what: Declared) -> Self {
        Self { start_ms: start.and_then(|start| NonZeroI64::new(start.0)), what }
    }

    /// When it began, if known.
    pub fn start(&self) -> Option<UnixMs> {
        self.start_ms.map(|start| UnixMs(start.get()))
    }
}

/// Everything a stream has declared and not retired. Cloning shares all of it; what is declared
/// later is not seen by the clone.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    /// By number. Apart from it there would be as many pointers, and room for each to be rounded up.
    entities: Arc<Vec<Option<Life>>>,
    columns: Arc<Vec<Option<Arc<Meaning>>>>,
}

impl Declarations {
    /// Takes declarations of entities. Paths of cgroups are the longest texts there are, so the
    /// path of what has a name is not kept.
    pub fn declare_entities(&mut self, said: Vec<EntityDeclaration>) {
        let Some(last) = said.iter().map(|declared| index(declared.number.0)).max() else { return };
        let entities = Arc::make_mut(&mut self.entities);
        if entities.len() <= last {
            entities.resize(last + 1, None);
        }
        for EntityDeclaration { number, start, mut what } in said {
            self.forget_needless_path(&mut what);
            let entities = Arc::make_mut(&mut self.entities);
            if let Some(place) = entities.get_mut(index(number.0)) {
                *place = Some(Life::new(start, what));
            }
        }
    }

    /// Lets go of the room for what may be declared later: a stream declares most of what it ever
    /// will in its first messages.
    pub fn shrink(&mut self) {
        // Where it is shared it was cloned, without room, or shrunk before.
        if let Some(entities) = Arc::get_mut(&mut self.entities) {
            entities.shrink_to_fit();
        }
    }

    /// A path serves as the name of what has no other: of a container also where its pod has
    /// none, for then it is shown as a free container.
    fn forget_needless_path(&self, what: &mut Declared) {
        let named = match &*what {
            Declared::Node | Declared::Unknown => false,
            Declared::Pod { key, .. } => key.is_some(),
            Declared::PodContainer { pod, name, .. } => {
                let pod = self.entity(*pod).map(|pod| &pod.what);
                name.is_some() && matches!(pod, Some(Declared::Pod { key: Some(_), .. }))
            }
            Declared::FreeContainer { name, .. } => name.is_some(),
        };
        if let (
            true,
            Declared::Pod { path, .. }
            | Declared::PodContainer { path, .. }
            | Declared::FreeContainer { path, .. },
        ) = (named, what)
        {
            *path = None;
        }
    }

    /// Takes one column's declaration.
    pub fn declare_column(&mut self, number: ColumnNumber, meaning: Arc<Meaning>) {
        let index = index(number.0);
        let columns = Arc::make_mut(&mut self.columns);
        if columns.len() <= index {
            columns.resize(index + 1, None);
        }
        if let Some(place) = columns.get_mut(index) {
            *place = Some(meaning);
        }
    }

    /// Forgets an entity that is gone.
    pub fn retire(&mut self, number: EntityNumber) {
        if let Some(place) = Arc::make_mut(&mut self.entities).get_mut(index(number.0)) {
            *place = None;
        }
    }

    /// All of it as one declaration, pods before the containers that name them.
    pub fn all(&self) -> message::Declarations {
        let entities = || {
            (0..).zip(self.entities.iter()).filter_map(|(number, life)| {
                let life = life.as_ref()?;
                let (start, what) = (life.start(), life.what.clone());
                Some(EntityDeclaration { number: EntityNumber(number), start, what })
            })
        };
        let is_container =
            |entity: &EntityDeclaration| matches!(entity.what, Declared::PodContainer { .. });
        let others = entities().filter(|entity| !is_container(entity));
        let columns = (0..).zip(self.columns.iter());
        let column = |(number, meaning): (u32, &Option<Arc<Meaning>>)| {
            let meaning = meaning.as_ref()?;
            Some(ColumnDeclaration {
                number: ColumnNumber(number),
                metric: meaning.metric.metric_name()?,
                labels: meaning.labels.clone(),
                floating: meaning.floating,
                cumulative: meaning.kind == Kind::Cumulative,
            })
        };
        message::Declarations {
            entities: others.chain(entities().filter(is_container)).collect(),
            columns: columns.filter_map(column).collect(),
            retired: Vec::new(),
        }
    }

    /// What leads from these to `now`, for one who has heard of these alone.
    pub fn change_to(&self, now: &Self) -> message::Declarations {
        let mut said = now.all();
        let declared = (0..).map(EntityNumber).zip(self.entities.iter());
        let gone =
            declared.filter(|(number, life)| life.is_some() && now.entity(*number).is_none());
        said.retired = gone.map(|(number, _)| number).collect();
        said
    }

    /// Whether nothing was declared or retired from these to `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.entities, &other.entities) && Arc::ptr_eq(&self.columns, &other.columns)
    }

    /// What a row is.
    pub fn entity(&self, number: EntityNumber) -> Option<&Life> {
        self.entities.get(index(number.0))?.as_ref()
    }

    /// When a row's present life began.
    pub fn start(&self, number: EntityNumber) -> Option<UnixMs> {
        self.entity(number)?.start()
    }

    /// What a column is; the read offset is not declared.
    pub fn column(&self, number: ColumnNumber) -> Option<&Arc<Meaning>> {
        self.columns.get(index(number.0))?.as_ref()
    }

    /// The row that is the same entity in the same life as the row `number` of `theirs`, which may
    /// be another stream with other numbers.
    pub fn same_life(&self, number: EntityNumber, theirs: &Self) -> Option<EntityNumber> {
        let theirs = (theirs.entity(number)?, theirs);
        let same = |mine: &Life| is_same_life((mine, self), theirs);
        // Streams number things the same way again and again, so the same number comes first.
        if self.entity(number).is_some_and(same) {
            return Some(number);
        }
        let place = self.entities.iter().position(|mine| mine.as_ref().is_some_and(same))?;
        u32::try_from(place).ok().map(EntityNumber)
    }

    /// These, with the names that `newer` has for lives that have none here; `None` where it has none.
    pub fn named_as_in(&self, newer: &Self) -> Option<Self> {
        let mut named = None;
        for number in (0..self.entities.len()).filter_map(|place| u32::try_from(place).ok()) {
            let number = EntityNumber(number);
            let is_nameless = self.entity(number).and_then(is_named) == Some(false);
            let theirs = is_nameless.then(|| newer.same_life(number, self)).flatten();
            let theirs = theirs.and_then(|theirs| newer.entity(theirs));
            let Some(theirs) = theirs.filter(|life| is_named(life) == Some(true)) else { continue };
            let entities = Arc::make_mut(&mut named.get_or_insert_with(|| self.clone()).entities);
            if let Some(Some(mine)) = entities.get_mut(index(number.0)) {
                name_as(&mut mine.what, &theirs.what);
            }
        }
        named
    }

    /// Whether anybody could still be named, and whether anybody is.
    pub fn has_nameless_and_named(&self) -> (bool, bool) {
        let mut found = (false, false);
        for is_named in self.entities.iter().flatten().filter_map(is_named) {
            found = (found.0 || !is_named, found.1 || is_named);
        }
        found
    }
}

fn is_same_life(
    (mine, my_table): (&Life, &Declarations),
    (other, other_table): (&Life, &Declarations),
) -> bool {
    if mine.start_ms != other.start_ms {
        return false;
    }
    match (&mine.what, &other.what) {
        (Declared::Node, Declared::Node) => true,
        (Declared::Pod { uid: a, .. }, Declared::Pod { uid: b, .. }) => a == b,
        (
            Declared::PodContainer { pod: pod_a, name: name_a, id: id_a, path: path_a, .. },
            Declared::PodContainer { pod: pod_b, name: name_b, id: id_b, path: path_b, .. },
        ) => {
            let pods = (my_table.entity(*pod_a), other_table.entity(*pod_b));
            is_same_container((id_a, name_a, path_a), (id_b, name_b, path_b))
                && matches!(pods, (Some(a), Some(b)) if is_same_life((a, my_table), (b, other_table)))
        }
        (
            Declared::FreeContainer { name: name_a, id: id_a, path: path_a, .. },
            Declared::FreeContainer { name: name_b, id: id_b, path: path_b, .. },
        ) => is_same_container((id_a, name_a, path_a), (id_b, name_b, path_b)),
        _ => false,
    }
}

/// Whether somebody that a sender may have to learn the name of has one.
fn is_named(life: &Life) -> Option<bool> {
    match &life.what {
        Declared::Pod { key, .. } => Some(key.is_some()),
        Declared::PodContainer { name, id: Some(_), sandbox: false, .. }
        | Declared::FreeContainer { name, id: Some(_), .. } => Some(name.is_some()),
        _ => None,
    }
}

fn name_as(mine: &mut Declared, theirs: &Declared) {
    match (mine, theirs) {
        (Declared::Pod { key, .. }, Declared::Pod { key: its, .. }) => key.clone_from(its),
        (
            Declared::PodContainer { name, image, .. },
            Declared::PodContainer { name: its, image: of, .. },
        )
        | (
            Declared::FreeContainer { name, image, .. },
            Declared::FreeContainer { name: its, image: of, .. },
        ) => {
            name.clone_from(its);
            image.clone_from(of);
        }
        _ => (),
    }
}

type Known<'a> = (&'a Option<ContainerId>, &'a Option<ContainerName>, &'a Option<CgroupPath>);

/// An id says it all: its sender may have learnt the name since.
fn is_same_container(mine: Known<'_>, other: Known<'_>) -> bool {
    match (mine.0, other.0) {
        (Some(mine), Some(other)) => mine == other,
        _ => mine == other,
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_with_few_words_takes_little_room() {
        // There are a million of them; what a field more costs should be seen.
        assert_eq!(size_of::<Option<Life>>(), 64);
    }

    #[test]
    fn room_for_later_declarations_is_given_back() {
        let mut declarations = Declarations::default();
        for number in 0..5 {
            declarations.declare_entities(vec![EntityDeclaration {
                number: EntityNumber(number),
                start: None,
                what: Declared::Node,
            }]);
        }
        declarations.shrink();
        assert_eq!(declarations.entities.capacity(), 5);
        assert!(declarations.entity(EntityNumber(4)).is_some());
    }
}
