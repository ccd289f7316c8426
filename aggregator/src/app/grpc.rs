//! The gRPC server: the ingest service with health and reflection beside it.
//!
//! Agents' streams live for days, so a server that waited for their end would never stop. When it
//! stops, each stream ends with UNAVAILABLE, which tells the agent to come back later; what was
//! not acknowledged comes again.

use std::{pin::Pin, time::Duration};

use futures_util::{Stream, StreamExt, stream};
use tally_proto::{
    limits::MESSAGE_BYTES,
    wire::{
        self,
        ingest_server::{Ingest, IngestServer},
    },
};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::ingest::IngestService;

/// How often a silent connection is asked for a sign of life, and how long it may take. A host
/// that lost its power is noticed within 40 s.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Streams of one connection: an agent needs one, a gateway of custom agents many.
const STREAMS_PER_CONNECTION: u32 = 1_024;

/// How long connections may take to close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the gRPC server cannot begin, or ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum GrpcError {
    /// The schema in the program cannot be served.
    #[error("the reflection service cannot read the schema")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// It ended unasked.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `ingest` on `listener` until `stop`.
pub(super) async fn serve(
    listener: TcpListener,
    ingest: IngestService,
    stop: CancellationToken,
) -> Result<(), GrpcError> {
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .build_v1()?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<IngestServer<UntilStopped>>().await;
    let ingest = IngestServer::new(UntilStopped { ingest, stop: stop.clone() })
        .max_decoding_message_size(MESSAGE_BYTES);
    let served = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(health_service)
        .add_service(reflection)
        .add_service(ingest)
        .serve_with_incoming_shutdown(
            TcpListenerStream::new(listener),
            stop.clone().cancelled_owned(),
        );
    tokio::pin!(served);
    tokio::select! {
        ended = &mut served => Ok(ended?),
        () = stop.cancelled() => {
            // A peer that does not close its connection in time is left behind.
            timeout(STOP_TIMEOUT, served).await.unwrap_or(Ok(()))?;
            Ok(())
        }
    }
}

/// The ingest service, with streams that end when the server stops.
#[derive(Clone, Debug)]
struct UntilStopped {
    ingest: IngestService,
    stop: CancellationToken,
}

#[tonic::async_trait]
impl Ingest for UntilStopped {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<wire::AggregatorMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let answers = self.ingest.stream(request).await?.into_inner();
        let stop = self.stop.clone();
        let goodbye = stream::iter([()]).filter_map(move |()| {
            let stopping = stop.is_cancelled();
            let status = Status::unavailable("the aggregator is stopping; connect again later");
            async move { stopping.then_some(Err(status)) }
        });
        let until = answers.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(until.chain(goodbye))))
    }
}
