//! A recorded answer and ours, by meaning.

mod past;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    facts::Facts,
    http::Answer,
    question::{Question, Subject},
    recording::Case,
    rules::{self, Instead, Point},
};

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answers mean the same, or differ as a rule says.
    Right,
    /// It was not compared, for this reason.
    Skipped(&'static str),
    /// They differ, and no rule says why.
    Wrong(String),
}

/// Lines of a difference that are shown.
const LINES_SHOWN: usize = 12;

/// Compares.
pub fn compare(case: &Case, answer: &Answer, facts: &Facts) -> Outcome {
    if let Some(reason) = rules::not_of_this_api(case) {
        return Outcome::Skipped(reason);
    }
    let differences = match differences(case, answer, facts) {
        Ok(differences) => differences,
        Err(unreadable) => vec![unreadable],
    };
    if differences.is_empty() {
        return Outcome::Right;
    }
    let more = differences.len().saturating_sub(LINES_SHOWN);
    let mut shown: Vec<String> = differences.into_iter().take(LINES_SHOWN).collect();
    if 0 < more {
        shown.push(format!("… and {more} more"));
    }
    Outcome::Wrong(shown.join("\n"))
}

fn differences(case: &Case, answer: &Answer, facts: &Facts) -> Result<Vec<String>, String> {
    let instead = rules::head_and_options_work(case)
        .or_else(|| rules::an_api_server_says_what_it_is(case))
        .or_else(|| rules::any_range_that_json_satisfies(case))
        .or_else(|| rules::slash_names_are_addressable(case, facts))
        .or_else(|| rules::usage::what_the_node_names_is_there(case))
        .or_else(|| rules::past::instead(case, facts));
    let status = match &instead {
        Some(Instead::Status(status)) => *status,
        Some(_) => 200,
        None => case.response.status,
    };
    if answer.status != status {
        return Ok(vec![format!("status {} expected, got {}", status, answer.status)]);
    }
    let mut found = headers(case, answer);
    match instead {
        Some(Instead::Status(_)) => (),
        Some(Instead::Names(names)) => found.extend(same_names(&names, &list(&json(answer)?)?)),
        Some(Instead::Items(count, none)) => found.extend(items(&json(answer)?, count, none)?),
        Some(Instead::Something) => found.extend(emptiness(&json(answer)?, false)),
        Some(Instead::Nothing) => found.extend(emptiness(&json(answer)?, true)),
        None if status == 200 && case.request.method != "HEAD" => {
            found.extend(bodies(case, answer, facts)?);
        }
        None => (),
    }
    Ok(found)
}

/// What every answer's headers must say.
fn headers(case: &Case, answer: &Answer) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |right: bool, what: &str| {
        if !right {
            found.push(format!("{what}: {:?}", answer.headers));
        }
    };
    let content_type = answer.header("content-type").unwrap_or_default();
    let recorded = case.response.header("content-type").unwrap_or_default();
    if answer.status == 200 && recorded.starts_with("application/json") {
        check(content_type == recorded, "JSON has another content type");
    }
    if answer.status == 405 {
        check(answer.header("allow").is_some(), "405 without Allow");
    }
    if answer.status == 301 {
        let same = answer.header("location") == case.response.header("location");
        check(same, "moved elsewhere");
    }
    if let Err(fault) = rules::encoding_is_negotiated(case, answer) {
        check(false, fault);
    }
    if let Err(fault) = rules::errors_are_json_or_one_line(case, answer) {
        check(false, fault);
    }
    found
}

