use std::{collections::HashMap, convert::Infallible, future::pending};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tally_proto::{
    declaration::PodKey,
    name::{ContainerName, ImageName, NamespaceName, PodName},
};
use tokio::{net::UnixListener, task::JoinHandle};

use super::*;
use crate::{
    disk_usage::{
        ContainerPaths, Layer, Layers,
        cri::{
            ContainerAttributes, ContainerStats, FilesystemIdentifier, FilesystemUsage,
            ImageFsInfoResponse, ListContainerStatsResponse, UInt64Value,
        },
        layer_questions,
    },
    names::{
        Called,
        cri::{
            Container, ContainerMetadata, ContainerStatus, ContainerStatusResponse, IdFilter,
            ImageSpec, ListContainersRequest, ListContainersResponse, ListPodSandboxResponse,
            PodSandbox, PodSandboxMetadata,
        },
    },
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// How a runtime behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// CRI of that version.
    Cri(&'static str),
    /// Docker's API.
    Docker,
    /// Docker's API, with other paths for the same containers.
    Liar,
    /// HTTP, but nothing that we ask for.
    Refuses,
    /// It takes connections, and that is all.
    Hangs,
}

/// A runtime on a socket, until it is dropped.
struct Runtime(JoinHandle<()>);

impl Drop for Runtime {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start(path: &Path, habit: Habit) -> Runtime {
    // A killed runtime leaves its socket behind.
    drop(std::fs::remove_file(path));
    let listener = UnixListener::bind(path).unwrap();
    Runtime(tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let io = TokioIo::new(stream);
                // The client goes when it knows enough.
                drop(match habit {
                    Habit::Cri(_) => {
                        let service = service_fn(move |request| cri(habit, request));
                        http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    }
                    Habit::Docker | Habit::Liar | Habit::Refuses => {
                        let service = service_fn(move |request| docker(habit, request));
                        http1::Builder::new().serve_connection(io, service).await
                    }
                    Habit::Hangs => pending().await,
                });
            });
        }
    }))
}

