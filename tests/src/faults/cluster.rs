//! What is true: nodes with pods, containers and services, and each of their values at each tick.
//!
//! Nothing is remembered from tick to tick. Any frame can be said at any time, as often as wanted.

use tally_proto::{
    columns::{Builder, Columns},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    message::Declarations,
    metric::{Labels, MetricName},
    name::{
        BadName, CgroupPath, ContainerId, ContainerName, NamespaceName, NodeName, PodName, PodUid,
    },
    tick::{Tick, UnixMs},
};

use crate::swarm::random::Random;

/// Nodes of the cluster.
pub const NODES: u32 = 4;
const PODS: u32 = 5;
const CONTAINERS: u32 = 2;
const FREE: u32 = 2;

/// Metrics of all entities; the counters grow by at most so much a tick.
const METRICS: [(&str, Option<u64>); 5] = [
    ("memory/usage", None),
    ("memory/working_set", None),
    ("cpu/usage", Some(700_000_000)),
    ("memory/page_faults", Some(90)),
    ("network/rx", Some(1_000_000)),
];

/// The metric that only nodes and pods have.
const NETWORKED: usize = 4;

/// When the node itself began to count.
const BOOT: UnixMs = UnixMs(1_700_000_000_000);

/// A cluster, and its ticks: first some around a midnight, then up to the present.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Decides every name and value.
    pub seed: u64,
    /// First tick and number of ticks of each stretch of time, one after the other.
    pub stretches: Vec<(Tick, u64)>,
}

/// Something with values, in one life.
#[derive(Clone, Debug)]
pub struct Entity {
    /// Its number in frames.
    pub number: EntityNumber,
    /// The place of the tick with which this life began.
    pub since: u64,
    /// How it is declared.
    pub declaration: EntityDeclaration,
}

impl Cluster {
    /// Ticks, all together.
    pub fn ticks(&self) -> u64 {
        self.stretches.iter().map(|(_, count)| count).sum()
    }

    /// The tick at a place.
    pub fn tick(&self, mut place: u64) -> Tick {
        for (first, count) in &self.stretches {
            if place < *count {
                return Tick(first.0 + place);
            }
            place -= count;
        }
        Tick(0)
    }

    /// The name of a node.
    pub fn node(&self, node: u32) -> Result<NodeName, BadName> {
        NodeName::parse(&format!("node-{node}"))
    }

    /// Everything on a node at a tick, in the order of the numbers.
    pub fn entities(&self, node: u32, place: u64) -> Result<Vec<Entity>, BadName> {
        let mut all = vec![Entity {
            number: EntityNumber(0),
            since: 0,
            declaration: EntityDeclaration {
                number: EntityNumber(0),
                start: Some(BOOT),
                what: Declared::Node,
            },
        }];
        for pod in 0..PODS {
            self.add_pod((node, pod), place, &mut all)?;
        }
        for free in 0..FREE {
            let number = EntityNumber(1 + PODS * (1 + CONTAINERS) + free);
            let since = life(place, 1_100 + u64::from(free) * 130 + u64::from(node) * 17);
            all.push(self.entity(
                number,
                since,
                Declared::FreeContainer {
                    name: None,
                    id: None,
                    path: Some(CgroupPath::parse(&format!("/system.slice/s{free}.service"))?),
                    image: None,
                },
            ));
        }
        Ok(all)
    }

    fn add_pod(
        &self,
        (node, pod): (u32, u32),
        place: u64,
        all: &mut Vec<Entity>,
    ) -> Result<(), BadName> {
        let number = EntityNumber(1 + pod * (1 + CONTAINERS));
        let since = life(place, 1_500 + u64::from(pod) * 197 + u64::from(node) * 31);
        let mut random = Random::new(self.seed, mixed(&[node.into(), pod.into(), since, 1]));
        let uid = format!("{:08x}-0000-4000-8000-{node:04x}{pod:08x}", random.bits() >> 32);
        let key = PodKey {
            namespace: NamespaceName::parse(&format!("team-{}", pod % 3))?,
            name: PodName::parse(&format!("app-{node}-{pod}-{since}"))?,
        };
        let path = format!("/kubepods/pod{uid}");
        all.push(self.entity(
            number,
            since,
            Declared::Pod {
                uid: PodUid::parse(&uid)?,
                key: Some(key),
                path: Some(CgroupPath::parse(&path)?),
            },
        ));
        for container in 0..CONTAINERS {
            let began = since.max(life(place, 640 + u64::from(container) * 210));
            let id = format!(
                "{:016x}{:016x}",
                random.bits(),
                mixed(&[random.bits(), began, container.into()])
            );
            let id = format!("{id}{id}");
            all.push(self.entity(
                EntityNumber(number.0 + 1 + container),
                began,
                Declared::PodContainer {
                    pod: number,
                    name: Some(ContainerName::parse(&format!("c{container}"))?),
                    path: Some(CgroupPath::parse(&format!("{path}/{id}"))?),
                    id: Some(ContainerId::parse(&id)?),
                    sandbox: false,
                    image: None,
                },
            ));
        }
        Ok(())
    }

