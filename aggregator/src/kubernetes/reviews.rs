//! Whose a token is, and what a user may: asked of the API server, and remembered for seconds.
//!
//! While it is away, what it said stands for as long as it would have anyway. After that there is
//! no answer, which is never a yes.

use std::{
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{
        NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    callers::{
        User,
        attributes::{Attributes, Resource},
        bearer::{Token, TokenHash},
        cache::Cache,
    },
    clock::Clock,
    self_metrics::secure::{Review, Secure},
};

/// How long a yes stands: so long does a right live on that was taken away.
const YES_LIVES: Duration = Duration::from_secs(10);

/// How long a no stands: so long does a right that was given wait, and it keeps whoever asks in a
/// loop from the API server.
const NO_LIVES: Duration = Duration::from_secs(3);

/// Answers of each kind that are held. With [`ENTRY_BYTES`] and what the answers take, some tens of
/// megabytes at most, and some hundreds of kilobytes usually.
const ENTRIES: usize = 4_096;

/// A question that is longer is not remembered: nobody asks such ones often.
const ENTRY_BYTES: usize = 4 << 10;

/// Questions of each kind that are asked at once; others wait. A flood of made-up tokens so holds up
/// tokens alone.
const AT_ONCE: usize = 16;

/// An API server that is there answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the API server did not answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// It said that it doesn't.
    #[error("the API server did not answer a review")]
    Fault(#[from] Box<kube::Error>),
    /// It said nothing for too long, or too many others wait for it.
    #[error("the API server did not answer a review within {PATIENCE:?}")]
    Late,
}

/// Whether somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// Whether.
    pub allowed: bool,
    /// Why not, in the API server's words; often empty.
    pub reason: String,
}

/// Asks the API server.
pub struct Reviews {
    client: Client,
    clock: Clock,
    metrics: Secure,
    tokens: Asked<TokenHash, Option<User>>,
    access: Asked<(User, Attributes), Permission>,
}

/// Questions of one kind.
#[derive(Debug)]
struct Asked<K, V> {
    kind: Review,
    yes: Mutex<Cache<K, V>>,
    no: Mutex<Cache<K, V>>,
    places: Semaphore,
}

impl Reviews {
    /// Asks with `client`.
    pub fn new(client: Client, clock: Clock, metrics: Secure) -> Self {
        let (tokens, access) = (Asked::new("token"), Asked::new("access"));
        Self { client, clock, metrics, tokens, access }
    }

    /// Whose `token` is; `None` for nobody's.
    pub async fn owner(&self, token: &Token) -> Result<Option<User>, NoAnswer> {
        let ask = async {
            let spec =
                TokenReviewSpec { token: Some(token.secret().to_owned()), ..Default::default() };
            let review = TokenReview { spec, ..TokenReview::default() };
            let api: Api<TokenReview> = Api::all(self.client.clone());
            let status = api.create(&PostParams::default(), &review).await?.status;
            let status = status.filter(|status| status.authenticated == Some(true));
            Ok(status.and_then(|status| status.user).and_then(user))
        };
        self.ask(&self.tokens, Some(token.hash()), Option::is_some, ask).await
    }

    /// Whether `user` may do what it `asked` for.
    pub async fn may(&self, user: &User, asked: &Attributes) -> Result<Permission, NoAnswer> {
        let is_short = user.bytes() + asked.bytes() <= ENTRY_BYTES;
        let ask = async {
            let review = SubjectAccessReview { spec: spec(user, asked), ..Default::default() };
            let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
            let status = api.create(&PostParams::default(), &review).await?.status;
            let status = status.unwrap_or_default();
            let allowed = status.allowed && status.denied != Some(true);
            Ok(Permission { allowed, reason: status.reason.unwrap_or_default() })
        };
        let key = is_short.then(|| (user.clone(), asked.clone()));
        self.ask(&self.access, key, |permission| permission.allowed, ask).await
    }

