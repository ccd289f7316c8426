//! One agent after the other on one disk, and an aggregator. Chance decides what happens; every
//! seed is another story.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tally_proto::{
    columns::Builder,
    declaration::{ColumnDeclaration, Declared, EntityDeclaration, EntityNumber},
    message::{BootId, Declarations, Hello, Run},
    metric::{Labels, MetricName},
    name::NodeName,
    tick::{Resolution, Tick, UnixMs},
};

use super::{
    aggregator::{Aggregator, COLUMN, Meant, Stream},
    disk::{Fault, SimulatedDisk},
    *,
};
use crate::{
    outbox,
    spool::{disk::perform, segment},
};

/// How an agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What it wrote is there.
    Killed,
    /// Only what was made safe is there for certain.
    PowerLoss,
}

pub(super) struct World {
    random: u64,
    now: u64,
    /// By how much the host's clock is ahead.
    pub(super) clock: u64,
    /// Of a hundred steps, how many are acknowledgements: few means that much is in flight.
    pub(super) acknowledgements: u64,
    pub(super) outbox: outbox::Limits,
    pub(super) run: Run,
    pub(super) resolution: Resolution,
    pub(super) limits: spool::Limits,
    pub(super) disk: SimulatedDisk,
    pub(super) backlog: Backlog,
    pub(super) aggregator: Aggregator,
    pub(super) news: Vec<News>,
    pub(super) end_of_crash: End,
    job: Option<Job>,
    stream: Option<Stream>,
    on_the_way: VecDeque<Outgoing>,
    builder: Builder,
    lives: BTreeMap<u32, i64>,
    is_column_said: bool,
    pushed: BTreeMap<(u64, u64), (Tick, Meant)>,
    excused: BTreeSet<(u64, u64)>,
    sequence: u64,
    lost_before: u64,
    power_was_lost: bool,
    crashes: u32,
    seed: u64,
}

fn hello(run: Run, resolution: Resolution) -> Hello {
    Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([7; 16]),
        run,
        resolution,
        agent_version: "0".to_owned(),
        acknowledge_within: Duration::ZERO,
    }
}

