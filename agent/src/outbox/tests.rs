use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use tally_proto::{
    columns::{Builder, ColumnLayout, Layout, RowSet},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    metric::{Labels, MetricName},
    tick::{Tick, UnixMs},
};

use super::*;

/// A frame as everyone must understand it: by what its numbers mean.
type Meant = HashMap<(EntityDeclaration, ColumnDeclaration), i64>;

/// What the sampling thread says at one tick.
#[derive(Clone, Debug)]
struct Said {
    /// Entity, life.
    declared: Vec<(u32, i64)>,
    columns: Vec<(u32, bool)>,
    retired: Vec<u32>,
    /// Entity, column, value; of those, what is declared.
    cells: Vec<(u32, u32, i64)>,
}

#[derive(Clone, Debug)]
enum Step {
    Push(Said),
    Send,
    /// Of the frames sent, how many from the last are not meant.
    Acknowledge(u64),
    AcknowledgeUnsent(u64),
    Reconnect,
}

fn said() -> impl Strategy<Value = Said> {
    (
        prop::collection::vec((0u32..6, 0i64..1000), 0..3),
        prop::collection::vec((1u32..4, any::<bool>()), 0..2),
        prop::collection::vec(0u32..6, 0..2),
        prop::collection::vec((0u32..6, 1u32..4, any::<i64>()), 0..12),
    )
        .prop_map(|(declared, columns, retired, cells)| Said {
            declared,
            columns,
            retired,
            cells,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => said().prop_map(Step::Push),
        5 => Just(Step::Send),
        3 => (0u64..4).prop_map(Step::Acknowledge),
        1 => (1u64..9).prop_map(Step::AcknowledgeUnsent),
        1 => Just(Step::Reconnect),
    ]
}

fn entity(number: u32, life: i64) -> EntityDeclaration {
    let number = EntityNumber(number);
    EntityDeclaration { number, start: Some(UnixMs(life)), what: Declared::Node }
}

fn column(number: u32, floating: bool) -> ColumnDeclaration {
    ColumnDeclaration {
        number: ColumnNumber(number),
        metric: MetricName::parse("cpu/usage").unwrap(),
        labels: Labels::default(),
        floating,
        cumulative: false,
    }
}

fn declarations(said: &Said) -> Declarations {
    Declarations {
        entities: said.declared.iter().map(|(number, life)| entity(*number, *life)).collect(),
        columns: said.columns.iter().map(|(number, floating)| column(*number, *floating)).collect(),
        retired: said.retired.iter().copied().map(EntityNumber).collect(),
    }
}

/// Numbers and what they mean: at the sender as at the receiver.
#[derive(Default)]
struct Dictionary {
    entities: BTreeMap<EntityNumber, EntityDeclaration>,
    columns: BTreeMap<ColumnNumber, ColumnDeclaration>,
}

impl Dictionary {
    fn learn(&mut self, said: &Declarations) {
        for number in &said.retired {
            self.entities.remove(number);
        }
        for entity in &said.entities {
            self.entities.insert(entity.number, entity.clone());
        }
        for column in &said.columns {
            self.columns.insert(column.number, column.clone());
        }
    }

    fn meaning(&self, columns: &Columns) -> Meant {
        let mut meant = Meant::new();
        for (index, column) in columns.layout.columns.iter().enumerate() {
            for (row, entity) in columns.layout.rows(index).iter().enumerate() {
                let key = (self.entities[entity].clone(), self.columns[&column.number].clone());
                meant.insert(key, columns.values[index][row]);
            }
        }
        meant
    }
}

/// The sender, what it pushed, and a receiver that applies what it is sent.
struct World {
    outbox: Outbox,
    limits: Limits,
    builder: Builder,
    sender: Dictionary,
    pushed: BTreeMap<Sequence, Meant>,
    acknowledged: Sequence,
    /// Of the present stream.
    receiver: Dictionary,
    state: Columns,
    received: Vec<Sequence>,
    highest_sent: Sequence,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self {
            outbox: Outbox::new(limits),
            limits,
            builder: Builder::new(),
            sender: Dictionary::default(),
            pushed: BTreeMap::new(),
            acknowledged: Sequence(0),
            receiver: Dictionary::default(),
            state: Columns::default(),
            received: Vec::new(),
            highest_sent: Sequence(0),
        }
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Push(said) => self.push(&said),
            Step::Send => self.send()?,
            Step::Acknowledge(short_of_last) => {
                let last = self.received.last().map_or(0, |last| last.0);
                self.acknowledge(Sequence(last.saturating_sub(short_of_last)));
            }
            Step::AcknowledgeUnsent(beyond) => {
                self.outbox.acknowledge(Sequence(self.highest_sent.0 + beyond));
            }
            Step::Reconnect => self.reconnect(),
        }
        self.check_what_is_kept()
    }

    fn push(&mut self, said: &Said) {
        let declarations = declarations(said);
        self.sender.learn(&declarations);
        for &(entity, column, value) in &said.cells {
            let (entity, column) = (EntityNumber(entity), ColumnNumber(column));
            if self.sender.entities.contains_key(&entity)
                && self.sender.columns.contains_key(&column)
            {
                self.builder.set(entity, column, value);
            }
        }
        let columns = self.builder.finish().clone();
        let sequence = Sequence(u64::try_from(self.pushed.len()).unwrap() + 1);
        self.pushed.insert(sequence, self.sender.meaning(&columns));
        let reading = Reading { tick: Tick(sequence.0 * 10), declarations, columns };
        self.outbox.push(reading, Duration::ZERO);
        self.outbox.make_room(|_| false);
    }

    fn send(&mut self) -> Result<(), TestCaseError> {
        let Some(Outgoing { declarations, frame, samples: _ }) = self.outbox.send_next() else {
            return Ok(());
        };
        let anew = |number| declarations.entities.iter().any(|entity| entity.number == number);
        prop_assert!(!declarations.retired.iter().copied().any(anew), "the order is not left open");
        prop_assert!(!self.received.is_empty() || declarations.retired.is_empty());
        self.receiver.learn(&declarations);
        unpack(&mut self.state, &frame.columns).unwrap();
        prop_assert_eq!(frame.tick, Tick(frame.sequence.0 * 10));
        prop_assert_eq!(&self.receiver.meaning(&self.state), &self.pushed[&frame.sequence]);
        prop_assert!(self.received.last().is_none_or(|last| *last < frame.sequence));
        prop_assert!(self.acknowledged < frame.sequence);
        self.highest_sent = self.highest_sent.max(frame.sequence);
        self.received.push(frame.sequence);
        Ok(())
    }

    fn acknowledge(&mut self, sequence: Sequence) {
        self.acknowledged = self.acknowledged.max(sequence);
        self.outbox.acknowledge(sequence);
    }

    fn reconnect(&mut self) {
        self.receiver = Dictionary::default();
        self.state = Columns::default();
        self.received.clear();
        self.outbox.restart();
    }

    /// Everything pushed is kept, acknowledged, or counted as dropped.
    fn check_what_is_kept(&self) -> Result<(), TestCaseError> {
        let kept = self.outbox.len();
        let bytes: usize = self.outbox.entries.iter().map(Entry::bytes).sum();
        prop_assert_eq!(self.outbox.bytes, bytes);
        prop_assert!(kept <= self.limits.frames.max(1));
        prop_assert!(kept <= 1 || self.outbox.bytes <= self.limits.bytes);
        let unacknowledged = u64::try_from(self.pushed.len()).unwrap() - self.acknowledged.0;
        prop_assert!(unacknowledged <= u64::try_from(kept).unwrap() + self.outbox.dropped().frames);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_receiver_gets_exactly_what_was_pushed_and_is_kept(
        frames in 1usize..8,
        bytes in prop_oneof![Just(usize::MAX), 200usize..4000],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(Limits { frames, bytes });
        for step in steps {
            world.take(step)?;
        }
        world.reconnect();
        let kept: Vec<Sequence> =
            world.outbox.entries.iter().map(|entry| entry.frame.sequence).collect();
        while world.outbox.has_unsent() {
            world.send()?;
        }
        prop_assert_eq!(&world.received, &kept);
        let newest = Sequence(u64::try_from(world.pushed.len()).unwrap());
        prop_assert!(world.acknowledged == newest || kept.last() == Some(&newest));
    }
}

