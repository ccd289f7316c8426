//! One simulated node: what it declares, and a frame for each tick, packed as an agent packs it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tally_proto::{
    columns::{Columns, Packer},
    declaration::{Declared, EntityDeclaration, EntityNumber},
    message::{BootId, Declarations, Hello, PackedFrame, Run, Sequence},
    name::{BadName, NodeName},
    tick::{Resolution, Tick, UnixMs},
};

use super::{
    habit::{Container, CpuUnit},
    meter::Meters,
    names::{self, ContainerIdentity, PodIdentity},
    random::Random,
    reading::{self, Plan, Reading},
    shape::Shape,
};

/// When the entities of the first tick started, in milliseconds since the epoch: the same always,
/// so that a seed decides every byte.
const STARTED: i64 = 1_790_000_000_000;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    shape: Shape,
    plan: Arc<Plan>,
    number: u32,
    random: Random,
    unit: CpuUnit,
    pods: Vec<Pod>,
    free: Vec<Running>,
    /// What those counted that are gone: the node's own counters never go back.
    gone: Meters,
    packer: Packer,
    sequence: Sequence,
    /// What the newest reading drew from, so that it can be said again.
    before_reading: Random,
    /// Of a million containers, how many restart at each tick.
    restarts_ppm: u64,
    churn: Accrued,
    restarts: Accrued,
}

#[derive(Debug)]
struct Pod {
    identity: PodIdentity,
    started: UnixMs,
    containers: Vec<Running>,
    /// What its containers counted in lives that are over.
    gone: Meters,
}

/// A container in one of its lives.
#[derive(Debug)]
struct Running {
    identity: ContainerIdentity,
    started: UnixMs,
    container: Container,
}

/// What happens to a share of some things at each tick, in millionths of one.
#[derive(Debug)]
struct Accrued(u64);

impl Accrued {
    /// Adds a tick's share, and takes how many whole ones are due.
    fn take(&mut self, share_ppm: u64, of: usize) -> u64 {
        self.0 += share_ppm * u64::try_from(of).unwrap_or(0);
        let whole = self.0 / 1_000_000;
        self.0 %= 1_000_000;
        whole
    }
}

/// What a node says at one tick.
#[derive(Clone, Debug)]
pub struct Said {
    /// What came and went since the tick before.
    pub declarations: Option<Declarations>,
    /// The tick.
    pub frame: PackedFrame,
    /// Values of metrics in it; when each entity was read is not one.
    pub samples: u64,
    /// Pods that were replaced at this tick.
    pub pods_replaced: u64,
    /// Containers that restarted at this tick.
    pub containers_restarted: u64,
}

impl Node {
    /// The `number`-th node of a cluster.
    pub fn new(shape: Shape, number: u32) -> Result<Self, BadName> {
        Self::of(shape, &Arc::new(Plan::of(&shape)), number)
    }

    /// The `number`-th node of a cluster, whose plan all nodes share. Every second node counts CPU
    /// time as cgroup v2 does.
    pub fn of(shape: Shape, plan: &Arc<Plan>, number: u32) -> Result<Self, BadName> {
        let mut random = Random::new(shape.seed, u64::from(number));
        let unit =
            if number.is_multiple_of(2) { CpuUnit::Microseconds } else { CpuUnit::Nanoseconds };
        let pods = (0..shape.pods)
            .map(|_| Pod::new(&mut random, shape, unit, UnixMs(STARTED)))
            .collect::<Result<_, _>>()?;
        let free = (0..shape.free_containers)
            .map(|number| {
                let identity = names::free_container(number)?;
                let container = Container::new(&mut random, unit);
                Ok(Running { identity, started: UnixMs(STARTED), container })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: names::node(number)?,
            shape,
            plan: Arc::clone(plan),
            number,
            unit,
            pods,
            free,
            gone: Meters::default(),
            packer: Packer::new(),
            sequence: Sequence(0),
            before_reading: random.clone(),
            restarts_ppm: 0,
            churn: Accrued(random.below(1_000_000)),
            restarts: Accrued(random.below(1_000_000)),
            random,
        })
    }

    /// Of a million containers, so many restart at each tick.
    #[must_use]
    pub fn restarting(self, restarts_ppm: u64) -> Self {
        Self { restarts_ppm, ..self }
    }

    /// What it says first. `run` is the process: each run of the swarm is another.
    pub fn hello(&self, resolution: Resolution, run: u64, acknowledge_within: Duration) -> Hello {
        let mut boot = [0; 16];
        boot[..4].copy_from_slice(&self.number.to_le_bytes());
        Hello {
            node: self.name.clone(),
            boot: BootId(boot),
            run: Run(run),
            resolution,
            agent_version: concat!("swarm ", env!("CARGO_PKG_VERSION")).to_owned(),
            acknowledge_within,
        }
    }

