//! Whole answers over a store that is filled by hand.

use std::time::Duration;

use axum::{body::Body, extract::State};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tally_proto::tick::UnixMs;

use super::{
    super::{Rest, answered},
    *,
};
use crate::{
    clock::{Clock, Now},
    query::past::fixture::{BEGIN, live, queries, rows, store},
    self_metrics::SelfMetrics,
};

fn rest(past: &Past) -> (Rest, SelfMetrics) {
    let now = UnixMs(i64::try_from((BEGIN + 2 * 86_400) * 1000).unwrap());
    let clock = Clock::new(move || Now { unix: now, elapsed: Duration::ZERO });
    let metrics = SelfMetrics::default();
    (Rest::new(live(), (past.clone(), None), clock, metrics.clone()), metrics)
}

fn opened() -> Rest {
    let past = Past::opening();
    past.open(queries(store(rows()).0));
    rest(&past).0
}

async fn ask(rest: &Rest, target: &str) -> (u16, http::HeaderMap, Value) {
    let request = Request::builder().method(Method::GET).uri(format!("/api/v1/{target}"));
    let request = request.header("accept", "application/json").body(Body::empty()).unwrap();
    let (head, body) = answered(State(rest.clone()), request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap())
}

/// Each path below `historical` is answered with 200 and this.
async fn check(cases: &[(&str, Value)]) {
    let rest = opened();
    for (path, expected) in cases {
        let (status, _, body) = ask(&rest, &format!("historical/{path}")).await;
        assert_eq!((status, &body), (200, expected), "{path}");
    }
}

async fn check_errors(cases: &[(&str, u16, &str)]) {
    let rest = opened();
    for (path, status, message) in cases {
        let (found, _, body) = ask(&rest, &format!("historical/{path}")).await;
        let text = body["error"].as_str().unwrap();
        assert!((found, text.starts_with(message)) == (*status, true), "{path}: {found} {text}");
    }
}

/// The numbers of a series by the seconds of its day; all are of the first minute.
fn series(points: &[(u64, u64)]) -> Value {
    let at = |after: &u64| format!("2026-11-23T00:00:{after:02}Z");
    let metrics =
        points.iter().map(|(after, value)| json!({"timestamp": at(after), "value": value}));
    let latest = points.last().map_or("0001-01-01T00:00:00Z".into(), |(after, _)| at(after));
    json!({"metrics": metrics.collect::<Vec<_>>(), "latestTimestamp": latest})
}

const DAY: &str = "start=2026-11-23T00:00:00Z&end=2026-11-23T23:59:59Z";

#[tokio::test]
async fn lists_have_what_is_gone() {
    check(&[
        ("nodes", json!(["node-a"])),
        ("namespaces/", json!(["default"])),
        ("namespaces/default/pods", json!(["gone", "web"])),
        ("namespaces/default/pods?start=2026-11-23T00:00:15Z", json!(["web"])),
        ("namespaces/default/pods?end=2026-11-22T00:00:15Z", json!([])),
        ("namespaces/nosuch/pods", json!([])),
        ("namespaces/default/pods/web/containers", json!(["app", "other"])),
        ("namespaces/default/pods/web/containers?start=2026-11-23T00:00:15Z", json!(["other"])),
        ("pod-id/u-1/containers", json!(["app"])),
        ("pod-id/u-9/containers", json!([])),
        ("nodes/node-a/freecontainers", json!(["/a/b"])),
    ])
    .await;
}

#[tokio::test]
async fn metric_names_have_labelled_ones_and_rates() {
    let all =
        ["cpu/node_utilization", "cpu/usage", "cpu/usage_rate", "filesystem/usage", "memory/usage"];
    check(&[
        ("nodes/node-a/metrics", json!(all)),
        ("nodes/node-a/metrics?start=2026-11-24T00:00:00Z", json!(["memory/usage"])),
        ("metrics/", json!(["memory/usage"])),
        ("namespaces/default/metrics", json!(["memory/usage"])),
        ("namespaces/default/pods/gone/metrics", json!(["memory/usage"])),
        ("pod-id/u-3/metrics", json!(["memory/usage"])),
        ("pod-id/u-1/containers/app/metrics", json!(["memory/usage"])),
        ("nodes/node-a/freecontainers/%2Fa%2Fb/metrics", json!(["memory/usage"])),
        ("nodes/nosuch/metrics", json!([])),
    ])
    .await;
}

