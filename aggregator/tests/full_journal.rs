//! Over real gRPC: a frame is acknowledged as soon as it is durable and not before, or together
//! with others where its agent can wait for so long; frames that
//! could not be recorded are asked for again as soon as they can be, though their agent says nothing
//! more before it hears of them; and a model that is filled from what was recorded has the sums of before.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tally_aggregator::{
    admission::Rules,
    archive::refill::{Part, refill},
    clock::{Clock, Now},
    history::disk::simulated::SimulatedDisk,
    ingest::IngestService,
    journal::{
        Committer, Journal, Position, Span, WAITING_MOST,
        segment::{SegmentName, SegmentNumber, SegmentState},
    },
    model::Model,
    query::{Queries, TickRange},
    self_metrics::SelfMetrics,
};
use tally_proto::{
    columns::{Builder, Packer, pack_key},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    decode, encode,
    entity::Entity,
    message::{
        AgentMessage, AggregatorMessage, BootId, Declarations, Hello, PackedFrame, Run, Sequence,
    },
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick},
    wire::{self, ingest_client::IngestClient, ingest_server::IngestServer},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::yield_now,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming, transport::Server};

const NOW: Tick = Tick(1_800_000_000);

const SPAN: Span = Span {
    longest: Duration::from_secs(600),
    longest_with_late: Duration::from_secs(15),
    bytes: 1 << 20,
};

fn every_second() -> Resolution {
    Resolution::from_seconds(1).unwrap()
}

fn model() -> Arc<Model> {
    Arc::new(Model::new(every_second(), 900_000))
}