    /// Lets time pass up to `tick` and reads everything.
    pub fn say(&mut self, tick: Tick) -> Said {
        let seconds = i64::from(self.shape.resolution_s);
        let first = self.sequence == Sequence(0);
        let (replaced, restarted) = if first {
            Default::default()
        } else {
            (self.replace_pods(tick), self.restart_containers(tick))
        };
        let everyone = self.pods.iter_mut().flat_map(|pod| &mut pod.containers);
        for running in everyone.chain(&mut self.free) {
            running.container.advance(&mut self.random, seconds);
        }
        let declarations = if first { Some(self.all()) } else { self.anew(&replaced, &restarted) };
        self.sequence.0 += 1;
        self.before_reading = self.random.clone();
        Said {
            declarations,
            frame: self.frame(tick),
            samples: self.plan.samples(),
            pods_replaced: u64::try_from(replaced.len()).unwrap_or(0),
            containers_restarted: u64::try_from(restarted.len()).unwrap_or(0),
        }
    }

    /// Says the newest frame once more, as the first of a new stream: with all declarations, and
    /// as a key frame. What is said after it goes on from there.
    pub fn again(&mut self, tick: Tick) -> Said {
        self.packer = Packer::new();
        self.random = self.before_reading.clone();
        Said {
            declarations: Some(self.all()),
            frame: self.frame(tick),
            samples: self.plan.samples(),
            pods_replaced: 0,
            containers_restarted: 0,
        }
    }

    fn frame(&mut self, tick: Tick) -> PackedFrame {
        PackedFrame { sequence: self.sequence, tick, columns: self.packed() }
    }

    fn packed(&mut self) -> Bytes {
        let Self { plan, random, packer, pods, free, gone, .. } = self;
        let pack = |columns: &Columns| {
            let mut packed = Vec::with_capacity(columns.layout.cells() * 2);
            packer.pack(columns, &mut packed);
            Bytes::copy_from_slice(&packed)
        };
        plan.read(random, |reading| fill(reading, pods, free, gone), pack)
    }

    /// Replaces as many pods as are due, and says which.
    fn replace_pods(&mut self, tick: Tick) -> BTreeSet<usize> {
        let mut replaced = BTreeSet::new();
        for _ in 0..self.churn.take(self.shape.churn_ppm, self.pods.len()) {
            let place = self.random.place(self.pods.len());
            if let Some(pod) = self.pods.get_mut(place)
                && let Ok(mut new) =
                    Pod::new(&mut self.random, self.shape, self.unit, tick.unix_ms())
            {
                for running in &mut new.containers {
                    running.container.restart(&mut self.random);
                }
                self.gone.add_counters(&pod.sum());
                *pod = new;
                replaced.insert(place);
            }
        }
        replaced
    }

    /// Restarts as many containers as are due, and says which: pods' first, then free ones.
    fn restart_containers(&mut self, tick: Tick) -> BTreeSet<usize> {
        let mut restarted = BTreeSet::new();
        let each = usize::try_from(self.shape.containers).unwrap_or(0);
        let of_pods = self.pods.len() * each;
        let all = of_pods + self.free.len();
        for _ in 0..self.restarts.take(self.restarts_ppm, all) {
            let place = self.random.place(all);
            if place < of_pods {
                if let Some(pod) = self.pods.get_mut(place / each) {
                    pod.restart(place % each, &mut self.random, tick);
                }
            } else if let Some(running) = self.free.get_mut(place - of_pods) {
                self.gone.add_counters(&running.container.meters);
                running.container.restart(&mut self.random);
                running.started = tick.unix_ms();
            }
            restarted.insert(place);
        }
        restarted
    }

    /// Everything, for the beginning of a stream.
    fn all(&self) -> Declarations {
        let start = Some(UnixMs(STARTED));
        let mut entities =
            vec![EntityDeclaration { number: EntityNumber(0), start, what: Declared::Node }];
        for (place, pod) in self.pods.iter().enumerate() {
            pod.declare(self.pod_number(place), &mut entities);
        }
        let free = (0..self.free.len()).filter_map(|place| self.free_container(place));
        entities.extend(free);
        let columns = reading::columns(self.shape.metrics);
        Declarations { entities, columns, retired: Vec::new() }
    }

