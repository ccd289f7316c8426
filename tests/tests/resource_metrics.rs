//! The resource metrics API of a whole aggregator, its protobuf read by Google's own library, which
//! `tests/setup/install-readers` installs.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tally_aggregator::{
    app::{self, Running},
    clock::{Clock, Now},
    inventory::LabelForm,
    settings::{ApiServer, Settings},
};
use tally_proto::tick::{Resolution, Tick, UnixMs};
use tally_tests::{
    golden::{
        http::{self, Answer},
        recording::Request,
        sender::Sender,
        summary::{Column, Number, PodRef, Reading, What},
    },
    readers::python,
    skip::skip,
};

const NOW: UnixMs = UnixMs(1_795_423_532_000);
const TICKS: [Tick; 2] = [Tick(1_795_423_515), Tick(1_795_423_530)];

/// What the API server says of the node and of one of the pods.
const INVENTORY: [&str; 2] = [
    r#"{"kind": "NodeList", "items": [{"metadata": {"name": "node-1", "uid": "n", "labels": {"zone": "a"}}}]}"#,
    r#"{"kind": "PodList", "items": [{"metadata": {"namespace": "shop", "name": "web-0", "uid": "uid-0",
        "labels": {"app": "web", "example.com/tier": "front", "empty": ""}}}]}"#,
];

async fn started(folder: &Path) -> Running {
    let inventory = (0..).zip(INVENTORY).map(|(number, list): (u8, _)| {
        let path = folder.join(format!("list-{number}.json"));
        fs::write(&path, list).unwrap();
        path
    });
    let settings = Settings {
        rest_listen: ([127, 0, 0, 1], 0).into(),
        grpc_listen: ([127, 0, 0, 1], 0).into(),
        resolution: Resolution::DEFAULT,
        model_window: Duration::from_secs(900),
        history: None,
        inventory: inventory.collect(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 10,
        max_entities_per_node: 10_000,
        max_clock_skew: Duration::from_secs(60),
        secure: None,
    };
    let clock = Clock::new(|| Now { unix: NOW, elapsed: Duration::ZERO });
    app::start(settings, clock).await.unwrap()
}

fn reading(what: What, cpu: u64, memory: u64) -> Reading {
    let column = |metric: &str| Column {
        metric: metric.to_owned(),
        labels: Vec::new(),
        floating: false,
        cumulative: false,
    };
    let values = [("cpu/usage", cpu), ("memory/working_set", memory)];
    let values = values.map(|(metric, value)| (column(metric), Number::Integer(value)));
    Reading { what, start: None, read_at: None, values: BTreeMap::from(values) }
}

/// A node with so many pods, each with two containers, at two ticks.
async fn deliver(server: &Running, pods: u64) -> Sender {
    let mut sender =
        Sender::connect(server.grpc_addr, "node-1", Resolution::DEFAULT).await.unwrap();
    for (at, tick) in (7..).zip(TICKS) {
        let mut readings = vec![reading(What::Node, at * 7_500_000_000, 1 << 30)];
        for pod in 0..pods {
            let of = PodRef {
                name: format!("web-{pod}"),
                namespace: "shop".to_owned(),
                uid: format!("uid-{pod}"),
            };
            let container = |name: &str, memory| {
                let what = What::PodContainer(of.clone(), name.to_owned());
                reading(what, at * (pod + 1) * 1_234_567, memory)
            };
            let containers = [container("app", (pod + 1) << 12), container("side", 1000 + pod)];
            readings.push(reading(What::Pod(of.clone()), 0, 1));
            readings.extend(containers);
        }
        let scraped = Timestamp::from_millisecond(tick.unix_ms().0).unwrap();
        sender.send(tick, scraped, &readings).await.unwrap();
    }
    sender
}

async fn ask(server: &Running, target: &str, accept: &str) -> Answer {
    let headers = BTreeMap::from([("accept".to_owned(), accept.to_owned())]);
    let request = Request { method: "GET".to_owned(), target: target.to_owned(), headers };
    http::ask(server.rest_addr, &request).await.unwrap()
}

#[tokio::test]
async fn a_frame_becomes_usage() {
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let _sender = deliver(&server, 1).await;
    let path =
        "/apis/metrics.k8s.io/v1/namespaces/shop/pods?labelSelector=example.com/tier+in+(front)";
    let answer = ask(&server, path, "application/json").await;
    let pod = &serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap()["items"][0];
    let labels = json!({"app": "web", "example.com/tier": "front", "empty": ""});
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!(
        (&pod["timestamp"], &pod["window"]),
        (&json!("2026-11-23T08:45:30Z"), &json!("15s"))
    );
    let containers = json!([
        {"name": "app", "usage": {"cpu": "82304n", "memory": "4Ki"}},
        {"name": "side", "usage": {"cpu": "82304n", "memory": "1k"}},
    ]);
    assert_eq!(pod["containers"], containers);
    server.stop().await;
}

#[tokio::test]
async fn others_read_the_protobuf_and_find_what_json_says() {
    let Some(python) = python("google.protobuf") else {
        skip("no reader of protobuf: run tests/setup/install-readers first");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let server = started(folder.path()).await;
    let _sender = deliver(&server, 1200).await;
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/usage");
    for (path, count) in [
        ("v1/nodes", 1),
        ("v1beta1/pods", 1200),
        ("v1/namespaces/none/pods", 0),
        ("v1beta1/namespaces/shop/pods/web-0", 1),
        ("v1/nodes/none", 0),
    ] {
        let target = format!("/apis/metrics.k8s.io/{path}");
        let forms = ["application/json", "application/vnd.kubernetes.protobuf"];
        let mut files = Vec::new();
        for form in forms {
            let answer = ask(&server, &target, form).await;
            assert_eq!(answer.header("content-type"), Some(form), "{path}");
            let file = folder.path().join(form.replace('/', "."));
            fs::write(&file, answer.body).unwrap();
            files.push(file);
        }
        let checked = Command::new(&python).arg(&check).args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        let wrong = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{path}: {said}{wrong}");
        assert!(said.starts_with(&format!("{count} objects")), "{path}: {said}");
    }
    server.stop().await;
}
