//! The resource metrics API, `metrics.k8s.io`, as an aggregated API server gives it: what `kubectl
//! top`, autoscalers and schedulers ask. Whom it lets in is not decided here.
//!
//! ```text
//! route            a path -> what is asked                    (pure)
//! media            headers -> the form of the answer          (pure)
//! fields           a field selector                           (pure)
//! objects, quantity            usage -> objects, amounts -> texts    (pure)
//! json, yaml, protobuf, table  objects in each form           (pure)
//! status           errors                                     (pure)
//! discovery, openapi, openapi_protobuf, document  what is in the API             (pure)
//! list             a list in pieces
//! ```

mod discovery;
mod document;
mod fields;
mod json;
mod list;
mod media;
mod objects;
mod openapi;
mod openapi_protobuf;
mod protobuf;
mod quantity;
mod route;
mod status;
mod table;
mod yaml;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, RETRY_AFTER},
    request::Parts,
};
use tally_proto::tick::UnixMs;

pub(super) use self::route::{MetricsQuestion, question};
use self::{
    fields::FieldSelector,
    json::Dialect,
    list::List,
    media::{Encoding, Form, Shape},
    objects::Objects,
    route::{Subjects, Version},
    status::{RETRY_SECONDS, Refusal},
    table::Include,
};
use super::{
    answer::{self, Wish},
    parameters::Parameters,
    pretty,
    room::{self, NoRoom, Room},
};
use crate::query::{
    Queries,
    usage::{Containers, PodScope, PodsAsked, selector::LabelSelector},
};

/// What is named with its hash never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, immutable, max-age=31536000");

/// What an answer depends on beside the question.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Method, path and headers.
    pub request: &'a Parts,
    /// How the answer should look, as clients of Heapster say it.
    pub wish: Wish,
    /// The query's parameters.
    pub parameters: &'a Parameters,
    /// When it is answered.
    pub now: UnixMs,
    /// The room for long answers.
    pub room: &'a Room,
}

/// Which of the objects.
#[derive(Clone, Debug, Default)]
struct Chosen {
    labels: LabelSelector,
    fields: FieldSelector,
}

/// An answer whose numbers are there.
enum Made {
    Nothing,
    One(Vec<u8>),
    List(List),
}

/// Answers `question`.
pub(super) async fn answer(
    queries: &Queries,
    question: MetricsQuestion,
    asked: Asked<'_>,
) -> Response {
    let answered = match question {
        _ if !matches!(asked.request.method, Method::GET | Method::HEAD) => Err(Refusal::Method),
        MetricsQuestion::Unknown => Err(Refusal::UnknownResource),
        MetricsQuestion::Usage(version, subjects) => usage(queries, version, subjects, asked).await,
        MetricsQuestion::HeapsterUsage(subjects) => {
            return heapster_usage(queries, subjects, asked).await;
        }
        question => document(&question, asked),
    };
    answered.unwrap_or_else(|refusal| refused(&refusal, asked))
}

async fn usage(
    queries: &Queries,
    version: Version,
    subjects: Subjects,
    asked: Asked<'_>,
) -> Result<Response, Refusal> {
    let Asked { request, wish, parameters, now, room } = asked;
    let form = chosen_form(&request.headers, &media::USAGE)?;
    let include = match form.shape {
        Shape::Table(_) => Include::parse(parameters.first("includeObject")),
        _ => Ok(Include::default()),
    };
    let include = include.map_err(|bad| Refusal::BadRequest(bad.to_string()))?;
    let chosen = if subjects.is_list() {
        if parameters.switch("watch") {
            return Err(Refusal::Watch(subjects.resource()));
        }
        Chosen::parse(&subjects, parameters).map_err(Refusal::BadRequest)?
    } else {
        Chosen::default()
    };
    if subjects.is_list() && request.method == Method::HEAD {
        // How long it is nobody knows before it is made.
        return Ok(of_type(form.content_type(), Body::empty()));
    }
    let asked = list::Asked {
        form,
        dialect: Dialect::Kubernetes,
        include,
        pretty: wish.pretty,
        of: (version.group_version(), subjects.kind()),
        created_s: now.0.div_euclid(1000),
    };
    match make(queries, &subjects, chosen, (asked, now), room).await {
        Ok(Some(body)) => Ok(of_type(form.content_type(), body)),
        Ok(None) => Err(subjects.not_found()),
        Err(NoRoom::Busy) => Err(Refusal::TooMany),
        Err(NoRoom::Failed) => Err(Refusal::Internal(room::FAILED)),
    }
}

