//! Bad input over real gRPC: each is refused with a status that names the field, is counted, and
//! harms nobody else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{sync::Arc, time::Duration};

use tally_aggregator::{
    admission::Rules,
    clock::{Clock, Now},
    ingest::IngestService,
    model::Model,
    query::Queries,
    self_metrics::SelfMetrics,
};
use tally_proto::{
    limits::MESSAGE_BYTES,
    tick::{Resolution, UnixMs},
    wire::{
        self, agent_message::Message, aggregator_message, entity_declaration::Entity,
        ingest_client::IngestClient, ingest_server::IngestServer,
    },
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Server};

const NOW_S: u64 = 1_800_000_000;

struct Aggregator {
    url: String,
    model: Arc<Model>,
    metrics: SelfMetrics,
}

impl Aggregator {
    async fn start() -> Self {
        let model = Arc::new(Model::new(Resolution::DEFAULT, 900_000));
        let metrics = SelfMetrics::default();
        let rules = Rules {
            resolution: Resolution::DEFAULT,
            clock_skew_ms: 60_000,
            entities_per_node: 1_000,
        };
        let clock = Clock::new(|| Now {
            unix: UnixMs(i64::try_from(NOW_S).unwrap() * 1000),
            elapsed: Duration::ZERO,
        });
        let service = IngestService::new(
            Arc::clone(&model),
            None,
            (rules, 3),
            metrics.clone(),
            (clock, CancellationToken::new()),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = IngestServer::new(service).max_decoding_message_size(MESSAGE_BYTES);
        let serving = Server::builder().add_service(server);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { url, model, metrics }
    }

    async fn stream(&self) -> Sender {
        let (sender, receiver) = mpsc::channel(16);
        let mut client = IngestClient::connect(self.url.clone()).await.unwrap();
        let inbound = client.stream(ReceiverStream::new(receiver)).await;
        Sender { sender, inbound: inbound.map(tonic::Response::into_inner) }
    }

    fn refused(&self, reason: &'static str) -> u64 {
        let reason = tally_aggregator::self_metrics::Refusal { reason };
        self.metrics.streams_refused.get_or_create(&reason).get()
    }
}

struct Sender {
    sender: mpsc::Sender<wire::AgentMessage>,
    inbound: Result<Streaming<wire::AggregatorMessage>, Status>,
}

impl Sender {
    async fn say(&self, message: Message) {
        // The server may have ended the stream already; then its status tells.
        drop(self.sender.send(wire::AgentMessage { message: Some(message) }).await);
    }

    async fn next(&mut self) -> Result<aggregator_message::Message, Status> {
        let inbound = self.inbound.as_mut().map_err(|status| status.clone())?;
        let answer = inbound.message().await?;
        Ok(answer.expect("the stream goes on").message.expect("an answer"))
    }