/// Compares the bodies of two good answers, by what the recorded one is.
fn bodies(case: &Case, answer: &Answer, facts: &Facts) -> Result<Vec<String>, String> {
    let recorded = case.response.body().map_err(|error| error.to_string())?;
    if case.request.target.starts_with("/metrics") {
        // "`/metrics`: Prometheus text and OpenMetrics of the server itself": other families.
        let text = String::from_utf8_lossy(&answer.body);
        let exposed = text.contains("# TYPE ");
        return Ok(if exposed { Vec::new() } else { vec![format!("no metrics: {text}")] });
    }
    let Ok(recorded_json) = serde_json::from_slice::<Value>(&recorded) else {
        let same = recorded == answer.body;
        let texts = (String::from_utf8_lossy(&recorded), String::from_utf8_lossy(&answer.body));
        return Ok(if same { Vec::new() } else { vec![format!("{texts:?}")] });
    };
    let ours = json(answer)?;
    let question = Question::parse(&case.request.target);
    match (&recorded_json, question) {
        // "`[]` before the first batch": Heapster said null.
        (Value::Null, _) => Ok(emptiness(&ours, true)),
        (Value::Array(items), _) if items.iter().any(Value::is_object) => {
            Ok(exports(items, ours.as_array().ok_or("no array")?))
        }
        (Value::Array(_), Some(question)) => names(case, &question, &recorded_json, &ours, facts),
        (Value::Object(_), _) if case.request.target.starts_with("/apis/") => {
            Ok(usage::differences(&recorded_json, &ours))
        }
        (Value::Object(_), Some(question)) if question.is_past => {
            past::numbers(case, &question, &recorded_json, &ours, facts)
        }
        (Value::Object(object), Some(question)) if object.contains_key("items") => {
            lists_of_series(&question, &recorded_json, &ours, facts)
        }
        (Value::Object(object), Some(question)) if object.contains_key("metrics") => {
            series(&question, &question.subject, &recorded_json, &ours, facts)
        }
        _ if recorded_json == ours => Ok(Vec::new()),
        _ => Ok(vec![format!("{recorded_json} expected, got {ours}")]),
    }
}

fn names(
    case: &Case,
    question: &Question,
    recorded: &Value,
    ours: &Value,
    facts: &Facts,
) -> Result<Vec<String>, String> {
    let (recorded, ours) = (list(recorded)?, list(ours)?);
    let mut found = match rules::one_name_for_a_node(case, &recorded, facts) {
        Some(Instead::Names(names)) => same_names(&names, &ours),
        _ => same_names(&recorded, &ours),
    };
    let of_metrics = question.rest.last().is_some_and(|last| last == "metrics");
    if of_metrics && rules::more_is_summed(&question.subject) {
        found.retain(|difference| !difference.starts_with('+'));
    }
    found.retain(|difference| !past::is_right(question, difference));
    // "order of lists: sorted, always".
    if !ours.is_sorted() {
        found.push(format!("not sorted: {ours:?}"));
    }
    Ok(found)
}

fn same_names(expected: &[String], ours: &[String]) -> Vec<String> {
    let sets = (BTreeSet::from_iter(expected), BTreeSet::from_iter(ours));
    let lacking = sets.0.difference(&sets.1).map(|name| format!("- {name}"));
    let added = sets.1.difference(&sets.0).map(|name| format!("+ {name}"));
    let repeated = (sets.1.len() != ours.len()).then(|| format!("repeated: {ours:?}"));
    lacking.chain(added).chain(repeated).collect()
}

fn lists_of_series(
    question: &Question,
    recorded: &Value,
    ours: &Value,
    facts: &Facts,
) -> Result<Vec<String>, String> {
    let items = |value: &Value| value.get("items").and_then(Value::as_array).cloned();
    let recorded = items(recorded).ok_or("no items in the recording")?;
    let ours = items(ours).ok_or("no items")?;
    let pods = question.listed_pods();
    if recorded.len() != ours.len() || pods.len() != ours.len() {
        return Ok(vec![format!("{} items expected, got {}", recorded.len(), ours.len())]);
    }
    let mut found = Vec::new();
    for ((pod, recorded), ours) in pods.iter().zip(&recorded).zip(&ours) {
        found.extend(series(question, pod, recorded, ours, facts)?);
    }
    Ok(found)
}

