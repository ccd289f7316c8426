//! Answers that are broken by hand: each must be noticed.

use hyper::HeaderMap;
use serde_json::json;

use super::*;

const MODEL: &str = "/api/v1/model";
const SERIES: &str = r#"{"metrics":[{"timestamp":"2026-11-23T08:43:10Z","value":7},
    {"timestamp":"2026-11-23T08:43:20Z","value":8}],"latestTimestamp":"2026-11-23T08:43:20Z"}"#;
const EXPORT: &str = r#"[{"metrics":{"memory/usage":[{"start":"t","end":"t","value":5}]},
    "labels":{"container_name":"/pod","pod_name":"p","namespace_id":"u"}}]"#;

fn case(target: &str, body: &str) -> Case {
    let case = json!({
        "name": "by hand",
        "recorded_at": "2026-11-23T08:43:25Z",
        "newest_batch": "2026-11-23T08:43:20Z",
        "request": {"method": "GET", "target": target, "headers": {}},
        "response": {"status": 200, "headers": [["Content-Type", "application/json"]], "body": body},
    });
    serde_json::from_value(case).unwrap()
}

fn answer(body: &str) -> Answer {
    let headers = HeaderMap::from_iter([(
        "content-type".parse().unwrap(),
        "application/json".parse().unwrap(),
    )]);
    Answer { status: 200, headers, body: body.into() }
}

/// `recorded` is answered with `ours`.
#[track_caller]
fn check(target: &str, recorded: &str, ours: &str, right: bool) {
    let outcome = compare(&case(target, recorded), &answer(ours), &Facts::default());
    assert_eq!(outcome == Outcome::Right, right, "{ours}: {outcome:?}");
}

/// The recorded answer with one text replaced is noticed.
#[track_caller]
fn broken(target: &str, recorded: &str, text: &str, by: &str) {
    check(target, recorded, recorded, true);
    assert!(recorded.contains(text), "{text}");
    check(target, recorded, &recorded.replacen(text, by, 1), false);
}

#[test]
fn a_broken_series_is_noticed() {
    let target = format!("{MODEL}/namespaces/s/pods/p/metrics/memory/usage");
    broken(&target, SERIES, ":7}", ":6}");
    broken(&target, SERIES, "08:43:10", "08:43:11");
    broken(&target, SERIES, r#"{"timestamp":"2026-11-23T08:43:10Z","value":7},"#, "");
    broken(
        &target,
        SERIES,
        r#""latestTimestamp":"2026-11-23T08:43:20Z""#,
        r#""latestTimestamp":"""#,
    );
    broken(&target, SERIES, r#""value":8"#, r#""value":8,"floatValue":9.5"#);
    broken(&target, SERIES, r#""value":8"#, r#""value":-8"#);
    broken(
        &target,
        SERIES,
        "\"metrics\":[",
        r#""metrics":[{"timestamp":"2026-11-23T08:43:00Z","value":1},"#,
    );
    let again = r#""value":8},{"timestamp":"2026-11-23T08:43:20Z","value":8}"#;
    broken(&target, SERIES, r#""value":8}"#, again);
    let empty = r#"{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"}"#;
    check(&target, SERIES, empty, false);
    check(&target, empty, SERIES, false);
}

#[test]
fn a_float_without_its_exact_number_is_noticed() {
    let target = format!("{MODEL}/nodes/n/metrics/network/rx_rate");
    check(&target, SERIES, SERIES, false);
    let floats =
        SERIES.replace(":7}", ":7,\"floatValue\":7.5}").replace(":8}", ":8,\"floatValue\":8.0}");
    check(&target, SERIES, &floats, true);
}

#[test]
fn a_broken_list_is_noticed() {
    let target = format!("{MODEL}/namespaces/s/pods/");
    let recorded = r#"["b","a"]"#;
    check(&target, recorded, r#"["a","b"]"#, true);
    for ours in [r#"["b","a"]"#, r#"["a"]"#, r#"["a","b","c"]"#, r#"["a","a","b"]"#, "{}", "", "[]"]
    {
        check(&target, recorded, ours, false);
    }
}

#[test]
fn a_broken_pod_list_is_noticed() {
    let target = format!("{MODEL}/namespaces/s/pod-list/p,q/metrics/memory/usage");
    let empty = r#"{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"}"#;
    let list = |items: &[&str]| format!("{{\"items\":[{}]}}", items.join(","));
    let recorded = list(&[SERIES, empty]);
    check(&target, &recorded, &recorded, true);
    for items in [&[empty, SERIES][..], &[SERIES], &[SERIES, empty, empty], &[SERIES, SERIES]] {
        check(&target, &recorded, &list(items), false);
    }
}

#[test]
fn a_broken_export_is_noticed() {
    let target = "/api/v1/metric-export";
    let ours =
        EXPORT.replace("\"labels\":{", "\"labels\":{\"type\":\"pod\",\"namespace_name\":\"s\",");
    check(target, EXPORT, &ours, true);
    for (text, by) in [
        (":5}", ":6}"),
        ("\"end\":\"t\"", "\"end\":\"u\""),
        ("memory/usage", "memory/rss"),
        ("\"type\":\"pod\"", "\"type\":\"node\""),
        ("\"namespace_name\":\"s\",", ""),
        ("\"namespace_id\":\"u\"", "\"namespace_id\":\"v\""),
        ("\"namespace_id\"", "\"more\":\"\",\"namespace_id\""),
    ] {
        assert!(ours.contains(text), "{text}");
        check(target, EXPORT, &ours.replacen(text, by, 1), false);
    }
    check(target, EXPORT, "[]", false);
}

#[test]
fn a_broken_head_is_noticed() {
    let case = case(&format!("{MODEL}/nodes/n/metrics/memory/usage"), SERIES);
    let wrong = |answer: &Answer| {
        let outcome = compare(&case, answer, &Facts::default());
        assert!(matches!(outcome, Outcome::Wrong(_)), "{answer:?}");
    };
    wrong(&Answer { status: 404, ..answer(SERIES) });
    let mut of_another_type = answer(SERIES);
    of_another_type.headers.insert("content-type", "text/html".parse().unwrap());
    wrong(&of_another_type);
    let mut compressed = answer(SERIES);
    compressed.headers.insert("content-encoding", "gzip".parse().unwrap());
    wrong(&compressed);
}
