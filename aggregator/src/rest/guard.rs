//! Finds out who asks, and whether they may, before anything is answered.
//!
//! A probe is answered without. Everything else needs an answer to both questions: where the API
//! server would have to give it and can't, that is 503 and never a yes.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    body::Body,
    extract::State,
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    request::Parts,
};
use rustls::pki_types::UnixTime;
use serde_json::Value;

use super::answer::JSON;
use crate::{
    callers::{
        User,
        attributes::Attributes,
        bearer::Bearer,
        certificate::Chain,
        decision::{
            Files, Known, May, Method, Published, Rules, Shown, Who, impersonates, is_open, who,
        },
        status,
    },
    clock::Clock,
    kubernetes::reviews::Reviews,
    self_metrics::secure::{Authentication, Authorization, Secure},
    telemetry::chain,
};

/// What a client is told to wait while the API server is away.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// The certificate of a request's connection.
#[derive(Clone, Debug)]
pub(super) struct Presented(pub(super) Chain);

/// Lets requests through, or does not.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    beliefs: Beliefs,
    rules: Rules,
    /// With an API server.
    reviews: Option<Reviews>,
    clock: Clock,
    metrics: Secure,
}

/// What is known of users, and changes.
#[derive(Clone, Debug)]
pub struct Beliefs {
    /// By the API server.
    pub published: Arc<ArcSwap<Published>>,
    /// By files.
    pub files: Arc<ArcSwap<Files>>,
}

/// Why a request is not answered.
enum Refused {
    /// Who asks is nobody.
    Nobody,
    /// Who asks may not: what is said to it.
    Forbidden(Value),
    /// Who asks wants to be somebody else.
    Impersonation,
    /// It can't be found out.
    Unavailable,
}

impl Guard {
    /// Believes `beliefs`, and asks by `reviews` what `rules` leave open.
    pub fn new(
        beliefs: Beliefs,
        rules: Rules,
        reviews: Option<Reviews>,
        (clock, metrics): (Clock, Secure),
    ) -> Self {
        Self(Arc::new(Inner { beliefs, rules, reviews, clock, metrics }))
    }

    async fn check(&self, request: &Parts) -> Result<(), Refused> {
        let Inner { rules, reviews, metrics, .. } = &*self.0;
        let (user, method) = self.user(request).await?;
        if impersonates(&request.headers) {
            count(metrics, Some(false));
            return Err(Refused::Impersonation);
        }
        let uri = &request.uri;
        let query = uri.query().unwrap_or_default();
        let asked = Attributes::of(request.method.as_str(), uri.path(), query);
        let (allowed, reason) = match (rules.may(&user), reviews) {
            (May::Yes, _) => (true, String::new()),
            (May::Ask, Some(reviews)) => match reviews.may(&user, &asked).await {
                Ok(permission) => (permission.allowed, permission.reason),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "it can't be asked what a user may");
                    count(metrics, None);
                    return Err(Refused::Unavailable);
                }
            },
            (May::No | May::Ask, _) => (false, String::new()),
        };
        count(metrics, Some(allowed));
        match (allowed, method) {
            (true, _) => Ok(()),
            // Without an API server nobody is anonymous: whoever shows nothing is asked for it.
            (false, Method::Anonymous) if !rules.has_api_server => Err(Refused::Nobody),
            (false, _) => Err(Refused::Forbidden(status::forbidden(&user, &asked, &reason))),
        }
    }

    /// Who asks, and how that is known.
    async fn user(&self, request: &Parts) -> Result<(User, Method), Refused> {
        let Inner { beliefs, reviews, clock, metrics, .. } = &*self.0;
        let headers = &request.headers;
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let shown = Shown {
            chain: request.extensions.get::<Presented>().map(|presented| &presented.0),
            headers,
            bearer: Bearer::of(bearer),
        };
        let (published, files) = (beliefs.published.load(), beliefs.files.load());
        let known = Known { published: &published, files: &files };
        let now_ms = u64::try_from(clock.now().0).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_millis(now_ms));
        let found = who(known, shown, now);
        drop((published, files));
        let found = match (found, reviews) {
            (Who::OwnerOf(token), Some(reviews)) => match reviews.owner(&token).await {
                Ok(Some(user)) => Who::User(user, Method::Token),
                Ok(None) => Who::Nobody(Method::Token),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "it can't be asked whose a token is");
                    Who::Unknown(Method::Token)
                }
            },
            (Who::OwnerOf(_), None) => Who::Nobody(Method::Token),
            (found, _) => found,
        };
        let (method, result) = match &found {
            Who::User(_, method) => (*method, "ok"),
            Who::Nobody(method) => (*method, "refused"),
            Who::Unknown(method) => (*method, "unknown"),
            Who::OwnerOf(_) => (Method::Token, "unknown"),
        };
        let label = Authentication { method: method.word(), result };
        metrics.authentications.get_or_create(&label).inc();
        match found {
            Who::User(user, method) => Ok((user, method)),
            Who::Nobody(_) => Err(Refused::Nobody),
            Who::Unknown(_) | Who::OwnerOf(_) => Err(Refused::Unavailable),
        }
    }

    /// Takes away what said who asks: nothing after this needs it.
    fn strip(&self, headers: &mut HeaderMap) {
        headers.remove(AUTHORIZATION);
        if let Published::Known(trust) = &**self.0.beliefs.published.load()
            && let Some(proxy) = &trust.front_proxy
        {
            proxy.headers.strip(headers);
        }
    }
}

/// The layer that guards all routes.
pub(super) async fn guarded(
    State(guard): State<Guard>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let (mut head, body) = request.into_parts();
    if !is_open(head.uri.path())
        && let Err(refused) = guard.check(&head).await
    {
        return refused.into_response();
    }
    guard.strip(&mut head.headers);
    next.run(Request::from_parts(head, body)).await
}

/// Counts whether somebody may; `None` where that could not be found out.
fn count(metrics: &Secure, allowed: Option<bool>) {
    let result = match allowed {
        Some(true) => "allowed",
        Some(false) => "denied",
        None => "unknown",
    };
    metrics.authorizations.get_or_create(&Authorization { result }).inc();
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (code, status) = match self {
            Self::Nobody => (StatusCode::UNAUTHORIZED, status::unauthorized()),
            Self::Forbidden(status) => (StatusCode::FORBIDDEN, status),
            Self::Impersonation => (StatusCode::FORBIDDEN, status::no_impersonation()),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, status::unavailable()),
        };
        answer(code, &status)
    }
}

fn answer(code: StatusCode, status: &Value) -> Response {
    let mut answer = Response::new(Body::from(format!("{status}\n")));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if code == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, RETRY_SECONDS);
    }
    if code == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

#[cfg(test)]
mod tests;
