//! The guard before a router that answers everything.

use std::{collections::BTreeSet, io};

use axum::{Router, middleware::from_fn_with_state};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use kube::{Client, client::Body as ClientBody};
use serde_json::json;
use tally_proto::tick::UnixMs;
use tower::ServiceExt as _;

use super::*;
use crate::{
    callers::{
        certificate::tests::{NOW, Signer},
        front_proxy::tests::usual,
        token_file::Tokens,
        trust::{FrontProxy, Trust},
    },
    clock::Now,
};

struct World {
    clients: Signer,
    proxy: Signer,
    guard: Guard,
}

fn clock() -> Clock {
    Clock::new(|| Now { unix: UnixMs(NOW * 1_000), elapsed: Duration::ZERO })
}

/// An API server that knows the token `good` of `ada`, who may list nodes.
fn api_server(is_away: bool) -> Client {
    Client::new(
        tower::service_fn(move |request: Request<ClientBody>| async move {
            if is_away {
                return Err(io::Error::other("connection refused"));
            }
            let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            let mut review: Value = serde_json::from_slice(&body)?;
            let spec = &review["spec"];
            review["status"] = if spec["token"].is_string() {
                json!({"authenticated": spec["token"] == "good", "user": {"username": "ada"}})
            } else {
                let lists_nodes = spec["resourceAttributes"]["resource"] == "nodes";
                json!({"allowed": spec["user"] == "ada" && lists_nodes})
            };
            Ok(http::Response::new(Full::new(Bytes::from(review.to_string()))))
        }),
        "default",
    )
}

fn world(published: Option<bool>, allowed: &[&str], api_server: Option<Client>) -> World {
    let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
    let front_proxy =
        FrontProxy { authorities: proxy.authorities(), names: Vec::new(), headers: usual() };
    let trust = Trust { clients: Some(clients.authorities()), front_proxy: Some(front_proxy) };
    let (published, files) = match published {
        Some(true) => (Published::Known(trust), Files::default()),
        Some(false) => (Published::NotYet, Files::default()),
        None => {
            let tokens = Some(Arc::new(Tokens::parse("secret,bob,1").unwrap()));
            (Published::Never, Files { clients: trust.clients, tokens })
        }
    };
    let beliefs = Beliefs {
        published: Arc::new(ArcSwap::from_pointee(published)),
        files: Arc::new(ArcSwap::from_pointee(files)),
    };
    let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
    let rules = Rules { allowed, has_api_server: api_server.is_some() };
    let metrics = Secure::default();
    let reviews = api_server.map(|client| Reviews::new(client, clock(), metrics.clone()));
    let guard = Guard::new(beliefs, rules, reviews, (clock(), metrics));
    World { clients, proxy, guard }
}

