//! Rows to a block.

use std::{collections::BTreeMap, sync::Arc};

use tally_proto::tick::Tick;

use super::{BlockError, compress, differences::differences, floats::Form};
use crate::history::{
    codec::{
        bytes::{push_length, push_signed, push_varint, zigzag},
        model::{Counts, Model},
        rans::{Steps, Streams, Tokens},
        relation::{Kin, Moves, Term, relations},
        remainder::Measure,
    },
    life::{InPod, Life, Who},
    series::{Row, Series, What},
    timeline::{TICKS_PER_SERIES, Timeline},
};

/// Values of moving series from which a column has tables of its own: below it they take more
/// than they save.
const OWN_TABLES: usize = 12_000;

/// A block as bytes.
#[derive(Debug)]
pub struct Encoded {
    /// The first of its rows.
    pub first: Arc<Life>,
    /// How many rows it has.
    pub rows: usize,
    /// The first tick of any row.
    pub first_tick: Tick,
    /// The last.
    pub last_tick: Tick,
    /// Its names, compressed.
    pub names: Vec<u8>,
    /// Its columns, compressed.
    pub columns: Vec<u8>,
    /// Its sections, each with its checksum.
    pub sections: Vec<u8>,
}

/// Encodes rows, which are in the order of their lives. `None` when there are none. Takes their
/// values, and leaves what they are of.
pub fn encode(rows: &mut [Row]) -> Result<Option<Encoded>, BlockError> {
    let mut tables = Tables::default();
    let mut plans = rows.iter_mut().map(|row| tables.plan(row)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = rows.first() else { return Ok(None) };
    let order = tables.sort(&mut plans);
    let mut moves: Vec<Vec<Moves>> = plans.iter_mut().map(|plan| plan.moves()).collect();
    let offsets = order.binary_search_by(|what| (**what).cmp(&What::ReadOffset)).ok();
    relations(&mut moves, &kin(rows), order.len(), offsets);
    let model_of = own_tables(&moves, order.len());
    let (coded, models) = code(&plans, &moves, &model_of);
    let mut sections = Vec::new();
    let mut lengths = Vec::with_capacity(rows.len());
    let models: Vec<Model> = models.iter().map(Counts::model).collect();
    let steps: Vec<Steps> = models.iter().map(Model::steps).collect();
    let mut writer = Sections {
        model_of: &model_of,
        steps: &steps,
        streams: Streams::default(),
        body: Vec::new(),
    };
    for (place, ((row, plan), coded)) in rows.iter().zip(&plans).zip(&coded).enumerate() {
        let before = sections.len();
        let series: Vec<_> = row.series.iter().zip(coded).collect();
        writer.push(place, plan, &series, &mut sections)?;
        lengths.push(sections.len() - before);
    }
    let timelines = || rows.iter().flat_map(|row| &row.series).map(|one| &one.timeline);
    Ok(Some(Encoded {
        first: Arc::clone(&first.life),
        rows: rows.len(),
        first_tick: timelines().filter_map(|line| line.first()).min().unwrap_or_default(),
        last_tick: timelines().filter_map(|line| line.last()).max().unwrap_or_default(),
        names: compress(&tables.names(rows, &plans, &lengths))?,
        columns: compress(&columns(&order, &model_of, &models))?,
        sections,
    }))
}

fn columns(order: &[Arc<What>], model_of: &[usize], models: &[Model]) -> Vec<u8> {
    let mut out = Vec::new();
    push_length(order.len(), &mut out);
    for (what, model) in order.iter().zip(model_of) {
        what.push_to(&mut out);
        push_length(*model, &mut out);
    }
    push_length(models.len(), &mut out);
    models.iter().for_each(|model| model.push(&mut out));
    out
}

/// One series on its way.
#[derive(Debug)]
struct Planned {
    column: usize,
    timeline: usize,
    form: Form,
    first: i64,
    differences: Vec<i64>,
}

/// A row's series.
#[derive(Debug)]
struct Plan {
    /// All ticks of its series: who looks for rows by time sees no others.
    timeline: usize,
    series: Vec<Planned>,
}

/// Distinct columns and timelines, numbered in the order in which they came. Rows share them by
/// pointer, which is looked up first: comparing names for each series would cost more than coding.
#[derive(Default)]
struct Tables {
    columns: BTreeMap<Arc<What>, usize>,
    column_at: BTreeMap<usize, usize>,
    timelines: BTreeMap<Vec<u8>, usize>,
    timeline_at: BTreeMap<usize, usize>,
}

impl Tables {
    fn plan(&mut self, row: &mut Row) -> Result<Plan, BlockError> {
        let mut series = Vec::with_capacity(row.series.len());
        let mut distinct: BTreeMap<usize, &Timeline> = BTreeMap::new();
        for one in &mut row.series {
            let (values, ticks) = (one.values.len(), one.timeline.len());
            if values != ticks || TICKS_PER_SERIES < ticks {
                return Err(BlockError::Uneven { values, ticks });
            }
            let timeline = self.timeline(&one.timeline);
            distinct.insert(timeline, &one.timeline);
            let values = std::mem::take(&mut one.values);
            let (form, first, differences) = differences(one.what.floating(), values);
            let column = self.column(&one.what);
            series.push(Planned { column, timeline, form, first, differences });
        }
        let timeline = match distinct.keys().next() {
            Some(only) if distinct.len() == 1 => *only,
            _ => self.number(&Timeline::of_all(distinct.values().copied())),
        };
        Ok(Plan { timeline, series })
    }

    fn column(&mut self, what: &Arc<What>) -> usize {
        let next = self.columns.len();
        *self
            .column_at
            .entry(Arc::as_ptr(what).addr())
            .or_insert_with(|| *self.columns.entry(Arc::clone(what)).or_insert(next))
    }

    fn timeline(&mut self, timeline: &Arc<Timeline>) -> usize {
        let at = Arc::as_ptr(timeline).addr();
        if let Some(known) = self.timeline_at.get(&at) {
            return *known;
        }
        let number = self.number(timeline);
        self.timeline_at.insert(at, number);
        number
    }

    fn number(&mut self, timeline: &Timeline) -> usize {
        let (next, mut bytes) = (self.timelines.len(), Vec::new());
        timeline.push_to(&mut bytes);
        *self.timelines.entry(bytes).or_insert(next)
    }

    /// Numbers the columns in their order instead, and gives them in it.
    fn sort(&self, plans: &mut [Plan]) -> Vec<Arc<What>> {
        let mut place_of = vec![0; self.columns.len()];
        for (place, number) in self.columns.values().enumerate() {
            if let Some(slot) = place_of.get_mut(*number) {
                *slot = place;
            }
        }
        for series in plans.iter_mut().flat_map(|plan| &mut plan.series) {
            series.column = place_of.get(series.column).copied().unwrap_or(0);
        }
        self.columns.keys().cloned().collect()
    }

    fn names(&self, rows: &[Row], plans: &[Plan], lengths: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        push_length(self.timelines.len(), &mut out);
        let mut timelines: Vec<(&usize, &Vec<u8>)> =
            self.timelines.iter().map(|(bytes, number)| (number, bytes)).collect();
        timelines.sort();
        timelines.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
        push_length(rows.len(), &mut out);
        for ((row, plan), length) in rows.iter().zip(plans).zip(lengths) {
            row.life.push_to(&mut out);
            push_length(plan.timeline, &mut out);
            push_length(*length, &mut out);
        }
        out
    }
}

impl Plan {
    fn moves(&mut self) -> Vec<Moves> {
        let moves = |one: &mut Planned| {
            Moves::new(one.column, one.timeline, std::mem::take(&mut one.differences))
        };
        self.series.iter_mut().map(moves).collect()
    }
}

/// What rows are to each other: the containers after a pod are its parts; what ran on one host was
/// read in one breath.
fn kin(rows: &[Row]) -> Vec<Kin> {
    let mut kin = vec![Kin::default(); rows.len()];
    let mut first_on = BTreeMap::new();
    let mut pod: Option<(usize, &InPod)> = None;
    for (place, row) in rows.iter().enumerate() {
        let in_pod = row.life.who.in_pod();
        pod = match (in_pod, pod) {
            (Some(one), Some((_, known))) if same_pod(one, known) => pod,
            (Some(one), _) => Some((place, one)),
            (None, _) => None,
        };
        let head = pod.map(|(head, _)| head).filter(|head| *head != place);
        let is_container = matches!(&row.life.who, Who::InPod(InPod { container: Some(_), .. }));
        if let Some(head) = head.filter(|_| is_container)
            && let Some(of_head) = kin.get_mut(head)
        {
            of_head.parts.push(place);
        }
        let on_host = row.life.who.node().map(|node| *first_on.entry(node).or_insert(place));
        if let Some(mine) = kin.get_mut(place) {
            mine.neighbour = head.or(on_host).filter(|other| *other != place);
        }
    }
    kin
}

fn same_pod(one: &InPod, other: &InPod) -> bool {
    (&one.namespace, &one.pod, &one.uid) == (&other.namespace, &other.pod, &other.uid)
}

/// Which tables each column's streams are coded with: those with many values have their own, the
/// others share the first.
fn own_tables(moves: &[Vec<Moves>], columns: usize) -> Vec<usize> {
    let mut values = vec![0; columns];
    for one in moves.iter().flatten().filter(|one| one.moving) {
        if let Some(values) = values.get_mut(one.column) {
            *values += one.differences.len();
        }
    }
    let mut last = 0;
    let table = |values: usize| {
        if values < OWN_TABLES {
            return 0;
        }
        last += 1;
        last
    };
    values.into_iter().map(table).collect()
}

/// A series as it is written.
#[derive(Debug)]
struct Coded {
    column: usize,
    terms: Vec<Term>,
    first: i64,
    measure: Option<Measure>,
    tokens: Tokens,
}

/// Takes relations and measures out of what moves; counts what is left for the tables.
fn code(
    plans: &[Plan],
    moves: &[Vec<Moves>],
    model_of: &[usize],
) -> (Vec<Vec<Coded>>, Vec<Counts>) {
    let tables = model_of.iter().max().map_or(1, |last| last + 1);
    let mut models = vec![Counts::default(); tables];
    let first_of = |row: usize, place: usize| {
        plans.get(row).and_then(|plan| plan.series.get(place)).map_or(0, |one| one.first)
    };
    let mut left = Vec::new();
    let mut coded = |row: usize, place: usize, one: &Moves| {
        remainders(moves, one, &mut left);
        let first = one.terms.iter().fold(first_of(row, place), |first, term| {
            taken(first, first_of(term.row, term.place), term.minus)
        });
        let measure = Measure::take_of(&mut left);
        let counts = model_of.get(one.column).and_then(|model| models.get_mut(*model));
        let tokens = match measure.zip(counts) {
            Some((measure, counts)) => {
                Tokens::of(left.iter().map(|one| measure.number(*one)), counts)
            }
            None => Tokens::default(),
        };
        Coded { column: one.column, terms: one.terms.clone(), first, measure, tokens }
    };
    let mut row = |(row, series): (usize, &Vec<Moves>)| {
        series.iter().enumerate().map(|(place, one)| coded(row, place, one)).collect()
    };
    let coded = moves.iter().enumerate().map(&mut row).collect();
    (coded, models)
}

/// What is left of a series' differences when those of its terms are taken out.
fn remainders(moves: &[Vec<Moves>], one: &Moves, left: &mut Vec<i64>) {
    left.clear();
    left.extend_from_slice(&one.differences);
    for term in &one.terms {
        let other = moves.get(term.row).and_then(|row| row.get(term.place));
        let others = other.map_or(&[][..], |other| &other.differences);
        for (left, other) in left.iter_mut().zip(others) {
            *left = taken(*left, *other, term.minus);
        }
    }
}

fn taken(value: i64, other: i64, minus: bool) -> i64 {
    if minus { value.wrapping_add(other) } else { value.wrapping_sub(other) }
}

/// Appends a row's section: what there is of each series, then the streams, then a checksum.
struct Sections<'a> {
    model_of: &'a [usize],
    steps: &'a [Steps],
    streams: Streams,
    body: Vec<u8>,
}

