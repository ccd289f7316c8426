//! One round over a socket that speaks Docker's API.
//!
//! One list is all that is asked, so this is plain HTTP: a client library of the whole API would bring
//! some thirty crates for it, and read sixty fields of each container where three are needed.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tally_proto::name::ContainerId;
use tokio::net::UnixStream;

use super::ANSWER_BYTES;
use crate::names::{
    Called,
    docker::{BadList, called, path},
};

/// A round without an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum DockerError {
    #[error("cannot talk HTTP")]
    Http(#[from] hyper::Error),
    #[error("it says {0}")]
    Refused(StatusCode),
    #[error("the list of containers breaks off or is too long")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error(transparent)]
    List(#[from] BadList),
}

/// Names of the containers that are wanted; of all when none is named.
pub(super) async fn ask(
    stream: UnixStream,
    wanted: &[ContainerId],
) -> Result<HashMap<ContainerId, Called>, DockerError> {
    Ok(called(&get(stream, &path(wanted)).await?)?)
}

/// What is at a path.
pub(super) async fn get(stream: UnixStream, path: &str) -> Result<Bytes, DockerError> {
    let request = Request::get(path).header(HOST, "docker").body(Empty::<Bytes>::new())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async move {
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(DockerError::Refused(response.status()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
        Ok(body.map_err(DockerError::Body)?.to_bytes())
        // The sender goes here, and with it the connection.
    };
    // A connection that breaks shows in the exchange.
    let (body, _) = tokio::join!(exchange, connection);
    body
}
