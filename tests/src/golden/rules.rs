//! Why a difference from a recorded answer is right: one function for each rule, with the text
//! of the contract (section 1, unless another is named) above it.

pub mod past;
pub mod usage;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    facts::Facts,
    http::Answer,
    question::{Question, Subject},
    recording::Case,
};

/// What is expected instead of the recorded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instead {
    /// This code, and no more is compared.
    Status(u16),
    /// 200 and these names.
    Names(Vec<String>),
    /// 200 and so many items, one of them empty.
    Items(usize, Option<usize>),
    /// 200 and an answer that is not empty.
    Something,
    /// 200 and an answer that is empty.
    Nothing,
}

/// "real content negotiation, `Vary` set": where Heapster compressed, so do we, with an encoding
/// that the client named; but never one that it gave the weight 0.
pub fn encoding_is_negotiated(case: &Case, answer: &Answer) -> Result<(), &'static str> {
    let mut headers = case.request.headers.iter();
    let wish = headers.find(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
    let wish = wish.map(|(_, wish)| wish.as_str()).unwrap_or_default();
    let refused = wish.contains("q=0");
    match answer.header("content-encoding") {
        Some(encoding) if refused || !wish.contains(encoding) => Err("an encoding not asked for"),
        Some(_) => {
            let vary = answer.headers.get_all("vary").iter().filter_map(|vary| vary.to_str().ok());
            let mut named = vary.filter(|vary| vary.contains("accept-encoding"));
            named.next().map(drop).ok_or("compressed without Vary")
        }
        None if refused => Ok(()),
        None => match case.response.header("content-encoding") {
            Some(_) => Err("not compressed"),
            None => Ok(()),
        },
    }
}

/// "errors: the same status as Heapster; body is JSON `{"error":"…"}` when the client accepts JSON,
/// else one plain line". Heapster's was text always.
pub fn errors_are_json_or_one_line(case: &Case, answer: &Answer) -> Result<(), &'static str> {
    if !(400..500).contains(&answer.status) || case.request.method == "HEAD" {
        return Ok(());
    }
    match answer.header("content-type") {
        Some("application/json") => {
            let body = serde_json::from_slice::<serde_json::Value>(&answer.body).ok();
            let error = body.and_then(|body| Some(body.get("error")?.is_string()));
            if error == Some(true) { Ok(()) } else { Err("an error without its text") }
        }
        _ if answer.body.iter().filter(|byte| **byte == b'\n').count() == 1 => Ok(()),
        _ => Err("an error that is not one line"),
    }
}

/// One point of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Its timestamp as text.
    pub at: String,
    /// Its value; `None` when any value is right.
    pub value: Option<u64>,
}

/// A recorded target that belongs to Go or to another issue, and why it is not asked.
pub fn not_of_this_api(case: &Case) -> Option<&'static str> {
    let path = case.request.target.split('?').next().unwrap_or_default();
    match path {
        _ if path.starts_with("/debug/pprof/") && case.response.status == 200 => {
            Some("Go's profiler")
        }
        _ => None,
    }
}

/// `metrics.k8s.io` comes with documents that say what is in it and what the server is: Heapster had
/// none.
pub fn an_api_server_says_what_it_is(case: &Case) -> Option<Instead> {
    let documents = ["/version", "/apis/metrics.k8s.io"];
    documents.contains(&case.request.target.as_str()).then_some(Instead::Status(200))
}

/// "HEAD and OPTIONS work as HTTP expects": Heapster answered 405 to both.
pub fn head_and_options_work(case: &Case) -> Option<Instead> {
    match (case.request.method.as_str(), case.response.status) {
        ("HEAD", 405) => Some(Instead::Status(200)),
        ("OPTIONS", 405) => Some(Instead::Status(204)),
        _ => None,
    }
}

/// "Accept, `gzip`: any media range that JSON satisfies": Heapster took only two by name.
pub fn any_range_that_json_satisfies(case: &Case) -> Option<Instead> {
    let mut headers = case.request.headers.iter();
    let (_, accept) = headers.find(|(name, _)| name.eq_ignore_ascii_case("accept"))?;
    let satisfied = accept.split(',').any(|range| {
        matches!(range.split(';').next().unwrap_or_default().trim(), "application/*" | "*/*")
    });
    (case.response.status == 406 && satisfied).then_some(Instead::Something)
}

/// "names with a slash are addressable: path segments are split before percent-decoding".
pub fn slash_names_are_addressable(case: &Case, facts: &Facts) -> Option<Instead> {
    let target = case.request.target.split('?').next()?;
    let (_, rest) = target.split_once("/freecontainers/")?;
    let (container, _) = rest.split_once("/metrics")?;
    if !container.to_ascii_uppercase().contains("%2F") || container.contains('/') {
        return None;
    }
    let name = container.replace("%2F", "/").replace("%2f", "/");
    let known = facts
        .free_containers
        .iter()
        .any(|((_, batch), names)| Some(*batch) == case.newest_batch && names.contains(&name));
    Some(if known { Instead::Something } else { Instead::Nothing })
}

