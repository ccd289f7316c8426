//! Against an API server without sockets that keeps one Secret and some APIServices.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use kube::client::Body;
use serde_json::Value;
use tally_proto::tick::UnixMs;

use super::*;
use crate::{clock::Now, tls::crypto};

const NOW_S: i64 = 1_795_423_525;
const SECRET: &str = "/api/v1/namespaces/kube-system/secrets";
const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

#[derive(Clone, Default)]
struct Pretended(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Methods and paths of what changed something.
    writes: Vec<String>,
    is_away: bool,
    /// What another replica writes just before the next write.
    intruder: Option<Value>,
}

impl Pretended {
    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let (code, body) =
                    server.state(|state| state.answer(&head.method, head.uri.path(), body))?;
                let answer = Response::builder().status(code);
                answer.body(Full::new(Bytes::from(body.to_string()))).map_err(io::Error::other)
            }
        });
        Client::new(service, "default")
    }

    fn own_certificate(&self, now_s: &Arc<AtomicI64>) -> OwnCertificate {
        let now_s = Arc::clone(now_s);
        let clock = Clock::new(move || {
            let unix = UnixMs(now_s.load(Ordering::Relaxed) * 1_000);
            Now { unix, elapsed: Duration::ZERO }
        });
        let place =
            |name: &str| Place { namespace: "kube-system".to_owned(), name: name.to_owned() };
        let wanted = Wanted {
            service: place("tally-aggregator"),
            secret: place("tally-tls"),
            api_services: ["v1.metrics.k8s.io", "v1beta1.metrics.k8s.io"].map(str::to_owned).into(),
        };
        let metrics = Secure::default();
        let serving = Arc::new(Serving::new(metrics.clone()));
        OwnCertificate::new(self.client(), wanted, (serving, crypto()), (clock, metrics))
    }

    fn put_api_service(&self, service: &str) {
        let object = json!({
            "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
            "metadata": {"name": "v1beta1.metrics.k8s.io", "resourceVersion": "1"},
            "spec": {
                "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": {"namespace": "kube-system", "name": service},
            },
        });
        let path = format!("{API_SERVICES}/v1beta1.metrics.k8s.io");
        self.state(|state| state.objects.insert(path, object));
    }

    fn bundle_of_api_service(&self) -> Option<Vec<u8>> {
        let object = self.state(|state| {
            state.objects.get(&format!("{API_SERVICES}/v1beta1.metrics.k8s.io")).cloned()
        });
        let spec: APIServiceSpec = serde_json::from_value(object?["spec"].clone()).unwrap();
        spec.ca_bundle.map(|bundle| bundle.0)
    }

    fn writes(&self) -> Vec<String> {
        self.state(|state| std::mem::take(&mut state.writes))
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, body: Value) -> io::Result<(u16, Value)> {
        if self.is_away {
            return Err(io::Error::other("connection refused"));
        }
        let status = |code: u16| {
            let reason = if code == 404 { "NotFound" } else { "Conflict" };
            (code, json!({"kind": "Status", "code": code, "reason": reason}))
        };
        if method == Method::GET {
            return Ok(self
                .objects
                .get(path)
                .map_or_else(|| status(404), |found| (200, found.clone())));
        }
        let path = match method == Method::POST {
            true => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap_or_default()),
            false => path.to_owned(),
        };
        if let Some(intruder) = self.intruder.take() {
            self.version += 1;
            self.objects.insert(path.clone(), intruder);
        }
        let held = self.objects.get(&path);
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let is_conflict = match held {
            Some(held) => method == Method::POST || version(held) != version(&body),
            None => false,
        };
        if is_conflict {
            return Ok(status(409));
        }
        self.version += 1;
        let mut new =
            if method == Method::PATCH { held.cloned().unwrap_or_default() } else { body.clone() };
        if method == Method::PATCH {
            for (key, value) in body["spec"].as_object().into_iter().flatten() {
                new["spec"][key] = value.clone();
            }
        }
        new["metadata"]["resourceVersion"] = json!(format!("v{}", self.version));
        self.objects.insert(path.clone(), new.clone());
        self.writes.push(format!("{method} {path}"));
        Ok((200, new))
    }
}

fn clock() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(NOW_S))
}

#[tokio::test]
async fn it_is_made_once_and_shared_by_all_replicas() {
    let server = Pretended::default();
    server.put_api_service("tally-aggregator");
    let now_s = clock();
    let mut first = server.own_certificate(&now_s);
    assert!(first.look().await);
    let expected = [
        format!("POST {SECRET}/tally-tls"),
        format!("PATCH {API_SERVICES}/v1beta1.metrics.k8s.io"),
    ];
    assert_eq!(server.writes(), expected);
    let shown = first.shown.clone().unwrap();
    assert_eq!(server.bundle_of_api_service(), Some(shown.bundle.clone().into_bytes()));
    let mut second = server.own_certificate(&now_s);
    assert!(second.look().await && first.look().await);
    assert_eq!((second.shown, server.writes()), (Some(shown), Vec::new()));
}