const OUTBOX: outbox::Limits = outbox::Limits { frames: 12, bytes: usize::MAX };

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let limits = spool::Limits { bytes: 20_000, age_s: 900, segment_bytes: 1_500 };
        let (run, resolution) = (Run(1), Resolution::from_seconds(5).unwrap());
        Self {
            random: seed,
            now: 0,
            clock: 0,
            acknowledgements: 15,
            outbox: OUTBOX,
            run,
            resolution,
            limits,
            disk: SimulatedDisk::default(),
            backlog: Backlog::new(hello(run, resolution), OUTBOX, Some(limits)),
            aggregator: Aggregator::default(),
            news: Vec::new(),
            end_of_crash: End::Killed,
            job: None,
            stream: None,
            on_the_way: VecDeque::new(),
            builder: Builder::new(),
            lives: BTreeMap::new(),
            is_column_said: false,
            pushed: BTreeMap::new(),
            excused: BTreeSet::new(),
            sequence: 0,
            lost_before: 0,
            power_was_lost: false,
            crashes: 0,
            seed,
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        // Splitmix: every seed is as good as every other.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % most
    }

    pub(super) fn random_step(&mut self) {
        match self.below(100) {
            0 => drop(self.die(End::Killed)),
            1 => drop(self.die(End::PowerLoss)),
            2 => self.disk.fault = Some(Fault::Full),
            3 => self.disk.fault = Some(Fault::Broken),
            4 => self.disk.fault = Some(Fault::NoSync),
            5..=9 => self.disk.fault = None,
            10 => self.stop_and_start(),
            11 => self.aggregator.forget(),
            12 => self.clock = self.below(200),
            _ => self.random_step_without_faults(),
        }
    }

    pub(super) fn random_step_without_faults(&mut self) {
        let acknowledgements = 100 - self.acknowledgements;
        match self.below(100) {
            0..=29 => self.tick(),
            30..=54 => self.work_once(),
            55..=59 => self.connect(),
            60..=62 => self.cut(),
            step if step < acknowledgements => self.send_and_deliver(),
            _ => self.acknowledge(),
        }
        if self.disk.has_crashed {
            self.crashes += 1;
            self.die(self.end_of_crash);
        }
    }

    pub(super) fn crashes(&self) -> u32 {
        self.crashes
    }

    pub(super) fn ticks(&self) -> u64 {
        self.now
    }

    /// The present, as the host's clock has it.
    pub(super) fn tick_now(&self) -> Tick {
        Tick(self.now + self.clock)
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.now)
    }

    /// A second passes, and the host is read: entities come and go.
    pub(super) fn tick(&mut self) {
        self.now += 1;
        self.sequence += 1;
        let mut said = Declarations::default();
        for number in 0..6 {
            match self.below(8) {
                0 if !self.lives.contains_key(&number) => {
                    let life = i64::try_from(self.now).unwrap() * 1000;
                    self.lives.insert(number, life);
                    said.entities.push(EntityDeclaration {
                        number: EntityNumber(number),
                        start: Some(UnixMs(life)),
                        what: Declared::Node,
                    });
                }
                1 if self.lives.remove(&number).is_some() => {
                    said.retired.push(EntityNumber(number));
                }
                _ => (),
            }
        }
        if !std::mem::replace(&mut self.is_column_said, true) {
            said.columns.push(ColumnDeclaration {
                number: COLUMN,
                metric: MetricName::parse("cpu/usage").unwrap(),
                labels: Labels::default(),
                floating: false,
                cumulative: false,
            });
        }
        let mut meant = Meant::new();
        for (number, life) in self.lives.clone() {
            let value = i64::try_from(self.below(1 << 30)).unwrap();
            self.builder.set(EntityNumber(number), COLUMN, value);
            meant.insert((number, Some(UnixMs(life))), value);
        }
        let tick = self.tick_now();
        let columns = self.builder.finish().clone();
        self.pushed.insert((self.run.0, self.sequence), (tick, meant));
        self.backlog.push(Reading { tick, declarations: said, columns }, self.time());
    }

    /// The disk does one thing.
    pub(super) fn work_once(&mut self) {
        let now = self.time();
        if let Some(job) = self.job.take() {
            let result = perform(&mut self.disk, job);
            if !self.disk.has_crashed {
                self.backlog.done(result, now);
            }
        }
        self.job = self.backlog.next_job(now);
        self.news.extend(self.backlog.take_news());
    }

    /// The disk does everything there is to do.
    pub(super) fn work(&mut self) {
        self.work_once();
        while self.job.is_some() {
            self.work_once();
        }
    }

    /// The agent begins: looks what is on disk, and opens a stream.
    pub(super) fn begin(&mut self) {
        self.work();
        self.connect();
    }

    pub(super) fn connect(&mut self) {
        if self.stream.is_some() || !self.backlog.is_settled() {
            return;
        }
        let hello = self.backlog.begin_stream();
        assert_eq!(hello.boot, BootId([7; 16]), "the same host reconnects");
        let (stream, acknowledged) = self.aggregator.welcome(&hello);
        self.stream = Some(stream);
        self.backlog.welcomed(acknowledged);
    }

    /// The network fails, and with it what was on the way.
    pub(super) fn cut(&mut self) {
        self.stream = None;
        self.on_the_way.clear();
        self.backlog.stream_failed(None);
    }

    fn send_and_deliver(&mut self) {
        if self.stream.is_none() {
            return;
        }
        if self.backlog.is_stream_over() {
            // This side ends; the aggregator takes what is on the way, acknowledges, and ends.
            self.deliver();
            self.acknowledge();
            self.stream = None;
            self.connect();
            return;
        }
        if self.backlog.may_send() {
            self.on_the_way.extend(self.backlog.send_next());
        }
        // Where acknowledgements are rare, the network is slow too, and a cut loses much.
        if self.below(if self.acknowledgements < 5 { 30 } else { 2 }) == 0 {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        while let (Some(stream), Some(outgoing)) = (&mut self.stream, self.on_the_way.pop_front()) {
            if let Err(refusal) = self.aggregator.take(stream, outgoing) {
                self.stream = None;
                self.on_the_way.clear();
                self.backlog.stream_failed(Some(refusal));
            }
        }
    }

    pub(super) fn send_all(&mut self) {
        while self.backlog.may_send() {
            self.on_the_way.extend(self.backlog.send_next());
        }
    }

    pub(super) fn deliver_all(&mut self) {
        self.send_all();
        self.deliver();
    }

    pub(super) fn acknowledge(&mut self) {
        if let Some(sequence) = self.stream.as_ref().and_then(Aggregator::last_of)
            && self.on_the_way.is_empty()
        {
            self.backlog.acknowledge(sequence);
        }
    }

    /// The agent ends without a word, and another begins. How many frames that costs.
    pub(super) fn die(&mut self, end: End) -> usize {
        let on_disk: BTreeSet<(u64, u64)> = self
            .disk
            .contents(end == End::PowerLoss)
            .into_iter()
            .filter_map(|bytes| segment::read(&Bytes::from(bytes)).ok())
            .flat_map(|contents| {
                let run = contents.hello.run.0;
                contents.frames.into_iter().map(move |kept| (run, kept.frame.sequence.0))
            })
            .collect();
        let before = self.excused.len();
        let gone = self.pushed.keys().filter(|name| {
            name.0 == self.run.0
                && !on_disk.contains(name)
                && !self.aggregator.counted.contains_key(name)
        });
        self.excused.extend(gone);
        if end == End::PowerLoss {
            // What earlier runs left was safe, or it is in the list of what is not.
            self.excused.extend(self.pushed.keys().filter(|name| {
                !on_disk.contains(name) && !self.aggregator.counted.contains_key(name)
            }));
            self.disk.lose_power();
            self.power_was_lost = true;
        }
        self.lost_before += self.backlog.lost().frames;
        self.run = Run(self.run.0 + 1);
        (self.job, self.stream) = (None, None);
        self.on_the_way.clear();
        (self.disk.fault, self.disk.has_crashed) = (None, false);
        self.backlog =
            Backlog::new(hello(self.run, self.resolution), self.outbox, Some(self.limits));
        (self.sequence, self.is_column_said) = (0, false);
        self.lives.clear();
        self.builder = Builder::new();
        self.excused.len() - before
    }

    fn stop_and_start(&mut self) {
        self.cut();
        self.backlog.stop();
        self.work();
        assert!(self.backlog.is_safe());
        let Leftover { lost, .. } = self.backlog.leftover();
        assert!(lost == 0 || self.disk.fault.is_some(), "seed {}: {lost} lost", self.seed);
        self.die(End::Killed);
    }

    /// Everything works again: what can be delivered is, and nothing is missing without a reason.
    pub(super) fn heal_and_check(&mut self) {
        self.disk.fault = None;
        self.cut();
        for _ in 0..3000 {
            self.work();
            self.connect();
            self.send_and_deliver();
            self.deliver_all();
            self.acknowledge();
            self.now += u64::from(self.now.is_multiple_of(2));
            self.now += 1;
        }
        assert_eq!(self.backlog.in_memory(), 0, "seed {}", self.seed);
        assert_eq!(self.backlog.leftover(), Leftover::default(), "seed {}", self.seed);
        for (name, counted) in &self.aggregator.counted {
            assert_eq!(self.pushed.get(name), Some(counted), "seed {}: {name:?}", self.seed);
        }
        let lost = self.lost();
        assert!(self.missing() <= lost, "seed {}: {} of {lost}", self.seed, self.missing());
    }

    /// What all agents together say they gave up.
    pub(super) fn lost(&self) -> u64 {
        self.lost_before + self.backlog.lost().frames
    }

    /// Nothing that was written turned out to be unreadable, but by a power loss.
    pub(super) fn check_that_nothing_was_damaged(&self) {
        let is_damage = |news: &&News| match news {
            News::NotRead(_) | News::Refused { .. } => true,
            News::Damaged { .. } => !self.power_was_lost,
            _ => false,
        };
        let damage: Vec<&News> = self.news.iter().filter(is_damage).collect();
        assert!(damage.is_empty(), "seed {}: {damage:?}", self.seed);
    }

    /// A world with so much room in memory and on disk.
    pub(super) fn with_room(mut self, frames: usize, bytes: u64) -> Self {
        (self.outbox.frames, self.limits.bytes, self.limits.age_s) = (frames, bytes, 1 << 30);
        let hello = hello(self.run, self.resolution);
        self.backlog = Backlog::new(hello, self.outbox, Some(self.limits));
        self
    }

    pub(super) fn received(&self) -> usize {
        self.aggregator.counted.len()
    }

    /// Frames that nobody has and no crash explains.
    pub(super) fn missing(&self) -> u64 {
        let is_missing = |name: &&(u64, u64)| {
            !self.aggregator.counted.contains_key(name) && !self.excused.contains(name)
        };
        u64::try_from(self.pushed.keys().filter(is_missing).count()).unwrap()
    }
}
