//! Generated messages to types. Trusts nothing: every count and length has a limit, and an error
//! names the field.

use std::time::Duration;

use crate::{
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    limits::{ACKNOWLEDGE_WITHIN_MS, COLUMNS_PER_NODE, ENTITIES_PER_NODE, VERSION_BYTES},
    message::{
        AgentMessage, AggregatorMessage, BootId, Declarations, Hello, PackedFrame, Run,
        SCHEMA_VERSION, Sequence, Welcome,
    },
    metric::{BadLabels, Labels, MetricName},
    name::{
        BadName, CgroupPath, ContainerId, ContainerName, ImageName, NamespaceName, NodeName,
        PodName, PodUid,
    },
    tick::{BadResolution, Resolution, Tick, UnixMs},
    wire,
};

/// A message that breaks the schema or a limit. `field` is its path in the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// What must be said was not.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A name that is none.
    #[error("{field} is no valid name")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        source: BadName,
    },
    /// Labels that are none.
    #[error("column.labels are not valid")]
    Labels(#[from] BadLabels),
    /// A number outside its range.
    #[error("{field} is {value}, allowed is {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What was said.
        value: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// A schema this code does not speak.
    #[error("hello.schema_version is {0}, this side speaks {SCHEMA_VERSION}")]
    Version(u32),
    /// A resolution that is none.
    #[error("hello.resolution_seconds is not valid")]
    Resolution(#[from] BadResolution),
}

/// What an agent said.
pub fn agent_message(message: wire::AgentMessage) -> Result<AgentMessage, BadMessage> {
    use wire::agent_message::Message;
    let wire::AgentMessage { message } = message;
    let Some(message) = message else { return Ok(AgentMessage::Unknown) };
    match message {
        Message::Hello(said) => hello(said).map(AgentMessage::Hello),
        Message::Declarations(said) => declarations(said).map(AgentMessage::Declarations),
        Message::Frame(said) => frame(said).map(AgentMessage::Frame),
    }
}

/// What an aggregator said.
pub fn aggregator_message(
    message: wire::AggregatorMessage,
) -> Result<AggregatorMessage, BadMessage> {
    use wire::aggregator_message::Message;
    let wire::AggregatorMessage { message } = message;
    let Some(message) = message else { return Ok(AggregatorMessage::Unknown) };
    match message {
        Message::Welcome(wire::Welcome { schema_version: _, acknowledged }) => {
            Ok(AggregatorMessage::Welcome(Welcome { acknowledged: Sequence(acknowledged) }))
        }
        Message::Ack(wire::Ack { sequence }) => Ok(AggregatorMessage::Ack(Sequence(sequence))),
    }
}

fn hello(said: wire::Hello) -> Result<Hello, BadMessage> {
    let wire::Hello {
        schema_version,
        node,
        boot_id,
        run,
        resolution_seconds,
        agent_version,
        acknowledge_within_ms,
    } = said;
    if schema_version != SCHEMA_VERSION {
        return Err(BadMessage::Version(schema_version));
    }
    let boot = <[u8; 16]>::try_from(&*boot_id).map_err(|_| BadMessage::OutOfRange {
        field: "hello.boot_id (bytes)",
        value: count(boot_id.len()),
        least: 16,
        most: 16,
    })?;
    in_range("hello.agent_version (bytes)", count(agent_version.len()), 0, count(VERSION_BYTES))?;
    let within = u64::from(acknowledge_within_ms);
    in_range("hello.acknowledge_within_ms", within, 0, u64::from(ACKNOWLEDGE_WITHIN_MS))?;
    Ok(Hello {
        node: named("hello.node", NodeName::parse(&node))?,
        boot: BootId(boot),
        run: Run(run),
        resolution: Resolution::from_seconds(u64::from(resolution_seconds))?,
        agent_version,
        acknowledge_within: Duration::from_millis(within),
    })
}

fn frame(said: wire::Frame) -> Result<PackedFrame, BadMessage> {
    let wire::Frame { sequence, tick_unix_s, columns } = said;
    in_range("frame.sequence", sequence, 1, u64::MAX)?;
    // Beyond the year 9999 no timestamp can be written.
    in_range("frame.tick_unix_s", tick_unix_s, 1, 253_402_300_799)?;
    Ok(PackedFrame { sequence: Sequence(sequence), tick: Tick(tick_unix_s), columns })
}

fn declarations(said: wire::Declarations) -> Result<Declarations, BadMessage> {
    let wire::Declarations { entities, columns, retired_entities } = said;
    Ok(Declarations {
        entities: entities.into_iter().map(entity).collect::<Result<_, _>>()?,
        columns: columns.into_iter().map(column).collect::<Result<_, _>>()?,
        retired: retired_entities
            .into_iter()
            .map(|number| entity_number("declarations.retired_entities", number))
            .collect::<Result<_, _>>()?,
    })
}

fn entity(said: wire::EntityDeclaration) -> Result<EntityDeclaration, BadMessage> {
    use wire::entity_declaration::Entity;
    let wire::EntityDeclaration { number, start_unix_ms, entity } = said;
    let what = match entity {
        Some(Entity::Node(wire::NodeEntity {})) => Declared::Node,
        Some(Entity::Pod(said)) => pod(&said)?,
        Some(Entity::PodContainer(said)) => pod_container(&said)?,
        Some(Entity::FreeContainer(said)) => free_container(&said)?,
        None => Declared::Unknown,
    };
    Ok(EntityDeclaration {
        number: entity_number("entity.number", number)?,
        start: (start_unix_ms != 0).then_some(UnixMs(start_unix_ms)),
        what,
    })
}

fn pod(said: &wire::PodEntity) -> Result<Declared, BadMessage> {
    let wire::PodEntity { uid, namespace, name, cgroup_path } = said;
    let key = if namespace.is_empty() && name.is_empty() {
        None
    } else {
        Some(PodKey {
            namespace: named("pod.namespace", NamespaceName::parse(namespace))?,
            name: named("pod.name", PodName::parse(name))?,
        })
    };
    Ok(Declared::Pod {
        uid: named("pod.uid", PodUid::parse(uid))?,
        key,
        path: named("pod.cgroup_path", CgroupPath::parse_optional(cgroup_path))?,
    })
}

fn pod_container(said: &wire::PodContainerEntity) -> Result<Declared, BadMessage> {
    let wire::PodContainerEntity { pod_number, name, container_id, cgroup_path, sandbox, image } =
        said;
    Ok(Declared::PodContainer {
        pod: entity_number("pod_container.pod_number", *pod_number)?,
        name: named("pod_container.name", ContainerName::parse_optional(name))?,
        id: named("pod_container.container_id", ContainerId::parse_optional(container_id))?,
        path: named("pod_container.cgroup_path", CgroupPath::parse_optional(cgroup_path))?,
        sandbox: *sandbox,
        image: named("pod_container.image", ImageName::parse_optional(image))?,
    })
}

fn free_container(said: &wire::FreeContainerEntity) -> Result<Declared, BadMessage> {
    let wire::FreeContainerEntity { name, container_id, cgroup_path, image } = said;
    if name.is_empty() && cgroup_path.is_empty() {
        return Err(BadMessage::Missing { field: "free_container.name or .cgroup_path" });
    }
    Ok(Declared::FreeContainer {
        name: named("free_container.name", ContainerName::parse_optional(name))?,
        id: named("free_container.container_id", ContainerId::parse_optional(container_id))?,
        path: named("free_container.cgroup_path", CgroupPath::parse_optional(cgroup_path))?,
        image: named("free_container.image", ImageName::parse_optional(image))?,
    })
}

fn column(said: wire::ColumnDeclaration) -> Result<ColumnDeclaration, BadMessage> {
    let wire::ColumnDeclaration { number, metric, labels, floating, cumulative } = said;
    in_range("column.number", u64::from(number), 1, u64::from(COLUMNS_PER_NODE) - 1)?;
    let pairs = labels.into_iter().map(|wire::Label { key, value }| (key, value));
    Ok(ColumnDeclaration {
        number: ColumnNumber(number),
        metric: named("column.metric", MetricName::parse(&metric))?,
        labels: Labels::new(pairs)?,
        floating,
        cumulative,
    })
}

fn entity_number(field: &'static str, number: u32) -> Result<EntityNumber, BadMessage> {
    in_range(field, u64::from(number), 0, u64::from(ENTITIES_PER_NODE) - 1)?;
    Ok(EntityNumber(number))
}

fn in_range(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), BadMessage> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(BadMessage::OutOfRange { field, value, least, most })
    }
}

fn named<T>(field: &'static str, name: Result<T, BadName>) -> Result<T, BadMessage> {
    name.map_err(|source| BadMessage::Name { field, source })
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
