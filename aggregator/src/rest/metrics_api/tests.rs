//! Whole answers through the router, over the small cluster of the query's tests.

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{super::Rest, *};
use crate::{
    clock::{Clock, Now},
    query::{
        past::Past,
        usage::fixture::{self, NOW},
    },
    self_metrics::SelfMetrics,
};

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask_with(method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let clock = Clock::new(|| Now { unix: NOW, elapsed: Duration::ZERO });
    let (past, metrics) = (Past::opening(), SelfMetrics::default());
    let rest = Rest::new(fixture::cluster(), (past, None), clock, metrics);
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = rest.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = answer.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

async fn get(path: &str) -> Answer {
    ask_with("GET", path, &[]).await
}

/// Names of a list below `/apis/metrics.k8s.io/v1`.
async fn check_names(target: &str, expected: &[&str]) {
    let answer = get(&format!("/apis/metrics.k8s.io/v1/{target}")).await;
    assert_eq!(answer.status, 200, "{target}");
    let json = answer.json();
    let items = json["items"].as_array().unwrap();
    let names: Vec<&str> =
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, expected, "{target}");
}

/// An error below `/apis/metrics.k8s.io/`.
async fn check_refused(
    method: &str,
    target: &str,
    code: u16,
    reason: &str,
    message: &str,
) -> Value {
    let answer = ask_with(method, &format!("/apis/metrics.k8s.io/{target}"), &[]).await;
    let json = answer.json();
    assert_eq!(
        (answer.status, &json["code"], &json["reason"]),
        (code, &json!(code), &json!(reason)),
        "{target}"
    );
    assert_eq!(
        (&json["kind"], &json["status"], &json["message"]),
        (&json!("Status"), &json!("Failure"), &json!(message))
    );
    json["details"].clone()
}

#[tokio::test]
async fn a_pod_is_as_the_types_have_it_in_both_versions() {
    for version in ["v1", "v1beta1"] {
        let answer =
            get(&format!("/apis/metrics.k8s.io/{version}/namespaces/shop/pods/web-1")).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert_eq!(
            answer.json(),
            json!({
                "kind": "PodMetrics",
                "apiVersion": format!("metrics.k8s.io/{version}"),
                "metadata": {
                    "name": "web-1", "namespace": "shop",
                    "creationTimestamp": "2026-11-23T08:45:16Z", "labels": {"app": "web"},
                },
                "timestamp": "2026-11-23T08:45:15Z",
                "window": "15s",
                "containers": [
                    {"name": "app", "usage": {"cpu": "100m", "memory": "123457"}},
                    {"name": "late", "usage": {"cpu": "250m", "memory": "1Mi"}},
                ],
            })
        );
    }
}

#[tokio::test]
async fn a_node_is_as_the_types_have_it() {
    let answer = get("/apis/metrics.k8s.io/v1beta1/nodes/node-a/").await;
    assert_eq!(
        answer.json(),
        json!({
            "kind": "NodeMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "node-a", "creationTimestamp": "2026-11-23T08:45:16Z",
                "labels": {"kubernetes.io/os": "linux", "zone": "a"},
            },
            "timestamp": "2026-11-23T08:45:15Z",
            "window": "15s",
            "usage": {"cpu": "500m", "memory": "1Gi", "swap": "4Ki"},
        })
    );
}