fn cells(values: &[(u32, i64)]) -> Said {
    Said {
        declared: Vec::new(),
        columns: Vec::new(),
        retired: Vec::new(),
        cells: values.iter().map(|(entity, value)| (*entity, 1, *value)).collect(),
    }
}

fn world_of(frames: u32, limits: Limits) -> World {
    let mut world = World::new(limits);
    for tick in 0..frames {
        let declared = if tick == 0 { vec![(0, 0), (1, 0)] } else { Vec::new() };
        let columns = if tick == 0 { vec![(1, false)] } else { Vec::new() };
        let value = i64::from(tick);
        world.push(&Said { declared, columns, ..cells(&[(0, value), (1, value * 7)]) });
    }
    world
}

const ROOMY: Limits = Limits { frames: 100, bytes: usize::MAX };

#[test]
fn the_same_bytes_are_sent_again_but_for_the_first() {
    let mut world = world_of(4, ROOMY);
    let first: Vec<Outgoing> = std::iter::from_fn(|| world.outbox.send_next()).collect();
    world.outbox.acknowledge(Sequence(1));
    world.outbox.restart();
    let again: Vec<Outgoing> = std::iter::from_fn(|| world.outbox.send_next()).collect();
    assert_eq!(again.len(), 3);
    assert_eq!(again[1..], first[2..]);
    assert_eq!(again[0].declarations.entities.len(), 2);
    assert_ne!(again[0].frame.columns, first[1].frame.columns);
    assert_eq!(first[2].frame.columns.as_ptr(), again[1].frame.columns.as_ptr());
}