/// What Heapster answered, with its words for what goes wrong.
async fn heapster_usage(queries: &Queries, subjects: Subjects, asked: Asked<'_>) -> Response {
    let Asked { wish, parameters, now, room, .. } = asked;
    let failure = |status, message: &str| answer::failure(wish, status, message);
    if !wish.json {
        let message = "not acceptable: this path answers application/json";
        return failure(StatusCode::NOT_ACCEPTABLE, message);
    }
    let text = parameters.first("labelSelector").filter(|_| subjects.is_list()).unwrap_or("");
    let labels = match LabelSelector::parse(text) {
        Ok(labels) => labels,
        Err(bad) => {
            let message = format!("Error while parsing selector {text}: {bad}");
            return failure(StatusCode::BAD_REQUEST, &message);
        }
    };
    let asked = list::Asked {
        form: Form::JSON,
        dialect: Dialect::Heapster,
        include: Include::default(),
        pretty: wish.pretty,
        of: ("metrics/v1alpha1", subjects.kind()),
        created_s: now.0.div_euclid(1000),
    };
    let chosen = Chosen { labels, ..Chosen::default() };
    match make(queries, &subjects, chosen, (asked, now), room).await {
        Ok(Some(body)) => of_type(answer::JSON, body),
        Ok(None) => failure(StatusCode::NOT_FOUND, &subjects.heapster_not_found()),
        Err(NoRoom::Busy) => answer::refused(wish, room::BUSY),
        Err(NoRoom::Failed) => failure(StatusCode::INTERNAL_SERVER_ERROR, room::FAILED),
    }
}

/// The body of an answer, made where there is room for it; `None` when the one that is asked for has
/// no numbers.
async fn make(
    queries: &Queries,
    subjects: &Subjects,
    chosen: Chosen,
    (asked, now): (list::Asked, UnixMs),
    room: &Room,
) -> Result<Option<Body>, NoRoom> {
    let (queries, subjects) = (queries.clone(), subjects.clone());
    let make = move || {
        // Heapster showed whole pods alone.
        let containers = match asked.dialect {
            Dialect::Kubernetes => Containers::Measured,
            Dialect::Heapster => Containers::Specified,
        };
        if subjects.is_list()
            && let Some(scope) = subjects.pods()
        {
            let Chosen { labels, fields } = &chosen;
            let chosen = &|namespace: &str, name: &str| fields.matches(namespace, name);
            let pods = PodsAsked { scope, labels, chosen, containers };
            return Made::List(List::of_pods(&queries, pods, now, asked));
        }
        let objects = find(&queries, &subjects, (&chosen, containers), now);
        if subjects.is_list() {
            Made::List(List::new(objects, asked))
        } else if objects.len() == 0 {
            Made::Nothing
        } else {
            Made::One(list::one(objects, asked))
        }
    };
    let bytes = |made: &Made| match made {
        Made::Nothing => 0,
        Made::One(bytes) => bytes.len(),
        Made::List(list) => list.bytes(),
    };
    Ok(match room.make(make, bytes).await? {
        (Made::Nothing, _) => None,
        (Made::One(bytes), _) => Some(bytes.into()),
        (Made::List(list), room) => Some(list.body(room)),
    })
}

fn find(
    queries: &Queries,
    subjects: &Subjects,
    (chosen, containers): (&Chosen, Containers),
    now: UnixMs,
) -> Objects {
    let Chosen { labels, fields } = chosen;
    if let Some(scope) = subjects.pods() {
        let chosen = &|namespace: &str, name: &str| fields.matches(namespace, name);
        let asked = PodsAsked { scope, labels, chosen, containers };
        return Objects::Pods(queries.pod_usage(asked, now));
    }
    if let Subjects::Node(name) = subjects {
        return Objects::Nodes(queries.node_usage(Some(name), labels, now));
    }
    let mut nodes = queries.node_usage(None, labels, now);
    nodes.retain(|node| fields.matches("", &node.name));
    Objects::Nodes(nodes)
}

impl Chosen {
    fn parse(subjects: &Subjects, parameters: &Parameters) -> Result<Self, String> {
        let labels = LabelSelector::parse(parameters.first("labelSelector").unwrap_or(""));
        let text = parameters.first("fieldSelector").unwrap_or("");
        let fields = FieldSelector::parse(text, subjects.resource() == "pods");
        Ok(Self {
            labels: labels.map_err(|bad| format!("labelSelector: {bad}"))?,
            fields: fields.map_err(|bad| format!("fieldSelector: {bad}"))?,
        })
    }
}

