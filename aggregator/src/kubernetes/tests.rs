//! The watches against an API server without sockets, that says what a test wants it to.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use serde_json::{Value, json};
use tally_proto::{
    declaration::PodKey,
    name::{NamespaceName, PodName},
    tick::{Resolution, UnixMs},
};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::clock::Now;

type Answer = UnsyncBoxBody<Bytes, Infallible>;

/// An API server: what its lists have, and how its watches go on.
#[derive(Clone, Default)]
struct Pretended(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_away: bool,
    pods: Vec<Value>,
    version: u64,
    /// Answers to the next watches of pods, before those that stay open.
    watches: VecDeque<Value>,
    /// The watch of pods that is open.
    open: Option<mpsc::Sender<Result<Frame<Bytes>, Infallible>>>,
    /// What was asked of pods.
    asked: Vec<String>,
}

impl Pretended {
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, request: &Request<Body>) -> io::Result<Response<Answer>> {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let is_watch = query.contains("watch=true");
        self.state(|state| {
            if state.is_away {
                return Err(io::Error::other("connection refused"));
            }
            let of_pods = path == "/api/v1/pods";
            if of_pods {
                state.asked.push(query.to_owned());
            }
            if !is_watch {
                let items = if of_pods { state.pods.clone() } else { Vec::new() };
                let version = state.version.to_string();
                let list = json!({"metadata": {"resourceVersion": version}, "items": items});
                return Ok(whole(&list));
            }
            if of_pods && let Some(said) = state.watches.pop_front() {
                return Ok(whole(&said));
            }
            let (says, said) = mpsc::channel(8);
            if of_pods {
                state.open = Some(says);
            } else {
                // Nothing ever happens to other objects.
                std::mem::forget(says);
            }
            Ok(Response::new(UnsyncBoxBody::new(StreamBody::new(ReceiverStream::new(said)))))
        })
    }

    /// Says something on the watch that is open.
    async fn say(&self, kind: &str, object: Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        let open = self.state(|state| state.open.clone()).expect("a watch is open");
        open.send(Ok(Frame::data(Bytes::from(line)))).await.unwrap();
    }
}

fn whole(json: &Value) -> Response<Answer> {
    Response::new(Full::new(Bytes::from(format!("{json}\n"))).boxed_unsync())
}

fn pod(name: &str, version: &str) -> Value {
    let uid = format!("uid-{name}");
    json!({
        "metadata": {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": version},
        "spec": {"containers": [{"name": "app"}]},
    })
}

/// Watches that run.
struct Watching {
    server: Pretended,
    fed: Fed,
    complete: oneshot::Receiver<()>,
}

impl Watching {
    fn begin(server: Pretended) -> Self {
        let resolution = Resolution::from_seconds(1).unwrap();
        let model = Arc::new(Model::new(resolution, 60_000));
        let (form, metrics) = (LabelForm::default(), Kubernetes::default());
        let clock = Clock::new(|| Now { unix: UnixMs(0), elapsed: Duration::ZERO });
        let fed = Fed { model, form, clock, metrics };
        let watches = Watches::with(fed.clone(), |health| {
            let health = Arc::clone(health);
            let answered = tower::util::MapResultLayer::new(
                move |answer: Result<Response<Answer>, io::Error>| {
                    if let Ok(answer) = &answer {
                        health.answered(answer.status());
                    }
                    answer
                },
            );
            let inner = server.clone();
            let service = tower::service_fn(move |request: Request<Body>| {
                let answer = inner.answer(&request);
                async move { answer }
            });
            let service = tower::Layer::layer(&answered, service);
            Ok::<_, Infallible>(Client::new(service, "default"))
        });
        let (said, complete) = oneshot::channel();
        tokio::spawn(watches.unwrap().run(said));
        Self { server, fed, complete }
    }

    /// Waits until exactly these pods are known; the clock stands still unless all wait.
    #[track_caller]
    fn until_known<'a>(&self, names: &'a [&str]) -> impl Future<Output = ()> + use<'a> {
        let model = Arc::clone(&self.fed.model);
        async move {
            for _ in 0..10_000 {
                if known(&model, names) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("{names:?} are not what is known");
        }
    }

    fn watch_ok(&self) -> i64 {
        self.fed.metrics.watch_ok.get_or_create(&WatchedKind { kind: "pod" }).get()
    }
}

