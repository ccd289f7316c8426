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

const PAST: &str = "/api/v1/historical";
const AT_START: &str = r#"{"buckets":[{"timestamp":"2026-11-23T08:43:00Z","count":3,"average":{"floatValue":7},"maximum":{"intValue":9},"percentiles":{"95":{"intValue":9}}}],"bucketSize":0}"#;

/// What was recorded, as the rules make it ours.
fn recorded(ours: &str) -> String {
    ours.replace("floatValue", "intValue").replace("08:43:00Z", "08:43:00.000000001Z")
}

#[test]
fn broken_buckets_are_noticed() {
    let target = format!(
        "{PAST}/nodes/n/metrics-aggregated/average,max,count,95-perc/memory/usage\
         ?start=2026-11-23T08:43:00Z"
    );
    check(&target, &recorded(AT_START), AT_START, true);
    for (text, by) in [
        ("08:43:00Z", "08:43:00.000000001Z"),
        ("\"count\":3", "\"count\":4"),
        ("\"count\":3,", ""),
        ("floatValue", "intValue"),
        ("\"maximum\":{\"intValue", "\"maximum\":{\"floatValue"),
        ("\"maximum\":{\"intValue\":9", "\"maximum\":{\"intValue\":8"),
        ("\"95\":{\"intValue\":9", "\"95\":{\"intValue\":8"),
        ("\"95\"", "\"99\""),
        ("\"bucketSize\":0", "\"bucketSize\":1"),
    ] {
        assert!(AT_START.contains(text), "{text}");
        check(&target, &recorded(AT_START), &AT_START.replacen(text, by, 1), false);
    }
    check(&target, &recorded(AT_START), r#"{"buckets":[],"bucketSize":0}"#, false);
    let sized = AT_START.replace("\"bucketSize\":0", "\"bucketSize\":60000000000");
    let target = target.replace('?', "?bucket=1m&");
    check(&target, &sized.replace("float", "int"), &sized, true);
    check(&target, &sized, &sized.replace("08:43:00", "08:44:00"), false);
}

#[test]
fn a_broken_series_of_history_is_noticed() {
    let target = format!("{PAST}/namespaces/s/pods/p/metrics/memory/usage");
    let inner = format!("{target}?start=2026-11-23T08:43:00Z&end=2026-11-23T08:43:30Z");
    broken(&inner, SERIES, ":7}", ":6}");
    broken(&inner, SERIES, r#"{"timestamp":"2026-11-23T08:43:10Z","value":7},"#, "");
    let more = SERIES
        .replace("\"metrics\":[", r#""metrics":[{"timestamp":"2026-11-23T08:43:00Z","value":1},"#);
    check(&inner, SERIES, &more, true);
    check(&inner.replace("08:43:00Z", "08:42:59Z"), SERIES, &more, false);
}

#[test]
fn no_data_in_history_is_an_empty_answer() {
    let error = |text: &str, target: &str| {
        let mut case = case(&format!("{PAST}/{target}"), text);
        case.response.status = 500;
        case
    };
    let check = |case: &Case, ours: &str, right: bool| {
        let outcome = compare(case, &answer(ours), &Facts::default());
        assert_eq!(outcome == Outcome::Right, right, "{ours}: {outcome:?}");
    };
    let empty = r#"{"metrics":[],"latestTimestamp":"0001-01-01T00:00:00Z"}"#;
    let one = error("No results for metric \"m\" describing", "nodes/n/metrics/m");
    check(&one, empty, true);
    check(&one, SERIES, false);
    let by_uid = error("No results for metric \"m\" describing", "pod-id/nobody/metrics/m");
    check(&by_uid, empty, true);
    check(&by_uid, SERIES, false);
    let none = "No results for metric \"m\" describing \"(pod)ns:s/pod:q\"";
    let two = error(none, "namespaces/s/pod-list/p,q/metrics/m");
    check(&two, &format!("{{\"items\":[{SERIES},{empty}]}}"), true);
    check(&two, &format!("{{\"items\":[{empty},{SERIES}]}}"), false);
    check(&two, &format!("{{\"items\":[{empty}]}}"), false);
    let failed = error("the disk is on fire", "nodes/n/metrics/m");
    check(&failed, empty, false);
}
