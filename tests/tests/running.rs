//! The aggregator as a program inside this one: what it says before and after its first frame, what
//! its two servers offer, and how it stops.

#![allow(clippy::unwrap_used, reason = "a test, helpers included")]

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use tally_aggregator::{
    app::{self, Running, StartError},
    clock::{Clock, Now},
    inventory::LabelForm,
    settings::{ApiServer, Settings},
};
use tally_proto::tick::{Resolution, Tick, UnixMs};
use tally_tests::golden::{
    http::{self, Answer},
    recording::Request,
    sender::Sender,
    summary::{Column, Number, Reading, What},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};

const NOW: UnixMs = UnixMs(1_795_423_525_000);
const TICK: Tick = Tick(1_795_423_515);

fn settings() -> Settings {
    Settings {
        rest_listen: ([127, 0, 0, 1], 0).into(),
        grpc_listen: ([127, 0, 0, 1], 0).into(),
        secure: None,
        resolution: Resolution::DEFAULT,
        model_window: Duration::from_secs(900),
        history: None,
        inventory: Vec::new(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 10,
        max_entities_per_node: 100,
        max_clock_skew: Duration::from_secs(60),
    }
}

async fn started() -> Running {
    let clock = Clock::new(|| Now { unix: NOW, elapsed: Duration::ZERO });
    app::start(settings(), clock).await.unwrap()
}

async fn ask(server: &Running, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let (method, target) = (method.to_owned(), target.to_owned());
    let request = Request { method, target, headers: BTreeMap::from_iter(headers) };
    http::ask(server.rest_addr, &request).await.unwrap()
}

/// Asks by GET and checks status and body.
#[track_caller]
fn check(answer: &Answer, status: u16, body: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!((answer.status, &*text), (status, body));
}

/// A node that delivered one frame.
async fn delivered(server: &Running) -> Sender {
    let mut sender = Sender::connect(server.grpc_addr, "n", Resolution::DEFAULT).await.unwrap();
    let column = Column {
        metric: "memory/usage".to_owned(),
        labels: Vec::new(),
        floating: false,
        cumulative: false,
    };
    let values = BTreeMap::from([(column, Number::Integer(7))]);
    let reading = Reading { what: What::Node, start: None, read_at: None, values };
    let scraped = Timestamp::from_millisecond(TICK.unix_ms().0).unwrap();
    sender.send(TICK, scraped, &[reading]).await.unwrap();
    sender
}

#[tokio::test]
async fn before_the_first_frame_it_lives_but_is_not_ready() {
    let server = started().await;
    check(&ask(&server, "GET", "/livez", &[]).await, 200, "ok");
    let missing = "no agent has delivered a frame yet\n";
    check(&ask(&server, "GET", "/readyz", &[]).await, 503, missing);
    let unhealthy = "[-]healthz failed: reason withheld\nhealthz check failed\n";
    check(&ask(&server, "GET", "/healthz", &[]).await, 500, unhealthy);
    check(&ask(&server, "GET", "/api/v1/metric-export", &[]).await, 200, "[]\n");
    check(&ask(&server, "GET", "/api/v1/model/nodes", &[]).await, 200, "[]");
    server.stop().await;
}

#[tokio::test]
async fn after_the_first_frame_it_answers() {
    let server = started().await;
    let _sender = delivered(&server).await;
    check(&ask(&server, "GET", "/readyz", &[]).await, 200, "ok");
    check(&ask(&server, "PATCH", "/healthz", &[]).await, 200, "ok");
    check(&ask(&server, "GET", "/api/v1/model/nodes/", &[]).await, 200, "[\"n\"]");
    let series = r#"{"metrics":[{"timestamp":"2026-11-23T08:45:15Z","value":7}],"latestTimestamp":"2026-11-23T08:45:15Z"}"#;
    let path = "/api/v1/model/nodes/n/metrics/memory-usage";
    check(&ask(&server, "GET", path, &[]).await, 200, series);
    let pretty = ask(&server, "GET", "/api/v1/model/nodes?pretty", &[]).await;
    check(&pretty, 200, "[\n  \"n\"\n]\n");
    server.stop().await;
}

#[tokio::test]
async fn methods_work_as_http_expects() {
    let server = started().await;
    let path = "/api/v1/model/nodes";
    let head = ask(&server, "HEAD", path, &[]).await;
    check(&head, 200, "");
    assert_eq!(head.header("content-length"), Some("2"));
    let options = ask(&server, "OPTIONS", path, &[]).await;
    check(&options, 204, "");
    assert_eq!(options.header("allow"), Some("GET, HEAD, OPTIONS"));
    let post = ask(&server, "POST", path, &[]).await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    assert_eq!(ask(&server, "POST", "/api/v1/model/nosuch", &[]).await.status, 404);
    assert_eq!(ask(&server, "OPTIONS", "*", &[]).await.status, 204);
    let head = ask(&server, "HEAD", "/api/v1/metric-export", &[]).await;
    assert_eq!((head.status, head.header("content-length")), (200, None));
    server.stop().await;
}

#[tokio::test]
async fn an_error_is_json_for_those_who_take_it() {
    let server = started().await;
    let path = "/api/v1/model/metrics/cpu/usage?labels=foo";
    let error = r#"{"error":"invalid label pair \"foo\""}"#;
    check(&ask(&server, "GET", path, &[]).await, 400, error);
    let text = ask(&server, "GET", "/api/v1/model/debug?pretty", &[("accept", "text/html")]).await;
    check(&text, 404, "no such path; there are /api/v1/model/debug/allkeys\n");
    let near = ask(&server, "GET", "/api/v1/model/debug", &[]).await;
    check(&near, 404, r#"{"error":"no such path","paths":["/api/v1/model/debug/allkeys"]}"#);
    let pretty = ask(&server, "GET", "/api/v1/model/nodes/%zz?pretty", &[]).await;
    assert_eq!(pretty.status, 400);
    assert!(pretty.body.starts_with(b"{\n  \"error\": \"the path has a %"));
    let glued = ask(&server, "GET", "//api/v1/model/nodes?pretty", &[]).await;
    assert_eq!((glued.status, glued.header("location")), (301, Some("/api/v1/model/nodes?pretty")));
    server.stop().await;
}

#[tokio::test]
async fn compression_is_negotiated() {
    let server = started().await;
    let check = async |wish: &str, encoding: Option<&str>| {
        let answer = ask(&server, "GET", "/api/v1/model/nodes", &[("accept-encoding", wish)]).await;
        assert_eq!(answer.header("content-encoding"), encoding, "{wish}");
        let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
        assert_eq!(vary, ["accept", "accept-encoding"], "{wish}");
    };
    check("gzip", Some("gzip")).await;
    check("deflate", Some("deflate")).await;
    check("gzip;q=0", None).await;
    check("br", None).await;
    // As from Heapster: who refuses everything gets the answer all the same.
    check("*;q=0", None).await;
    let probe = ask(&server, "GET", "/healthz", &[("accept-encoding", "gzip")]).await;
    assert_eq!(probe.header("content-encoding"), None);
    server.stop().await;
}

#[tokio::test]
async fn an_export_is_whole_in_every_encoding() {
    let server = started().await;
    let _sender = delivered(&server).await;
    let plain = ask(&server, "GET", "/api/v1/metric-export", &[]).await;
    assert!(plain.body.ends_with(b"}}]\n"), "{}", String::from_utf8_lossy(&plain.body));
    for encoding in ["gzip", "deflate"] {
        let headers = [("accept-encoding", encoding)];
        let answer = ask(&server, "GET", "/api/v1/metric-export", &headers).await;
        assert_eq!(answer.header("content-encoding"), Some(encoding));
        assert_eq!(answer.body, plain.body, "{encoding}");
    }
    server.stop().await;
}

/// What a connection is answered that says `head`, until it ends.
async fn raw(server: &Running, head: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.rest_addr).await.unwrap();
    stream.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    // What was not read of a head that is too long makes the kernel reset the connection.
    stream.read_to_end(&mut answer).await.ok();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_head_that_is_none_or_too_long_is_refused_and_counted() {
    let server = started().await;
    let status = async |head: &[u8]| raw(&server, head).await.get(..12).map(str::to_owned);
    let long = |line: &str, bytes: usize| line.replace("LONG", &"x".repeat(bytes)).into_bytes();
    let of = |status: &str| Some(format!("HTTP/1.1 {status}"));
    assert_eq!(status(b"\x16\x03\x01 no TLS here\r\n\r\n").await, of("400"));
    assert_eq!(status(&long("GET /LONG HTTP/1.1\r\n\r\n", 70_000)).await, of("414"));
    assert_eq!(status(&long("GET / HTTP/1.1\r\nx: LONG\r\n\r\n", 400_000)).await, of("431"));
    // HTTP/2 must be agreed upon, and here is no way to do that.
    assert_eq!(status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await, None);
    let metrics = loop {
        let answer = ask(&server, "GET", "/metrics", &[]).await;
        let metrics = String::from_utf8(answer.body).unwrap();
        // A connection is counted once it has ended, which is after the client sees its end.
        if metrics.contains("tally_http_connections_broken_total 4\n") {
            break metrics;
        }
        tokio::task::yield_now().await;
    };
    assert!(metrics.contains("tally_http_connections 1\n"), "{metrics}");
    server.stop().await;
}

#[tokio::test]
async fn its_own_metrics_have_two_formats() {
    let server = started().await;
    let _sender = delivered(&server).await;
    let text = ask(&server, "GET", "/metrics", &[]).await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let body = String::from_utf8(text.body).unwrap();
    for line in [
        "# TYPE tally_frames_received_total counter",
        "tally_frames_received_total 1",
        "tally_streams_open 1",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} is not in\n{body}");
    }
    let wish = [("accept", "application/openmetrics-text")];
    let text = ask(&server, "GET", "/metrics", &wish).await;
    assert!(text.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let body = String::from_utf8(text.body).unwrap();
    assert!(
        body.contains("tally_http_requests_total{route=\"metrics\",code=\"200\"} 1\n"),
        "{body}"
    );
    assert!(body.ends_with("# EOF\n"), "{body}");
    server.stop().await;
}

#[tokio::test]
async fn grpc_has_health_and_reflection() {
    let server = started().await;
    let address = format!("http://{}", server.grpc_addr).parse::<Endpoint>().unwrap();
    let channel = address.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let service = "tally.v1.Ingest".to_owned();
    let answer = health.check(HealthCheckRequest { service }).await.unwrap().into_inner();
    assert_eq!(answer.status, 1);
    let mut reflection = ServerReflectionClient::new(channel);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let question = ServerReflectionRequest { host: String::new(), message_request };
    let answers = reflection.server_reflection_info(tokio_stream::once(question)).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    assert!(format!("{answer:?}").contains("tally.v1.Ingest"), "{answer:?}");
    drop((health, reflection));
    server.stop().await;
}

#[tokio::test]
async fn when_it_stops_streams_end_and_are_told_to_come_back() {
    let server = started().await;
    let sender = delivered(&server).await;
    let ((), end) = tokio::join!(server.stop(), sender.end());
    let status = end.expect_err("a status");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "the aggregator is stopping; connect again later");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let first = started().await;
    let clock = Clock::new(|| Now { unix: NOW, elapsed: Duration::ZERO });
    let settings = Settings { grpc_listen: first.grpc_addr, ..settings() };
    let error = app::start(settings, clock).await.expect_err("the port is taken");
    assert!(matches!(error, StartError::Listen { flag: "--grpc-listen", .. }), "{error}");
    first.stop().await;
}
