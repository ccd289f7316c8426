//! Answers: JSON, text, errors and redirects, each with the headers that go with it.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, LOCATION, RETRY_AFTER},
};
use serde::Serialize;

use super::{pieces::Pieces, pretty};

/// What the one-line errors and probes are.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Exactly what Heapster sent: no charset.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What a route of the API can be asked with.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// What a refused client is told to wait.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("10");

/// How a client wants its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// It takes JSON.
    pub json: bool,
    /// JSON indented for people.
    pub pretty: bool,
}

/// 200 and `value` in JSON.
pub(super) fn json(wish: Wish, value: &impl Serialize) -> Response {
    json_of_status(wish, StatusCode::OK, value)
}

/// 200 and JSON that is made already, in pieces.
pub(super) fn ready(wish: Wish, json: Vec<Bytes>) -> Response {
    let body = if wish.pretty {
        Body::from(pretty::indented(&json.concat()))
    } else {
        Body::new(Pieces::new(json))
    };
    with_type(StatusCode::OK, JSON, body)
}

fn json_of_status(wish: Wish, status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(json) => {
            let json = if wish.pretty { pretty::indented(&json) } else { json };
            with_type(status, JSON, json)
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// Plain text.
pub(super) fn text(status: StatusCode, text: impl Into<Body>) -> Response {
    with_type(status, TEXT, text)
}

/// 200 and text of another type.
pub(super) fn text_of_type(content_type: &'static str, text: String) -> Response {
    with_type(StatusCode::OK, HeaderValue::from_static(content_type), text)
}

/// An error, as JSON for those who take it and as one line for others.
pub(super) fn failure(wish: Wish, status: StatusCode, message: &str) -> Response {
    if wish.json {
        json_of_status(wish, status, &serde_json::json!({ "error": message }))
    } else {
        text(status, format!("{message}\n"))
    }
}

/// 503, with the time after which to ask again.
pub(super) fn refused(wish: Wish, why: &str) -> Response {
    let message = format!("{why}; ask again later");
    let mut answer = failure(wish, StatusCode::SERVICE_UNAVAILABLE, &message);
    answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    answer
}

/// 404, with the paths that may have been meant.
pub(super) fn unknown(wish: Wish, nearest: &[String]) -> Response {
    let message = "no such path";
    if wish.json {
        let body = serde_json::json!({ "error": message, "paths": nearest });
        json_of_status(wish, StatusCode::NOT_FOUND, &body)
    } else {
        text(StatusCode::NOT_FOUND, format!("{message}; there are {}\n", nearest.join(" ")))
    }
}

/// 405, with the methods that work.
pub(super) fn method_not_allowed(wish: Wish) -> Response {
    let message = "method not allowed: this path answers GET, HEAD and OPTIONS";
    let mut answer = failure(wish, StatusCode::METHOD_NOT_ALLOWED, message);
    allow(&mut answer);
    answer
}

/// Adds the methods that work.
pub(super) fn allow(answer: &mut Response) {
    answer.headers_mut().insert(ALLOW, METHODS);
}

/// The answer to OPTIONS.
pub(super) fn methods() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    allow(&mut answer);
    answer
}

/// 301 to `target`.
pub(super) fn moved(wish: Wish, target: &str) -> Response {
    match HeaderValue::from_str(target) {
        Ok(location) => {
            let mut answer = text(StatusCode::MOVED_PERMANENTLY, format!("moved to {target}\n"));
            answer.headers_mut().insert(LOCATION, location);
            answer
        }
        Err(_) => unknown(wish, &[]),
    }
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: impl Into<Body>) -> Response {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}