impl Subjects {
    /// Which pods, where it is pods.
    fn pods(&self) -> Option<PodScope<'_>> {
        match self {
            Self::Pods => Some(PodScope::Cluster),
            Self::PodsOf(namespace) => Some(PodScope::Namespace(namespace)),
            Self::Pod(namespace, name) => Some(PodScope::One(namespace, name)),
            Self::Nodes | Self::Node(_) => None,
        }
    }

    fn is_list(&self) -> bool {
        !matches!(self, Self::Node(_) | Self::Pod(..))
    }

    fn not_found(self) -> Refusal {
        match self {
            Self::Node(name) => Refusal::NotFound { kind: "nodemetrics", name },
            Self::Pod(namespace, name) => {
                Refusal::NotFound { kind: "podmetrics", name: format!("{namespace}/{name}") }
            }
            Self::Nodes | Self::Pods | Self::PodsOf(_) => Refusal::UnknownResource,
        }
    }

    /// The wording is Heapster's.
    fn heapster_not_found(&self) -> String {
        match self {
            Self::Node(name) => format!("No metrics for node {name}"),
            Self::Pod(namespace, name) => {
                format!("No metrics availalble for pod {namespace}/{name}")
            }
            Self::Nodes | Self::Pods | Self::PodsOf(_) => "No metrics".to_owned(),
        }
    }
}

/// A document in the form that is wanted; 304 where the client has it.
fn document(question: &MetricsQuestion, asked: Asked<'_>) -> Result<Response, Refusal> {
    let Asked { request, wish, parameters, .. } = asked;
    let offers: &[Form] = match question {
        MetricsQuestion::Groups => &media::GROUPS,
        MetricsQuestion::OpenApiV2 => &media::OPENAPI_V2,
        MetricsQuestion::OpenApiV3 | MetricsQuestion::OpenApiV3Of(_) => &media::JSON,
        _ => &media::DOCUMENT,
    };
    let form = chosen_form(&request.headers, offers)?;
    let document = match (form.shape, form.encoding) {
        (Shape::Discovery(version), _) => document::aggregated(version),
        (_, Encoding::OpenApiProtobuf) => document::openapi_v2_protobuf(),
        _ => document::of(question).ok_or(Refusal::UnknownResource)?,
    };
    let by_hash = matches!(question, MetricsQuestion::OpenApiV3Of(_));
    let hash = parameters.first("hash").filter(|_| by_hash);
    if hash.is_some_and(|hash| hash != document.hash) {
        return Ok(answer::moved(wish, &format!("{}?hash={}", request.uri.path(), document.hash)));
    }
    let mut answer = if document.is_known(&request.headers) {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        let body = match form.encoding {
            Encoding::Yaml => yaml::document(&document.value).into(),
            Encoding::Json if wish.pretty => pretty::indented(&document.bytes).into(),
            _ => document.bytes.clone(),
        };
        of_type(form.content_type(), Body::from(body))
    };
    if let Ok(tag) = HeaderValue::from_str(&document.tag()) {
        answer.headers_mut().insert(ETAG, tag);
    }
    if hash.is_some() {
        answer.headers_mut().insert(CACHE_CONTROL, FOREVER);
    }
    Ok(answer)
}

fn chosen_form(headers: &HeaderMap, offers: &[Form]) -> Result<Form, Refusal> {
    media::choose(headers, offers).ok_or_else(|| {
        let mut types: Vec<&str> = Vec::new();
        for offer in offers {
            let media_type = offer.encoding.media_type();
            if !types.contains(&media_type) {
                types.push(media_type);
            }
        }
        Refusal::NotAcceptable(types.join(", "))
    })
}

/// An error, in a form that the client takes or else in JSON.
fn refused(refusal: &Refusal, asked: Asked<'_>) -> Response {
    let form = media::choose(&asked.request.headers, &media::STATUS).unwrap_or(Form::JSON);
    let json = refusal.json();
    let body = match form.encoding {
        Encoding::Protobuf => refusal.protobuf(),
        Encoding::Yaml => yaml::document(&json),
        _ if asked.wish.pretty => pretty::indented(json.to_string().as_bytes()),
        _ => json.to_string().into_bytes(),
    };
    let mut answer = of_type(form.content_type(), Body::from(body));
    *answer.status_mut() = refusal.code();
    match refusal {
        Refusal::TooMany => {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        Refusal::Method => answer::allow(&mut answer),
        _ => (),
    }
    answer
}

fn of_type(content_type: HeaderValue, body: Body) -> Response {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

#[cfg(test)]
mod tests;