    /// The replaced pods and restarted containers, under the numbers of those before them.
    fn anew(
        &self,
        replaced: &BTreeSet<usize>,
        restarted: &BTreeSet<usize>,
    ) -> Option<Declarations> {
        let mut entities = Vec::new();
        for place in replaced {
            if let Some(pod) = self.pods.get(*place) {
                pod.declare(self.pod_number(*place), &mut entities);
            }
        }
        let each = usize::try_from(self.shape.containers).unwrap_or(0);
        let of_pods = self.pods.len() * each;
        for place in restarted {
            if of_pods <= *place {
                entities.extend(self.free_container(place - of_pods));
            } else if !replaced.contains(&(place / each))
                && let Some(pod) = self.pods.get(place / each)
            {
                entities.extend(pod.container(self.pod_number(place / each), place % each));
            }
        }
        let said = Declarations { entities, ..Declarations::default() };
        (!said.is_empty()).then_some(said)
    }

    fn pod_number(&self, place: usize) -> EntityNumber {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        EntityNumber(1 + place * (1 + self.shape.containers))
    }

    fn free_container(&self, place: usize) -> Option<EntityDeclaration> {
        let Running { identity, started, .. } = self.free.get(place)?;
        let first = self.pod_number(self.pods.len());
        let ContainerIdentity { id, path, .. } = identity.clone();
        Some(EntityDeclaration {
            number: EntityNumber(first.0 + u32::try_from(place).ok()?),
            start: Some(*started),
            what: Declared::FreeContainer { name: None, id, path: Some(path), image: None },
        })
    }
}

/// Puts the values of all entities in the order of their numbers.
fn fill(reading: &mut Reading<'_>, pods: &[Pod], free: &[Running], gone: &Meters) {
    let mut node = gone.clone();
    reading.networked(&node);
    for pod in pods {
        let own = pod.sum();
        reading.networked(&own);
        for running in &pod.containers {
            reading.container(&running.container.meters);
        }
        node.add(&own);
    }
    for running in free {
        reading.container(&running.container.meters);
        node.add(&running.container.meters);
    }
    reading.node_again(&node);
}