async fn docker(habit: Habit, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let text = match request.uri().path() {
        "/containers/json" => r#"[{"Id":"free","Names":["/web"],"Image":"busybox:1"}]"#,
        "/containers/free/json" if habit == Habit::Liar => {
            r#"{"GraphDriver":{"Data":{"UpperDir":"/root"}}}"#
        }
        "/containers/free/json" => {
            r#"{"LogPath":"/l/free.log","GraphDriver":{"Data":{"UpperDir":"/o/diff"}}}"#
        }
        other => panic!("{other}"),
    };
    let mut response = Response::new(Full::from(text).boxed_unsync());
    if habit == Habit::Refuses {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    Ok(response)
}

fn digest() -> String {
    format!("sha256:{}", "0".repeat(64))
}

async fn cri(habit: Habit, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    // A filter is at the same place in both lists; the third request has none.
    let filter = ListContainersRequest::decode(asked.slice(5..)).unwrap_or_default().filter;
    let is_wanted = |id: &str| filter.as_ref().is_none_or(|filter: &IdFilter| filter.id == id);
    let metadata = PodSandboxMetadata { name: "pod".to_owned(), namespace: "space".to_owned() };
    let container = |name: &str, image: &str| Container {
        id: name.to_owned(),
        pod_sandbox_id: "sandbox".to_owned(),
        metadata: Some(ContainerMetadata { name: name.to_owned() }),
        image: Some(ImageSpec { image: image.to_owned(), ..ImageSpec::default() }),
    };
    let Habit::Cri(version) = habit else { unreachable!() };
    let usage = |used: u64| FilesystemUsage {
        timestamp: 1,
        filesystem: Some(FilesystemIdentifier { mount_point: "/images".to_owned() }),
        used_bytes: Some(UInt64Value { value: used }),
    };
    let message = match path.strip_prefix(&format!("/runtime.{version}.")) {
        Some("ImageService/ImageFsInfo") => {
            return Ok(answer(ImageFsInfoResponse { image_filesystems: vec![usage(900)] }));
        }
        Some("RuntimeService/ListContainerStats") => {
            let attributes = Some(ContainerAttributes { id: "app".to_owned() });
            let stats = vec![ContainerStats { attributes, writable_layer: Some(usage(80)) }];
            return Ok(answer(ListContainerStatsResponse { stats }));
        }
        Some(method) => method.strip_prefix("RuntimeService/"),
        None => None,
    };
    Ok(match message {
        Some("ListPodSandbox") => {
            let sandbox = PodSandbox { id: "sandbox".to_owned(), metadata: Some(metadata) };
            let items = [sandbox].into_iter().filter(|sandbox| is_wanted(&sandbox.id)).collect();
            answer(ListPodSandboxResponse { items })
        }
        Some("ListContainers") => {
            let both = [container("app", "busybox:1"), container("side", &digest())];
            let containers = both.into_iter().filter(|one| is_wanted(&one.id)).collect();
            answer(ListContainersResponse { containers })
        }
        Some("ContainerStatus") => {
            let image = ImageSpec { image: "side:2".to_owned(), ..ImageSpec::default() };
            let status = Some(ContainerStatus { image: Some(image) });
            answer(ContainerStatusResponse { status })
        }
        _ => {
            let mut response = Response::new(Empty::new().boxed_unsync());
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            response.headers_mut().insert("grpc-status", "12".parse().unwrap());
            response
        }
    })
}

fn answer(message: impl prost::Message) -> Response<Body> {
    let message = message.encode_to_vec();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let frames = [Ok(Frame::data(Bytes::from(framed))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(tokio_stream::iter(frames));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}

/// Two sockets, and somebody who asks them.
struct World {
    folder: tempfile::TempDir,
    asking: Asking,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Places::At(vec![folder.path().join(name)]);
        let options = Options {
            host_root: "/".into(),
            cri: at("cri.sock"),
            docker: at("docker.sock"),
            random: || u64::MAX,
        };
        Self { folder, asking: Asking { options, sockets: BTreeMap::new() } }
    }

    fn start(&self, name: &str, habit: Habit) -> Runtime {
        start(&self.folder.path().join(name), habit)
    }

    /// Names by id, and how many answered and failed.
    async fn ask(&mut self, api: Api, ids: &[&str]) -> (Vec<String>, (usize, usize)) {
        let due: Vec<_> = ids.iter().map(|id| (ContainerId::parse(id).unwrap(), api)).collect();
        let round = self.asking.round(&due).await;
        let mut names: Vec<String> = ids
            .iter()
            .filter_map(|id| round.called.get(&ContainerId::parse(id).unwrap()))
            .map(words)
            .collect();
        names.sort();
        let reach = if api == Api::Cri { round.cri } else { round.docker };
        (names, (reach.answered, reach.failed))
    }
}

fn words(called: &Called) -> String {
    let image = |image: &Option<ImageName>| image.clone().map_or(String::new(), |i| i.to_string());
    let pod = |pod: &PodKey| {
        let (namespace, name): (&NamespaceName, &PodName) = (&pod.namespace, &pod.name);
        format!("{namespace}/{name}")
    };
    let own = |name: &ContainerName| name.to_string();
    match called {
        Called::Sandbox(of) => pod(of),
        Called::InPod { pod: of, name, image: its } => {
            format!("{}/{} {}", pod(of), own(name), image(its))
        }
        Called::Free { name, image: its } => format!("{} {}", own(name), image(its)),
    }
}

const ALL: [&str; 3] = ["app", "sandbox", "side"];
const CALLED: [&str; 3] = ["space/pod", "space/pod/app busybox:1", "space/pod/side side:2"];

#[tokio::test]
async fn both_versions_of_cri_name_one_and_many() {
    for version in ["v1", "v1alpha2"] {
        let mut world = World::new();
        let _runtime = world.start("cri.sock", Habit::Cri(version));
        for _ in 0..2 {
            let (names, reach) = world.ask(Api::Cri, &ALL).await;
            assert_eq!(names, CALLED, "{version}");
            assert_eq!(reach, (1, 0));
        }
        assert_eq!(world.ask(Api::Cri, &["app"]).await.0, CALLED[1..2]);
        assert_eq!(world.ask(Api::Cri, &["none"]).await, (Vec::new(), (1, 0)));
        let many = ["app", "sandbox", "side", "a", "b", "c"];
        assert_eq!(world.ask(Api::Cri, &many).await.0, CALLED, "all are listed at once");
    }
}

#[tokio::test]
async fn docker_names_what_no_pod_owns() {
    let mut world = World::new();
    let _runtime = world.start("docker.sock", Habit::Docker);
    let found = world.ask(Api::Docker, &["free", "none"]).await;
    assert_eq!(found, (vec!["web busybox:1".to_owned()], (1, 0)));
}

#[tokio::test]
async fn a_socket_may_be_missing_die_and_return() {
    let mut world = World::new();
    for (api, name, habit, id) in [
        (Api::Cri, "cri.sock", Habit::Cri("v1"), "app"),
        (Api::Docker, "docker.sock", Habit::Docker, "free"),
    ] {
        assert_eq!(world.ask(api, &[id]).await.1, (0, 0), "it is not there");
        for _ in 0..2 {
            let runtime = world.start(name, habit);
            assert_eq!(world.ask(api, &[id]).await.1, (1, 0));
            drop(runtime);
            tokio::task::yield_now().await;
            assert_eq!(world.ask(api, &[id]).await.1, (0, 1), "nobody listens");
        }
    }
}

#[tokio::test]
async fn a_runtime_of_another_version_may_return() {
    let mut world = World::new();
    for version in ["v1alpha2", "v1", "v1alpha2"] {
        let runtime = world.start("cri.sock", Habit::Cri(version));
        assert_eq!(world.ask(Api::Cri, &["app"]).await.1, (1, 0), "{version}");
        drop(runtime);
        tokio::task::yield_now().await;
        world.ask(Api::Cri, &["app"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_does_not_answer_is_left_alone_for_a_while() {
    for (api, name, habit) in [
        (Api::Docker, "docker.sock", Habit::Refuses),
        (Api::Docker, "docker.sock", Habit::Hangs),
        (Api::Cri, "cri.sock", Habit::Docker),
        (Api::Cri, "cri.sock", Habit::Hangs),
        (Api::Cri, "cri.sock", Habit::Cri("v9")),
    ] {
        let mut world = World::new();
        let runtime = world.start(name, habit);
        let began = Instant::now();
        assert_eq!(world.ask(api, &["app"]).await, (Vec::new(), (0, 1)), "{habit:?}");
        assert!(began.elapsed() <= ANSWER_WITHIN, "{habit:?}");
        let began = Instant::now();
        assert_eq!(world.ask(api, &["app"]).await, (Vec::new(), (0, 1)), "{habit:?}");
        assert_eq!(began.elapsed(), Duration::ZERO, "{habit:?}: it rests");
        drop(runtime);
        tokio::task::yield_now().await;
        let better = if api == Api::Cri { Habit::Cri("v1") } else { Habit::Docker };
        let _runtime = world.start(name, better);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(world.ask(api, &["app"]).await.1, (1, 0), "{habit:?}");
    }
}

#[tokio::test]
async fn whoever_is_named_by_one_is_not_asked_about_at_the_next() {
    let mut world = World::new();
    let [first, second] = ["a.sock", "b.sock"].map(|name| world.folder.path().join(name));
    world.asking.options.docker = Places::At(vec![first.clone(), second.clone()]);
    let _runtimes = [start(&first, Habit::Docker), start(&second, Habit::Docker)];
    assert_eq!(world.ask(Api::Docker, &["free"]).await.1, (1, 0));
    assert_eq!(world.ask(Api::Docker, &["free", "none"]).await.1, (2, 0));
}

#[tokio::test]
async fn questions_are_answered_until_nobody_asks() {
    let world = World::new();
    let _runtime = world.start("docker.sock", Habit::Docker);
    let (inquiry, inbox) = crate::inquiry::inquiry();
    let answering = tokio::spawn(run(inbox, world.asking.options.clone()));
    let asked = tokio::task::spawn_blocking(move || {
        let id = ContainerId::parse("free").unwrap();
        let asked: HashMap<bool, _> = [true, false]
            .map(|is_first| {
                let answer = inquiry.ask(&id, Api::Docker);
                inquiry.wait(Duration::from_secs(60));
                (is_first, answer)
            })
            .into();
        asked
    });
    let asked = asked.await.unwrap();
    assert_eq!(asked[&true], crate::names::questions::Answer::Wait);
    assert!(matches!(asked[&false], crate::names::questions::Answer::Called(_)));
    answering.abort();
}

/// What is told of layers by who runs.
async fn layers_of(world: &World) -> Layers {
    let (questions, inbox) = layer_questions();
    let answering = tokio::spawn(layers::run(inbox, world.asking.options.clone()));
    let ask = move || questions.ask(Duration::from_secs(60)).unwrap();
    let layers = tokio::task::spawn_blocking(ask).await.unwrap();
    answering.await.unwrap();
    layers
}

#[tokio::test]
async fn layers_are_told_by_cri_and_found_by_docker() {
    for version in ["v1", "v1alpha2"] {
        let world = World::new();
        assert_eq!(layers_of(&world).await, Layers::default(), "nobody is there");
        let _runtimes = [
            world.start("cri.sock", Habit::Cri(version)),
            world.start("docker.sock", Habit::Docker),
        ];
        let layer = Layer { used_bytes: 80, filesystem: "/images".into() };
        let paths =
            ContainerPaths { layer: Some("/o/diff".into()), log: Some("/l/free.log".into()) };
        let id = |text| ContainerId::parse(text).unwrap();
        let expected = Layers {
            measured: HashMap::from([(id("app"), Some(layer))]),
            unmeasured: HashMap::from([(id("free"), paths)]),
            has_cri: true,
            images_bytes: Some(900),
        };
        assert_eq!(layers_of(&world).await, expected, "{version}");
    }
}

#[tokio::test]
async fn a_runtime_that_refuses_to_tell_of_layers_hides_no_other() {
    let world = World::new();
    let _runtimes =
        [world.start("cri.sock", Habit::Refuses), world.start("docker.sock", Habit::Docker)];
    let Layers { has_cri: false, unmeasured, .. } = layers_of(&world).await else { panic!() };
    assert_eq!(unmeasured.len(), 1);
}

#[tokio::test]
async fn what_one_socket_tells_of_a_container_no_later_one_changes() {
    let mut world = World::new();
    let [first, second] = ["a.sock", "b.sock"].map(|name| world.folder.path().join(name));
    world.asking.options.docker = Places::At(vec![first.clone(), second.clone()]);
    let _runtimes = [start(&first, Habit::Docker), start(&second, Habit::Liar)];
    let layers = layers_of(&world).await;
    let [paths] = &layers.unmeasured.into_values().collect::<Vec<_>>()[..] else { panic!("one") };
    assert_eq!(paths.layer.as_deref(), Some("/o/diff"));
}
