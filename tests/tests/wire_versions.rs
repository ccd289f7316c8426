//! Agents and aggregators of different days understand each other: what agents of earlier days said is
//! counted and acknowledged, what this aggregator answers they can read, and the schema only grows.
//!
//! `tests/fixtures/wire` has a folder for each day that is kept: the bytes that an agent of it said, its schema, and what an
//! aggregator answers about them. `TALLY_WRITE_FIXTURES=1` writes the answers of a new one.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{decode_varint, encode_varint},
};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};
use tally_aggregator::{
    app::{self, Running},
    clock::{Clock, Now},
    inventory::LabelForm,
    settings::{ApiServer, Settings},
};
use tally_proto::{
    tick::{Resolution, Tick},
    wire::{AgentMessage, DESCRIPTORS, agent_message},
};
use tally_tests::{
    golden::{http, recording::Request},
    wire,
};

/// What is asked once everything was said.
const QUESTIONS: [&str; 5] = [
    "/api/v1/model/nodes",
    "/api/v1/model/nodes/then/metrics",
    "/api/v1/model/nodes/then/freecontainers",
    "/api/v1/model/nodes/then/metrics/cpu/usage_rate",
    "/api/v1/metric-export",
];

/// A number that no field has.
const UNKNOWN_FIELD: u32 = 1000;

/// One day.
struct Fixture {
    folder: PathBuf,
    schema: DescriptorPool,
    said: Vec<Bytes>,
}

impl Fixture {
    fn read(folder: PathBuf) -> Self {
        let said = wire::unpack(fs::read(folder.join("agent.bin")).unwrap()).unwrap();
        let schema = compile(&fs::read_to_string(folder.join("ingest.proto")).unwrap());
        Self { folder, schema, said }
    }

    fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/wire");
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
        folders.sort();
        assert!(!folders.is_empty());
        folders.into_iter().map(Self::read).collect()
    }

    /// The ticks and sequences of its frames.
    fn frames(&self) -> Vec<(Tick, u64)> {
        let frames = self.said.iter().filter_map(|said| match kind(said) {
            agent_message::Message::Frame(frame) => Some((Tick(frame.tick_unix_s), frame.sequence)),
            _ => None,
        });
        frames.collect()
    }

    fn resolution(&self) -> Resolution {
        match kind(&self.said[0]) {
            agent_message::Message::Hello(hello) => {
                Resolution::from_seconds(hello.resolution_seconds.into()).unwrap()
            }
            other => panic!("{other:?} before hello"),
        }
    }

    /// What an aggregator's message says to whoever has this day's schema.
    fn heard(&self, answer: &Bytes) -> (String, BTreeMap<String, u64>) {
        let schema = self.schema.get_message_by_name("tally.v1.AggregatorMessage").unwrap();
        let answer = DynamicMessage::decode(schema, answer.clone()).unwrap();
        let fields: Vec<_> = answer.fields().collect();
        let [(field, value)] = &fields[..] else { panic!("{answer:?}") };
        let inner = value.as_message().unwrap();
        let numbers = inner.fields().map(|(field, value)| {
            let number = value.as_u64().or_else(|| value.as_u32().map(u64::from)).unwrap();
            (field.name().to_owned(), number)
        });
        (field.name().to_owned(), numbers.collect())
    }
}

fn kind(said: &Bytes) -> agent_message::Message {
    AgentMessage::decode(said.clone()).unwrap().message.unwrap()
}

