//! One simulated node: what it declares, and a frame for each tick, packed as an agent packs it.

use bytes::Bytes;
use tally_proto::{
    columns::{Builder, Columns, Packer},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::{BootId, Declarations, Hello, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::{BadName, NodeName},
    tick::{Resolution, Tick, UnixMs},
};

use super::{
    habit::{Container, CpuUnit},
    meter::{Meter, Meters, of_containers, of_networked},
    names::{self, ContainerIdentity, PodIdentity},
    random::Random,
    shape::Shape,
};

/// Disk, as the label of disk metrics has it.
const DISK: &str = "vda";

/// Microseconds that an agent takes to read one cgroup.
const READ_US: i64 = 27;

/// When the entities of the first tick started, in milliseconds since the epoch: the same always,
/// so that a seed decides every byte.
const STARTED: i64 = 1_790_000_000_000;

/// One node.
#[derive(Debug)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    shape: Shape,
    number: u32,
    random: Random,
    unit: CpuUnit,
    pods: Vec<Pod>,
    free: Vec<(ContainerIdentity, Container)>,
    builder: Builder,
    packer: Packer,
    packed: Vec<u8>,
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
    /// The `number`-th node of a cluster. Every second node counts CPU time as cgroup v2 does.
    pub fn new(shape: Shape, number: u32) -> Result<Self, BadName> {
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
            number,
            unit,
            pods,
            free,
            builder: Builder::new(),
            packer: Packer::new(),
            packed: Vec::new(),
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
        self.fill();
        let frame = self.builder.finish();
        let samples = samples(frame);
        self.packed.clear();
        self.packer.pack(frame, &mut self.packed);
        let columns = Bytes::copy_from_slice(&self.packed);
        let frame = PackedFrame { sequence: self.sequence, tick, columns };
        Said { declarations, frame, samples }
    }

    fn replace_pods(&mut self, tick: Tick) {
        self.churn_due += self.shape.churn_ppm * u64::from(self.shape.pods);
        while 1_000_000 <= self.churn_due {
            self.churn_due -= 1_000_000;
            let pods = u64::try_from(self.pods.len()).unwrap_or(0);
            let place = usize::try_from(self.random.below(pods)).unwrap_or(0);
            if let Some(pod) = self.pods.get_mut(place)
                && let Ok(new) = Pod::new(&mut self.random, self.shape, self.unit, tick.unix_ms())
            {
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
        Declarations { entities, columns: columns(self.shape.metrics), retired: Vec::new() }
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

    /// Puts every value where an agent puts it: column numbers follow from meters.
    fn fill(&mut self) {
        let metrics = self.shape.metrics;
        let mut reading = Reading {
            builder: &mut self.builder,
            // An agent wakes some time after the tick and reads one cgroup after the other.
            offset: self.random.between(60, 400),
        };
        let mut node = Meters::default();
        let mut number = 1..;
        for pod in &self.pods {
            let mut own = Meters::default();
            let pod_number = EntityNumber(number.next().unwrap_or(u32::MAX));
            for (_, container) in &pod.containers {
                let number = EntityNumber(number.next().unwrap_or(u32::MAX));
                reading.put(&mut self.random, number, &container.meters, of_containers(metrics));
                own.add(&container.meters);
            }
            reading.put(&mut self.random, pod_number, &own, of_networked(metrics));
            node.add(&own);
        }
        for (_, container) in &self.free {
            let number = EntityNumber(number.next().unwrap_or(u32::MAX));
            reading.put(&mut self.random, number, &container.meters, of_containers(metrics));
            node.add(&container.meters);
        }
        reading.put(&mut self.random, EntityNumber(0), &node, of_networked(metrics));
    }
}

struct Reading<'a> {
    builder: &'a mut Builder,
    offset: i64,
}

impl Reading<'_> {
    fn put(&mut self, random: &mut Random, entity: EntityNumber, meters: &Meters, which: &[Meter]) {
        self.offset += READ_US + random.between(-3, 6);
        self.builder.set(entity, ColumnNumber::READ_OFFSET, self.offset);
        for meter in which {
            self.builder.set(entity, column_of(*meter), meters[*meter]);
        }
    }
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

fn columns(metrics: usize) -> Vec<ColumnDeclaration> {
    let mut meters: Vec<Meter> = of_containers(metrics).to_vec();
    meters.extend(
        of_networked(metrics).iter().filter(|meter| !of_containers(metrics).contains(meter)),
    );
    let declare = |meter: Meter| {
        let metric = meter.metric().metric();
        let labels = metric.labels.iter().map(|key| (*key, DISK));
        Some(ColumnDeclaration {
            number: column_of(meter),
            metric: MetricName::parse(metric.name).ok()?,
            labels: Labels::new(labels).ok()?,
            floating: false,
            cumulative: false,
        })
    };
    meters.into_iter().filter_map(declare).collect()
}

fn column_of(meter: Meter) -> ColumnNumber {
    ColumnNumber(1 + u32::try_from(meter.place()).unwrap_or(u32::MAX))
}

fn samples(frame: &Columns) -> u64 {
    let columns = frame.layout.columns.iter().zip(&frame.values);
    let counted = columns.filter(|(column, _)| column.number != ColumnNumber::READ_OFFSET);
    counted.map(|(_, values)| u64::try_from(values.len()).unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use tally_proto::columns::unpack;

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
    fn churn_replaces_its_share_of_the_pods() {
        let declared = said(1).into_iter().skip(1).filter_map(|said| said.declarations);
        let pods = declared
            .flat_map(|declared| declared.entities)
            .filter(|entity| matches!(entity.what, Declared::Pod { .. }));
        // A tenth of five pods a tick, over nineteen ticks.
        assert!((8..=10).contains(&pods.count()));
    }
}
