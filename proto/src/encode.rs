//! Types to generated messages.

use bytes::Bytes;

use crate::{
    declaration::{ColumnDeclaration, Declared, EntityDeclaration},
    limits::ACKNOWLEDGE_WITHIN_MS,
    message::{AgentMessage, AggregatorMessage, Declarations, Hello, PackedFrame, SCHEMA_VERSION},
    wire,
};

/// What an agent says, ready to send.
pub fn agent_message(message: AgentMessage) -> wire::AgentMessage {
    use wire::agent_message::Message;
    let message = match message {
        AgentMessage::Hello(said) => Some(Message::Hello(hello(said))),
        AgentMessage::Declarations(said) => Some(Message::Declarations(declarations(said))),
        AgentMessage::Frame(said) => Some(Message::Frame(frame(said))),
        AgentMessage::Unknown => None,
    };
    wire::AgentMessage { message }
}

/// What an aggregator says, ready to send.
pub fn aggregator_message(message: AggregatorMessage) -> wire::AggregatorMessage {
    use wire::aggregator_message::Message;
    let message = match message {
        AggregatorMessage::Welcome(said) => Some(Message::Welcome(wire::Welcome {
            schema_version: SCHEMA_VERSION,
            acknowledged: said.acknowledged.0,
        })),
        AggregatorMessage::Ack(sequence) => Some(Message::Ack(wire::Ack { sequence: sequence.0 })),
        AggregatorMessage::Unknown => None,
    };
    wire::AggregatorMessage { message }
}

fn hello(hello: Hello) -> wire::Hello {
    wire::Hello {
        schema_version: SCHEMA_VERSION,
        node: hello.node.as_str().to_owned(),
        boot_id: Bytes::copy_from_slice(&hello.boot.0),
        run: hello.run.0,
        resolution_seconds: hello.resolution.seconds(),
        agent_version: hello.agent_version,
        acknowledge_within_ms: u32::try_from(hello.acknowledge_within.as_millis())
            .unwrap_or(ACKNOWLEDGE_WITHIN_MS),
    }
}

fn frame(frame: PackedFrame) -> wire::Frame {
    wire::Frame { sequence: frame.sequence.0, tick_unix_s: frame.tick.0, columns: frame.columns }
}

fn declarations(said: Declarations) -> wire::Declarations {
    wire::Declarations {
        entities: said.entities.into_iter().map(entity).collect(),
        columns: said.columns.into_iter().map(column).collect(),
        retired_entities: said.retired.into_iter().map(|number| number.0).collect(),
    }
}

fn entity(said: EntityDeclaration) -> wire::EntityDeclaration {
    use wire::entity_declaration::Entity;
    let entity = match said.what {
        Declared::Unknown => None,
        Declared::Node => Some(Entity::Node(wire::NodeEntity {})),
        Declared::Pod { uid, key, path } => Some(Entity::Pod(wire::PodEntity {
            uid: uid.to_string(),
            namespace: text(key.as_ref().map(|key| &key.namespace)),
            name: text(key.as_ref().map(|key| &key.name)),
            cgroup_path: text(path),
        })),
        Declared::PodContainer { pod, name, id, path, sandbox, image } => {
            Some(Entity::PodContainer(wire::PodContainerEntity {
                pod_number: pod.0,
                name: text(name),
                container_id: text(id),
                cgroup_path: text(path),
                sandbox,
                image: text(image),
            }))
        }
        Declared::FreeContainer { name, id, path, image } => {
            Some(Entity::FreeContainer(wire::FreeContainerEntity {
                name: text(name),
                container_id: text(id),
                cgroup_path: text(path),
                image: text(image),
            }))
        }
    };
    wire::EntityDeclaration {
        number: said.number.0,
        start_unix_ms: said.start.map_or(0, |start| start.0),
        entity,
    }
}

fn column(said: ColumnDeclaration) -> wire::ColumnDeclaration {
    wire::ColumnDeclaration {
        number: said.number.0,
        metric: said.metric.to_string(),
        labels: said
            .labels
            .iter()
            .map(|(key, value)| wire::Label { key: key.to_owned(), value: value.to_owned() })
            .collect(),
        floating: said.floating,
        cumulative: said.cumulative,
    }
}

fn text(name: Option<impl ToString>) -> String {
    name.map(|name| name.to_string()).unwrap_or_default()
}