/// "node name and host name: one name, the node name, in every list and every path".
pub fn one_name_for_a_node(case: &Case, recorded: &[String], facts: &Facts) -> Option<Instead> {
    let question = Question::parse(&case.request.target)?;
    match (&question.subject, question.rest.as_slice()) {
        (Subject::Cluster, [list]) if list == "nodes" => {
            let name_of = |host: &String| {
                let mut nodes = facts.hostnames.iter();
                nodes.find(|(_, hostname)| *hostname == host).map_or(host, |(name, _)| name).clone()
            };
            Some(Instead::Names(recorded.iter().map(name_of).collect()))
        }
        (Subject::Node(node), [list]) if list == "freecontainers" => {
            let key = case.newest_batch.map(|batch| (node.clone(), batch));
            let names = key.and_then(|key| facts.free_containers.get(&key)).cloned();
            let names = names.unwrap_or_default();
            Some(Instead::Names(names.into_iter().collect()))
        }
        _ => None,
    }
}

/// "namespace and cluster: at least Heapster's six sums, and beyond them every metric whose sum
/// means something"; "the sum over nodes is offered beside it".
pub fn more_is_summed(subject: &Subject) -> bool {
    matches!(subject, Subject::Cluster | Subject::Namespace(_))
}

/// "windows kept: every metric for the whole model window, not 140 s for most of them": points
/// before the first recorded one are right. Two metrics Heapster kept as long as we do.
pub fn window_reaches_further_back(metric: &str) -> bool {
    !matches!(metric, "cpu/usage_rate" | "memory/usage")
}

/// "float metrics in series: `value` holds the truncated integer, `floatValue` carries the exact
/// number". Checks one against the other.
#[expect(clippy::as_conversions, reason = "the truncation that is checked")]
pub fn float_value_agrees(value: u64, float_value: f64) -> bool {
    float_value as u64 == value
}

/// The metrics that are floats by section 11; the exact number of each of their points is there.
pub fn has_float_values(metric: &str) -> bool {
    let rate = metric.ends_with("_rate") && metric != "cpu/usage_rate";
    let of_node = ["_capacity", "_allocatable", "_utilization", "_reservation"];
    rate || metric.starts_with("custom/") || of_node.iter().any(|end| metric.ends_with(end))
}

/// "negative rates: never; a counter that went back gives no rate for that interval". Heapster's
/// wrapped around 2^64. A sum over pods lacks only the part that wrapped.
pub fn negative_rates_are_absent(subject: &Subject, points: Vec<Point>) -> Vec<Point> {
    let wrapped = |point: &Point| point.value.is_some_and(|value| i64::try_from(value).is_err());
    if more_is_summed(subject) {
        let any = |point: Point| {
            if wrapped(&point) { Point { value: None, ..point } } else { point }
        };
        points.into_iter().map(any).collect()
    } else {
        points.into_iter().filter(|point| !wrapped(point)).collect()
    }
}

/// "pod-list with a repeated name: one item per listed name, each with its own points once".
pub fn points_are_there_once(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|one, other| one.at.cmp(&other.at));
    points.dedup_by(|one, other| one.at == other.at);
    points
}

/// "host-network pods: the pod cgroup's own numbers are used". Heapster took the sum of the
/// containers' rates, for the pod, its namespace and the cluster.
pub fn host_network_pods_count_themselves(
    subject: &Subject,
    metric: &str,
    facts: &Facts,
    mut points: Vec<Point>,
) -> Vec<Point> {
    for ((namespace, pod, rate), at) in &facts.host_network {
        let (own, concerned) = match subject {
            Subject::Cluster => (false, true),
            Subject::Namespace(name) => (false, name == namespace),
            Subject::Pod(in_namespace, name) => {
                let same = (in_namespace, name) == (namespace, pod);
                (same, same)
            }
            _ => (false, false),
        };
        if !concerned || *rate != metric {
            continue;
        }
        for point in &mut points {
            let Some(value) = point.value.as_mut() else { continue };
            let when = point.at.parse::<Timestamp>().ok();
            if let Some(both) = when.and_then(|when| at.get(&when)) {
                *value =
                    if own { whole(both.own) } else { *value + whole(both.own) - whole(both.sum) };
            }
        }
    }
    points
}

/// README of the recordings: "leave out `uptime`", which Heapster took from its own clock.
pub fn value_depends_on_heapsters_clock(metric: &str) -> bool {
    metric == "uptime"
}

/// "metric-export: as recorded, plus the labels `namespace_name` and `type`". What they say
/// follows from the labels that are recorded, but for the namespace's name itself.
pub fn type_and_namespace_are_labels(labels: &Map<String, Value>) -> Result<(), &'static str> {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let expected = match (label("container_name"), label("pod_name")) {
        (Some("machine"), None) => "node",
        (_, None) => "sys_container",
        (Some("/pod"), Some(_)) => "pod",
        (_, Some(_)) => "pod_container",
    };
    if label("type") != Some(expected) {
        return Err("label type is wrong");
    }
    if label("pod_name").is_some() == label("namespace_name").is_some() {
        Ok(())
    } else {
        Err("label namespace_name is missing or too many")
    }
}

/// The labels that Heapster did not export.
pub fn export_has_more_labels(label: &str) -> bool {
    matches!(label, "namespace_name" | "type")
}

#[expect(clippy::as_conversions, reason = "rates of the recordings are small and not negative")]
fn whole(value: f64) -> u64 {
    (value + 1e-6) as u64
}
