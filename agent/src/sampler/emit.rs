//! Puts what was read into the frame.

use tally_proto::{
    catalogue::{self as metric, MetricId},
    columns::Builder,
    declaration::{ColumnNumber, EntityNumber},
};

use super::{
    Sampler,
    disk_usage::{Gauge, Watched},
    member::{Kind, Member, OwnNetwork},
};
use crate::{
    columns::{Columns, ResourceNumber},
    host::unreadable::Reason,
    network::Network,
    node::Node,
    parse::device::DeviceIo,
};

impl Sampler {
    /// Puts every member into the frame.
    pub(super) fn emit(&mut self, frame: &mut Builder) {
        let host = &mut self.host;
        for member in self.population.members_mut() {
            for entity in member.numbers() {
                let mut row = Row { entity, columns: &mut host.columns, frame };
                row.set(Some(ColumnNumber::READ_OFFSET), member.read_offset_us);
                member.sample.each(|metric, value| row.put(metric, value));
                if member.own_processes.is_some() || 0 < member.all_processes {
                    row.put(metric::PROCESSES_COUNT, member.all_processes);
                }
                match &member.network {
                    OwnNetwork::Own(network) => row.put_network(network),
                    _ if member.kind == Kind::Node => row.put_network(host.node.network()),
                    _ => (),
                }
                for gauge in &member.disk_usage {
                    row.put_gauge(gauge);
                }
                put_disks(entity, member, &host.node, &mut host.columns, frame);
            }
        }
        self.emit_node(frame);
        self.report_refused();
    }

    /// What only the node has, the agent's own cost among it.
    fn emit_node(&mut self, frame: &mut Builder) {
        let cpu_ns = self.own_cost.cpu_ns();
        let resident_bytes = self.own_cost.resident_bytes(&mut self.host.files);
        let open_files = self.host.files.budget.held();
        let read_time_ns =
            self.read_time_us.and_then(|us| u64::try_from(us).ok()?.checked_mul(1000));
        let spool = self.delivery.and_then(|now| now.spool);
        let disk_usage = self.disk_usage.as_ref().and_then(Watched::newest);
        let Some(node) = self.population.at("/") else { return };
        let mut row = Row { entity: node, columns: &mut self.host.columns, frame };
        for (metric, value) in [
            (metric::AGENT_CPU_USAGE, cpu_ns),
            (metric::AGENT_MEMORY_RSS, resident_bytes),
            (metric::AGENT_OPEN_FILES, u64::try_from(open_files).ok()),
            (metric::AGENT_READ_TIME, read_time_ns),
            (metric::AGENT_FRAMES_DROPPED, self.delivery.map(|now| now.frames_dropped)),
            (metric::AGENT_SAMPLES_DROPPED, self.delivery.map(|now| now.samples_dropped)),
            (metric::AGENT_SPOOL_SIZE, spool.map(|spool| spool.bytes)),
            (metric::AGENT_SPOOL_FAULTS, spool.map(|spool| spool.faults)),
            (metric::AGENT_DISK_USAGE_GIVEN_UP, disk_usage.map(|usage| usage.given_up)),
            (metric::IMAGES_USAGE, disk_usage.and_then(|usage| usage.images_bytes)),
        ] {
            if let Some(value) = value {
                row.put(metric, value);
            }
        }
        self.host.node.each_filesystem(|metric, resource, value| match resource {
            Some(resource) => row.put_of(metric, resource, value),
            None => row.put(metric, value),
        });
    }

    fn report_refused(&mut self) {
        let refused = self.host.columns.refused();
        if self.refused_before < refused {
            self.refused_before = refused;
            self.host.files.unreadable.count(
                "columns",
                "disks, interfaces and volumes",
                Reason::TooMany,
            );
        }
    }
}

fn put_disks(
    entity: EntityNumber,
    member: &mut Member,
    node: &Node,
    columns: &mut Columns,
    frame: &mut Builder,
) {
    let (disks, resources) = member.disks(node, columns);
    let mut row = Row { entity, columns, frame };
    for (disk, resource) in disks.iter().zip(resources) {
        let Some(resource) = resource.filter(|_| disk.is_there) else { continue };
        let DeviceIo { read_bytes, write_bytes, read_operations, write_operations } = disk.io;
        for (metric, value) in [
            (metric::DISK_READ_BYTES, read_bytes),
            (metric::DISK_WRITE_BYTES, write_bytes),
            (metric::DISK_READ_OPERATIONS, read_operations),
            (metric::DISK_WRITE_OPERATIONS, write_operations),
        ] {
            if let Some(value) = value {
                row.put_of(metric, resource, value);
            }
        }
    }
}

/// One entity's place in the frame.
struct Row<'a> {
    entity: EntityNumber,
    columns: &'a mut Columns,
    frame: &'a mut Builder,
}

impl Row<'_> {
    fn put(&mut self, metric: MetricId, value: u64) {
        let column = self.columns.plain(metric);
        self.set(column, integer(value));
    }

    fn put_of(&mut self, metric: MetricId, resource: ResourceNumber, value: u64) {
        let column = self.columns.of_resource(metric, resource);
        self.set(column, integer(value));
    }

    fn put_gauge(&mut self, gauge: &Gauge) {
        match gauge.resource {
            Some(resource) => self.put_of(gauge.metric, resource, gauge.value),
            None => self.put(gauge.metric, gauge.value),
        }
    }

    fn put_network(&mut self, network: &Network) {
        network.each_plain(|metric, value| self.put(metric, value));
        network.each_interface(|metric, resource, value| self.put_of(metric, resource, value));
    }

    fn set(&mut self, column: Option<ColumnNumber>, value: i64) {
        if let Some(column) = column {
            self.frame.set(self.entity, column, value);
        }
    }
}

/// The wire carries signed numbers. Nothing that is counted reaches their end.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
