//! `tally-inventory-size`: how much memory the objects of an API server take in an aggregator.
//! Prints one JSON object.
//!
//! It pretends to be an API server, over plain HTTP: its lists have as many pods as asked for, in
//! pages, each pod as large as real ones are. An aggregator that watches it is compared with itself
//! before the first page.

use std::{
    convert::Infallible,
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tally_tests::known_objects::aggregator::Aggregator;
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tokio_stream::pending;

/// How long the lists may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Measures the memory that an API server's objects take in an aggregator.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// The aggregator's program
    #[arg(long)]
    aggregator: PathBuf,
    /// Pods that the API server has
    #[arg(long, default_value_t = 150_000)]
    pods: u64,
    /// Nodes that they are on
    #[arg(long, default_value_t = 5_000)]
    nodes: u64,
    /// Containers of each pod
    #[arg(long, default_value_t = 2)]
    containers: u64,
    /// Pods of one Deployment, which have their labels in common
    #[arg(long, default_value_t = 20)]
    replicas: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let (listener, open) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, Arc::default());
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, arguments.clone(), Arc::clone(&open)));
    let folder = std::env::temp_dir().join(format!("tally-inventory-size-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure(&arguments, address, &folder, &open).await;
    fs::remove_dir_all(&folder)?;
    writeln!(io::stdout(), "{}", measured?)?;
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    address: SocketAddr,
    folder: &Path,
    open: &AtomicBool,
) -> anyhow::Result<Value> {
    let kubeconfig = folder.join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    });
    fs::write(&kubeconfig, config.to_string())?;
    let mut aggregator = Aggregator::new(&arguments.aggregator, folder, &kubeconfig)?;
    aggregator.start().await?;
    let process = aggregator.process()?;
    // The runtime, the two servers and history are up by then.
    sleep(Duration::from_secs(6)).await;
    let before = resident(process, "VmRSS")?;
    open.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let pods = "tally_kubernetes_lists_total{kind=\"pod\"}";
    while aggregator.own(pods).await? != Some(1.0) {
        ensure!(began.elapsed() < PATIENCE, "the list is not complete within {PATIENCE:?}");
        sleep(Duration::from_millis(200)).await;
    }
    let took = began.elapsed();
    // What the lists took for a moment goes back to the system after some seconds.
    sleep(Duration::from_secs(15)).await;
    let (after, most) = (resident(process, "VmRSS")?, resident(process, "VmHWM")?);
    aggregator.kill().await?;
    let grown = after.saturating_sub(before);
    Ok(json!({
        "pods": arguments.pods,
        "nodes": arguments.nodes,
        "containers": arguments.containers,
        "object_bytes": pod(arguments, 0).to_string().len(),
        "seconds": took.as_secs(),
        "resident_before": before,
        "resident_after": after,
        "resident_most": most,
        "resident_grown": grown,
        "bytes_a_pod": grown / arguments.pods.max(1),
    }))
}

/// A figure of the process's memory, in bytes.
fn resident(process: u32, figure: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
    let kilobytes = line.and_then(|rest| rest.split_whitespace().next()).context("no figure")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}

type Answer = BoxBody<Bytes, Infallible>;

/// Answers like an API server, once it is open.
async fn serve(listener: TcpListener, arguments: Arguments, open: Arc<AtomicBool>) {
    while let Ok((connection, _)) = listener.accept().await {
        let (arguments, open) = (arguments.clone(), Arc::clone(&open));
        tokio::spawn(async move {
            let answer = service_fn(move |request: Request<Incoming>| {
                let answer = answer(&request, &arguments, &open);
                async move { Ok::<_, Infallible>(answer) }
            });
            // A client that goes away is the end of its connection and no more.
            http1::Builder::new().serve_connection(TokioIo::new(connection), answer).await.ok();
        });
    }
}