async fn serve(
    journal: Arc<Journal>,
    durable: watch::Receiver<Position>,
    model: Arc<Model>,
) -> (String, SelfMetrics) {
    let resolution = every_second();
    let metrics = SelfMetrics::default();
    let rules = Rules { resolution, clock_skew_ms: 60_000, entities_per_node: 10 };
    let clock = Clock::new(|| Now { unix: NOW.unix_ms(), elapsed: Duration::ZERO });
    let keeping = Some((journal, durable));
    let clock = (clock, CancellationToken::new());
    let service = IngestService::new(model, keeping, (rules, 3), metrics.clone(), clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder().add_service(IngestServer::new(service));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    (url, metrics)
}

fn hello(name: &str) -> AgentMessage {
    patient_hello(name, Duration::ZERO)
}

/// Of an agent that can wait for its acknowledgements.
fn patient_hello(name: &str, acknowledge_within: Duration) -> AgentMessage {
    AgentMessage::Hello(Hello {
        node: NodeName::parse(name).unwrap(),
        boot: BootId([7; 16]),
        run: Run(1),
        resolution: every_second(),
        agent_version: "test".to_owned(),
        acknowledge_within,
    })
}

fn node() -> AgentMessage {
    let node = EntityDeclaration {
        number: EntityNumber(0),
        start: Some(NOW.unix_ms()),
        what: Declared::Node,
    };
    AgentMessage::Declarations(Declarations { entities: vec![node], ..Declarations::default() })
}

fn frame(sequence: u64) -> AgentMessage {
    let mut builder = Builder::new();
    builder.set(EntityNumber(0), ColumnNumber::READ_OFFSET, 100);
    let mut columns = Vec::new();
    pack_key(builder.finish(), &mut columns);
    let tick = Tick(NOW.0 - 200 + sequence);
    AgentMessage::Frame(PackedFrame { sequence: Sequence(sequence), tick, columns: columns.into() })
}

async fn connect(
    url: &str,
    said: Vec<AgentMessage>,
) -> (mpsc::Sender<wire::AgentMessage>, Streaming<wire::AggregatorMessage>) {
    let (sender, outbox) = mpsc::channel(16);
    for message in said {
        sender.send(encode::agent_message(message)).await.unwrap();
    }
    let mut client = IngestClient::connect(url.to_owned()).await.unwrap();
    let mut answers = client.stream(ReceiverStream::new(outbox)).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("a welcome");
    (sender, answers)
}

/// Why a stream ends, after any acknowledgements.
async fn end(answers: &mut Streaming<wire::AggregatorMessage>) -> Status {
    loop {
        match answers.message().await {
            Ok(answer) => assert!(answer.is_some(), "the stream ends with a reason"),
            Err(status) => return status,
        }
    }
}

#[tokio::test]
async fn each_frame_is_acknowledged_as_soon_as_it_is_durable() {
    let journal = Arc::new(Journal::new(SegmentNumber(1), WAITING_MOST));
    let disk = Arc::new(SimulatedDisk::default());
    let mut committer = Committer::new(disk, Arc::clone(&journal), SPAN);
    let (announce, durable) = watch::channel(Position::default());
    let (url, metrics) = serve(journal, durable, model()).await;
    let (sender, mut answers) = connect(&url, vec![hello("a"), node()]).await;
    for sequence in 1..=3 {
        sender.send(encode::agent_message(frame(sequence))).await.unwrap();
        while metrics.frames_received.get() < sequence {
            yield_now().await;
        }
        assert!(answers.message().now_or_never().is_none(), "{sequence} is not durable");
        announce.send_replace(committer.commit(Duration::ZERO).unwrap().durable);
        // The next frame need not come for it.
        let answer = timeout(Duration::from_secs(2), answers.message()).await.expect("an answer");
        let answer = decode::aggregator_message(answer.unwrap().unwrap()).unwrap();
        assert!(matches!(answer, AggregatorMessage::Ack(Sequence(said)) if said == sequence));
    }
}

/// The next acknowledgement, which comes `within`.
async fn acknowledged(
    answers: &mut Streaming<wire::AggregatorMessage>,
    within: Duration,
) -> Sequence {
    let answer = timeout(within, answers.message()).await.expect("an answer in time");
    match decode::aggregator_message(answer.unwrap().unwrap()).unwrap() {
        AggregatorMessage::Ack(sequence) => sequence,
        other => panic!("{other:?} is no acknowledgement"),
    }
}

#[tokio::test]
async fn an_agent_that_can_wait_hears_of_several_frames_together() {
    const SOON: Duration = Duration::from_secs(5);
    let journal = Arc::new(Journal::new(SegmentNumber(1), WAITING_MOST));
    let disk = Arc::new(SimulatedDisk::default());
    let mut committer = Committer::new(disk, Arc::clone(&journal), SPAN);
    let (announce, durable) = watch::channel(Position::default());
    let mut commit = || announce.send_replace(committer.commit(Duration::ZERO).unwrap().durable);
    let (url, metrics) = serve(journal, durable, model()).await;
    let hello = patient_hello("b", Duration::from_secs(60));
    let (sender, mut answers) = connect(&url, vec![hello, node()]).await;
    let mut told = Vec::new();
    for sequence in 1..=150 {
        sender.send(encode::agent_message(frame(sequence))).await.unwrap();
        while metrics.frames_received.get() < sequence {
            yield_now().await;
        }
        commit();
        if sequence == 1 {
            told.push(acknowledged(&mut answers, SOON).await.0);
        }
    }
    // What is left is acknowledged when nothing more comes.
    drop(sender);
    while told.last() != Some(&150) {
        told.push(acknowledged(&mut answers, SOON).await.0);
    }
    assert!(answers.message().await.unwrap().is_none());
    // The first at once; then fewer once, when it is this node's turn, and from there on 60, or one
    // less where the newest was not durable yet.
    let [1, turn, second, third, 150] = *told else { panic!("{told:?}") };
    assert!((15..=30).contains(&turn), "{told:?}");
    for shared in [second - turn, third - second] {
        assert!((59..=61).contains(&shared), "{told:?}");
    }
}

#[tokio::test]
async fn an_agent_that_can_wait_waits_no_longer() {
    const WITHIN: Duration = Duration::from_secs(2);
    let journal = Arc::new(Journal::new(SegmentNumber(1), WAITING_MOST));
    let (announce, durable) = watch::channel(Position::default());
    let (url, metrics) = serve(journal, durable, model()).await;
    let (sender, mut answers) = connect(&url, vec![patient_hello("d", WITHIN), node()]).await;
    announce.send_replace(Position(u64::MAX));
    for sequence in 1..=2 {
        sender.send(encode::agent_message(frame(sequence))).await.unwrap();
        while metrics.frames_received.get() < sequence {
            yield_now().await;
        }
        let began = tokio::time::Instant::now();
        assert_eq!(acknowledged(&mut answers, 4 * WITHIN).await, Sequence(sequence));
        let waited = began.elapsed();
        assert_eq!(sequence == 1, waited < WITHIN / 2, "{sequence} after {waited:?}");
    }
}

#[tokio::test]
async fn streams_that_wait_end_once_there_is_room() {
    let disk = SimulatedDisk::default();
    // Full after a frame.
    let journal = Arc::new(Journal::new(SegmentNumber(1), 1));
    let mut committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), SPAN);
    let (announce, durable) = watch::channel(Position::default());
    let mut commit = || announce.send_replace(committer.commit(Duration::ZERO).unwrap().durable);
    let (url, metrics) = serve(Arc::clone(&journal), durable, model()).await;

    // One that has heard of all that it sent before.
    let (sender, mut acknowledged) = connect(&url, vec![hello("a"), node(), frame(1)]).await;
    while journal.has_room() {
        yield_now().await;
    }
    commit();
    acknowledged.message().await.unwrap().expect("an acknowledgement");
    // One whose first frame takes all the room, so that its second has none.
    let (_sender, mut waiting) = connect(&url, vec![hello("b"), node(), frame(1), frame(2)]).await;
    while metrics.frames_unrecorded.get() < 1 {
        yield_now().await;
    }
    sender.send(encode::agent_message(frame(2))).await.unwrap();
    while metrics.frames_unrecorded.get() < 2 {
        yield_now().await;
    }
    commit();
    for answers in [&mut acknowledged, &mut waiting] {
        let status = end(answers).await;
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}

