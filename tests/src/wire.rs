//! What agents said on the wire, as bytes: recorded once from the program of a day, and said again to later
//! aggregators.
//!
//! Nothing here knows the schema but where a message is told from another, so that a fixture is what was sent
//! and not what today's types make of it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::{Context as _, ensure};
use bytes::{Buf as _, BufMut as _, Bytes};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{
    StreamExt as _,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{
        BoxFuture,
        http::{self, uri::PathAndQuery},
    },
    server::{Grpc as ServerGrpc, NamedService, StreamingService},
    transport::{Endpoint, Server},
};

/// The method that every version has.
const METHOD: &str = "/tally.v1.Ingest/Stream";

/// Messages on their way.
const MESSAGES_WAITING: usize = 16;

/// The longest message of a fixture.
const MESSAGE_BYTES_MAX: u32 = 4 << 20;

/// Every message one after the other, each behind its length of four bytes, highest first.
pub fn pack(messages: &[Bytes]) -> anyhow::Result<Vec<u8>> {
    let mut packed = Vec::new();
    for message in messages {
        packed.put_u32(u32::try_from(message.len())?);
        packed.extend_from_slice(message);
    }
    Ok(packed)
}

/// The messages of a fixture.
pub fn unpack(packed: Vec<u8>) -> anyhow::Result<Vec<Bytes>> {
    let mut rest = Bytes::from(packed);
    let mut messages = Vec::new();
    while !rest.is_empty() {
        ensure!(4 <= rest.len(), "the fixture breaks off");
        let bytes = rest.get_u32();
        ensure!(bytes <= MESSAGE_BYTES_MAX, "a message of {bytes} bytes");
        let bytes = usize::try_from(bytes)?;
        ensure!(bytes <= rest.len(), "the fixture breaks off");
        messages.push(rest.split_to(bytes));
    }
    Ok(messages)
}

/// Says all of it to an aggregator, and nothing more; what it answers until it ends the stream.
pub async fn say(server: SocketAddr, messages: Vec<Bytes>) -> anyhow::Result<Vec<Bytes>> {
    let channel = Endpoint::from_shared(format!("http://{server}"))?.connect().await?;
    let mut client = Grpc::new(channel);
    client.ready().await?;
    let said = Request::new(tokio_stream::iter(messages));
    let answers = client.streaming(said, PathAndQuery::from_static(METHOD), Raw).await?;
    let answers: Result<Vec<Bytes>, Status> = answers.into_inner().collect().await;
    Ok(answers?)
}

/// Takes what the first agent says that comes, until it has said so many frames. `is_frame` tells what is
/// one, `answer` what is answered to a message.
pub async fn record(
    listener: TcpListener,
    frames: usize,
    is_frame: impl Fn(&Bytes) -> bool,
    answer: impl Fn(&Bytes) -> Option<Bytes> + Send + Sync + 'static,
) -> anyhow::Result<Vec<Bytes>> {
    let (heard, mut hears) = mpsc::channel(MESSAGES_WAITING);
    let recorder = Recorder { heard, answer: Arc::new(answer) };
    let incoming = TcpListenerStream::new(listener);
    let serving =
        tokio::spawn(Server::builder().add_service(recorder).serve_with_incoming(incoming));
    let mut messages = Vec::new();
    while messages.iter().filter(|message| is_frame(message)).count() < frames {
        messages.push(hears.recv().await.context("nobody records any more")?);
    }
    serving.abort();
    Ok(messages)
}

type Answer = Arc<dyn Fn(&Bytes) -> Option<Bytes> + Send + Sync>;

/// The service of the recorder.
#[derive(Clone)]
struct Recorder {
    heard: mpsc::Sender<Bytes>,
    answer: Answer,
}

impl NamedService for Recorder {
    const NAME: &'static str = "tally.v1.Ingest";
}

impl StreamingService<Bytes> for Recorder {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let Self { heard, answer } = self.clone();
        let mut said = request.into_inner();
        let (answers, answered) = mpsc::channel(MESSAGES_WAITING);
        tokio::spawn(async move {
            while let Some(Ok(message)) = said.next().await {
                let answer = answer(&message);
                if heard.send(message).await.is_err() {
                    return;
                }
                if let Some(answer) = answer
                    && answers.send(Ok(answer)).await.is_err()
                {
                    return;
                }
            }
        });
        Box::pin(async move { Ok(Response::new(ReceiverStream::new(answered))) })
    }
}

impl<B> tonic::codegen::Service<http::Request<B>> for Recorder
where
    B: tonic::codegen::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(ServerGrpc::new(Raw).streaming(service, request).await) })
    }
}

/// Messages as their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_they_were() {
        let messages = [Bytes::from_static(b"hello"), Bytes::new(), Bytes::from_static(b"frame")];
        let packed = pack(&messages).unwrap();
        assert_eq!(unpack(packed.clone()).unwrap(), messages);
        for cut in [1, 4, 6, packed.len() - 1] {
            let whole = unpack(packed.get(..cut).unwrap().to_vec());
            assert!(whole.is_err() || cut == 13, "{cut}");
        }
        assert!(unpack(vec![0xff; 8]).is_err());
    }

    #[tokio::test]
    async fn what_is_said_is_recorded_and_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let is_frame = |message: &Bytes| message.starts_with(b"f");
        let answer = |message: &Bytes| Some(message.slice(..1));
        let recording = tokio::spawn(record(listener, 2, is_frame, answer));
        let said = [&b"hello"[..], b"f1", b"more", b"f2"].map(Bytes::from_static);
        // The recorder goes once it has heard enough.
        drop(say(server, said.to_vec()).await);
        assert_eq!(recording.await.unwrap().unwrap(), said);
    }
}