fn series(
    question: &Question,
    subject: &Subject,
    recorded: &Value,
    ours: &Value,
    facts: &Facts,
) -> Result<Vec<String>, String> {
    let metric = question.metric().ok_or("a series without a metric")?;
    let mut expected = rules::points_are_there_once(points(recorded)?);
    expected = rules::negative_rates_are_absent(subject, expected);
    expected = rules::host_network_pods_count_themselves(subject, &metric, facts, expected);
    let mut ours_points = points(ours)?;
    let latest = ours.get("latestTimestamp").and_then(Value::as_str).unwrap_or_default();
    let last = ours_points.last().map_or("0001-01-01T00:00:00Z", |point| &point.at);
    let mut found = Vec::new();
    if rules::has_float_values(&metric) && !every_point_has_its_float(ours) {
        found.push("points without floatValue".to_owned());
    }
    if latest != last {
        found.push(format!("latestTimestamp is {latest}, the last point is of {last}"));
    }
    if let Some(first) = expected.first() {
        if rules::window_reaches_further_back(&metric) {
            ours_points.retain(|point| first.at <= point.at);
        }
    } else if rules::more_is_summed(subject) && !ours_points.is_empty() {
        return Ok(found);
    }
    if rules::value_depends_on_heapsters_clock(&metric) {
        expected.iter_mut().for_each(|point| point.value = None);
    }
    found.extend(same_points(&expected, &ours_points));
    Ok(found)
}

fn same_points(expected: &[Point], ours: &[Point]) -> Vec<String> {
    let by_time = |points: &[Point]| -> BTreeMap<String, Option<u64>> {
        points.iter().map(|point| (point.at.clone(), point.value)).collect()
    };
    let (expected_at, ours_at) = (by_time(expected), by_time(ours));
    let mut found = Vec::new();
    for (at, value) in &expected_at {
        match (value, ours_at.get(at)) {
            (None, Some(_)) => (),
            (value, Some(ours)) if value == ours => (),
            (value, ours) => found.push(format!("{at}: {value:?} expected, got {ours:?}")),
        }
    }
    let added = ours_at.iter().filter(|(at, _)| !expected_at.contains_key(*at));
    found.extend(added.map(|(at, value)| format!("{at}: nothing expected, got {value:?}")));
    if !ours.is_sorted_by(|one, other| one.at < other.at) {
        found.push("points do not ascend".to_owned());
    }
    found
}

/// The points of a series; floats must agree with their integers.
fn points(series: &Value) -> Result<Vec<Point>, String> {
    let metrics = series.get("metrics").and_then(Value::as_array).ok_or("no metrics")?;
    let point = |point: &Value| {
        let at = point.get("timestamp").and_then(Value::as_str);
        let value = point.get("value").and_then(Value::as_u64);
        let (Some(at), Some(value)) = (at, value) else { return Err(format!("bad point {point}")) };
        match point.get("floatValue").and_then(Value::as_f64) {
            Some(float) if !rules::float_value_agrees(value, float) => {
                Err(format!("floatValue disagrees: {point}"))
            }
            _ => Ok(Point { at: at.to_owned(), value: Some(value) }),
        }
    };
    metrics.iter().map(point).collect()
}

fn every_point_has_its_float(series: &Value) -> bool {
    let points = series.get("metrics").and_then(Value::as_array).into_iter().flatten();
    points.into_iter().all(|point| point.get("floatValue").is_some_and(Value::is_number))
}

fn exports(recorded: &[Value], ours: &[Value]) -> Vec<String> {
    let (recorded, ours) = (by_identity(recorded), by_identity(ours));
    let mut found = Vec::new();
    for (identity, recorded) in &recorded {
        match ours.get(identity) {
            Some(ours) => found.extend(export_items(identity, recorded, ours)),
            None => found.push(format!("- {identity}")),
        }
    }
    let added = ours.keys().filter(|identity| !recorded.contains_key(*identity));
    found.extend(added.map(|identity| format!("+ {identity}")));
    found
}

