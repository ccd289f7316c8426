//! Readings as declarations and frames: hands out the numbers and remembers what was said.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::Timestamp;
use tally_proto::{
    columns::{Builder, Packer},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    message::Declarations,
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, PodName, PodUid},
    tick::{Tick, UnixMs},
};

use super::summary::{Column, Number, Reading, What};

/// An entity, and which one of several with the same name: the oldest life is 0. A kubelet may
/// report a container twice, in any order.
type Key = (What, usize);

/// One node's numbering.
#[derive(Debug, Default)]
pub struct Numbers {
    entities: BTreeMap<Key, (EntityNumber, Option<Timestamp>)>,
    columns: BTreeMap<Column, ColumnNumber>,
    builder: Builder,
    packer: Packer,
    next_entity: u32,
}

/// What is to be sent for one batch.
#[derive(Debug)]
pub struct Batch {
    /// To be said before the frame, if not empty.
    pub declarations: Declarations,
    /// The frame's packed columns.
    pub columns: Vec<u8>,
}

impl Numbers {
    /// `readings` of the batch stamped `tick`. An entity that does not say when it was read was
    /// read at `scraped`.
    pub fn batch(
        &mut self,
        tick: Tick,
        scraped: Timestamp,
        readings: &[Reading],
    ) -> anyhow::Result<Batch> {
        let mut declarations = Declarations::default();
        let mut present = BTreeSet::new();
        for (key, reading) in ranked(readings) {
            let entity = self.entity(&key, reading, &mut declarations)?;
            present.insert(key);
            let read_at = reading.read_at.unwrap_or(scraped).as_microsecond();
            let offset = read_at - tick.unix_ms().0 * 1000;
            self.builder.set(entity, ColumnNumber::READ_OFFSET, offset);
            for (column, number) in &reading.values {
                let column = self.column(column, &mut declarations)?;
                self.builder.set(entity, column, wire_integer(*number)?);
            }
        }
        self.retire_all_but(&present, &mut declarations);
        let mut columns = Vec::new();
        self.packer.pack(self.builder.finish(), &mut columns);
        Ok(Batch { declarations, columns })
    }

    /// The entity's number, declared when it is new and again when a new life began.
    fn entity(
        &mut self,
        key: &Key,
        reading: &Reading,
        said: &mut Declarations,
    ) -> anyhow::Result<EntityNumber> {
        let number = match self.entities.get(key) {
            Some((number, start)) if *start == reading.start => return Ok(*number),
            Some((number, _)) => *number,
            None => {
                self.next_entity += 1;
                EntityNumber(self.next_entity - 1)
            }
        };
        self.entities.insert(key.clone(), (number, reading.start));
        let start = reading.start.map(|start| UnixMs(start.as_millisecond()));
        let what = self.declared(&reading.what).with_context(|| format!("{:?}", reading.what))?;
        said.entities.push(EntityDeclaration { number, start, what });
        Ok(number)
    }

    fn declared(&self, what: &What) -> anyhow::Result<Declared> {
        Ok(match what {
            What::Node => Declared::Node,
            What::Pod(pod) => Declared::Pod {
                uid: PodUid::parse(&pod.uid)?,
                key: Some(PodKey {
                    namespace: NamespaceName::parse(&pod.namespace)?,
                    name: PodName::parse(&pod.name)?,
                }),
                path: None,
            },
            What::PodContainer(pod, name) => {
                let (pod, _) = self
                    .entities
                    .get(&(What::Pod(pod.clone()), 0))
                    .context("a container before its pod")?;
                Declared::PodContainer {
                    pod: *pod,
                    name: Some(ContainerName::parse(name)?),
                    id: None,
                    path: None,
                    sandbox: false,
                    image: None,
                }
            }
            What::FreeContainer(name) => Declared::FreeContainer {
                name: Some(ContainerName::parse(name)?),
                id: None,
                path: None,
                image: None,
            },
        })
    }

    fn column(&mut self, column: &Column, said: &mut Declarations) -> anyhow::Result<ColumnNumber> {
        if let Some(number) = self.columns.get(column) {
            return Ok(*number);
        }
        let number = ColumnNumber(u32::try_from(self.columns.len())? + 1);
        self.columns.insert(column.clone(), number);
        said.columns.push(ColumnDeclaration {
            number,
            metric: MetricName::parse(&column.metric)?,
            labels: Labels::new(column.labels.iter().map(|(key, value)| (*key, value.as_str())))?,
            floating: column.floating,
            cumulative: column.cumulative,
        });
        Ok(number)
    }

    fn retire_all_but(&mut self, present: &BTreeSet<Key>, said: &mut Declarations) {
        self.entities.retain(|key, (number, _)| {
            let stays = present.contains(key);
            if !stays {
                said.retired.push(*number);
            }
            stays
        });
    }
}

/// Each reading with its key, pods before their containers.
fn ranked(readings: &[Reading]) -> Vec<(Key, &Reading)> {
    let mut lives: BTreeMap<&What, Vec<&Reading>> = BTreeMap::new();
    for reading in readings {
        lives.entry(&reading.what).or_default().push(reading);
    }
    let mut ranked = Vec::new();
    for (what, mut same) in lives {
        same.sort_by_key(|reading| reading.start);
        ranked.extend((0..).zip(same).map(|(rank, reading)| ((what.clone(), rank), reading)));
    }
    ranked
}

fn wire_integer(number: Number) -> anyhow::Result<i64> {
    Ok(match number {
        Number::Integer(value) => i64::try_from(value)?,
        Number::Float(value) => value.to_bits().cast_signed(),
    })
}