/// A pod of a namespace, with a container whose memory is a column.
fn pod(name: &str) -> AgentMessage {
    let start = Some(NOW.unix_ms());
    let key = PodKey {
        namespace: NamespaceName::parse("shop").unwrap(),
        name: PodName::parse(name).unwrap(),
    };
    let pod = Declared::Pod { uid: PodUid::parse(name).unwrap(), key: Some(key), path: None };
    let container = Declared::PodContainer {
        pod: EntityNumber(1),
        name: Some(ContainerName::parse("app").unwrap()),
        id: None,
        path: None,
        sandbox: false,
        image: None,
    };
    let declared = [Declared::Node, pod, container].into_iter().zip(0..);
    let entities = declared.map(|(what, number)| EntityDeclaration {
        number: EntityNumber(number),
        start,
        what,
    });
    let column = ColumnDeclaration {
        number: ColumnNumber(1),
        metric: MetricName::parse("memory/usage").unwrap(),
        labels: Labels::none(),
        floating: false,
        cumulative: false,
    };
    AgentMessage::Declarations(Declarations {
        entities: entities.collect(),
        columns: vec![column],
        retired: Vec::new(),
    })
}

#[tokio::test]
async fn a_model_that_is_filled_has_the_sums_of_before() {
    // More than are added at once, and not a multiple of that.
    const FRAMES: u64 = 50;
    let journal = Arc::new(Journal::new(SegmentNumber(1), WAITING_MOST));
    let disk = SimulatedDisk::default();
    let mut committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), SPAN);
    let (_announce, durable) = watch::channel(Position::default());
    let before = model();
    let (url, metrics) = serve(journal, durable, Arc::clone(&before)).await;
    for (place, name) in (1..).zip(["a", "b"]) {
        let (sender, _answers) = connect(&url, vec![hello(name), pod(name)]).await;
        let (mut builder, mut packer) = (Builder::new(), Packer::new());
        for sequence in 1..=FRAMES {
            for entity in 0..3 {
                builder.set(EntityNumber(entity), ColumnNumber::READ_OFFSET, 0);
            }
            let value = place * 1000 + i64::try_from(sequence).unwrap();
            builder.set(EntityNumber(2), ColumnNumber(1), value);
            let mut columns = Vec::new();
            packer.pack(builder.finish(), &mut columns);
            let tick = Tick(NOW.0 - FRAMES + sequence);
            let frame = PackedFrame { sequence: Sequence(sequence), tick, columns: columns.into() };
            sender.send(encode::agent_message(AgentMessage::Frame(frame))).await.unwrap();
        }
        while metrics.frames_received.get() < u64::try_from(place).unwrap() * FRAMES {
            yield_now().await;
        }
    }
    committer.close(Duration::ZERO).unwrap();

    let filled = model();
    let segment = SegmentName { number: SegmentNumber(1), state: SegmentState::Frames };
    refill(&disk, segment, &filled, Part { number: 0, of: 1, until: NOW }).unwrap();
    let shop = Entity::Namespace(NamespaceName::parse("shop").unwrap());
    for entity in [shop, Entity::Cluster] {
        let sums = |model: &Arc<Model>| {
            let queries = Queries::new(Arc::clone(model));
            queries.series(&entity, "memory/usage", &Labels::none(), TickRange::ALL)
        };
        let (before, filled) = (sums(&before), sums(&filled));
        assert_eq!(before.len(), usize::try_from(FRAMES).unwrap(), "{entity:?}");
        assert_eq!(filled, before, "{entity:?}");
    }
}