    async fn refusal(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

fn hello(node: &str) -> wire::Hello {
    wire::Hello {
        schema_version: 1,
        node: node.to_owned(),
        boot_id: vec![7; 16].into(),
        run: 1,
        resolution_seconds: 15,
        agent_version: "test".to_owned(),
        acknowledge_within_ms: 0,
    }
}

fn node_declaration() -> wire::Declarations {
    wire::Declarations {
        entities: vec![wire::EntityDeclaration {
            number: 0,
            start_unix_ms: 1,
            entity: Some(Entity::Node(wire::NodeEntity {})),
        }],
        columns: vec![column("memory/usage", vec![])],
        retired_entities: vec![],
    }
}

fn column(metric: &str, labels: Vec<wire::Label>) -> wire::ColumnDeclaration {
    wire::ColumnDeclaration {
        number: 1,
        metric: metric.to_owned(),
        labels,
        floating: false,
        cumulative: false,
    }
}

fn label(key: impl Into<String>, value: impl Into<String>) -> wire::Label {
    wire::Label { key: key.into(), value: value.into() }
}

/// A key frame with columns 0 and 1 of entity 0, both 5.
fn good_columns() -> Vec<u8> {
    use tally_proto::{
        columns,
        declaration::{ColumnNumber, EntityNumber},
    };
    let mut builder = columns::Builder::new();
    builder.set(EntityNumber(0), ColumnNumber(0), 5);
    builder.set(EntityNumber(0), ColumnNumber(1), 5);
    let mut packed = Vec::new();
    columns::pack_key(builder.finish(), &mut packed);
    packed
}

fn frame(sequence: u64, tick: u64, columns: Vec<u8>) -> Message {
    Message::Frame(wire::Frame { sequence, tick_unix_s: tick, columns: columns.into() })
}

/// Sends what is bad beside a good stream, and checks the status, the counter, and that the good
/// stream goes on.
async fn check(bad: Vec<Message>, code: Code, says: &str, reason: &'static str) {
    let aggregator = Aggregator::start().await;
    let mut good = aggregator.stream().await;
    good.say(Message::Hello(hello("good"))).await;
    good.say(Message::Declarations(node_declaration())).await;
    good.next().await.unwrap();

    let mut sender = aggregator.stream().await;
    for message in bad {
        sender.say(message).await;
    }
    let status = sender.refusal().await;
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(says), "{says:?} is not in {:?}", status.message());
    assert_eq!(aggregator.refused(reason), 1, "{reason}");

    good.say(frame(1, NOW_S, good_columns())).await;
    assert!(
        matches!(good.next().await.unwrap(), aggregator_message::Message::Ack(ack) if ack.sequence == 1)
    );
    let queries = Queries::new(Arc::clone(&aggregator.model));
    assert!(queries.nodes().iter().any(|node| node.as_str() == "good"));
}

async fn check_hello(bad: wire::Hello, code: Code, says: &str, reason: &'static str) {
    check(vec![Message::Hello(bad)], code, says, reason).await;
}

async fn check_declared(bad: wire::Declarations, says: &str) {
    let messages = vec![Message::Hello(hello("bad")), Message::Declarations(bad)];
    check(messages, Code::InvalidArgument, says, "bad_message").await;
}

async fn check_frames(bad: Vec<Message>, code: Code, says: &str, reason: &'static str) {
    let mut messages =
        vec![Message::Hello(hello("bad")), Message::Declarations(node_declaration())];
    messages.extend(bad);
    check(messages, code, says, reason).await;
}

#[tokio::test]
async fn a_stream_begins_with_hello() {
    let first = vec![frame(1, NOW_S, vec![])];
    check(first, Code::InvalidArgument, "first message of a stream must be hello", "hello_order")
        .await;
    let twice = vec![Message::Hello(hello("bad")), Message::Hello(hello("bad"))];
    check(twice, Code::InvalidArgument, "only be the first message", "hello_order").await;
}

#[tokio::test]
async fn an_unknown_version_is_refused() {
    let bad = wire::Hello { schema_version: 99, ..hello("bad") };
    check_hello(bad, Code::FailedPrecondition, "hello.schema_version is 99", "schema_version")
        .await;
}

#[tokio::test]
async fn another_resolution_is_refused_with_the_remedy() {
    let bad = wire::Hello { resolution_seconds: 5, ..hello("bad") };
    check_hello(bad, Code::FailedPrecondition, "--resolution 15s", "resolution").await;
}

#[tokio::test]
async fn a_hello_with_wrong_fields_is_refused() {
    let bad = |hello, says| check_hello(hello, Code::InvalidArgument, says, "bad_message");
    bad(hello(""), "hello.node").await;
    bad(hello(&"x".repeat(300)), "hello.node").await;
    bad(wire::Hello { boot_id: vec![1].into(), ..hello("bad") }, "hello.boot_id").await;
    bad(wire::Hello { resolution_seconds: 0, ..hello("bad") }, "hello.resolution_seconds").await;
    bad(wire::Hello { agent_version: "v".repeat(65), ..hello("bad") }, "hello.agent_version").await;
    let sluggish = wire::Hello { acknowledge_within_ms: 60_001, ..hello("bad") };
    bad(sluggish, "hello.acknowledge_within_ms").await;
}

#[tokio::test]
async fn label_bombs_are_refused() {
    let many = (0..100).map(|n| label(format!("k{n}"), "v")).collect();
    let with = |labels| wire::Declarations {
        columns: vec![column("disk/io_read_bytes", labels)],
        ..wire::Declarations::default()
    };
    check_declared(with(many), "column.labels").await;
    check_declared(with(vec![label("resource_id", "x".repeat(100_000))]), "column.labels").await;
    check_declared(with(vec![label("a", "1"), label("a", "2")]), "column.labels").await;
}

#[tokio::test]
async fn declarations_out_of_range_are_refused() {
    let mut far = node_declaration();
    far.entities[0].number = 20_000;
    check_declared(far, "entity.number").await;
    let mut long = node_declaration();
    long.columns[0].metric = "m".repeat(129);
    check_declared(long, "column.metric").await;
    let mut zero = node_declaration();
    zero.columns[0].number = 0;
    check_declared(zero, "column.number").await;
}

#[tokio::test]
async fn more_entities_than_this_aggregator_takes_are_refused() {
    let mut many = node_declaration();
    many.entities[0].number = 1_000;
    let bad = vec![Message::Hello(hello("bad")), Message::Declarations(many)];
    check(bad, Code::ResourceExhausted, "1000 entities a node", "entities").await;
}

#[tokio::test]
async fn time_travel_is_refused() {
    let ahead = vec![frame(1, NOW_S + 75, good_columns())];
    let says = "frame.tick_unix_s is 75000 ms ahead";
    check_frames(ahead, Code::FailedPrecondition, says, "future_tick").await;
    let bad = |tick, says, reason| {
        check_frames(vec![frame(1, tick, good_columns())], Code::InvalidArgument, says, reason)
    };
    bad(NOW_S + 1, "no multiple of the resolution", "unaligned_tick").await;
    bad(0, "frame.tick_unix_s", "bad_message").await;
    let back = vec![frame(1, NOW_S, good_columns()), frame(2, NOW_S - 15, good_columns())];
    check_frames(back, Code::InvalidArgument, "not after the frame before", "tick_order").await;
    let again = vec![frame(5, NOW_S, good_columns()), frame(5, NOW_S + 15, good_columns())];
    check_frames(again, Code::InvalidArgument, "frame.sequence", "sequence_order").await;
}

#[tokio::test]
async fn columns_that_are_none_are_refused() {
    let bad = |columns: Vec<u8>, says: &'static str| {
        check_frames(vec![frame(1, NOW_S, columns)], Code::InvalidArgument, says, "bad_frame")
    };
    bad(vec![], "frame.columns").await;
    bad(vec![0xff; 100], "frame.columns").await;
    let mut cut = good_columns();
    cut.pop();
    bad(cut, "frame.columns").await;
}

#[tokio::test]
async fn values_without_a_meaning_are_refused() {
    let bad = vec![Message::Hello(hello("bad")), frame(1, NOW_S, good_columns())];
    check(bad, Code::InvalidArgument, "which was not declared", "bad_frame").await;
}

#[tokio::test]
async fn a_huge_message_is_refused() {
    let aggregator = Aggregator::start().await;
    let mut sender = aggregator.stream().await;
    sender.say(Message::Hello(hello("bad"))).await;
    sender.say(frame(1, NOW_S, vec![0; MESSAGE_BYTES + 1])).await;
    let status = sender.refusal().await;
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(aggregator.refused("undecodable"), 1);
}

#[tokio::test]
async fn two_hosts_may_not_have_one_name() {
    let other_boot = wire::Hello { boot_id: vec![8; 16].into(), ..hello("good") };
    check_hello(other_boot, Code::AlreadyExists, "hello.node \"good\"", "node_taken").await;
}

#[tokio::test]
async fn a_host_that_reconnects_takes_over_from_its_older_stream() {
    let aggregator = Aggregator::start().await;
    let mut older = aggregator.stream().await;
    older.say(Message::Hello(hello("node"))).await;
    older.say(Message::Declarations(node_declaration())).await;
    older.next().await.unwrap();
    let mut newer = aggregator.stream().await;
    newer.say(Message::Hello(hello("node"))).await;
    newer.next().await.unwrap();
    older.say(frame(1, NOW_S, good_columns())).await;
    assert_eq!(older.refusal().await.code(), Code::Aborted);
    newer.say(Message::Declarations(node_declaration())).await;
    newer.say(frame(1, NOW_S, good_columns())).await;
    assert!(matches!(newer.next().await.unwrap(), aggregator_message::Message::Ack(_)));
}

#[tokio::test]
async fn streams_over_the_limit_are_refused() {
    let aggregator = Aggregator::start().await;
    let _three = [aggregator.stream().await, aggregator.stream().await, aggregator.stream().await];
    let status = aggregator.stream().await.refusal().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("--max-streams"), "{}", status.message());
}

#[tokio::test]
async fn what_only_a_newer_agent_knows_is_passed_over() {
    let aggregator = Aggregator::start().await;
    let mut newer = aggregator.stream().await;
    newer.sender.send(wire::AgentMessage { message: None }).await.unwrap();
    newer.say(Message::Hello(hello("node"))).await;
    newer.next().await.unwrap();
    let mut declared = node_declaration();
    declared.entities.push(wire::EntityDeclaration { number: 1, start_unix_ms: 0, entity: None });
    newer.say(Message::Declarations(declared)).await;
    newer.say(frame(1, NOW_S, good_columns())).await;
    assert!(matches!(newer.next().await.unwrap(), aggregator_message::Message::Ack(_)));
}
