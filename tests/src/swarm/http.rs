//! A keep-alive HTTP connection that asks one question after the other.

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, Connection, SendRequest},
    header::{ACCEPT, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How much of an answer is kept: enough for every answer but an export, whose rest is only counted.
const KEPT_BYTES: usize = 16 << 20;

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// It broke.
    #[error("the connection broke")]
    Broke(#[from] hyper::Error),
    /// The server closed it.
    #[error("the server closed the connection")]
    Closed,
    /// A path that is none.
    #[error("{0:?} is no path")]
    Path(String, #[source] hyper::http::Error),
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Length of the body.
    pub bytes: u64,
    /// The body, or its beginning.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it says nothing: no such thing, or an empty list, which has two bytes.
    pub fn is_empty(&self) -> bool {
        const EMPTY_SERIES: &[u8] = br#"{"metrics":[]"#;
        self.status == 404 || self.bytes <= 4 || self.body.starts_with(EMPTY_SERIES)
    }
}

/// A connection.
#[derive(Debug)]
pub struct HttpClient {
    host: String,
    requests: SendRequest<Empty<Bytes>>,
    connection: Connection<TokioIo<TcpStream>, Empty<Bytes>>,
    kept_bytes: usize,
}

impl HttpClient {
    /// Connects to a URL such as `http://127.0.0.1:8082`.
    pub async fn connect(url: &str) -> Result<Self, HttpError> {
        let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let stream = TcpStream::connect(&host)
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| HttpError::Connect(url.to_owned(), source))?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { host, requests, connection, kept_bytes: KEPT_BYTES })
    }

    /// Keeps so much of each answer from now on: memory for megabytes takes longer to come by than
    /// some answers take.
    pub fn keep_at_most(&mut self, bytes: usize) {
        self.kept_bytes = bytes;
    }

    /// Asks for JSON and reads the whole answer.
    pub async fn get(&mut self, path: &str) -> Result<Answer, HttpError> {
        self.get_as(path, "application/json").await
    }

    /// Asks for a media type and reads the whole answer.
    pub async fn get_as(&mut self, path: &str, media_type: &str) -> Result<Answer, HttpError> {
        let request = Request::get(path)
            .header(HOST, &self.host)
            .header(ACCEPT, media_type)
            .body(Empty::new())
            .map_err(|source| HttpError::Path(path.to_owned(), source))?;
        let exchange = exchange(&mut self.requests, request, self.kept_bytes);
        tokio::select! {
            answer = exchange => answer,
            ended = &mut self.connection => Err(ended.err().map_or(HttpError::Closed, HttpError::Broke)),
        }
    }
}

async fn exchange(
    requests: &mut SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    kept_bytes: usize,
) -> Result<Answer, HttpError> {
    requests.ready().await?;
    let mut response = requests.send_request(request).await?;
    let mut answer = Answer { status: response.status().as_u16(), bytes: 0, body: Vec::new() };
    while let Some(frame) = response.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        answer.bytes += u64::try_from(data.len()).unwrap_or(0);
        let room = kept_bytes.saturating_sub(answer.body.len()).min(data.len());
        answer.body.extend_from_slice(data.get(..room).unwrap_or_default());
    }
    Ok(answer)
}