#[test]
fn an_overflow_drops_the_oldest_and_counts_it() {
    let world = world_of(5, Limits { frames: 3, bytes: usize::MAX });
    assert_eq!((world.outbox.len(), world.outbox.dropped().frames), (3, 2));
    assert_eq!(world.outbox.oldest(), Some((Sequence(3), Duration::ZERO)));
}

#[test]
fn the_newest_frame_stays_however_few_bytes_are_allowed() {
    let world = world_of(5, Limits { frames: 3, bytes: 1 });
    assert_eq!((world.outbox.len(), world.outbox.dropped().frames), (1, 4));
}

#[test]
fn an_open_stream_that_missed_frames_gets_a_key_frame_and_what_was_declared() {
    let mut world = world_of(2, Limits { frames: 2, bytes: usize::MAX });
    world.send().unwrap();
    world.send().unwrap();
    for tick in 2..6 {
        let retired = if tick == 3 { vec![1] } else { Vec::new() };
        world.push(&Said { retired, ..cells(&[(0, tick)]) });
    }
    world.send().unwrap();
    assert_eq!(world.received, [1, 2, 5].map(Sequence));
    assert!(!world.receiver.entities.contains_key(&EntityNumber(1)));
}

#[test]
fn acknowledgements_of_unknown_or_older_frames_are_harmless() {
    let mut world = world_of(3, ROOMY);
    world.send().unwrap();
    for sequence in [0, 2, 3, 4, u64::MAX] {
        world.outbox.acknowledge(Sequence(sequence));
        assert_eq!(world.outbox.len(), 3, "sequence {sequence}");
    }
    for _ in 0..2 {
        world.outbox.acknowledge(Sequence(1));
        assert_eq!(world.outbox.len(), 2);
    }
}

#[test]
fn a_frame_too_large_to_send_is_dropped_and_the_next_goes() {
    let mut outbox = Outbox::new(ROOMY);
    let small = |tick| Reading { tick: Tick(tick), ..Default::default() };
    outbox.push(small(1), Duration::ZERO);
    outbox.send_next().unwrap();
    outbox.push(Reading { columns: noise(15_000, 38), ..small(2) }, Duration::ZERO);
    outbox.push(small(3), Duration::ZERO);
    assert_eq!(outbox.send_next(), None, "it waits for the frame before it");
    assert_eq!(outbox.dropped().frames, 0);
    outbox.acknowledge(Sequence(1));
    assert_eq!(outbox.send_next().unwrap().frame.tick, Tick(3));
    assert_eq!(outbox.dropped().frames, 1);
}

/// Values that need eight bytes each.
fn noise(entities: u32, columns: u32) -> Columns {
    let rows = RowSet((0..entities).map(EntityNumber).collect());
    let layout = |number| ColumnLayout { number: ColumnNumber(number), row_set: 0 };
    let layout = Layout { row_sets: vec![rows], columns: (0..columns).map(layout).collect() };
    let odd = 0x9E37_79B9_7F4A_7C15_u64.cast_signed();
    let values: Vec<i64> = (1..=i64::from(entities)).map(|row| row.wrapping_mul(odd)).collect();
    Columns { layout: layout.into(), values: (0..columns).map(|_| values.clone()).collect() }
}

#[test]
fn a_steady_outbox_reuses_its_buffers() {
    let mut outbox = Outbox::new(ROOMY);
    let mut builder = Builder::new();
    let mut buffers = Vec::new();
    for tick in 1..20u64 {
        builder.set(EntityNumber(0), ColumnNumber(0), i64::try_from(tick).unwrap());
        let mut columns: Columns = buffers.pop().unwrap_or_default();
        let frame = builder.finish();
        columns.layout = frame.layout.clone();
        columns.values.clone_from(&frame.values);
        let memory = columns.values[0].as_ptr();
        let reading = Reading { tick: Tick(tick), columns, ..Default::default() };
        let back = outbox.push(reading, Duration::ZERO);
        assert!(tick <= 2 || !back.values.is_empty(), "a buffer came back");
        assert_ne!(back.values.first().map(|column| column.as_ptr()), Some(memory));
        buffers.push(back);
        outbox.send_next().unwrap();
        outbox.acknowledge(Sequence(tick));
    }
    assert_eq!(outbox.highest_sent, Sequence(19));
}
