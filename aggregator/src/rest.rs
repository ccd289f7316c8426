//! The HTTP side: Heapster's model, historical and export API, the probes, and the server's own metrics.
//!
//! ```text
//! listen, idle                connections
//! guard                       who asks, and whether they may: on the secure port
//! route, paths                a path -> what it is for       (pure)
//! parameters, bucket, time, percent   a query -> range, labels, size   (pure)
//! accept                      what the client can read       (pure)
//! api                         a question -> its answer
//! past                        a question to history -> its answer
//! metrics_api                 metrics.k8s.io: all of these for it
//! series, aggregation, export_schema, pretty, exposition, health          forms of answers (pure)
//! answer, export, pieces, points    answers with their headers, at once or in pieces
//! room                        how much of long answers there is at once
//! process                     what the process itself uses
//! ```
//! Everything is asked of [`Queries`]; nothing here knows the pipeline.

mod accept;
mod aggregation;
mod answer;
mod api;
mod bucket;
mod export;
mod export_schema;
mod exposition;
pub mod guard;
mod health;
mod idle;
pub mod listen;
mod metrics_api;
mod parameters;
mod past;
mod paths;
mod pieces;
mod points;
mod pretty;
mod process;
mod room;
mod route;
mod series;
mod time;

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::State, middleware::map_request, response::Response};
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Version,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, VARY},
    request::Parts,
};
use prometheus_client::registry::Registry;
use tower_http::compression::CompressionLayer;

use self::{
    answer::Wish,
    api::Asked,
    export::Exports,
    parameters::Parameters,
    past::History,
    process::ProcessCollector,
    room::Room,
    route::{NoRoute, Route},
};
use crate::{
    archive::status::ArchiveStatus,
    clock::Clock,
    percent,
    query::{Queries, past::Past},
    self_metrics::{self, SelfMetrics},
};

/// Answers HTTP requests. Cheap to clone.
#[derive(Clone)]
pub struct Rest(Arc<Inner>);

struct Inner {
    queries: Queries,
    /// How history is, where there is one.
    archive: Option<Arc<ArchiveStatus>>,
    clock: Clock,
    metrics: SelfMetrics,
    registry: Registry,
    exports: Exports,
    room: Room,
    history: History,
}

/// Marks an answer that is never compressed.
#[derive(Clone, Copy)]
struct Verbatim;

impl Rest {
    /// Answers from `queries` and from `past`, once that is open, at the time of `clock`, and shows
    /// `metrics`. With history its archive says how it is.
    pub fn new(
        queries: Queries,
        (past, archive): (Past, Option<Arc<ArchiveStatus>>),
        clock: Clock,
        metrics: SelfMetrics,
    ) -> Self {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        registry.register_collector(Box::new(ProcessCollector));
        let exports = Exports::new(metrics.exports_cut_off.clone());
        let history = History::new(past, metrics.history.clone());
        let room = Room::new();
        Self(Arc::new(Inner { queries, archive, clock, metrics, registry, exports, room, history }))
    }

    /// What the server counts about itself.
    fn metrics(&self) -> &SelfMetrics {
        &self.0.metrics
    }

    /// The service for [`listen`].
    pub fn router(self) -> Router {
        let compressed = CompressionLayer::new().compress_when(compressible);
        let answered = Router::new().fallback(answered).layer(compressed);
        answered.layer(map_request(encoded_if_possible)).with_state(self)
    }

    async fn answer(
        &self,
        request: &Parts,
        route: Route,
        wish: Wish,
        parameters: &Parameters,
    ) -> Response {
        let method = &request.method;
        let Inner { queries, clock, exports, room, history, .. } = &*self.0;
        let now = clock.now();
        let question = match route {
            Route::Healthz => return self.healthz(),
            _ if method == Method::OPTIONS => return answer::methods(),
            Route::Metrics(question) => {
                let asked = metrics_api::Asked { request, wish, parameters, now, room };
                return metrics_api::answer(queries, question, asked).await;
            }
            _ if method != Method::GET && method != Method::HEAD => {
                return answer::method_not_allowed(wish);
            }
            Route::Livez => return answer::text(StatusCode::OK, "ok"),
            Route::Readyz => return self.readyz(),
            Route::OwnMetrics => return self.own_metrics(&request.headers),
            Route::Api(question) => question,
        };
        if !wish.json {
            let message = "not acceptable: this path answers application/json";
            return answer::failure(wish, StatusCode::NOT_ACCEPTABLE, message);
        }
        let asked = Asked { method, wish, parameters, now, exports, room, history };
        api::answer(queries, question, asked).await
    }

