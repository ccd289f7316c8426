//! Over real gRPC: frames that could not be recorded are asked for again as soon as they can be,
//! though their agent says nothing more before it hears of them.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{sync::Arc, time::Duration};

use tally_aggregator::{
    admission::Rules,
    clock::{Clock, Now},
    history::disk::simulated::SimulatedDisk,
    ingest::IngestService,
    journal::{Committer, Journal, Position, Span, segment::SegmentNumber},
    model::Model,
    self_metrics::SelfMetrics,
};
use tally_proto::{
    columns::{Builder, pack_key},
    declaration::{ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    encode,
    message::{AgentMessage, BootId, Declarations, Hello, PackedFrame, Run, Sequence},
    name::NodeName,
    tick::{Resolution, Tick},
    wire::{self, ingest_client::IngestClient, ingest_server::IngestServer},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::yield_now,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Streaming, transport::Server};

const NOW: Tick = Tick(1_800_000_000);

const SPAN: Span = Span {
    longest: Duration::from_secs(600),
    longest_with_late: Duration::from_secs(15),
    samples: 1 << 20,
};

async fn serve(journal: Arc<Journal>, durable: watch::Receiver<Position>) -> (String, SelfMetrics) {
    let resolution = Resolution::DEFAULT;
    let model = Arc::new(Model::new(resolution, 900_000));
    let metrics = SelfMetrics::default();
    let rules = Rules { resolution, clock_skew_ms: 60_000, entities_per_node: 10 };
    let clock = Clock::new(|| Now { unix: NOW.unix_ms(), elapsed: Duration::ZERO });
    let keeping = Some((journal, durable));
    let service = IngestService::new(model, keeping, (rules, 3), metrics.clone(), clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = Server::builder().add_service(IngestServer::new(service));
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    (url, metrics)
}

fn hello() -> AgentMessage {
    AgentMessage::Hello(Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([7; 16]),
        run: Run(1),
        resolution: Resolution::DEFAULT,
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
    let tick = Tick(NOW.0 - 150 + 15 * sequence);
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

#[tokio::test]
async fn a_stream_that_waits_ends_once_there_is_room() {
    let disk = SimulatedDisk::default();
    // Full after the first frame.
    let journal = Arc::new(Journal::new(SegmentNumber(1), 1));
    let mut committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), SPAN);
    let (announce, durable) = watch::channel(Position::default());
    let (url, metrics) = serve(journal, durable).await;
    let (_sender, mut answers) = connect(&url, vec![hello(), node(), frame(1), frame(2)]).await;
    while metrics.frames_unrecorded.get() == 0 {
        yield_now().await;
    }
    announce.send_replace(committer.commit(Duration::ZERO).unwrap().durable);
    let status = loop {
        match answers.message().await {
            Ok(answer) => assert!(answer.is_some(), "the stream ends with a reason"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