/// An aggregator whose clock stands at the last tick of a fixture.
async fn aggregator(fixture: &Fixture) -> Running {
    let settings = Settings {
        rest_listen: ([127, 0, 0, 1], 0).into(),
        grpc_listen: ([127, 0, 0, 1], 0).into(),
        resolution: fixture.resolution(),
        model_window: Duration::from_secs(900),
        history: None,
        inventory: Vec::new(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 10,
        max_entities_per_node: 1000,
        max_clock_skew: Duration::from_secs(60),
        secure: None,
    };
    let unix = fixture.frames().last().unwrap().0.unix_ms();
    app::start(settings, Clock::new(move || Now { unix, elapsed: Duration::ZERO })).await.unwrap()
}

/// Says all of it to an aggregator; what that answers, and what it then answers about it over HTTP.
async fn play(fixture: &Fixture, said: Vec<Bytes>) -> (Vec<Bytes>, Value) {
    let server = aggregator(fixture).await;
    let answered = wire::say(server.grpc_addr, said).await.unwrap();
    let mut answers = serde_json::Map::new();
    for question in QUESTIONS {
        let request = Request {
            method: "GET".to_owned(),
            target: question.to_owned(),
            headers: BTreeMap::new(),
        };
        let answer = http::ask(server.rest_addr, &request).await.unwrap();
        answers.insert(question.to_owned(), serde_json::from_slice(&answer.body).unwrap());
    }
    server.stop().await;
    (answered, Value::Object(answers))
}

/// Checks what a fixture's agent hears.
fn check_heard(fixture: &Fixture, answered: &[Bytes]) {
    let heard: Vec<_> = answered.iter().map(|answer| fixture.heard(answer)).collect();
    // What is 0 is not on the wire.
    let welcome = BTreeMap::from([("schema_version".to_owned(), 1)]);
    assert_eq!(heard.first(), Some(&("welcome".to_owned(), welcome)));
    let (_, last) = *fixture.frames().last().unwrap();
    let ack = BTreeMap::from([("sequence".to_owned(), last)]);
    assert_eq!(heard.last(), Some(&("ack".to_owned(), ack)));
}

#[tokio::test]
async fn what_agents_of_earlier_days_say_is_counted_and_answered() {
    for fixture in Fixture::all() {
        let (answered, answers) = play(&fixture, fixture.said.clone()).await;
        check_heard(&fixture, &answered);
        let path = fixture.folder.join("answers.json");
        if env::var_os("TALLY_WRITE_FIXTURES").is_some() && !path.exists() {
            fs::write(&path, format!("{answers:#}\n")).unwrap();
        }
        let expected: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(answers, expected, "{}", fixture.folder.display());
        assert_ne!(answers["/api/v1/metric-export"], json!([]));
    }
}

/// What a later agent may say beyond what is known here: fields in every message, and messages.
fn of_a_later_agent(said: &[Bytes]) -> Vec<Bytes> {
    let mut later: Vec<Bytes> = said.iter().map(with_unknown_fields).collect();
    let mut message = BytesMut::new();
    put_unknown_field(&mut message);
    later.insert(1, message.freeze());
    later
}

/// The same message with fields of unknown numbers, in it and around it.
fn with_unknown_fields(message: &Bytes) -> Bytes {
    let mut rest = message.clone();
    let tag = decode_varint(&mut rest).unwrap();
    let length = usize::try_from(decode_varint(&mut rest).unwrap()).unwrap();
    assert_eq!(length, rest.len(), "one field");
    let mut inner = BytesMut::from(&*rest);
    put_unknown_field(&mut inner);
    let mut outer = BytesMut::new();
    encode_varint(tag, &mut outer);
    encode_varint(u64::try_from(inner.len()).unwrap(), &mut outer);
    outer.put(inner);
    put_unknown_field(&mut outer);
    outer.freeze()
}

fn put_unknown_field(message: &mut BytesMut) {
    prost::encoding::string::encode(UNKNOWN_FIELD, &"of a later day".to_owned(), message);
}

#[tokio::test]
async fn what_only_later_agents_say_changes_nothing() {
    for fixture in Fixture::all() {
        let (answered, answers) = play(&fixture, of_a_later_agent(&fixture.said)).await;
        check_heard(&fixture, &answered);
        assert_eq!(answers, play(&fixture, fixture.said.clone()).await.1);
    }
}

#[tokio::test]
async fn what_only_later_aggregators_answer_earlier_agents_pass_over() {
    for fixture in Fixture::all() {
        let (answered, _) = play(&fixture, fixture.said.clone()).await;
        let later: Vec<Bytes> = answered.iter().map(with_unknown_fields).collect();
        check_heard(&fixture, &later);
    }
}

/// The schema in that text.
fn compile(text: &str) -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ingest.proto"), text).unwrap();
    let files = protox::compile(["ingest.proto"], [folder.path()]).unwrap();
    DescriptorPool::from_file_descriptor_set(files).unwrap()
}

