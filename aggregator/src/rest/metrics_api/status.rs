//! Errors as an API server says them: an object of the kind `Status`.

use http::StatusCode;
use prost::Message;
use serde_json::{Value, json};

use super::{protobuf, route::GROUP};

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no such resource.
    UnknownResource,
    /// Nobody of that name has numbers.
    NotFound {
        /// `nodemetrics` or `podmetrics`.
        kind: &'static str,
        /// Of a pod with its namespace.
        name: String,
    },
    /// A resource that cannot be asked for with this method.
    Method,
    /// A resource that cannot be watched.
    Watch(&'static str),
    /// A parameter that is none.
    BadRequest(String),
    /// A form in which there is no answer; those that there are.
    NotAcceptable(String),
    /// Too many answers are under way.
    TooMany,
    /// It failed here.
    Internal(&'static str),
}

/// What a refusal is about.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Details {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(string, tag = "3")]
    kind: String,
    #[prost(int32, tag = "5")]
    retry_after_seconds: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    /// Nothing is in it.
    #[prost(message, optional, tag = "1")]
    metadata: Option<()>,
    #[prost(string, tag = "2")]
    status: String,
    #[prost(string, tag = "3")]
    message: String,
    #[prost(string, tag = "4")]
    reason: String,
    #[prost(message, optional, tag = "5")]
    details: Option<Details>,
    #[prost(int32, tag = "6")]
    code: i32,
}

/// Seconds after which to ask again.
pub(super) const RETRY_SECONDS: u16 = 10;

impl Refusal {
    /// The status of the answer.
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::UnknownResource | Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Method | Self::Watch(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::UnknownResource | Self::NotFound { .. } => "NotFound",
            Self::Method | Self::Watch(_) => "MethodNotAllowed",
            Self::BadRequest(_) => "BadRequest",
            Self::NotAcceptable(_) => "NotAcceptable",
            Self::TooMany => "TooManyRequests",
            Self::Internal(_) => "InternalError",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::UnknownResource => "the server could not find the requested resource".to_owned(),
            Self::NotFound { kind, name } => format!("{kind}.{GROUP} {name:?} not found"),
            Self::Method => {
                "the server does not allow this method on the requested resource".to_owned()
            }
            Self::Watch(resource) => {
                format!("watch is not supported on resources of kind \"{resource}.{GROUP}\"")
            }
            Self::BadRequest(problem) => problem.clone(),
            Self::NotAcceptable(types) => {
                format!("only the following media types are accepted: {types}")
            }
            Self::TooMany => "too many requests, please try again later".to_owned(),
            Self::Internal(problem) => format!("Internal error occurred: {problem}"),
        }
    }

    fn details(&self) -> Details {
        let of = |kind: &str, name: &str| Details {
            name: name.to_owned(),
            group: GROUP.to_owned(),
            kind: kind.to_owned(),
            retry_after_seconds: 0,
        };
        match self {
            Self::NotFound { kind, name } => of(kind, name),
            Self::Watch(resource) => of(resource, ""),
            Self::TooMany => {
                Details { retry_after_seconds: i32::from(RETRY_SECONDS), ..Details::default() }
            }
            _ => Details::default(),
        }
    }

    /// As JSON.
    pub(super) fn json(&self) -> Value {
        let Details { name, group, kind, retry_after_seconds } = self.details();
        let mut details = serde_json::Map::new();
        for (key, text) in [("name", name), ("group", group), ("kind", kind)] {
            if !text.is_empty() {
                details.insert(key.to_owned(), text.into());
            }
        }
        if retry_after_seconds != 0 {
            details.insert("retryAfterSeconds".to_owned(), retry_after_seconds.into());
        }
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message(),
            "reason": self.reason(),
            "details": details,
            "code": self.code().as_u16(),
        })
    }

    /// As a message of protobuf, in its envelope.
    pub(super) fn protobuf(&self) -> Vec<u8> {
        let status = Status {
            metadata: Some(()),
            status: "Failure".to_owned(),
            message: self.message(),
            reason: self.reason().to_owned(),
            details: Some(self.details()),
            code: i32::from(self.code().as_u16()),
        };
        protobuf::enveloped("v1", "Status", &status.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(refusal: Refusal, code: u16, reason: &str, message: &str, details: Value) {
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "details": details, "code": code,
        });
        assert_eq!(refusal.json(), expected);
    }

    #[test]
    fn refusals_are_those_of_an_api_server() {
        check(
            Refusal::NotFound { kind: "podmetrics", name: "ns/pod".to_owned() },
            404,
            "NotFound",
            "podmetrics.metrics.k8s.io \"ns/pod\" not found",
            json!({"name": "ns/pod", "group": "metrics.k8s.io", "kind": "podmetrics"}),
        );
        let message = "watch is not supported on resources of kind \"pods.metrics.k8s.io\"";
        let details = json!({"group": "metrics.k8s.io", "kind": "pods"});
        check(Refusal::Watch("pods"), 405, "MethodNotAllowed", message, details);
        let message = "the server could not find the requested resource";
        check(Refusal::UnknownResource, 404, "NotFound", message, json!({}));
        let message = "the server does not allow this method on the requested resource";
        check(Refusal::Method, 405, "MethodNotAllowed", message, json!({}));
        let message = "too many requests, please try again later";
        let details = json!({"retryAfterSeconds": 10});
        check(Refusal::TooMany, 429, "TooManyRequests", message, details);
    }

    #[test]
    fn protobuf_says_the_same() {
        let refusal = Refusal::NotFound { kind: "nodemetrics", name: "n".to_owned() };
        let bytes = refusal.protobuf();
        let raw = protobuf::tests::opened(&bytes, "v1", "Status");
        let status = Status::decode(raw.as_slice()).unwrap();
        let json = refusal.json();
        assert_eq!(
            (json!(status.message), json!(status.code)),
            (json["message"].clone(), json["code"].clone())
        );
        assert_eq!(status.details.unwrap().kind, "nodemetrics");
    }
}