    /// The answer that is remembered under `key`, or that of `ask`.
    async fn ask<K: Clone + Eq + Hash, V: Clone>(
        &self,
        asked: &Asked<K, V>,
        key: Option<K>,
        is_yes: impl Fn(&V) -> bool,
        ask: impl Future<Output = Result<V, kube::Error>>,
    ) -> Result<V, NoAnswer> {
        let remembered = || {
            let answer = asked.remembered(key.as_ref()?, self.clock.elapsed())?;
            self.metrics.reviews_cached.get_or_create(&asked.kind).inc();
            Some(answer)
        };
        if let Some(answer) = remembered() {
            return Ok(answer);
        }
        let answered = timeout(PATIENCE, async {
            let _place = asked.places.acquire().await;
            // Others may have asked the same meanwhile.
            if let Some(answer) = remembered() {
                return Ok(answer);
            }
            let began = self.clock.elapsed();
            let answer = ask.await.map_err(Box::new)?;
            let now = self.clock.elapsed();
            let took = now.saturating_sub(began).as_secs_f64();
            self.metrics.review_duration.get_or_create(&asked.kind).observe(took);
            if let Some(key) = &key {
                let cache = if is_yes(&answer) { &asked.yes } else { &asked.no };
                locked(cache, |cache| cache.put(key.clone(), answer.clone(), now));
            }
            Ok(answer)
        });
        let answer = answered.await.unwrap_or(Err(NoAnswer::Late));
        if answer.is_err() {
            self.metrics.review_faults.get_or_create(&asked.kind).inc();
        }
        answer
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Asked<K, V> {
    fn new(kind: &'static str) -> Self {
        let yes = Mutex::new(Cache::new(YES_LIVES, ENTRIES));
        let no = Mutex::new(Cache::new(NO_LIVES, ENTRIES));
        Self { kind: Review { kind }, yes, no, places: Semaphore::new(AT_ONCE) }
    }

    /// A no that came later than a yes wins, and the other way round it has ended or will soon.
    fn remembered(&self, key: &K, now: Duration) -> Option<V> {
        let no = locked(&self.no, |cache| cache.get(key, now));
        no.or_else(|| locked(&self.yes, |cache| cache.get(key, now)))
    }
}

fn locked<T, A>(mutex: &Mutex<T>, look: impl FnOnce(&mut T) -> A) -> A {
    look(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A token's owner that has no name is nobody.
fn user(info: UserInfo) -> Option<User> {
    let user = User {
        name: info.username.filter(|name| !name.is_empty())?,
        uid: info.uid.unwrap_or_default(),
        groups: info.groups.unwrap_or_default(),
        extra: info.extra.unwrap_or_default(),
    };
    Some(user.authenticated())
}

fn spec(user: &User, asked: &Attributes) -> SubjectAccessReviewSpec {
    let some = |text: &str| Some(text.to_owned());
    let mut spec = SubjectAccessReviewSpec {
        user: some(&user.name),
        uid: some(&user.uid),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()),
        ..SubjectAccessReviewSpec::default()
    };
    match asked {
        Attributes::Path { verb, path } => {
            let attributes = NonResourceAttributes { path: some(path), verb: some(verb) };
            spec.non_resource_attributes = Some(attributes);
        }
        Attributes::Resource(of) => {
            let Resource { verb, group, version, resource, subresource, namespace, name } = of;
            spec.resource_attributes = Some(ResourceAttributes {
                verb: some(verb),
                group: some(group),
                version: some(version),
                resource: some(resource),
                subresource: some(subresource),
                namespace: some(namespace),
                name: some(name),
                ..ResourceAttributes::default()
            });
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        convert::Infallible,
        io,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
    };

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body_util::{BodyExt as _, Full};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tally_proto::tick::UnixMs;

    use super::*;
    use crate::clock::Now;

    /// An API server that knows the token `good`, and lets `ada` do everything.
    #[derive(Clone, Default)]
    struct Pretended {
        asked: Arc<Mutex<Vec<Value>>>,
        is_away: Arc<Mutex<bool>>,
        now_ms: Arc<AtomicU64>,
    }

    impl Pretended {
        fn reviews(&self) -> Reviews {
            let server = self.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { server.answer(request).await }
            });
            let now_ms = Arc::clone(&self.now_ms);
            let clock = Clock::new(move || {
                let elapsed = Duration::from_millis(now_ms.load(Ordering::Relaxed));
                Now { unix: UnixMs(0), elapsed }
            });
            Reviews::new(Client::new(service, "default"), clock, Secure::default())
        }

        async fn answer(&self, request: Request<Body>) -> io::Result<Response<Full<Bytes>>> {
            let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            if locked(&self.is_away, |is_away| *is_away) {
                return Err(io::Error::other("connection refused"));
            }
            let mut review: Value = serde_json::from_slice(&body)?;
            let status = match &review["spec"]["token"] {
                Value::Null => json!({
                    "allowed": review["spec"]["user"] == "ada", "reason": "as the test wants it",
                }),
                token if token == "good" => json!({
                    "authenticated": true,
                    "user": {"username": "ada", "uid": "u-1", "groups": ["dev"], "extra": {"a": ["b"]}},
                }),
                _ => json!({"user": {}, "error": "invalid bearer token"}),
            };
            locked(&self.asked, |asked| asked.push(review["spec"].clone()));
            review["status"] = status;
            let answer = Response::builder().status(StatusCode::CREATED);
            Ok::<_, Infallible>(answer.body(Full::from(review.to_string())).unwrap())
                .map_err(|_| io::Error::other(""))
        }

        fn later(&self, ms: u64) {
            self.now_ms.fetch_add(ms, Ordering::Relaxed);
        }

        fn times_asked(&self) -> usize {
            locked(&self.asked, |asked| asked.len())
        }
    }

    fn ada() -> User {
        User {
            name: "ada".to_owned(),
            uid: "u-1".to_owned(),
            groups: vec!["dev".to_owned(), "system:authenticated".to_owned()],
            extra: BTreeMap::from([("a".to_owned(), vec!["b".to_owned()])]),
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_about_and_remembered() {
        let server = Pretended::default();
        let reviews = server.reviews();
        let owner = async |token: &str| reviews.owner(&Token::new(token)).await.unwrap();
        assert_eq!(owner("good").await, Some(ada()));
        server.later(9_999);
        assert_eq!((owner("good").await, server.times_asked()), (Some(ada()), 1));
        server.later(1);
        assert_eq!((owner("good").await, server.times_asked()), (Some(ada()), 2));
        assert_eq!((owner("bad").await, owner("bad").await, server.times_asked()), (None, None, 3));
        server.later(3_000);
        assert_eq!((owner("bad").await, server.times_asked()), (None, 4));
    }

    #[tokio::test]
    async fn a_permission_is_asked_for_with_all_that_is_known() {
        let server = Pretended::default();
        let reviews = server.reviews();
        let asked =
            Attributes::of("GET", "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods/web", "");
        let path = Attributes::of("GET", "/metrics", "");
        assert!(reviews.may(&ada(), &asked).await.unwrap().allowed);
        assert!(reviews.may(&ada(), &asked).await.unwrap().allowed);
        let denied = reviews.may(&User::anonymous(), &path).await.unwrap();
        assert_eq!((denied.allowed, &*denied.reason), (false, "as the test wants it"));
        let expected = json!([
            {
                "user": "ada", "uid": "u-1", "groups": ["dev", "system:authenticated"],
                "extra": {"a": ["b"]},
                "resourceAttributes": {
                    "verb": "get", "group": "metrics.k8s.io", "version": "v1beta1",
                    "resource": "pods", "subresource": "", "namespace": "shop", "name": "web",
                },
            },
            {
                "user": "system:anonymous", "uid": "", "groups": ["system:unauthenticated"],
                "extra": {},
                "nonResourceAttributes": {"verb": "get", "path": "/metrics"},
            },
        ]);
        assert_eq!(locked(&server.asked, |asked| json!(asked)), expected);
    }

    #[tokio::test]
    async fn while_the_api_server_is_away_what_it_said_stands_and_no_longer() {
        let server = Pretended::default();
        let reviews = server.reviews();
        let asked = Attributes::of("GET", "/metrics", "");
        assert!(reviews.may(&ada(), &asked).await.unwrap().allowed);
        locked(&server.is_away, |is_away| *is_away = true);
        server.later(9_999);
        assert!(reviews.may(&ada(), &asked).await.unwrap().allowed);
        server.later(1);
        assert!(matches!(reviews.may(&ada(), &asked).await, Err(NoAnswer::Fault(_))));
        assert!(reviews.owner(&Token::new("good")).await.is_err());
        let faults = |kind| reviews.metrics.review_faults.get_or_create(&Review { kind }).get();
        assert_eq!((faults("access"), faults("token")), (1, 1));
    }

    #[tokio::test]
    async fn what_is_very_long_is_not_remembered() {
        let server = Pretended::default();
        let reviews = server.reviews();
        let asked = Attributes::of("GET", &"/a".repeat(ENTRY_BYTES), "");
        for _ in 0..2 {
            assert!(reviews.may(&ada(), &asked).await.unwrap().allowed);
        }
        assert_eq!(server.times_asked(), 2);
    }
}
