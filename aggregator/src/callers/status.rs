//! Refusals, as an API server words them: a `Status` in JSON, which `kubectl` shows.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    User,
    attributes::{Attributes, Resource},
};

/// What is said to whoever is nobody.
pub fn unauthorized() -> Value {
    status(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized", None)
}

/// What is said to a user that may not do what it asks for; `reason` is empty for none.
pub fn forbidden(user: &User, asked: &Attributes, reason: &str) -> Value {
    let mut what = sentence(user, asked);
    if !reason.is_empty() {
        what = format!("{what}: {reason}");
    }
    let Attributes::Resource(of) = asked else {
        let message = format!("forbidden: {what}");
        return status(StatusCode::FORBIDDEN, "Forbidden", &message, Some(json!({})));
    };
    let Resource { group, resource, name, .. } = of;
    let dot = if group.is_empty() { "" } else { "." };
    let quoted = if name.is_empty() { String::new() } else { format!(" {name:?}") };
    let message = format!("{resource}{dot}{group}{quoted} is forbidden: {what}");
    let mut details = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", resource)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), Value::String(value.clone()));
        }
    }
    status(StatusCode::FORBIDDEN, "Forbidden", &message, Some(Value::Object(details)))
}

/// What is said to a request for somebody else.
pub fn no_impersonation() -> Value {
    let message = "requests for another user are taken by the API server alone: ask it, and it \
                   passes them on";
    status(StatusCode::FORBIDDEN, "Forbidden", message, Some(json!({})))
}

/// What is said while nobody can tell who asks, or what they may.
pub fn unavailable() -> Value {
    let message = "the API server can't be asked who you are or what you may; ask again later";
    status(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message, None)
}

fn sentence(user: &User, asked: &Attributes) -> String {
    let text = match asked {
        Attributes::Path { verb, path } => {
            format!("User {:?} cannot {verb} path {path:?}", user.name)
        }
        Attributes::Resource(of) => {
            let slash = if of.subresource.is_empty() { "" } else { "/" };
            let resource = format!("{}{slash}{}", of.resource, of.subresource);
            let whose = if of.namespace.is_empty() {
                "at the cluster scope".to_owned()
            } else {
                format!("in the namespace {:?}", of.namespace)
            };
            let (name, verb, group) = (&user.name, &of.verb, &of.group);
            format!(
                "User {name:?} cannot {verb} resource {resource:?} in API group {group:?} {whose}"
            )
        }
    };
    // Somebody may show it in a page.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn status(code: StatusCode, reason: &str, message: &str, details: Option<Value>) -> Value {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code.as_u16(),
    });
    if let (Some(object), Some(details)) = (status.as_object_mut(), details) {
        object.insert("details".to_owned(), details);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers that an API server of version 1.20 gave.
    #[track_caller]
    fn check(target: &str, recorded: &str) {
        let asked = Attributes::of("GET", target, "");
        let expected: Value = serde_json::from_str(recorded).unwrap();
        assert_eq!(forbidden(&User::anonymous(), &asked, ""), expected);
    }

    #[test]
    fn a_refusal_is_worded_as_by_an_api_server() {
        check(
            "/apis/metrics.k8s.io/v1beta1/nodes",
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"nodes.metrics.k8s.io is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"metrics.k8s.io\" at the cluster scope","reason":"Forbidden","details":{"group":"metrics.k8s.io","kind":"nodes"},"code":403}"#,
        );
        check(
            "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/web",
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods.metrics.k8s.io \"web\" is forbidden: User \"system:anonymous\" cannot get resource \"pods\" in API group \"metrics.k8s.io\" in the namespace \"shop\"","reason":"Forbidden","details":{"name":"web","group":"metrics.k8s.io","kind":"pods"},"code":403}"#,
        );
        check(
            "/metrics",
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden: User \"system:anonymous\" cannot get path \"/metrics\"","reason":"Forbidden","details":{},"code":403}"#,
        );
        let recorded = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
        assert_eq!(unauthorized(), serde_json::from_str::<Value>(recorded).unwrap());
    }

    #[test]
    fn what_a_client_sent_is_no_markup() {
        let user = User { name: "<b>".to_owned(), ..User::default() };
        let asked = Attributes::of("GET", "/&", "");
        let message = forbidden(&user, &asked, "because");
        let expected = "forbidden: User \"&lt;b&gt;\" cannot get path \"/&amp;\": because";
        assert_eq!(message["message"], expected);
    }
}
