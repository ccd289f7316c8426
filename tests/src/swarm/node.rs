//! One simulated node: what it declares, and a frame for each tick, packed as an agent packs it.

use std::sync::Arc;

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
    free: Vec<(ContainerIdentity, Container)>,
    /// What the pods counted that are gone: the node's own counters never go back.
    gone: Meters,
    packer: Packer,
    sequence: Sequence,
    /// Pods that were replaced and not declared yet.
    replaced: Vec<usize>,
    /// What a millionth of a pod's churn has added up to.
    churn_due: u64,
}

#[derive(Debug)]
struct Pod {
    identity: PodIdentity,
    started: UnixMs,
    containers: Vec<(ContainerIdentity, Container)>,
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
            .map(|number| Ok((names::free_container(number)?, Container::new(&mut random, unit))))
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
            replaced: Vec::new(),
            churn_due: random.below(1_000_000),
            random,
        })
    }

    /// What it says first. `run` is the process: each run of the swarm is another.
    pub fn hello(&self, resolution: Resolution, run: u64) -> Hello {
        let mut boot = [0; 16];
        boot[..4].copy_from_slice(&self.number.to_le_bytes());
        Hello {
            node: self.name.clone(),
            boot: BootId(boot),
            run: Run(run),
            resolution,
            agent_version: concat!("swarm ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Lets time pass up to `tick` and reads everything.
    pub fn say(&mut self, tick: Tick) -> Said {
        let seconds = i64::from(self.shape.resolution_s);
        let first = self.sequence == Sequence(0);
        if !first {
            self.replace_pods(tick);
        }
        let everyone = self.pods.iter_mut().flat_map(|pod| &mut pod.containers);
        for (_, container) in everyone.chain(&mut self.free) {
            container.advance(&mut self.random, seconds);
        }
        let declarations = if first { Some(self.all()) } else { self.declare_replaced() };
        self.sequence.0 += 1;
        let frame = PackedFrame { sequence: self.sequence, tick, columns: self.packed() };
        Said { declarations, frame, samples: self.plan.samples() }
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

    fn replace_pods(&mut self, tick: Tick) {
        self.churn_due += self.shape.churn_ppm * u64::from(self.shape.pods);
        while 1_000_000 <= self.churn_due {
            self.churn_due -= 1_000_000;
            let pods = u64::try_from(self.pods.len()).unwrap_or(0);
            let place = usize::try_from(self.random.below(pods)).unwrap_or(0);
            if let Some(pod) = self.pods.get_mut(place)
                && let Ok(mut new) =
                    Pod::new(&mut self.random, self.shape, self.unit, tick.unix_ms())
            {
                for (_, container) in &mut new.containers {
                    container.restart(&mut self.random);
                }
                self.gone.add_counters(&pod.sum());
                *pod = new;
                self.replaced.push(place);
            }
        }
        self.replaced.sort_unstable();
        self.replaced.dedup();
    }

    /// Everything, for the beginning of a stream.
    fn all(&self) -> Declarations {
        let declare =
            |number, what| EntityDeclaration { number, start: Some(UnixMs(STARTED)), what };
        let mut entities = vec![declare(EntityNumber(0), Declared::Node)];
        for (place, pod) in self.pods.iter().enumerate() {
            pod.declare(self.pod_number(place), &mut entities);
        }
        entities.extend(self.free_numbers().zip(&self.free).map(|(number, (identity, _))| {
            let ContainerIdentity { id, path, .. } = identity.clone();
            declare(
                number,
                Declared::FreeContainer { name: None, id, path: Some(path), image: None },
            )
        }));
        let columns = reading::columns(self.shape.metrics);
        Declarations { entities, columns, retired: Vec::new() }
    }

    /// The replaced pods, under the numbers of those that they replace.
    fn declare_replaced(&mut self) -> Option<Declarations> {
        if self.replaced.is_empty() {
            return None;
        }
        let mut said = Declarations::default();
        for place in &self.replaced {
            if let Some(pod) = self.pods.get(*place) {
                pod.declare(self.pod_number(*place), &mut said.entities);
            }
        }
        self.replaced.clear();
        Some(said)
    }

    fn pod_number(&self, place: usize) -> EntityNumber {
        let place = u32::try_from(place).unwrap_or(u32::MAX);
        EntityNumber(1 + place * (1 + self.shape.containers))
    }

    fn free_numbers(&self) -> impl Iterator<Item = EntityNumber> + use<> {
        (1 + self.shape.pods * (1 + self.shape.containers)..).map(EntityNumber)
    }
}

/// Puts the values of all entities in the order of their numbers.
fn fill(
    reading: &mut Reading<'_>,
    pods: &[Pod],
    free: &[(ContainerIdentity, Container)],
    gone: &Meters,
) {
    let mut node = gone.clone();
    reading.networked(&node);
    for pod in pods {
        let own = pod.sum();
        reading.networked(&own);
        for (_, container) in &pod.containers {
            reading.container(&container.meters);
        }
        node.add(&own);
    }
    for (_, container) in free {
        reading.container(&container.meters);
        node.add(&container.meters);
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
        let identity = names::pod(random)?;
        let containers = (0..shape.containers)
            .map(|number| {
                Ok((names::container(random, &identity, number)?, Container::new(random, unit)))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { identity, started, containers })
    }

    /// What the pod's cgroup says: its containers together.
    fn sum(&self) -> Meters {
        let mut sum = Meters::default();
        for (_, container) in &self.containers {
            sum.add(&container.meters);
        }
        sum
    }

    fn declare(&self, number: EntityNumber, entities: &mut Vec<EntityDeclaration>) {
        let PodIdentity { key, uid, path } = self.identity.clone();
        let start = Some(self.started);
        let what = Declared::Pod { uid, key: Some(key), path: Some(path) };
        entities.push(EntityDeclaration { number, start, what });
        for (place, (identity, _)) in (1..).zip(&self.containers) {
            let ContainerIdentity { name, id, path } = identity.clone();
            let what = Declared::PodContainer {
                pod: number,
                name: Some(name),
                id,
                path: Some(path),
                sandbox: false,
                image: None,
            };
            entities.push(EntityDeclaration {
                number: EntityNumber(number.0 + place),
                start,
                what,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::{columns::unpack, declaration::ColumnNumber};

    use super::*;

    const SHAPE: Shape = Shape {
        seed: 1,
        nodes: 2,
        pods: 5,
        containers: 2,
        free_containers: 4,
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
        let mut node = Node::new(SHAPE, 1).unwrap();
        let (mut frame, mut last) = (Columns::default(), 0);
        for tick in 0..100 {
            unpack(&mut frame, &node.say(Tick(2_000_000_000 + tick)).frame.columns).unwrap();
            let cpu_usage = frame.get(EntityNumber(0), ColumnNumber(1)).unwrap();
            assert!(last <= cpu_usage, "tick {tick}");
            last = cpu_usage;
        }
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
