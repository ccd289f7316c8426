//! One HTTP request, sent exactly as recorded.

use std::{
    io::{self, Read},
    net::SocketAddr,
};

use anyhow::Context as _;
use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};
use http_body_util::{BodyExt, Empty};
use hyper::{HeaderMap, Request, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::recording;

/// An answer of the server under test.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Asks on a connection of its own, as the recorder did.
pub async fn ask(server: SocketAddr, request: &recording::Request) -> anyhow::Result<Answer> {
    let stream = TcpStream::connect(server).await?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut asked = Request::builder()
        .method(&*request.method)
        .uri(&*request.target)
        .header(HOST, server.to_string());
    for (name, value) in &request.headers {
        asked = asked.header(name, value);
    }
    let answer = client.send_request(asked.body(Empty::<Bytes>::new())?).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    drop(client);
    connection.await??;
    let encoding = head.headers.get("content-encoding").and_then(|value| value.to_str().ok());
    let body = decompressed(encoding, body.into()).context("cannot decompress the answer")?;
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// `bytes` without their content encoding.
pub fn decompressed(encoding: Option<&str>, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match encoding {
        // The answer to HEAD has an encoding and no body.
        _ if bytes.is_empty() => (),
        Some("gzip") => drop(GzDecoder::new(&*bytes).read_to_end(&mut plain)?),
        Some("deflate") => drop(ZlibDecoder::new(&*bytes).read_to_end(&mut plain)?),
        Some(other) => return Err(io::Error::other(format!("unexpected encoding {other}"))),
        None => plain = bytes,
    }
    Ok(plain)
}
