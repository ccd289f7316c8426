//! Rules for the historical API.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    super::{
        facts::Facts,
        question::{Question, Subject},
        recording::Case,
    },
    Instead,
};

/// What is expected instead of a recorded answer of the historical API, if anything else is.
pub fn instead(case: &Case, facts: &Facts) -> Option<Instead> {
    let question = Question::parse(&case.request.target).filter(|question| question.is_past)?;
    lists_are_of_what_history_holds(case, &question, facts)
        .or_else(|| pod_ids_work(case, &question, facts))
        .or_else(|| no_data_is_an_empty_answer(case, &question))
        .or_else(|| sizes_do_not_overflow(case, &question))
}

/// "lists of the historical API: really list what history holds, including objects that are gone".
/// Heapster's named a column, or failed.
fn lists_are_of_what_history_holds(
    case: &Case,
    question: &Question,
    facts: &Facts,
) -> Option<Instead> {
    let newest = case.newest_batch?;
    let pods = || facts.pods.iter().filter(|(_, first)| **first <= newest).map(|(pod, _)| pod);
    let rest: Vec<&str> = question.rest.iter().map(String::as_str).collect();
    let names: BTreeSet<String> = match (&question.subject, rest.as_slice()) {
        (Subject::Cluster, ["nodes"]) => {
            let known = facts.free_containers.keys().filter(|(_, batch)| *batch <= newest);
            known.map(|(node, _)| node.clone()).collect()
        }
        (Subject::Cluster, ["namespaces"]) => pods().map(|pod| pod.namespace.clone()).collect(),
        (Subject::Namespace(namespace), ["pods"]) => {
            let own = pods().filter(|pod| pod.namespace == *namespace);
            own.map(|pod| pod.name.clone()).collect()
        }
        (Subject::Node(node), ["freecontainers"]) => {
            let known = facts.free_containers.iter();
            let own = known.filter(|((on, batch), _)| on == node && *batch <= newest);
            own.flat_map(|(_, names)| names.iter().cloned()).collect()
        }
        _ => return None,
    };
    let is_answer = matches!(case.response.status, 200 | 500) && case.request.method == "GET";
    is_answer.then(|| Instead::Names(names.into_iter().collect()))
}

/// "pod-id routes: work, for pods that are gone too". Heapster's found nobody.
fn pod_ids_work(case: &Case, question: &Question, facts: &Facts) -> Option<Instead> {
    let (Subject::PodById(uid) | Subject::ContainerById(uid)) = &question.subject else {
        let count = question.listed_pods().len();
        let is_list = question.rest.first().is_some_and(|list| list == "pod-id-list");
        let is_answered = is_list && case.response.status == 500;
        return is_answered.then_some(Instead::Items(count, None));
    };
    let is_known = facts.pods.iter().any(|(pod, first)| {
        pod.uid == *uid && case.newest_batch.is_some_and(|newest| *first <= newest)
    });
    // These every pod has, and no range or label of the recordings excludes them but these.
    let metric = question.metric();
    let always = matches!(metric.as_deref(), Some("memory/usage"))
        && question.subject == Subject::PodById(uid.clone())
        && ["end", "labels"].iter().all(|name| question.parameter(name).is_none());
    match case.response.status {
        404 if question.metric().is_none() && !question.rest.is_empty() => {
            Some(Instead::Status(200))
        }
        500 if !is_known => Some(Instead::Nothing),
        500 if always => Some(Instead::Something),
        500 => Some(Instead::Status(200)),
        _ => None,
    }
}

/// "unknown node, pod, metric, empty range: 200 with `\"metrics\": []` in the historical API too (no
/// 500 for no data)". A list answers for those that are known. At the levels at which more is
/// summed than by Heapster, there may be data.
fn no_data_is_an_empty_answer(case: &Case, question: &Question) -> Option<Instead> {
    let error = String::from_utf8(case.response.body().ok()?).ok()?;
    let is_none = ["No results for metric ", "Invalid ", "Unable to list available metrics"];
    if case.response.status != 500 || !is_none.iter().any(|text| error.starts_with(text)) {
        return None;
    }
    let pods = question.listed_pods();
    if pods.is_empty() {
        let more = super::more_is_summed(&question.subject);
        return Some(if more { Instead::Status(200) } else { Instead::Nothing });
    }
    // It names the first that had nothing.
    let missed = pods.iter().position(|pod| match pod {
        Subject::Pod(namespace, name) => {
            error.ends_with(&format!("describing \"(pod)ns:{namespace}/pod:{name}\""))
        }
        _ => false,
    });
    Some(Instead::Items(pods.len(), missed))
}

/// "whatever is a defect of Heapster is not copied": section 5 says that huge sizes of buckets
/// overflowed silently.
fn sizes_do_not_overflow(case: &Case, question: &Question) -> Option<Instead> {
    let size = question.parameter("bucket")?;
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (count, unit) =
        units.iter().find_map(|(unit, ms)| Some((size.strip_suffix(unit)?, *ms)))?;
    let nanos =
        count.parse::<u64>().ok()?.checked_mul(unit).and_then(|ms| ms.checked_mul(1_000_000));
    let fits = nanos.is_some_and(|nanos| i64::try_from(nanos).is_ok());
    (case.response.status == 200 && !fits).then_some(Instead::Status(400))
}

/// "historical range: exclusive at both ends is InfluxDB's, here it is inclusive": the ends of a
/// question at which there may be a point that was not recorded.
pub fn ends(case: &Case, question: &Question) -> Vec<Timestamp> {
    let given = ["start", "end"].map(|name| question.parameter(name)?.parse().ok());
    let [start, end] = given;
    start.into_iter().chain([end.unwrap_or(case.recorded_at)]).collect()
}

/// "lists really list what history holds": Heapster's names of a pod's metrics included those that
/// only its containers have: counters, which are not summed (section 2.7), and labelled ones.
pub fn is_only_of_containers(subject: &Subject, metric: &str) -> bool {
    let counter = ["cpu/usage", "memory/page_faults", "memory/major_page_faults"].contains(&metric);
    let labelled = metric.starts_with("filesystem/") || metric.starts_with("accelerator/");
    matches!(subject, Subject::Pod(..)) && (counter || labelled)
}

/// "maximum, minimum and percentiles have the metric's own type, average and median are
/// floatValue": Heapster chose by how the numbers happened to print.
pub fn number_is(field: &str, metric: &str) -> &'static str {
    if matches!(field, "average" | "median") || super::has_float_values(metric) {
        "floatValue"
    } else {
        "intValue"
    }
}

/// "host-network pods: the pod cgroup's own numbers are used": aggregations of what they are in
/// differ.
pub fn host_network_is_in_it(subject: &Subject, metric: &str, facts: &Facts) -> bool {
    facts.host_network.keys().any(|(namespace, pod, rate)| {
        *rate == metric
            && match subject {
                Subject::Cluster => true,
                Subject::Namespace(name) => name == namespace,
                Subject::Pod(in_namespace, name) => (in_namespace, name) == (namespace, pod),
                _ => false,
            }
    })
}

/// "negative rates: never": whether a recorded number is one, as it is or wrapped around 2^64.
pub fn is_negative_rate(number: f64) -> bool {
    !(0.0..=9.2e18).contains(&number)
}