#[tokio::test]
async fn every_level_has_its_series() {
    let with = |path: &str| format!("{path}?{DAY}");
    let cases = [
        ("metrics/memory/usage", series(&[(10, 100)])),
        ("namespaces/default/metrics/memory-usage", series(&[(10, 9)])),
        ("nodes/node-a/metrics/memory%2Fusage", series(&[(10, 1), (20, 2), (30, 3), (40, 10)])),
        ("nodes/node-a/metrics/cpu-usage", series(&[(20, 500)])),
        ("nodes/node-a/freecontainers/%2Fa%2Fb/metrics/memory/usage", series(&[(10, 4)])),
        ("namespaces/default/pods/web/metrics/memory/usage", series(&[(10, 1), (20, 2), (30, 3)])),
        ("namespaces/default/pods/web/containers/app/metrics/memory/usage", series(&[(10, 1)])),
        ("pod-id/u-1/metrics/memory/usage", series(&[(10, 1), (20, 2)])),
        ("pod-id/u-2/containers/other/metrics/memory/usage", series(&[(30, 3)])),
        ("pod-id/u-2/containers/app/metrics/memory/usage", series(&[])),
        ("nodes/nosuch/metrics/memory/usage", series(&[])),
        ("nodes/node-a/metrics/a%22b", series(&[])),
    ];
    let rest = opened();
    for (path, expected) in cases {
        let (status, _, body) = ask(&rest, &format!("historical/{}", with(path))).await;
        assert_eq!((status, body), (200, expected), "{path}");
    }
}

#[tokio::test]
async fn a_range_holds_both_its_ends_and_labels_match_in_part() {
    let node = "nodes/node-a/metrics";
    let range = "start=2026-11-23T00:00:20Z&end=2026-11-23T00:00:30Z";
    let later = "start=2026-11-23T00:00:20.001Z&end=2026-11-23T05:30:30.5%2B05:30";
    let disk = |labels: &str| format!("{node}/filesystem/usage?{DAY}&labels={labels}");
    check(&[
        (&format!("{node}/memory/usage?{range}"), series(&[(20, 2), (30, 3)])),
        (&format!("{node}/memory/usage?{later}"), series(&[(30, 3)])),
        (
            &format!("{node}/memory/usage?start=2026-11-23T00:00:30Z&end=2026-11-23T00:00:20Z"),
            series(&[]),
        ),
        (&disk("resource_id:/"), series(&[(10, 50), (20, 60)])),
        (&disk("kind:disk,resource_id:/"), series(&[(10, 50), (20, 60)])),
        (&disk("resource_id:nope"), series(&[])),
        (&disk("resource_id:/,more:x"), series(&[])),
        (&format!("{node}/filesystem/usage?{DAY}"), series(&[(10, 50), (10, 70), (20, 60)])),
        (&format!("{node}/memory/usage?{DAY}&labels=a:{}", "x".repeat(2000)), series(&[])),
    ])
    .await;
}

#[tokio::test]
async fn floats_are_given_exactly_beside_their_integers() {
    let (_, _, body) =
        ask(&opened(), &format!("historical/nodes/node-a/metrics/cpu/node_utilization?{DAY}"))
            .await;
    let expected = json!({"timestamp": "2026-11-23T00:00:10Z", "value": 0, "floatValue": 0.5});
    assert_eq!(body["metrics"][0], expected);
}

#[tokio::test]
async fn lists_of_pods_have_an_item_for_each() {
    let items = |items: &[Value]| json!({"items": items});
    let (one, two) = (series(&[(10, 1), (20, 2), (30, 3)]), series(&[(10, 8)]));
    let max = |value: i64| json!({"buckets": [{"timestamp": "2026-11-23T00:00:00Z", "maximum": {"intValue": value}}], "bucketSize": 0});
    let none = json!({"buckets": [], "bucketSize": 0});
    check(&[
        (
            &format!("namespaces/default/pod-list/web,nosuch,gone,web/metrics/memory/usage?{DAY}"),
            items(&[one.clone(), series(&[]), two.clone(), one]),
        ),
        (
            &format!("pod-id-list/u-3,,u-9/metrics/memory/usage?{DAY}"),
            items(&[two, series(&[]), series(&[])]),
        ),
        (
            &format!(
                "namespaces/default/pod-list/web,nosuch/metrics-aggregated/max/memory/usage?{DAY}"
            ),
            items(&[max(3), none]),
        ),
        (
            &format!("pod-id-list/u-1,u-2/metrics-aggregated/max/memory/usage?{DAY}"),
            items(&[max(2), max(3)]),
        ),
    ])
    .await;
}