/// What of an earlier schema a later one does not have any more, or has otherwise.
fn broken(then: &DescriptorPool, now: &DescriptorPool) -> Vec<String> {
    let mut broken = Vec::new();
    for message in then.all_messages() {
        let name = message.full_name();
        match now.get_message_by_name(name) {
            Some(now) => broken.extend(message.fields().filter_map(|field| changed(&field, &now))),
            None => broken.push(format!("{name} is gone")),
        }
    }
    for method in then.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let same =
            now.services().flat_map(|service| service.methods().collect::<Vec<_>>()).any(|other| {
                other.full_name() == method.full_name()
                    && other.input().full_name() == method.input().full_name()
                    && other.output().full_name() == method.output().full_name()
                    && other.is_client_streaming() == method.is_client_streaming()
                    && other.is_server_streaming() == method.is_server_streaming()
            });
        if !same {
            broken.push(format!("{} is gone or changed", method.full_name()));
        }
    }
    for (number, name) in enum_values(then) {
        if enum_values(now).get(&number) != Some(&name) {
            broken.push(format!("{name} is gone or changed"));
        }
    }
    broken
}

/// How a field changed.
fn changed(then: &FieldDescriptor, message: &MessageDescriptor) -> Option<String> {
    let name = then.full_name();
    let Some(now) = message.get_field(then.number()) else {
        return Some(format!("{name} is gone"));
    };
    let oneof = |field: &FieldDescriptor| field.containing_oneof().map(|of| of.name().to_owned());
    let facts = |field: &FieldDescriptor| {
        (field.name().to_owned(), kind_of(field), field.cardinality(), oneof(field))
    };
    (facts(then) != facts(&now))
        .then(|| format!("{name} is {:?}, was {:?}", facts(&now), facts(then)))
}

fn kind_of(field: &FieldDescriptor) -> String {
    match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}"),
    }
}

/// Names by enum and number.
fn enum_values(pool: &DescriptorPool) -> BTreeMap<(String, i32), String> {
    let values = pool.all_enums().flat_map(|values| {
        let of = values.full_name().to_owned();
        values
            .values()
            .map(|value| ((of.clone(), value.number()), value.name().to_owned()))
            .collect::<Vec<_>>()
    });
    values.collect()
}

#[test]
fn the_schema_only_grows() {
    let now = DescriptorPool::decode(DESCRIPTORS).unwrap();
    for Fixture { folder, schema, .. } in Fixture::all() {
        assert_eq!(broken(&schema, &now), [""; 0], "since {}", folder.display());
    }
}

/// The last fixture has today's schema, so that each is recorded before the next one changes it.
#[test]
fn the_last_fixture_is_of_todays_schema() {
    let now = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let last = Fixture::all().pop().unwrap();
    let new = broken(&now, &last.schema);
    assert_eq!(new, [""; 0], "record what today's agent says: tests/fixtures/wire/record");
}

#[track_caller]
fn check(from: &str, to: &str, says: Option<&str>) {
    let text = fs::read_to_string(Fixture::all()[0].folder.join("ingest.proto")).unwrap();
    assert!(text.contains(from), "{from}");
    let found = broken(&compile(&text), &compile(&text.replacen(from, to, 1)));
    match says {
        None => assert_eq!(found, [""; 0]),
        Some(says) => assert!(found.iter().any(|found| found.starts_with(says)), "{found:?}"),
    }
}

#[test]
fn additions_break_nothing_and_everything_else_does() {
    let run = "  uint64 run = 4;";
    check(run, "  uint64 run = 4;\n  string more = 90;", None);
    check("Frame frame = 3;", "Frame frame = 3;\n    Label label = 90;", None);
    check("message Label {", "message New {}\nmessage Label {", None);
    check(run, "", Some("tally.v1.Hello.run is gone"));
    check(run, "  uint64 run = 90;", Some("tally.v1.Hello.run is gone"));
    check(run, "  uint32 run = 4;", Some("tally.v1.Hello.run is"));
    check(run, "  string run = 4;", Some("tally.v1.Hello.run is"));
    check(run, "  repeated uint64 run = 4;", Some("tally.v1.Hello.run is"));
    check(run, "  uint64 other = 4;", Some("tally.v1.Hello.run is"));
    check(
        "Welcome welcome = 1;",
        "Ack welcome = 1;",
        Some("tally.v1.AggregatorMessage.welcome is"),
    );
    check(
        "returns (stream AggregatorMessage)",
        "returns (AggregatorMessage)",
        Some("tally.v1.Ingest.Stream"),
    );
    check("rpc Stream(", "rpc Other(", Some("tally.v1.Ingest.Stream"));
}