impl World {
    async fn ask(&self, path: &str, chain: Option<&Chain>, headers: &[(&str, &str)]) -> Response {
        // What comes through shows what is left of its headers.
        let echo = |request: Request<Body>| async move {
            let names = request.headers().keys().map(http::HeaderName::as_str);
            names.collect::<Vec<_>>().join(",")
        };
        let router = Router::new().fallback(echo);
        let router = router.layer(from_fn_with_state(self.guard.clone(), guarded));
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(chain) = chain {
            request = request.extension(Presented(Arc::clone(chain)));
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn code(&self, path: &str, chain: Option<&Chain>, headers: &[(&str, &str)]) -> u16 {
        self.ask(path, chain, headers).await.status().as_u16()
    }
}

const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const PODS: &str = "/apis/metrics.k8s.io/v1beta1/pods";
const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good")];
const BAD: &[(&str, &str)] = &[("authorization", "Bearer bad")];
const FORGED: &[(&str, &str)] = &[("x-remote-user", "a"), ("x-remote-group", "system:masters")];

#[tokio::test]
async fn behind_an_api_server_each_gets_what_it_may() {
    let world = world(Some(true), &["eve"], Some(api_server(false)));
    let master = world.clients.client("root", &["system:masters"]);
    let bob = world.clients.client("bob", &[]);
    let eve = world.clients.client("eve", &[]);
    let proxy = world.proxy.client("front-proxy-client", &[]);
    let of_ada = [("x-remote-user", "ada")];
    let stranger = Signer::new("clients").client("ada", &[]);
    for (path, chain, headers, expected) in [
        (NODES, None, GOOD, 200),
        (PODS, None, GOOD, 403),
        (NODES, None, BAD, 401),
        (NODES, None, &[][..], 403),
        (NODES, None, FORGED, 403),
        (PODS, Some(&master), &[], 200),
        (NODES, Some(&bob), &[], 403),
        (NODES, Some(&bob), FORGED, 403),
        (PODS, Some(&eve), &[], 200),
        (NODES, Some(&proxy), &of_ada, 200),
        (PODS, Some(&proxy), &of_ada, 403),
        (PODS, Some(&proxy), FORGED, 200),
        (NODES, Some(&proxy), &[], 401),
        (NODES, Some(&stranger), &[], 401),
        (NODES, Some(&stranger), GOOD, 200),
        (NODES, Some(&master), &[("impersonate-user", "ada")], 403),
        ("/healthz", None, BAD, 200),
        ("/readyz", Some(&stranger), &[], 200),
    ] {
        let code = world.code(path, chain, headers).await;
        assert_eq!(code, expected, "{path} {headers:?} with a certificate: {}", chain.is_some());
    }
    let counted = |result| {
        world.guard.0.metrics.authorizations.get_or_create(&Authorization { result }).get()
    };
    assert_eq!((counted("allowed"), counted("denied")), (6, 7));
}

#[tokio::test]
async fn while_the_api_server_is_away_nobody_is_let_in_by_guessing() {
    let world = world(Some(true), &["eve"], Some(api_server(true)));
    let bob = world.clients.client("bob", &[]);
    let eve = world.clients.client("eve", &[]);
    let answer = world.ask(NODES, None, GOOD).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()[RETRY_AFTER], "5");
    assert_eq!(world.code(NODES, Some(&bob), &[]).await, 503);
    assert_eq!(world.code(NODES, None, &[]).await, 503);
    assert_eq!(world.code(NODES, Some(&eve), &[]).await, 200);
}

#[tokio::test]
async fn before_it_is_known_whom_the_api_server_trusts_certificates_wait() {
    let world = world(Some(false), &[], Some(api_server(false)));
    let master = world.clients.client("root", &["system:masters"]);
    assert_eq!(world.code(NODES, Some(&master), &[]).await, 503);
    assert_eq!(world.code(NODES, None, GOOD).await, 200);
}

#[tokio::test]
async fn without_an_api_server_files_say_who_may() {
    let everybody = world(None, &[], None);
    let some = world(None, &["ada"], None);
    let secret: &[(&str, &str)] = &[("authorization", "Bearer secret")];
    for (world, ada, bob, master) in [(&everybody, 200, 200, 200), (&some, 200, 403, 403)] {
        let of_ada = world.clients.client("ada", &[]);
        let of_master = world.clients.client("root", &["system:masters"]);
        assert_eq!(world.code("/api/v1/model", Some(&of_ada), &[]).await, ada);
        assert_eq!(world.code("/api/v1/model", None, secret).await, bob);
        assert_eq!(world.code("/api/v1/model", Some(&of_master), &[]).await, master);
        assert_eq!(world.code("/api/v1/model", None, BAD).await, 401);
        assert_eq!(world.code("/api/v1/model", None, &[]).await, 401);
        assert_eq!(world.code("/livez", None, &[]).await, 200);
    }
    let open = super::tests::world(None, &["system:anonymous"], None);
    assert_eq!(open.code("/api/v1/model", None, &[]).await, 200);
}

#[tokio::test]
async fn nothing_behind_it_sees_tokens_and_users() {
    let world = world(Some(true), &[], Some(api_server(false)));
    let headers = [GOOD, &[("x-remote-user", "a"), ("x-remote-extra-b", "c"), ("accept", "d")]];
    let answer = world.ask(NODES, None, &headers.concat()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(&*body, b"accept");
}