fn known(model: &Model, names: &[&str]) -> bool {
    let mut all = false;
    model
        .change_inventory(|inventory| {
            let key = |name: &&str| PodKey {
                namespace: NamespaceName::parse("shop").unwrap(),
                name: PodName::parse(name).unwrap(),
            };
            let has = names.iter().filter(|name| inventory.pod(&key(name)).is_some()).count();
            all = has == names.len() && inventory.count(Kind::Pod) == has;
            Ok::<_, Infallible>(crate::inventory::Touched::default())
        })
        .unwrap();
    all
}

#[tokio::test(start_paused = true)]
async fn a_list_and_then_what_changes() {
    let server = Pretended::default();
    server.state(|state| {
        (state.pods, state.version) = (vec![pod("a", "5"), pod("b", "6")], 7);
    });
    let mut watching = Watching::begin(server);
    (&mut watching.complete).await.unwrap();
    watching.until_known(&["a", "b"]).await;
    while watching.server.state(|state| state.open.is_none()) {
        tokio::task::yield_now().await;
    }
    watching.server.say("ADDED", pod("c", "8")).await;
    watching.server.say("DELETED", pod("a", "9")).await;
    watching.until_known(&["b", "c"]).await;
    assert_eq!(watching.watch_ok(), 1);
    let asked = watching.server.state(|state| state.asked.clone());
    assert!(asked[0].contains("limit=500"), "{asked:?}");
    assert!(asked[1].contains("resourceVersion=7"), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_expired_begins_anew_with_a_list() {
    let server = Pretended::default();
    let gone = json!({"kind": "Status", "status": "Failure", "reason": "Expired",
        "message": "too old resource version: 7 (9)", "code": 410});
    server.state(|state| {
        (state.pods, state.version) = (vec![pod("a", "5"), pod("b", "6")], 7);
        state.watches.push_back(json!({"type": "ERROR", "object": gone}));
    });
    let watching = Watching::begin(server);
    watching.until_known(&["a", "b"]).await;
    watching.server.state(|state| {
        (state.pods, state.version) = (vec![pod("b", "6"), pod("c", "8")], 9);
    });
    watching.until_known(&["b", "c"]).await;
    let (kind, metrics) = (WatchedKind { kind: "pod" }, &watching.fed.metrics);
    while metrics.lists.get_or_create(&kind).get() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.watch_faults.get_or_create(&kind).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_while_the_server_is_away() {
    let server = Pretended::default();
    server.state(|state| (state.pods, state.version) = (vec![pod("a", "5")], 7));
    let watching = Watching::begin(server);
    watching.until_known(&["a"]).await;
    watching.server.state(|state| {
        state.is_away = true;
        // It takes its watches with it.
        state.open = None;
    });
    while watching.watch_ok() == 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(known(&watching.fed.model, &["a"]));
    let faults =
        watching.fed.metrics.watch_faults.get_or_create(&WatchedKind { kind: "pod" }).get();
    assert!((20..30).contains(&faults), "asked again, ever more seldom: {faults}");
    watching.server.state(|state| {
        state.is_away = false;
        let gone = json!({"kind": "Status", "status": "Failure", "reason": "Expired",
            "message": "too old", "code": 410});
        state.watches.push_back(json!({"type": "ERROR", "object": gone}));
        (state.pods, state.version) = (vec![pod("b", "8")], 9);
    });
    watching.until_known(&["b"]).await;
    assert_eq!(watching.watch_ok(), 1);
}

#[tokio::test(start_paused = true)]
async fn before_the_first_list_is_complete_the_model_is_not() {
    let server = Pretended::default();
    server.state(|state| state.is_away = true);
    let mut watching = Watching::begin(server);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(watching.complete.try_recv().is_err());
    let faults = &watching.fed.metrics.watch_faults;
    let faults = faults.get_or_create(&WatchedKind { kind: "pod" }).get();
    assert!((20..30).contains(&faults), "asked again, ever more seldom: {faults}");
    watching.server.state(|state| {
        state.is_away = false;
        (state.pods, state.version) = (vec![pod("a", "5")], 7);
    });
    (&mut watching.complete).await.unwrap();
    assert!(known(&watching.fed.model, &["a"]));
}
