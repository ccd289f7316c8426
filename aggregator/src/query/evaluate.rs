//! Recipes to points: one walk over a node's eras, in the order in which its frames came.

use tally_proto::{declaration::EntityNumber, entity::Entity, metric::Labels, tick::Tick};

use super::{Point, TickRange};
use crate::{
    declared::MetricKey,
    model::past::{EraView, View},
    point::Reading,
    recipe::{Cell, Recipe, Worked, recipe},
    schema::Schema,
};

/// What rates need of the era before.
#[derive(Default)]
struct Carried<'a> {
    schema: Option<&'a Schema>,
    readings: Vec<(EntityNumber, Reading)>,
}

/// Every point of a series that one node's frames hold, in the order of their ticks.
pub(super) fn evaluate(
    view: &View,
    entity: &Entity,
    metric: &MetricKey,
    labels: &Labels,
    range: TickRange,
) -> Vec<Point> {
    let mut points = Vec::new();
    let mut carried = Carried::default();
    for (era, first) in eras_for(view, range) {
        let recipe = recipe(era.schema, entity, metric, labels);
        carried = walk(&era, first, &recipe, &carried, range, &mut points);
    }
    // Late frames came after newer ones; of a tick that came twice the last counts.
    points.sort_by_key(|point| point.at);
    points.reverse();
    points.dedup_by_key(|point| point.at);
    points.reverse();
    points
}

/// The eras with a tick in the range, each with the place of the first frame that is needed: for
/// rates that is the one before the range, perhaps the last of the era before.
fn eras_for(view: &View, range: TickRange) -> impl Iterator<Item = (EraView<'_>, usize)> {
    let first_within = move |era: &EraView<'_>| {
        let first = era.frames.iter().position(|frame| range.first <= frame.tick)?;
        era.frames.get(first).filter(|frame| frame.tick <= range.last).map(|_| first)
    };
    let mut eras = view.eras().peekable();
    std::iter::from_fn(move || {
        loop {
            let era = eras.next()?;
            if let Some(first) = first_within(&era) {
                return Some((era, first.saturating_sub(1)));
            }
            if eras.peek().is_some_and(|next| first_within(next) == Some(0)) {
                let last = era.frames.len().saturating_sub(1);
                return Some((era, last));
            }
        }
    })
}

fn walk<'a>(
    era: &EraView<'a>,
    first: usize,
    recipe: &Recipe,
    carried: &Carried<'a>,
    range: TickRange,
    points: &mut Vec<Point>,
) -> Carried<'a> {
    let frames = era.frames.get(first..).unwrap_or_default();
    let ticks: Vec<Tick> = frames.iter().map(|frame| frame.tick).collect();
    let values = |cell: Cell| era.values(first, cell.index, cell.position);
    let before = |entity, _: Cell| carried.reading(era.schema, entity);
    let Worked { values, readings } = recipe.work_out(&ticks, &values, &before);
    for (at, value) in ticks.into_iter().zip(values) {
        if let Some(value) = value.filter(|_| range.contains(at)) {
            points.push(Point { at, value });
        }
    }
    Carried { schema: Some(era.schema), readings }
}

impl Carried<'_> {
    /// The last reading of the era before, of the same entity in the same life.
    fn reading(&self, schema: &Schema, entity: EntityNumber) -> Option<Reading> {
        let theirs = self.schema?.row_of(schema, entity)?;
        self.readings.iter().find(|(known, _)| *known == theirs).map(|(_, reading)| *reading)
    }
}
