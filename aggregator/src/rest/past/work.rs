//! A question to history whose parameters are checked, and its answer.

use axum::response::Response;
use tally_proto::{metric::Labels, tick::UnixMs};

use super::super::{
    aggregation::AggregatedList,
    answer::{self, Wish},
    api::Names,
    parameters::{AggregationParameters, BadParameter, Parameters, SeriesParameters},
    route::past::{PastQuestion, Subject},
    series::{Series, SeriesList},
};
use crate::query::{
    Point, TickRange,
    past::{Asked, PastError, PastList, PastQueries, Stop, Summary},
};

/// A question whose parameters are checked.
#[derive(Debug)]
pub(super) enum Work {
    List(PastList, TickRange),
    MetricNames(Subject, TickRange),
    Series(Subject, String, SeriesParameters),
    SeriesList(Vec<Subject>, String, SeriesParameters),
    Aggregate(Subject, String, AggregationParameters),
    AggregateList(Vec<Subject>, String, AggregationParameters),
}

/// An answer, but for what is long.
#[derive(Debug)]
pub(super) enum Made {
    Whole(Response),
    /// A series.
    Points(Vec<Point>),
}

impl Work {
    /// Checks the parameters, in Heapster's order.
    pub(super) fn of(
        question: PastQuestion,
        parameters: &Parameters,
        now: UnixMs,
    ) -> Result<Self, BadParameter> {
        Ok(match question {
            PastQuestion::List(list) => Self::List(list, parameters.range(now)?),
            PastQuestion::MetricNames(subject) => {
                Self::MetricNames(subject, parameters.range(now)?)
            }
            PastQuestion::Series(subject, metric) => {
                Self::Series(subject, metric, parameters.past_series(now)?)
            }
            PastQuestion::SeriesList(subjects, metric) => {
                Self::SeriesList(subjects, metric, parameters.past_series(now)?)
            }
            PastQuestion::Aggregate(subject, aggregations, metric) => {
                Self::Aggregate(subject, metric, parameters.aggregation(now, &aggregations)?)
            }
            PastQuestion::AggregateList(subjects, aggregations, metric) => {
                Self::AggregateList(subjects, metric, parameters.aggregation(now, &aggregations)?)
            }
        })
    }

    /// Answers it.
    pub(super) fn answer(
        self,
        wish: Wish,
        queries: &PastQueries,
        stop: &Stop,
    ) -> Result<Made, PastError> {
        Ok(Made::Whole(match self {
            Self::List(list, range) => {
                answer::json(wish, &Names(queries.list(&list, range, stop)?))
            }
            Self::MetricNames(subject, range) => {
                let names = subject.map(|subject| queries.metric_names(&subject, range, stop));
                answer::json(wish, &Names(names.transpose()?.unwrap_or_default()))
            }
            Self::Series(subject, metric, parameters) => {
                let labels = parameters.labels.as_ref();
                let points = match (subject, labels) {
                    (Some(subject), Some(labels)) => {
                        queries.series(&subject, asked(&metric, labels, &parameters), stop)?
                    }
                    _ => Vec::new(),
                };
                return Ok(Made::Points(points));
            }
            Self::SeriesList(subjects, metric, parameters) => {
                let (subjects, labels) = labelled(subjects, &parameters);
                let asked = asked(&metric, &labels, &parameters);
                let series = queries.several_series(&subjects, asked, stop)?;
                answer::json(
                    wish,
                    &SeriesList { items: series.into_iter().map(Series::from).collect() },
                )
            }
            Self::Aggregate(subject, metric, parameters) => {
                let all = aggregates(queries, vec![subject], &metric, &parameters, stop)?;
                answer::json(wish, &of_all(&all, &parameters).items.pop())
            }
            Self::AggregateList(subjects, metric, parameters) => {
                let all = aggregates(queries, subjects, &metric, &parameters, stop)?;
                answer::json(wish, &of_all(&all, &parameters))
            }
        }))
    }
}

fn asked<'a>(metric: &'a str, labels: &'a Labels, parameters: &SeriesParameters) -> Asked<'a> {
    Asked { metric, labels, range: parameters.range }
}

/// Whom to ask for, and with which labels: nobody has labels that nothing can have.
fn labelled(subjects: Vec<Subject>, parameters: &SeriesParameters) -> (Vec<Subject>, Labels) {
    match &parameters.labels {
        Some(labels) => (subjects, labels.clone()),
        None => (subjects.into_iter().map(|_| None).collect(), Labels::none()),
    }
}

fn aggregates(
    queries: &PastQueries,
    subjects: Vec<Subject>,
    metric: &str,
    parameters: &AggregationParameters,
    stop: &Stop,
) -> Result<Vec<Vec<Summary>>, PastError> {
    let (subjects, labels) = labelled(subjects, &parameters.series);
    let asked = asked(metric, &labels, &parameters.series);
    queries.aggregates(&subjects, asked, parameters.bucket_ms, stop)
}

fn of_all(all: &[Vec<Summary>], parameters: &AggregationParameters) -> AggregatedList {
    let AggregationParameters { start, bucket_ms, aggregations, .. } = *parameters;
    let one = |summaries: &Vec<Summary>| aggregations.answer(summaries, start, bucket_ms);
    AggregatedList { items: all.iter().map(one).collect() }
}
