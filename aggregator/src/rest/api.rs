//! Answers the questions under /api/v1.

use std::{borrow::Borrow, fmt::Display};

use axum::response::Response;
use http::{Method, StatusCode};
use serde::{Serialize, Serializer};
use tally_proto::{metric::MetricName, tick::UnixMs};

use super::{
    answer::{self, Wish},
    export::{self, Exports},
    export_schema::ExportSchema,
    parameters::{Parameters, SeriesParameters},
    past::History,
    room::Room,
    route::{List, Question, Subject},
    series::{Series, SeriesList},
};
use crate::query::{Queries, WorkloadKey};

/// Pods in one pod-list, repeats included: it bounds the answer, whatever the path's length.
const PODS_PER_LIST: usize = 10_000;

/// Points in one pod-list: 55 MB of JSON. A thousand pods have 900,000 in 15 minutes at 1 s; a
/// name that is repeated a thousand times has as many.
const POINTS_PER_LIST: usize = 1_000_000;

const TOO_MANY_POINTS: &str =
    "the answer would have more than 1000000 points: ask for fewer pods or a later start";

/// What an answer depends on beside the question.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// How the answer should look.
    pub wish: Wish,
    /// The query's parameters.
    pub parameters: &'a Parameters,
    /// The end of ranges that have none.
    pub now: UnixMs,
    /// The places of exports.
    pub exports: &'a Exports,
    /// The room for other long answers.
    pub room: &'a Room,
    /// What the past is asked.
    pub history: &'a History,
}

/// Answers `question`. Whatever may be long is made on a blocking thread.
pub(super) async fn answer(queries: &Queries, question: Question, asked: Asked<'_>) -> Response {
    let Asked { method, wish, parameters, now, exports, room, history } = asked;
    match question {
        Question::Past(question) => history.answer(question, asked).await,
        Question::Export if method == Method::HEAD => export::head(),
        Question::Export => exports.answer(wish, queries).await,
        Question::ExportSchema => answer::json(wish, &ExportSchema::new()),
        Question::List(names) => {
            let queries = queries.clone();
            room.answer(wish, move || list(&queries, &names, wish)).await
        }
        Question::MetricNames(subject) => {
            answer::json(wish, &Names(metric_names(queries, &subject)))
        }
        Question::Series(subject, metric) => match parameters.series(now) {
            Ok(asked) => answer::json(wish, &series(queries, &subject, &metric, &asked)),
            Err(bad) => bad_request(wish, bad),
        },
        Question::WorkloadMetricNames(key) => {
            let queries = queries.clone();
            let names = move || {
                let names = key.map(|key| queries.workload_metric_names(&key));
                answer::json(wish, &Names(names.unwrap_or_default()))
            };
            room.answer(wish, names).await
        }
        Question::WorkloadSeries(key, metric) => match parameters.series(now) {
            Ok(asked) => {
                let queries = queries.clone();
                let series = move || {
                    let series = workload_series(&queries, key.as_ref(), &metric, &asked);
                    answer::json(wish, &series)
                };
                room.answer(wish, series).await
            }
            Err(bad) => bad_request(wish, bad),
        },
        Question::PodList(pods, _) if PODS_PER_LIST < pods.len() => {
            bad_request(wish, format_args!("a pod-list has at most {PODS_PER_LIST} pods"))
        }
        Question::PodList(pods, metric) => match parameters.series(now) {
            Ok(asked) => {
                let queries = queries.clone();
                let list = move || match pod_list(&queries, &pods, &metric, &asked) {
                    Some(list) => answer::json(wish, &list),
                    None => bad_request(wish, TOO_MANY_POINTS),
                };
                room.answer(wish, list).await
            }
            Err(bad) => bad_request(wish, bad),
        },
    }
}

fn list(queries: &Queries, list: &List, wish: Wish) -> Response {
    match list {
        List::Keys => answer::ready(wish, queries.key_list()),
        List::Nodes => answer::json(wish, &Names(queries.nodes())),
        List::Namespaces => answer::json(wish, &Names(queries.namespaces())),
        List::Pods(namespace) => answer::ready(wish, queries.pods_in_json(namespace)),
        List::Containers(namespace, pod) => {
            answer::json(wish, &Names(queries.containers(namespace, pod)))
        }
        List::FreeContainers(node) => answer::json(wish, &Names(queries.free_containers(node))),
        List::WorkloadKinds(namespace) => {
            answer::json(wish, &Names(queries.workload_kinds(namespace)))
        }
        List::Workloads(namespace, kind) => {
            answer::json(wish, &Names(queries.workloads(namespace, kind)))
        }
    }
}

fn metric_names(queries: &Queries, subject: &Subject) -> Vec<MetricName> {
    subject.as_ref().map(|entity| queries.metric_names(entity)).unwrap_or_default()
}

fn series(queries: &Queries, subject: &Subject, metric: &str, asked: &SeriesParameters) -> Series {
    let points = match (subject, &asked.labels) {
        (Some(entity), Some(labels)) => queries.series(entity, metric, labels, asked.range),
        _ => Vec::new(),
    };
    points.into()
}

fn workload_series(
    queries: &Queries,
    key: Option<&WorkloadKey>,
    metric: &str,
    asked: &SeriesParameters,
) -> Series {
    let points = match (key, &asked.labels) {
        (Some(key), Some(labels)) => queries.workload_series(key, metric, labels, asked.range),
        _ => Vec::new(),
    };
    points.into()
}

/// `None` when it would have too many points.
fn pod_list(
    queries: &Queries,
    pods: &[Subject],
    metric: &str,
    asked: &SeriesParameters,
) -> Option<SeriesList> {
    let mut left = POINTS_PER_LIST;
    let items = pods.iter().map(|pod| {
        let series = series(queries, pod, metric, asked);
        left = left.checked_sub(series.points())?;
        Some(series)
    });
    Some(SeriesList { items: items.collect::<Option<_>>()? })
}

fn bad_request(wish: Wish, problem: impl Display) -> Response {
    answer::failure(wish, StatusCode::BAD_REQUEST, &problem.to_string())
}

/// Names of any type as a JSON array, without copying them first.
pub(super) struct Names<N>(pub(super) Vec<N>);

impl<N: Borrow<str>> Serialize for Names<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(<N as Borrow<str>>::borrow))
    }
}