#[tokio::test]
async fn aggregations_are_of_the_range() {
    let node = "nodes/node-a/metrics-aggregated";
    let start = "2026-11-23T00:00:00.5Z";
    let one = |bucket: Value| json!({"buckets": [bucket], "bucketSize": 0});
    check(&[
        (
            &format!("{node}/max,min,count,average,median,50-perc,95-perc,99-perc/memory/usage?start={start}&end=2026-11-23T01:00:00Z"),
            one(json!({
                "timestamp": start, "count": 4, "average": {"floatValue": 4.0},
                "maximum": {"intValue": 10}, "minimum": {"intValue": 1}, "median": {"floatValue": 2.5},
                "percentiles": {"50": {"intValue": 2}, "95": {"intValue": 10}, "99": {"intValue": 10}},
            })),
        ),
        (
            &format!("{node}/max,50-perc/cpu/node_utilization?start={start}"),
            one(json!({"timestamp": start, "maximum": {"floatValue": 2.0}, "percentiles": {"50": {"floatValue": 0.5}}})),
        ),
        (
            &format!("{node}/count/memory/usage?start={start}&bucket=20s&end=2026-11-23T00:00:30Z"),
            json!({"buckets": [
                {"timestamp": "2026-11-23T00:00:00Z", "count": 1},
                {"timestamp": "2026-11-23T00:00:20Z", "count": 2},
            ], "bucketSize": 20_000_000_000_u64}),
        ),
        (
            &format!("{node}/count/memory/usage?start=1970-01-01T00:00:00Z&bucket=1d"),
            json!({"buckets": [
                {"timestamp": "2026-11-23T00:00:00Z", "count": 4},
                {"timestamp": "2026-11-24T00:00:00Z", "count": 1},
            ], "bucketSize": 86_400_000_000_000_u64}),
        ),
        (
            &format!("{node}/max/filesystem/usage?start={start}&labels=resource_id:/"),
            one(json!({"timestamp": start, "maximum": {"intValue": 60}})),
        ),
        (&format!("{node}/max/nosuch?start={start}&bucket=7s"), json!({"buckets": [], "bucketSize": 7_000_000_000_u64})),
        (&format!("{node}/max/memory/usage?start={start}&end=2026-11-22T00:00:00Z"), json!({"buckets": [], "bucketSize": 0})),
    ])
    .await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_a_bad_request() {
    let no_start = "no start time (or a start time of zero) provided";
    check_errors(&[
        ("nodes/node-a/metrics/memory/usage", 400, no_start),
        ("nodes/node-a/metrics-aggregated/sum/memory/usage?bucket=30", 400, no_start),
        ("pod-id-list/u-1/metrics/memory/usage?start=0001-01-01T00:00:00Z", 400, no_start),
        ("nodes?start=foo", 400, "timestamp argument cannot be parsed: "),
        ("metrics?end=foo", 400, "timestamp argument cannot be parsed: "),
        (
            "nodes/node-a/metrics-aggregated/max/memory/usage?start=2026-11-23T00:00:00Z&bucket=1ms",
            400,
            "the answer needs more than 50000 buckets: ask for a shorter range or larger buckets",
        ),
        ("nodes/node-a", 404, "no such path"),
        ("debug/allkeys", 404, "no such path"),
    ])
    .await;
}

#[tokio::test]
async fn without_a_history_every_path_says_how_to_have_one() {
    let (rest, _) = rest(&Past::off());
    for path in ["", "/", "/nodes", "/x/y", "/nodes/n/metrics/m"] {
        let (status, _, body) = ask(&rest, &format!("historical{path}")).await;
        assert_eq!((status, body["error"].as_str()), (404, Some(OFF)), "{path}");
    }
    let (status, _, body) = ask(&rest, "historically").await;
    assert_eq!((status, body["error"].as_str()), (404, Some("no such path")));
}

#[tokio::test]
async fn a_history_that_opens_later_says_so_until_it_answers() {
    let past = Past::opening();
    let (rest, metrics) = rest(&past);
    let (status, headers, body) = ask(&rest, "historical/nodes").await;
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (503, "10"));
    assert!(body["error"].as_str().unwrap().starts_with(OPENING));
    past.open(queries(store(rows()).0));
    assert_eq!(ask(&rest, "historical/nodes").await.0, 200);
    let refused = metrics.history.refused.get_or_create(&Refusal { reason: "opening" }).get();
    assert_eq!((refused, metrics.history.questions.get()), (1, 1));
}

#[tokio::test]
async fn damage_is_said_to_the_client_and_counted() {
    let (stored, disk) = store(rows());
    let name = stored.files().keys().next().unwrap().to_string();
    disk.corrupt(&name, 40);
    let past = Past::opening();
    past.open(queries(stored));
    let (rest, metrics) = rest(&past);
    let (status, _, body) = ask(&rest, "historical/nodes").await;
    let text = body["error"].as_str().unwrap();
    assert!(
        status == 500 && text.starts_with("history cannot be read: ") && text.contains(&name),
        "{text}"
    );
    assert_eq!(metrics.history.refused.get_or_create(&Refusal { reason: "fault" }).get(), 1);
}

#[tokio::test]
async fn work_that_takes_too_long_is_given_up_and_leaves_its_place() {
    let history = History::new(Past::off(), HistoryCounts::default());
    let endless = |stop: &Stop| {
        while !stop.is_stopped() {
            std::thread::yield_now();
        }
        Err::<(), _>(PastError::Stopped)
    };
    let given_up = history.ask(Duration::from_millis(5), endless).await;
    assert!(matches!(given_up, Err(Refused::TooLong)), "{given_up:?}");
    // So does work whose client goes away.
    drop(timeout(Duration::from_millis(5), history.ask(LONGEST, endless)).await);
    let all = u32::try_from(QUESTIONS).unwrap();
    assert!(history.places.acquire_many(all).await.is_ok());
}

#[tokio::test]
async fn there_are_so_many_places_and_no_more() {
    let history = History::new(Past::off(), HistoryCounts::default());
    let all = u32::try_from(QUESTIONS).unwrap();
    let held = history.places.acquire_many(all).await.unwrap();
    assert!(history.place(Duration::ZERO).await.is_none());
    drop(held);
    assert!(history.place(Duration::ZERO).await.is_some());
}