impl Sections<'_> {
    fn push(
        &mut self,
        row: usize,
        plan: &Plan,
        series: &[(&Series, &Coded)],
        out: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        let begin = out.len();
        self.code(series);
        let mut streams = self.streams.iter();
        self.body.clear();
        push_length(series.len(), out);
        let mut next_column = 0;
        for (planned, (series, coded)) in plan.series.iter().zip(series) {
            push_length(coded.column.saturating_sub(next_column), out);
            next_column = coded.column + 1;
            push_head(row, plan, planned, coded, out);
            if let Some(measure) = coded.measure {
                measure.push(out);
                let stream = streams.next().unwrap_or_default();
                push_length(stream.len(), out);
                self.body.extend_from_slice(stream);
            }
            if series.what.has_sketches() {
                let sketches = compress(&series.sketches)?;
                push_length(sketches.len(), out);
                self.body.extend_from_slice(&sketches);
            }
        }
        out.extend_from_slice(&self.body);
        let checksum = crc32fast::hash(out.get(begin..).unwrap_or_default());
        out.extend_from_slice(&checksum.to_le_bytes());
        Ok(())
    }

    /// Makes the streams of a row.
    fn code(&mut self, series: &[(&Series, &Coded)]) {
        let moving = series.iter().filter(|(_, coded)| coded.measure.is_some());
        let with_steps = moving.filter_map(|(_, coded)| {
            let model = self.model_of.get(coded.column).copied().unwrap_or(0);
            Some((&coded.tokens, self.steps.get(model)?))
        });
        let all: Vec<(&Tokens, &Steps)> = with_steps.collect();
        self.streams.clear();
        self.streams.push_all(&all);
    }
}

/// What a reader needs of a series before its stream. One byte holds, lowest bit first: whether
/// there is a stream, whether its ticks are not its row's, how many terms (three bits), the form
/// (three bits).
fn push_head(row: usize, plan: &Plan, planned: &Planned, coded: &Coded, out: &mut Vec<u8>) {
    let other_ticks = planned.timeline != plan.timeline;
    let terms = u8::try_from(coded.terms.len()).unwrap_or(0);
    let head = u8::from(coded.measure.is_some())
        | u8::from(other_ticks) << 1
        | terms << 2
        | planned.form.code() << 5;
    out.push(head);
    if other_ticks {
        push_length(planned.timeline, out);
    }
    for term in &coded.terms {
        let away = number(term.row).wrapping_sub(number(row));
        push_varint(zigzag(away) << 1 | u64::from(term.minus), out);
        push_length(term.place, out);
    }
    push_signed(coded.first, out);
}

fn number(place: usize) -> i64 {
    i64::try_from(place).unwrap_or(i64::MAX)
}
