//! Fills the table from the live model, as any reader of it would.

use tally_aggregator::query::{Queries, Value};
use tally_proto::{
    catalogue::{self, MetricId},
    entity::Entity,
    metric::Labels,
};

use crate::table::{Line, Table};

/// What the model knows now.
pub(crate) fn table(queries: &Queries) -> Table {
    let mut table = Table::default();
    for entity in queries.keys() {
        match &entity {
            Entity::Cluster | Entity::Pod(..) => (),
            Entity::Node(name) => table.nodes.push(line(queries, &entity, name.to_string())),
            Entity::Namespace(name) => {
                table.namespaces.push(line(queries, &entity, name.to_string()));
            }
            Entity::PodContainer(namespace, pod, name) => {
                let name = format!("{namespace}/{pod}/{name}");
                table.containers.push(line(queries, &entity, name));
            }
            Entity::FreeContainer(_, name) => {
                table.containers.push(line(queries, &entity, name.to_string()));
            }
        }
    }
    table
}

fn line(queries: &Queries, entity: &Entity, name: String) -> Line {
    let integer = |id| match newest(queries, entity, id) {
        Some(Value::Integer(value)) => Some(value),
        _ => None,
    };
    Line {
        name,
        cpu_millicores: integer(catalogue::CPU_USAGE_RATE),
        working_set_bytes: integer(catalogue::MEMORY_WORKING_SET),
        received_per_s: newest(queries, entity, catalogue::NETWORK_RX_RATE).map(Value::as_f64),
        sent_per_s: newest(queries, entity, catalogue::NETWORK_TX_RATE).map(Value::as_f64),
        threads: integer(catalogue::THREADS_COUNT),
    }
}

/// The last points are enough: a value older than that is not what happens now.
fn newest(queries: &Queries, entity: &Entity, id: MetricId) -> Option<Value> {
    let recent = queries.recent_range()?;
    let series = queries.series(entity, id.metric().name, &Labels::none(), recent);
    series.last().map(|point| point.value)
}
