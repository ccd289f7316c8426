//! Recipes to points: one walk over a node's eras, in the order in which its frames came.

use tally_proto::{declaration::EntityNumber, entity::Entity, metric::Labels, rate, tick::Tick};

use super::{
    Point, TickRange, Value,
    recipe::{Cell, Recipe, Term, recipe},
};
use crate::{
    declared::MetricKey,
    model::past::{EraView, View},
    rollup::elapsed_us,
    schema::Schema,
};

/// A counter's reading: when and what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Of the frame.
    pub(super) tick: Tick,
    /// Microseconds after the tick.
    pub(super) offset: i64,
    /// What the counter stood at.
    pub(super) total: i64,
}

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
    let values = |cell: Cell| era.values(first, cell.index, cell.position);
    let mut sums: Vec<Option<Value>> = vec![None; frames.len()];
    let mut readings = Vec::new();
    for term in &recipe.terms {
        match term {
            Term::Cell { cell, floating } => {
                add(
                    &mut sums,
                    values(*cell).into_iter().map(|value| Some(number(value, *floating))),
                );
            }
            Term::Constant(value) => add(&mut sums, std::iter::repeat(Some(*value))),
            Term::Uptime { start, offset } => {
                let read = frames.iter().zip(values(*offset));
                let uptime = read.map(|(frame, offset)| {
                    let since = frame.tick.unix_ms().since(*start);
                    Some(Value::Integer(since.saturating_add(offset / 1000)))
                });
                add(&mut sums, uptime);
            }
            Term::Rate { entity, cell, offset, integer } => {
                let mut before = carried.reading(era.schema, *entity);
                let read = frames.iter().zip(values(*offset)).zip(values(*cell));
                let rates = read.map(|((frame, offset), total)| {
                    let now = Reading { tick: frame.tick, offset, total };
                    let rate = before.and_then(|before| growth_rate(before, now, *integer));
                    before = Some(now);
                    rate
                });
                add(&mut sums, rates);
                readings.extend(before.map(|last| (*entity, last)));
            }
        }
    }
    for (frame, sum) in frames.iter().zip(sums) {
        if let Some(value) = sum.filter(|_| range.contains(frame.tick)) {
            points.push(Point { at: frame.tick, value: divided(value, recipe.divide_by) });
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

/// How fast a counter grew; `None` when it went back or no time passed.
pub(super) fn growth_rate(before: Reading, now: Reading, integer: bool) -> Option<Value> {
    let elapsed = elapsed_us((before.tick, before.offset), (now.tick, now.offset))?;
    let growth = rate::growth(before.total, now.total).ok()?;
    if integer {
        rate::millicores(growth, elapsed).ok().map(Value::Integer)
    } else {
        rate::per_second(growth, elapsed).ok().map(Value::Float)
    }
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

fn divided(value: Value, by: Option<f64>) -> Value {
    by.map_or(value, |by| Value::Float(value.as_f64() / by))
}

fn number(value: i64, floating: bool) -> Value {
    if floating {
        Value::Float(f64::from_bits(value.cast_unsigned()))
    } else {
        Value::Integer(value)
    }
}