fn answer(request: &Request<Incoming>, asked: &Arguments, open: &AtomicBool) -> Response<Answer> {
    if !open.load(Ordering::Relaxed) {
        let mut closed = Response::new(Full::new(Bytes::new()).boxed());
        *closed.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        return closed;
    }
    let query = request.uri().query().unwrap_or_default();
    let parameter =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    if parameter("watch").is_some() {
        // Nothing changes any more.
        return Response::new(StreamBody::new(pending()).boxed());
    }
    let number = |name: &str| parameter(name).and_then(|text| text.parse::<u64>().ok());
    let (first, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(u64::MAX));
    let (all, object): (u64, fn(&Arguments, u64) -> Value) = match request.uri().path() {
        "/api/v1/pods" => (asked.pods, pod),
        "/api/v1/nodes" => (asked.nodes, node),
        _ => (0, node),
    };
    let end = first.saturating_add(limit).min(all);
    let items: Vec<Value> = (first..end).map(|number| object(asked, number)).collect();
    let more = if end < all { end.to_string() } else { String::new() };
    let list = json!({"metadata": {"resourceVersion": "1", "continue": more}, "items": items});
    Response::new(Full::new(Bytes::from(list.to_string())).boxed())
}

fn node(_: &Arguments, number: u64) -> Value {
    let amounts = json!({"cpu": "32", "memory": "131072Mi", "ephemeral-storage": "200Gi"});
    json!({
        "metadata": {"name": node_name(number), "labels": {
            "kubernetes.io/hostname": node_name(number),
            "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
        }},
        "status": {"capacity": amounts, "allocatable": amounts,
            "addresses": [{"type": "Hostname", "address": node_name(number)}]},
    })
}

fn node_name(number: u64) -> String {
    format!("worker-{number:05}.cluster.example")
}

/// A pod of some 5 KiB, as a Deployment's are.
fn pod(asked: &Arguments, number: u64) -> Value {
    let deployment = number / asked.replicas.max(1);
    let hash = format!("{:010x}", deployment.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24);
    let set = format!("service-{deployment}-{hash}");
    let uid = |part: u64| format!("{part:08x}-0000-4000-8000-{number:012x}");
    let names = (0..asked.containers).map(|place| (place, format!("container-{place}")));
    let containers: Vec<Value> =
        names.clone().map(|(place, name)| container(place, &name)).collect();
    let statuses = names.map(|(place, name)| {
        let id = format!("containerd://{:032x}{:032x}", number + 1, place + 1);
        json!({"name": name, "restartCount": number % 3, "containerID": id, "ready": true,
            "image": "registry.example/team/service:1.2.3", "started": true,
            "state": {"running": {"startedAt": "2026-11-23T08:45:20Z"}}})
    });
    let fields = json!({"f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {},
        "f:app.kubernetes.io/instance": {}, "f:pod-template-hash": {}}},
        "f:spec": {"f:containers": {"k:{\"name\":\"container-0\"}": {".": {}, "f:image": {},
        "f:imagePullPolicy": {}, "f:resources": {".": {}, "f:limits": {}, "f:requests": {}}}}}});
    let manager = |name: &str| {
        json!({"manager": name, "operation": "Update", "apiVersion": "v1",
            "time": "2026-11-23T08:45:20Z", "fieldsType": "FieldsV1", "fieldsV1": fields})
    };
    json!({
        "metadata": {
            "name": format!("{set}-{:05x}", number % asked.replicas.max(1)),
            "generateName": format!("{set}-"),
            "namespace": format!("team-{}", deployment % 200),
            "uid": uid(1),
            "resourceVersion": "1",
            "creationTimestamp": "2026-11-23T08:45:20Z",
            "labels": {
                "app.kubernetes.io/name": format!("service-{deployment}"),
                "app.kubernetes.io/instance": format!("service-{deployment}"),
                "app.kubernetes.io/managed-by": "Helm",
                "pod-template-hash": hash,
            },
            "annotations": {"checksum/config": "0123456789abcdef".repeat(4)},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": set,
                "uid": uid(2), "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [manager("kube-controller-manager"), manager("kubelet")],
        },
        "spec": {"nodeName": node_name(number % asked.nodes.max(1)), "containers": containers,
            "restartPolicy": "Always", "serviceAccountName": "default", "priority": 0},
        "status": {"phase": "Running", "podIP": "10.1.2.3", "qosClass": "Burstable",
            "containerStatuses": statuses.collect::<Vec<_>>()},
    })
}

fn container(place: u64, name: &str) -> Value {
    let environment = (0..8).map(|number| {
        json!({"name": format!("VARIABLE_{number}"), "value": "https://service.example/path"})
    });
    json!({
        "name": name,
        "image": format!("registry.example/team/{name}:1.2.{place}"),
        "env": environment.collect::<Vec<_>>(),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets", "readOnly": true}],
        "terminationMessagePath": "/dev/termination-log",
    })
}
