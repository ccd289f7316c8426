//! Recipes to points: one walk over a node's chunks, in the order in which its frames came.

use tally_proto::{declaration::EntityNumber, entity::Entity, metric::Labels, rate, tick::Tick};

use super::{
    Point, TickRange, Value,
    recipe::{Cell, Recipe, Term, recipe},
};
use crate::{
    declared::MetricKey,
    model::node::{Chunk, NodeView},
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

/// What rates need of the chunk before.
#[derive(Default)]
struct Carried<'a> {
    schema: Option<&'a Schema>,
    readings: Vec<(EntityNumber, Reading)>,
}

/// Every point of a series that one node's frames hold, in the order of their ticks.
pub(super) fn evaluate(
    view: &NodeView,
    entity: &Entity,
    metric: &MetricKey,
    labels: &Labels,
    range: TickRange,
) -> Vec<Point> {
    let mut points = Vec::new();
    let mut carried = Carried::default();
    for chunk in chunks_for(view, range) {
        let recipe = recipe(&chunk.schema, entity, metric, labels);
        carried = walk(chunk, &recipe, &carried, range, &mut points);
    }
    // Late frames came after newer ones; of a tick that came twice the last counts.
    points.sort_by_key(|point| point.at);
    points.reverse();
    points.dedup_by_key(|point| point.at);
    points.reverse();
    points
}

/// The chunks with a tick in the range, and for rates the one before each.
fn chunks_for(view: &NodeView, range: TickRange) -> impl Iterator<Item = &Chunk> {
    let within = move |chunk: &&Chunk| chunk.frames.iter().any(|frame| range.contains(frame.tick));
    let mut chunks = view.chunks().peekable();
    std::iter::from_fn(move || {
        loop {
            let chunk = chunks.next()?;
            if within(&chunk) || chunks.peek().is_some_and(within) {
                return Some(chunk);
            }
        }
    })
}

fn walk<'a>(
    chunk: &'a Chunk,
    recipe: &Recipe,
    carried: &Carried<'a>,
    range: TickRange,
    points: &mut Vec<Point>,
) -> Carried<'a> {
    let mut sums: Vec<Option<Value>> = vec![None; chunk.frames.len()];
    let mut readings = Vec::new();
    for term in &recipe.terms {
        match term {
            Term::Cell { index, position, floating } => {
                let values = chunk.values(*index, *position).map(|value| number(value, *floating));
                add(&mut sums, values.map(Some));
            }
            Term::Constant(value) => add(&mut sums, std::iter::repeat(Some(*value))),
            Term::Uptime { start, offset } => {
                let read = read_times(chunk, *offset);
                let uptime = read.map(|(tick, offset)| {
                    Some(Value::Integer(tick.unix_ms().since(*start).saturating_add(offset / 1000)))
                });
                add(&mut sums, uptime);
            }
            Term::Rate { entity, index, position, offset, integer } => {
                let mut before = carried.reading(&chunk.schema, *entity);
                let totals = chunk.values(*index, *position);
                let rates =
                    read_times(chunk, *offset).zip(totals).map(|((tick, offset), total)| {
                        let now = Reading { tick, offset, total };
                        let rate = before.and_then(|before| growth_rate(before, now, *integer));
                        before = Some(now);
                        rate
                    });
                add(&mut sums, rates);
                readings.extend(before.map(|last| (*entity, last)));
            }
        }
    }
    for (frame, sum) in chunk.frames.iter().zip(sums) {
        if let Some(value) = sum.filter(|_| range.contains(frame.tick)) {
            points.push(Point { at: frame.tick, value: divided(value, recipe.divide_by) });
        }
    }
    Carried { schema: Some(&chunk.schema), readings }
}

impl Carried<'_> {
    /// The last reading of the chunk before, of the same entity in the same life.
    fn reading(&self, schema: &Schema, entity: EntityNumber) -> Option<Reading> {
        let theirs = self.schema?.row_of(schema, entity)?;
        self.readings.iter().find(|(known, _)| *known == theirs).map(|(_, reading)| *reading)
    }
}

fn read_times(chunk: &Chunk, offset: Cell) -> impl Iterator<Item = (Tick, i64)> {
    let ticks = chunk.frames.iter().map(|frame| frame.tick);
    ticks.zip(chunk.values(offset.index, offset.position))
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