    /// Heapster's probe, for every method and never compressed.
    fn healthz(&self) -> Response {
        let mut answer = match self.missing() {
            None => answer::text(StatusCode::OK, "ok"),
            Some(_) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, health::UNHEALTHY),
        };
        answer.extensions_mut().insert(Verbatim);
        answer
    }

    fn readyz(&self) -> Response {
        let archive = self.0.archive.as_ref();
        match archive.and_then(|archive| archive.missing()).or_else(|| self.missing()) {
            // Reads work and frames are taken while the disk refuses or the API server is away, so
            // this stays ready.
            None => {
                let fault = archive.and_then(|archive| archive.fault());
                let away = self.0.metrics.kubernetes.is_away().then_some(health::AWAY);
                let faults = fault.as_deref().into_iter().chain(away);
                let lines: String = faults.flat_map(|fault| ["\n", fault.trim_end()]).collect();
                let end = if lines.is_empty() { "" } else { "\n" };
                answer::text(StatusCode::OK, format!("ok{lines}{end}"))
            }
            Some(missing) => answer::text(StatusCode::SERVICE_UNAVAILABLE, missing),
        }
    }

    fn own_metrics(&self, headers: &HeaderMap) -> Response {
        let text = exposition::openmetrics(&self.0.registry);
        if accept::prefers_openmetrics(headers) {
            answer::text_of_type(exposition::OPENMETRICS, text)
        } else {
            answer::text_of_type(exposition::PROMETHEUS, exposition::prometheus(&text))
        }
    }

    fn unknown(&self, wish: Wish, path: &str) -> Response {
        let off = paths::is_historical(path).then(|| self.0.history.off(wish)).flatten();
        off.unwrap_or_else(|| answer::unknown(wish, &paths::nearest(path)))
    }

    fn missing(&self) -> Option<String> {
        health::missing(self.0.queries.newest_tick(), self.0.clock.now())
    }

    fn count(&self, route: &'static str, status: StatusCode, took: Duration) {
        let metrics = &self.0.metrics;
        let request = self_metrics::Request { route, code: status.as_u16() };
        metrics.http_requests.get_or_create(&request).inc();
        let route = self_metrics::RequestRoute { route };
        metrics.http_duration.get_or_create(&route).observe(took.as_secs_f64());
    }
}

async fn answered(State(rest): State<Rest>, request: Request<Body>) -> Response {
    let began = rest.0.clock.elapsed();
    // A request's body means nothing here; the server reads past it.
    let (request, _) = request.into_parts();
    let path = request.uri.path();
    let parameters = Parameters::parse(request.uri.query().unwrap_or(""));
    let wish = Wish { json: accept::takes_json(&request.headers), pretty: parameters.pretty() };
    let (pattern, mut answer) = match (route::cleaned(path), route::route(path)) {
        _ if path == "*" && request.method == Method::OPTIONS => ("*", answer::methods()),
        (Some(clean), _) => ("moved", moved(wish, &request, clean)),
        (None, Ok(route)) => {
            (route.pattern(), rest.answer(&request, route, wish, &parameters).await)
        }
        (None, Err(NoRoute::Unknown)) => ("unknown", rest.unknown(wish, path)),
        (None, Err(bad @ NoRoute::Escape)) => {
            ("unknown", answer::failure(wish, StatusCode::BAD_REQUEST, &bad.to_string()))
        }
    };
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("accept"));
    // Almost every answer is about this moment.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    let took = rest.0.clock.elapsed().saturating_sub(began);
    rest.count(pattern, answer.status(), took);
    answer
}

/// Who refuses every encoding gets the answer as it is, as from Heapster, and not none at all.
async fn encoded_if_possible(mut request: Request<Body>) -> Request<Body> {
    if accept::refuses_every_encoding(request.headers()) {
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    request
}

fn moved(wish: Wish, request: &Parts, clean: String) -> Response {
    let target = match request.uri.query() {
        Some(query) => format!("{clean}?{query}"),
        None => clean,
    };
    answer::moved(wish, &target)
}

/// Whatever its length, as Heapster did: who asks for gzip gets gzip.
fn compressible(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<Verbatim>().is_none()
}