#[tokio::test]
async fn what_somebody_overwrites_is_mended_and_what_leads_elsewhere_is_not() {
    let server = Pretended::default();
    server.put_api_service("tally-aggregator");
    let mut own = server.own_certificate(&clock());
    own.look().await;
    server.put_api_service("tally-aggregator");
    assert!(own.look().await);
    assert_eq!(own.metrics.api_services_mended.get(), 2);
    server.put_api_service("metrics-server");
    assert!(own.look().await);
    assert_eq!(server.bundle_of_api_service(), None);
}

#[tokio::test]
async fn whoever_is_second_takes_what_the_first_wrote() {
    let server = Pretended::default();
    let now_s = clock();
    let other = {
        let server = Pretended::default();
        server.own_certificate(&now_s).look().await;
        server.state(|state| state.objects.get(&format!("{SECRET}/tally-tls")).cloned()).unwrap()
    };
    let expected = kept(&serde_json::from_value(other.clone()).unwrap());
    server.state(|state| state.intruder = Some(other));
    let mut own = server.own_certificate(&now_s);
    assert!(own.look().await);
    assert_eq!((own.shown.as_ref(), server.writes()), (Some(&expected), Vec::new()));
}

#[tokio::test]
async fn it_is_renewed_in_time_and_the_bundle_with_its_authority() {
    let server = Pretended::default();
    server.put_api_service("tally-aggregator");
    let now_s = clock();
    let mut own = server.own_certificate(&now_s);
    own.look().await;
    let first = own.shown.clone().unwrap();
    now_s.fetch_add(244 * 86_400, Ordering::Relaxed);
    assert!(own.look().await);
    let second = own.shown.clone().unwrap();
    assert_eq!(first.bundle, second.bundle);
    assert_ne!(first.certificate, second.certificate);
    now_s.fetch_add(7 * 365 * 86_400, Ordering::Relaxed);
    assert!(own.look().await);
    let third = own.shown.clone().unwrap();
    assert!(third.bundle.ends_with(&first.bundle) && first.bundle.len() < third.bundle.len());
    assert_eq!(server.bundle_of_api_service(), Some(third.bundle.into_bytes()));
}

#[tokio::test]
async fn while_the_api_server_is_away_what_was_shown_is_shown() {
    let server = Pretended::default();
    let mut own = server.own_certificate(&clock());
    server.state(|state| state.is_away = true);
    assert!(!own.look().await && own.shown.is_none());
    server.state(|state| state.is_away = false);
    assert!(own.look().await && own.shown.is_some());
    server.state(|state| state.is_away = true);
    assert!(!own.look().await && own.shown.is_some());
}

#[tokio::test]
async fn a_secret_of_others_is_read_and_never_written() {
    let server = Pretended::default();
    server.put_api_service("tally-aggregator");
    let theirs = Kept::renewed(None, &["elsewhere".to_owned()], NOW_S).unwrap().unwrap();
    let place = Place { namespace: "kube-system".to_owned(), name: "tally-tls".to_owned() };
    let put = |kept: &Kept| {
        let mut secret = serde_json::to_value(made(&place, kept)).unwrap();
        if kept.authority_key.is_empty() {
            secret["data"].as_object_mut().unwrap().remove(AUTHORITY_KEY);
        }
        server.state(|state| state.objects.insert(format!("{SECRET}/tally-tls"), secret));
    };
    let theirs = Kept { authority_key: String::new(), ..theirs };
    put(&theirs);
    let mut own = server.own_certificate(&clock());
    assert!(own.look().await);
    assert_eq!(server.writes(), [format!("PATCH {API_SERVICES}/v1beta1.metrics.k8s.io")]);
    put(&Kept { key: "broken".to_owned(), ..theirs.clone() });
    assert!(!own.look().await);
    assert_eq!(own.shown, Some(theirs));
}

#[tokio::test]
async fn a_secret_that_was_made_empty_for_us_is_filled() {
    let server = Pretended::default();
    let empty = json!({"metadata": {"name": "tally-tls", "resourceVersion": "7"}, "data": {"note": "eA=="}});
    server.state(|state| state.objects.insert(format!("{SECRET}/tally-tls"), empty));
    let mut own = server.own_certificate(&clock());
    assert!(own.look().await);
    assert_eq!(server.writes(), [format!("PUT {SECRET}/tally-tls")]);
    let held = server.state(|state| state.objects.get(&format!("{SECRET}/tally-tls")).cloned());
    assert_eq!(held.unwrap()["data"]["note"], "eA==");
}