impl Pod {
    fn new(
        random: &mut Random,
        shape: Shape,
        unit: CpuUnit,
        started: UnixMs,
    ) -> Result<Self, BadName> {
        let identity = names::pod(random, shape.namespaces)?;
        let containers = (0..shape.containers)
            .map(|number| {
                let identity = names::container(random, &identity, number)?;
                Ok(Running { identity, started, container: Container::new(random, unit) })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { identity, started, containers, gone: Meters::default() })
    }

    /// What the pod's cgroup says: its containers together, and what those before them counted.
    fn sum(&self) -> Meters {
        let mut sum = self.gone.clone();
        for running in &self.containers {
            sum.add(&running.container.meters);
        }
        sum
    }

    /// A new life of a container: the runtime gives it another id.
    fn restart(&mut self, place: usize, random: &mut Random, tick: Tick) {
        let number = u32::try_from(place).unwrap_or(u32::MAX);
        if let Some(running) = self.containers.get_mut(place)
            && let Ok(identity) = names::container(random, &self.identity, number)
        {
            self.gone.add_counters(&running.container.meters);
            running.container.restart(random);
            running.identity = identity;
            running.started = tick.unix_ms();
        }
    }

    fn declare(&self, number: EntityNumber, entities: &mut Vec<EntityDeclaration>) {
        let PodIdentity { key, uid, path } = self.identity.clone();
        let what = Declared::Pod { uid, key: Some(key), path: Some(path) };
        entities.push(EntityDeclaration { number, start: Some(self.started), what });
        let containers =
            (0..self.containers.len()).filter_map(|place| self.container(number, place));
        entities.extend(containers);
    }

    /// One of its containers, when the pod itself has `number`.
    fn container(&self, number: EntityNumber, place: usize) -> Option<EntityDeclaration> {
        let Running { identity, started, .. } = self.containers.get(place)?;
        let ContainerIdentity { name, id, path } = identity.clone();
        Some(EntityDeclaration {
            number: EntityNumber(number.0 + 1 + u32::try_from(place).ok()?),
            start: Some(*started),
            what: Declared::PodContainer {
                pod: number,
                name: Some(name),
                id,
                path: Some(path),
                sandbox: false,
                image: None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::{columns::unpack, declaration::ColumnNumber};

    use super::*;
    use crate::swarm::shape::NAMESPACES;

    const SHAPE: Shape = Shape {
        seed: 1,
        nodes: 2,
        pods: 5,
        containers: 2,
        free_containers: 4,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm: 100_000,
        resolution_s: 1,
    };

    fn said(seed: u64) -> Vec<Said> {
        let mut node = Node::new(Shape { seed, ..SHAPE }, 1).unwrap();
        (0..20).map(|tick| node.say(Tick(2_000_000_000 + tick))).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let bytes =
            |seed| said(seed).into_iter().map(|said| said.frame.columns).collect::<Vec<_>>();
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
    }

    #[test]
    fn every_entity_has_its_metrics_and_is_declared() {
        let first = said(1).remove(0);
        let mut frame = Columns::default();
        unpack(&mut frame, &first.frame.columns).unwrap();
        let entities = u64::from(SHAPE.entities_per_node());
        assert_eq!(first.samples, entities * 15);
        let declared = first.declarations.unwrap();
        assert_eq!(declared.entities.len(), usize::try_from(entities).unwrap());
    }

    #[test]
    fn about_half_of_the_values_change_at_each_tick() {
        let mut node = Node::new(Shape { pods: 30, churn_ppm: 0, ..SHAPE }, 1).unwrap();
        let (mut frame, mut changed, mut all) = (Columns::default(), 0, 0);
        for tick in 0..50 {
            let before = frame.clone();
            unpack(&mut frame, &node.say(Tick(2_000_000_000 + tick)).frame.columns).unwrap();
            for (before, now) in before.values.iter().zip(&frame.values).skip(1) {
                changed += before.iter().zip(now).filter(|(before, now)| before != now).count();
                all += now.len();
            }
        }
        assert!((40..=60).contains(&(changed * 100 / all)), "{}%", changed * 100 / all);
    }

    #[test]
    fn the_nodes_counters_never_go_back_whatever_goes() {
        let mut node = Node::new(SHAPE, 1).unwrap().restarting(200_000);
        let (mut frame, mut last) = (Columns::default(), 0);
        for tick in 0..100 {
            unpack(&mut frame, &node.say(Tick(2_000_000_000 + tick)).frame.columns).unwrap();
            let cpu_usage = frame.get(EntityNumber(0), ColumnNumber(1)).unwrap();
            assert!(last <= cpu_usage, "tick {tick}");
            last = cpu_usage;
        }
    }

    #[test]
    fn a_restarted_container_is_another_and_begins_at_zero() {
        let mut node = Node::new(Shape { churn_ppm: 0, ..SHAPE }, 1).unwrap().restarting(100_000);
        let mut frame = Columns::default();
        unpack(&mut frame, &node.say(Tick(2_000_000_000)).frame.columns).unwrap();
        let mut restarted = 0;
        for tick in 2_000_000_001..2_000_000_020 {
            let said = node.say(Tick(tick));
            unpack(&mut frame, &said.frame.columns).unwrap();
            restarted += said.containers_restarted;
            for entity in said.declarations.into_iter().flat_map(|said| said.entities) {
                assert_eq!(entity.start, Some(Tick(tick).unix_ms()));
                // The most that one uses in a second, in nanoseconds.
                let cpu_usage = frame.get(entity.number, ColumnNumber(1)).unwrap();
                assert!(cpu_usage < 400_000_000, "{cpu_usage}");
            }
        }
        // A tenth of fourteen containers a tick, over nineteen ticks; rarely one of them twice.
        assert!((20..=27).contains(&restarted), "{restarted}");
    }

    #[test]
    fn what_is_said_again_is_the_same_and_what_follows_goes_on_from_it() {
        let mut node = Node::new(SHAPE, 1).unwrap().restarting(50_000);
        let (mut stream, mut other) = (Columns::default(), Columns::default());
        for tick in 0..5 {
            unpack(&mut stream, &node.say(Tick(tick)).frame.columns).unwrap();
        }
        let again = node.again(Tick(4));
        assert_eq!(again.frame.sequence, Sequence(5));
        unpack(&mut other, &again.frame.columns).unwrap();
        assert_eq!(other, stream);
        let mut calm = Node::new(SHAPE, 1).unwrap().restarting(50_000);
        for tick in 0..6 {
            unpack(&mut stream, &calm.say(Tick(tick)).frame.columns).unwrap();
        }
        unpack(&mut other, &node.say(Tick(5)).frame.columns).unwrap();
        assert_eq!(other, stream);
    }

    #[test]
    fn churn_replaces_its_share_of_the_pods() {
        let declared = said(1).into_iter().skip(1).filter_map(|said| said.declarations);
        let pods = declared
            .flat_map(|declared| declared.entities)
            .filter(|entity| matches!(entity.what, Declared::Pod { .. }));
        // A tenth of five pods a tick, over nineteen ticks.
        assert!((8..=10).contains(&pods.count()));
    }
}
