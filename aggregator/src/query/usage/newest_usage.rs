//! Amounts of usage in a node's newest frame.

use tally_proto::{
    catalogue,
    columns::Layout,
    declaration::{ColumnNumber, EntityNumber},
    name::ContainerName,
    rate,
};

use super::{
    super::newest::{Beside, Newest},
    ContainerUsage, Containers, Interval, Usage,
};
use crate::{
    declared::MetricKey,
    point::{Reading, elapsed_us},
    roster::{Pod, PodContainer},
    schema::Schema,
};

/// Whether a column of the frame before is needed.
pub(super) fn needs(schema: &Schema, number: ColumnNumber) -> bool {
    let meaning = schema.declarations.column(number);
    number == ColumnNumber::READ_OFFSET
        || meaning.is_some_and(|column| {
            column.metric == MetricKey::Known(catalogue::CPU_USAGE) && column.labels.is_empty()
        })
}

/// The columns of one frame that usage is in; what is beside CPU has numbers of the same entities.
pub(super) struct UsageColumns<'a> {
    layout: &'a Layout,
    cpu: Option<usize>,
    readings: Vec<Option<(Reading, Reading)>>,
    memory: Option<Beside<'a>>,
    swap: Option<Beside<'a>>,
    ephemeral_storage: Option<Beside<'a>>,
}

impl<'a> UsageColumns<'a> {
    pub(super) fn of(newest: &'a Newest<'a>) -> Self {
        let [cpu, memory, swap, ephemeral_storage] = newest.schema.plain_columns([
            catalogue::CPU_USAGE,
            catalogue::MEMORY_WORKING_SET,
            catalogue::MEMORY_SWAP,
            catalogue::EPHEMERAL_STORAGE_USAGE,
        ]);
        let beside = |column: Option<usize>| Some(newest.beside(cpu?, column?));
        Self {
            layout: &newest.schema.layout,
            cpu,
            readings: cpu.map(|index| newest.readings(index)).unwrap_or_default(),
            memory: beside(memory),
            swap: beside(swap),
            ephemeral_storage: beside(ephemeral_storage),
        }
    }

    /// What a row uses; `None` without a rate of CPU or without memory.
    pub(super) fn usage(&self, row: EntityNumber) -> Option<(Interval, Usage)> {
        let position = self.layout.position(self.cpu?, row)?;
        let (before, now) = self.readings.get(position).copied().flatten()?;
        let length_us = elapsed_us((before.tick, before.offset), (now.tick, now.offset))?;
        let growth = rate::growth(before.total, now.total).ok()?;
        // Nothing can use less than nothing.
        let bytes =
            |column: &Option<Beside<'_>>| u64::try_from(column.as_ref()?.at(position)?).ok();
        let usage = Usage {
            cpu_nanocores: rate::nanocores(growth, length_us).ok()?,
            memory_bytes: bytes(&self.memory)?,
            swap_bytes: bytes(&self.swap),
            ephemeral_storage_bytes: bytes(&self.ephemeral_storage),
        };
        Some((Interval { end: now.at(), tick: now.tick, length_us }, usage))
    }

    /// What the containers of a pod use, instead of what `used` holds, and the earliest of their times;
    /// `None` without any, or without all where all that are specified are wanted.
    pub(super) fn usage_of_pod<'p>(
        &self,
        pod: &'p Pod,
        which: Containers,
        used: &mut Vec<ContainerUsage<&'p ContainerName>>,
    ) -> Option<Interval> {
        let place = |container: &PodContainer| container.record.unwrap_or(u32::MAX);
        used.clear();
        if pod.containers.is_sorted_by_key(place) {
            return self.usage_of_containers(pod, pod.containers.iter(), which, used);
        }
        let mut ordered: Vec<&PodContainer> = pod.containers.iter().collect();
        // Stable, so that those without a place stay sorted by name.
        ordered.sort_by_key(|container| place(container));
        self.usage_of_containers(pod, ordered.into_iter(), which, used)
    }

    fn usage_of_containers<'p>(
        &self,
        pod: &Pod,
        containers: impl Iterator<Item = &'p PodContainer>,
        which: Containers,
        used: &mut Vec<ContainerUsage<&'p ContainerName>>,
    ) -> Option<Interval> {
        let mut earliest: Option<Interval> = None;
        for container in containers {
            let specified = container.record.is_some() || pod.record.is_none();
            if which == Containers::Specified && !specified {
                continue;
            }
            match container.row.and_then(|row| self.usage(row)) {
                Some((interval, usage)) => {
                    earliest = Some(earliest.map_or(interval, |earliest| earliest.min(interval)));
                    used.push(ContainerUsage { name: &container.name, usage });
                }
                None if which == Containers::Specified => return None,
                None => (),
            }
        }
        earliest
    }
}