    fn entity(&self, number: EntityNumber, since: u64, what: Declared) -> Entity {
        let start = Some(self.tick(since).unix_ms());
        Entity { number, since, declaration: EntityDeclaration { number, start, what } }
    }

    /// What is said at a tick: all, or what began with it. Containers follow their pod.
    pub fn declarations(
        &self,
        node: u32,
        place: u64,
        is_first: bool,
    ) -> anyhow::Result<Declarations> {
        let entities = self.entities(node, place)?;
        let began = entities.into_iter().filter(|entity| is_first || entity.since == place);
        let entities = began.map(|entity| entity.declaration).collect();
        let columns = if is_first { columns()? } else { Vec::new() };
        Ok(Declarations { entities, columns, retired: Vec::new() })
    }

    /// A frame's values.
    pub fn values<'a>(
        &self,
        node: u32,
        place: u64,
        builder: &'a mut Builder,
    ) -> Result<&'a Columns, BadName> {
        for entity in self.entities(node, place)? {
            let offset =
                60 + i64::from(entity.number.0) * 27 + self.noise(node, &entity, 9, place, 20);
            builder.set(entity.number, ColumnNumber::READ_OFFSET, offset);
            for metric in 0..METRICS.len() {
                if let Some(value) = self.value(node, &entity, metric, place) {
                    builder.set(entity.number, column(metric), value);
                }
            }
        }
        Ok(builder.finish())
    }

    /// One value; `None` when the entity has none of this metric.
    pub fn value(&self, node: u32, entity: &Entity, metric: usize, place: u64) -> Option<i64> {
        let has_network = matches!(entity.declaration.what, Declared::Node | Declared::Pod { .. });
        if metric == NETWORKED && !has_network {
            return None;
        }
        let (_, most) = METRICS.get(metric)?;
        let Some(most) = most else {
            // Half of all gauges stand still for a while.
            let at = if (entity.number.0 + 1).is_multiple_of(2) { place / 5 } else { place };
            return Some(4096 * self.noise(node, entity, metric, at, 50_000));
        };
        let grown = i64::try_from((place - entity.since).checked_mul(*most)?).ok()?;
        Some(grown + self.noise(node, entity, metric, place, *most))
    }

    fn noise(&self, node: u32, entity: &Entity, metric: usize, at: u64, below: u64) -> i64 {
        let metric = u64::try_from(metric).unwrap_or(0);
        let key = mixed(&[node.into(), entity.number.0.into(), entity.since, metric, at]);
        i64::try_from(Random::new(self.seed, key).below(below)).unwrap_or(0)
    }
}

/// Names of the metrics.
pub fn metrics() -> impl Iterator<Item = (usize, &'static str)> {
    METRICS.iter().map(|(name, _)| *name).enumerate()
}

fn column(metric: usize) -> ColumnNumber {
    ColumnNumber(1 + u32::try_from(metric).unwrap_or(0))
}

fn columns() -> anyhow::Result<Vec<ColumnDeclaration>> {
    metrics()
        .map(|(metric, name)| {
            Ok(ColumnDeclaration {
                number: column(metric),
                metric: MetricName::parse(name)?,
                labels: Labels::none(),
                floating: false,
                cumulative: false,
            })
        })
        .collect()
}

/// When the life at a place began, where lives last so long.
fn life(place: u64, lasts: u64) -> u64 {
    place / lasts * lasts
}

fn mixed(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |key, part| Random::new(key, *part).bits())
}