#[tokio::test]
async fn lists_are_chosen_by_labels_and_fields() {
    check_names("nodes", &["node-a", "node-b"]).await;
    check_names("nodes?labelSelector=zone%3Da", &["node-a"]).await;
    check_names("nodes?fieldSelector=metadata.name%21%3Dnode-a", &["node-b"]).await;
    check_names("pods", &["job", "web-1", "web-2"]).await;
    check_names("pods?labelSelector=app+in+(web,x),!y", &["web-1", "web-2"]).await;
    check_names("pods?fieldSelector=metadata.namespace=batch", &["job"]).await;
    check_names(
        "namespaces/shop/pods?labelSelector=app&fieldSelector=metadata.name=web-2",
        &["web-2"],
    )
    .await;
    check_names("namespaces/empty/pods", &[]).await;
    // As metrics-server: whole lists, whatever is asked for.
    check_names(
        "pods?limit=1&continue=x&resourceVersion=7&watch=false",
        &["job", "web-1", "web-2"],
    )
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_said_as_an_api_server_says_it() {
    let message = "podmetrics.metrics.k8s.io \"shop/gone\" not found";
    let details =
        check_refused("GET", "v1/namespaces/shop/pods/gone", 404, "NotFound", message).await;
    assert_eq!(
        details,
        json!({"name": "shop/gone", "group": "metrics.k8s.io", "kind": "podmetrics"})
    );
    let message = "nodemetrics.metrics.k8s.io \"x\" not found";
    check_refused("GET", "v1/nodes/x", 404, "NotFound", message).await;
    let message = "the server could not find the requested resource";
    for path in ["v2", "v1/secrets", "v2/nodes"] {
        check_refused("GET", path, 404, "NotFound", message).await;
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused() {
    let message = "the server does not allow this method on the requested resource";
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        check_refused(method, "v1/namespaces/shop/pods/web-1", 405, "MethodNotAllowed", message)
            .await;
    }
    let message = "watch is not supported on resources of kind \"pods.metrics.k8s.io\"";
    check_refused("GET", "v1/pods?watch=true", 405, "MethodNotAllowed", message).await;
    check_refused("GET", "v1beta1/namespaces/shop/pods?watch", 405, "MethodNotAllowed", message)
        .await;
    let message = "labelSelector: found \"=\" where a key was expected";
    check_refused("GET", "v1/pods?labelSelector=%3D", 400, "BadRequest", message).await;
    let message = "fieldSelector: \"spec.nodeName\" is not a known field: only metadata.name and metadata.namespace are";
    check_refused("GET", "v1/pods?fieldSelector=spec.nodeName=a", 400, "BadRequest", message).await;
    let message =
        "fieldSelector: \"metadata.namespace\" is not a known field: only metadata.name are";
    check_refused("GET", "v1/nodes?fieldSelector=metadata.namespace=a", 400, "BadRequest", message)
        .await;
}

#[tokio::test]
async fn answers_have_the_form_that_is_asked_for() {
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods";
    let ask = |accept| async move { ask_with("GET", path, &[("accept", accept)]).await };
    let protobuf = ask("application/vnd.kubernetes.protobuf,application/json").await;
    assert_eq!(protobuf.header("content-type"), "application/vnd.kubernetes.protobuf");
    protobuf::tests::opened(&protobuf.body, "metrics.k8s.io/v1beta1", "PodMetricsList");
    let yaml = ask("application/yaml").await;
    assert_eq!(yaml.header("content-type"), "application/yaml");
    assert!(yaml.body.starts_with(b"apiVersion: metrics.k8s.io/v1beta1\nitems:\n- "));
    let table = ask("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    assert_eq!(table.header("content-type"), "application/json");
    assert_eq!(table.json()["rows"][0]["cells"], json!(["web-1", "350m", "1172033", "15s"]));
    let refused = ask("text/html").await;
    assert_eq!((refused.status, refused.json()["reason"].clone()), (406, json!("NotAcceptable")));
    let message = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(refused.json()["message"], message);
    let gone = format!("{path}/gone");
    let gone = ask_with("GET", &gone, &[("accept", "application/vnd.kubernetes.protobuf")]).await;
    assert_eq!(gone.status, 404);
    protobuf::tests::opened(&gone.body, "v1", "Status");
}

#[tokio::test]
async fn rows_carry_objects_as_they_are_wanted() {
    let path = "/apis/metrics.k8s.io/v1/nodes";
    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let of = |include: &'static str| async move {
        ask_with("GET", &format!("{path}?includeObject={include}"), &table).await
    };
    assert_eq!(of("Object").await.json()["rows"][0]["object"]["usage"]["cpu"], "500m");
    assert_eq!(of("None").await.json()["rows"][0]["object"], json!(null));
    assert_eq!(of("").await.json()["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(of("All").await.status, 400);
}

#[tokio::test]
async fn answers_are_indented_and_compressed_as_others_are() {
    let pretty = get("/apis/metrics.k8s.io/v1/nodes?pretty=true").await;
    assert!(pretty.body.starts_with(b"{\n  \"kind\": \"NodeMetricsList\""));
    let gzip =
        ask_with("GET", "/apis/metrics.k8s.io/v1/pods", &[("accept-encoding", "gzip")]).await;
    assert_eq!((gzip.header("content-encoding"), &gzip.body[..2]), ("gzip", &[0x1f, 0x8b][..]));
}

#[tokio::test]
async fn head_is_answered_as_get_without_a_body() {
    let list = ask_with("HEAD", "/apis/metrics.k8s.io/v1/pods", &[]).await;
    assert_eq!((list.status, list.header("content-type")), (200, "application/json"));
    let gone = ask_with("HEAD", "/apis/metrics.k8s.io/v1/nodes/gone", &[]).await;
    assert_eq!(gone.status, 404);
    assert_eq!(ask_with("HEAD", "/apis", &[]).await.status, 200);
}

#[tokio::test]
async fn discovery_is_there_in_all_its_forms() {
    for (path, kind) in [
        ("/apis", "APIGroupList"),
        ("/apis/metrics.k8s.io", "APIGroup"),
        ("/apis/metrics.k8s.io/v1", "APIResourceList"),
        ("/apis/metrics.k8s.io/v1beta1/", "APIResourceList"),
    ] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.json()["kind"].clone()), (200, json!(kind)), "{path}");
        let tag = answer.header("etag").to_owned();
        let again = ask_with("GET", path, &[("if-none-match", &tag)]).await;
        assert_eq!(
            (again.status, again.header("etag"), again.body.len()),
            (304, &*tag, 0),
            "{path}"
        );
    }
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    let all = ask_with("GET", "/apis", &[("accept", accept)]).await;
    assert_eq!(all.json()["apiVersion"], "apidiscovery.k8s.io/v2");
    let content_type = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    assert_eq!(all.header("content-type"), content_type);
    assert_eq!(all.header("vary"), "accept");
    assert_ne!(all.header("etag"), get("/apis").await.header("etag"));
}

#[tokio::test]
async fn openapi_and_version_are_there() {
    assert_eq!(get("/openapi/v2").await.json()["swagger"], "2.0");
    assert!(get("/version").await.json()["gitVersion"].as_str().unwrap().starts_with('v'));
    let index = get("/openapi/v3").await.json();
    let url = &index["paths"]["apis/metrics.k8s.io/v1beta1"]["serverRelativeURL"];
    let document = get(url.as_str().unwrap()).await;
    assert_eq!(document.json()["openapi"], "3.0.0");
    assert!(document.header("cache-control").contains("immutable"));
    let path = "/openapi/v3/apis/metrics.k8s.io/v1beta1";
    let other = get(&format!("{path}?hash=0")).await;
    assert_eq!((other.status, other.header("location")), (301, url.as_str().unwrap()));
    assert_eq!(get(path).await.header("cache-control"), "no-cache");
    let media_type = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let protobuf = ask_with("GET", "/openapi/v2", &[("accept", media_type)]).await;
    let said = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!((protobuf.status, protobuf.header("content-type")), (200, said));
    let tag = protobuf.header("etag").to_owned();
    assert_ne!(tag, get("/openapi/v2").await.header("etag"));
    let known = [("accept", media_type), ("if-none-match", &tag)];
    assert_eq!(ask_with("GET", "/openapi/v2", &known).await.status, 304);
    let elsewhere = ask_with("GET", "/openapi/v3", &[("accept", media_type)]).await;
    assert_eq!(elsewhere.status, 406);
}

#[tokio::test]
async fn heapsters_clients_get_heapsters_answers() {
    let root = "/apis/metrics/v1alpha1";
    let nodes = get(&format!("{root}/nodes/?labelSelector=zone=a")).await.json();
    assert_eq!(
        nodes,
        json!({"metadata": {}, "items": [{
            "metadata": {"name": "node-a", "creationTimestamp": "2026-11-23T08:45:16Z"},
            "timestamp": "2026-11-23T08:45:15Z", "window": "1m0s", "usage": {"cpu": "500m", "memory": "1Gi"},
        }]})
    );
    let pod = get(&format!("{root}/namespaces/batch/pods/job")).await.json();
    assert_eq!(pod["containers"], json!([{"name": "app", "usage": {"cpu": "0", "memory": "4Ki"}}]));
    assert_eq!(get(&format!("{root}/pods?labelSelector=app=x")).await.json()["items"], json!(null));
    let check = |path: &'static str, status, message: &'static str| async move {
        let answer = get(&format!("{root}/{path}")).await;
        assert_eq!((answer.status, answer.json()), (status, json!({"error": message})), "{path}");
    };
    check("nodes/x", 404, "No metrics for node x").await;
    check("namespaces/s/pods/p", 404, "No metrics availalble for pod s/p").await;
    // One of its containers never showed.
    let message = "No metrics availalble for pod shop/web-1";
    check("namespaces/shop/pods/web-1", 404, message).await;
    let message = "Error while parsing selector ===: found \"=\" where a key was expected";
    check("pods?labelSelector====", 400, message).await;
    let same = get("/apis/metrics.k8s.io/v1alpha1/pods").await.json();
    assert_eq!(same["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_with_an_escape_is_one_name() {
    let message = "nodemetrics.metrics.k8s.io \"a/b\" not found";
    check_refused("GET", "v1/nodes/a%2Fb", 404, "NotFound", message).await;
}
