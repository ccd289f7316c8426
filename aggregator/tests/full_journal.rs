//! Over real gRPC: a frame is acknowledged as soon as it is durable and not before; frames that
//! could not be recorded are asked for again as soon as they can be, though their agent says nothing
//! more before it hears of them.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;
use tally_aggregator::{
    admission::Rules,
    clock::{Clock, Now},
    history::disk::simulated::SimulatedDisk,
    ingest::IngestService,
    journal::{Committer, Journal, Position, Span, WAITING_MOST, segment::SegmentNumber},
    model::Model,
    self_metrics::SelfMetrics,
};
use tally_proto::{
    columns::{Builder, pack_key},
    declaration::{ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    decode, encode,
    message::{
        AgentMessage, AggregatorMessage, BootId, Declarations, Hello, PackedFrame, Run, Sequence,
    },
    name::NodeName,
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

async fn serve(journal: Arc<Journal>, durable: watch::Receiver<Position>) -> (String, SelfMetrics) {
    let resolution = every_second();
    let model = Arc::new(Model::new(resolution, 900_000));
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
    AgentMessage::Hello(Hello {
        node: NodeName::parse(name).unwrap(),
        boot: BootId([7; 16]),
        run: Run(1),
        resolution: every_second(),
        agent_version: "test".to_owned(),
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
    let tick = Tick(NOW.0 - 3 + sequence);
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
    let (url, metrics) = serve(journal, durable).await;
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

#[tokio::test]
async fn streams_that_wait_end_once_there_is_room() {
    let disk = SimulatedDisk::default();
    // Full after a frame.
    let journal = Arc::new(Journal::new(SegmentNumber(1), 1));
    let mut committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), SPAN);
    let (announce, durable) = watch::channel(Position::default());
    let mut commit = || announce.send_replace(committer.commit(Duration::ZERO).unwrap().durable);
    let (url, metrics) = serve(Arc::clone(&journal), durable).await;

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