/// What tells the items of an export apart.
fn by_identity(items: &[Value]) -> BTreeMap<String, &Value> {
    let identity = |item: &Value| {
        let label = |key: &str| item.get("labels")?.get(key)?.as_str().map(str::to_owned);
        ["nodename", "namespace_id", "pod_name", "pod_id", "container_name"]
            .map(|key| label(key).unwrap_or_default())
            .join(" ")
    };
    items.iter().map(|item| (identity(item), item)).collect()
}

fn export_items(identity: &str, recorded: &Value, ours: &Value) -> Vec<String> {
    let empty = serde_json::Map::new();
    let object =
        |item: &'_ Value, key| item.get(key).and_then(Value::as_object).unwrap_or(&empty).clone();
    let mut found = Vec::new();
    let (labels, our_labels) = (object(recorded, "labels"), object(ours, "labels"));
    for (key, value) in &labels {
        if our_labels.get(key) != Some(value) {
            let got = our_labels.get(key);
            found.push(format!("{identity}: label {key}: {value} expected, got {got:?}"));
        }
    }
    let added = our_labels.keys().filter(|key| !labels.contains_key(*key));
    let added = added.filter(|key| !rules::export_has_more_labels(key));
    found.extend(added.map(|key| format!("{identity}: label {key} was not expected")));
    if let Err(fault) = rules::type_and_namespace_are_labels(&our_labels) {
        found.push(format!("{identity}: {fault}: {our_labels:?}"));
    }
    let (metrics, our_metrics) = (object(recorded, "metrics"), object(ours, "metrics"));
    let all: BTreeSet<&String> = metrics.keys().chain(our_metrics.keys()).collect();
    for metric in all {
        let (expected, got) = (metrics.get(metric), our_metrics.get(metric));
        if !same_export_points(metric, expected, got) {
            let texts = [expected, got].map(|side| side.map(Value::to_string));
            let [expected, got] = texts.map(|side| side.unwrap_or("nothing".to_owned()));
            found.push(format!("{identity}: {metric}: {expected} expected, got {got}"));
        }
    }
    found
}

fn same_export_points(metric: &str, expected: Option<&Value>, ours: Option<&Value>) -> bool {
    let (Some(expected), Some(ours)) = (expected, ours) else { return false };
    let points = |side: &Value| {
        let points = side.as_array().cloned().unwrap_or_default();
        let mut texts: Vec<String> =
            points.into_iter().map(|point| comparable(metric, point)).collect();
        texts.sort();
        texts
    };
    points(expected) == points(ours)
}

fn comparable(metric: &str, mut point: Value) -> String {
    if rules::value_depends_on_heapsters_clock(metric)
        && let Some(point) = point.as_object_mut()
    {
        point.remove("value");
    }
    point.to_string()
}

/// Whether a list or a series is empty as expected.
fn emptiness(answer: &Value, empty: bool) -> Vec<String> {
    let numbers = || answer.get("metrics").or_else(|| answer.get("buckets"))?.as_array();
    let items = answer.as_array().or_else(numbers);
    match items {
        Some(items) if items.is_empty() == empty => Vec::new(),
        _ => vec![format!(
            "an answer that is {}empty expected, got {answer}",
            if empty { "" } else { "not " }
        )],
    }
}

/// Whether there are so many items, and one of them is empty.
fn items(answer: &Value, count: usize, empty: Option<usize>) -> Result<Vec<String>, String> {
    let items = answer.get("items").and_then(Value::as_array).ok_or("no items")?;
    if items.len() != count {
        return Ok(vec![format!("{count} items expected, got {}", items.len())]);
    }
    let item = empty.and_then(|place| items.get(place));
    Ok(item.map(|item| emptiness(item, true)).unwrap_or_default())
}

fn list(value: &Value) -> Result<Vec<String>, String> {
    let items = value.as_array().ok_or_else(|| format!("no list: {value}"))?;
    let text = |item: &Value| item.as_str().map(str::to_owned).ok_or(format!("no name: {item}"));
    items.iter().map(text).collect()
}

fn json(answer: &Answer) -> Result<Value, String> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| format!("no JSON ({error}): {}", String::from_utf8_lossy(&answer.body)))
}

#[cfg(test)]
mod tests;
