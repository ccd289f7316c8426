//! The API server of tests/setup/kube-api-up.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// An API server, by the scripts that start and end it.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// The folder of the scripts.
    pub setup: PathBuf,
    /// The command that talks to it.
    pub kubectl: PathBuf,
    /// How it is reached.
    pub kubeconfig: PathBuf,
}

/// A pod as a test wants it.
#[derive(Clone, Debug)]
pub struct PodWanted {
    /// Its name.
    pub name: &'static str,
    /// Its node.
    pub node: &'static str,
    /// What controls it: kind and name.
    pub owner: (&'static str, &'static str),
    /// Its labels.
    pub labels: Value,
    /// Its containers: name and resources.
    pub containers: Vec<(&'static str, Value)>,
}

/// The namespace of all pods of a test.
pub const NAMESPACE: &str = "shop";

impl ApiServer {
    /// Starts it, or finds it started.
    pub fn up(&self) -> anyhow::Result<()> {
        run(Command::new(self.setup.join("kube-api-up")), None).map(drop)
    }

    /// Kills it; its objects stay.
    pub fn down(&self) -> anyhow::Result<()> {
        let mut command = Command::new(self.setup.join("kube-api-down"));
        command.arg("--api-server");
        run(command, None).map(drop)
    }

    /// Makes an object; its uid.
    pub fn create(&self, object: &Value) -> anyhow::Result<String> {
        let made = self.kubectl(&["create", "-f", "-", "-o", "json"], Some(object))?;
        let made: Value = serde_json::from_slice(&made)?;
        Ok(made.pointer("/metadata/uid").and_then(Value::as_str).context("no uid")?.to_owned())
    }

    /// Makes a pod; its uid.
    pub fn create_pod(&self, pod: &PodWanted) -> anyhow::Result<String> {
        let containers = pod.containers.iter().map(|(name, resources)| {
            json!({"name": name, "image": format!("{name}:1"), "resources": resources})
        });
        let (kind, owner) = pod.owner;
        self.create(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": pod.name,
                "namespace": NAMESPACE,
                "labels": pod.labels,
                "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": "0", "controller": true},
                ],
            },
            "spec": {"nodeName": pod.node, "containers": containers.collect::<Vec<_>>()},
        }))
    }

    /// Says of a pod's containers which runtime's id they have, and how often they were restarted.
    pub fn report(&self, pod: &PodWanted, uid: &str, restarts: u32) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{}", pod.name);
        let found = self.kubectl(&["get", "--raw", &path], None)?;
        let mut object: Value = serde_json::from_slice(&found)?;
        let statuses = pod.containers.iter().map(|(name, _)| {
            json!({
                "name": name, "ready": true, "restartCount": restarts, "image": "", "imageID": "",
                "containerID": format!("containerd://{}", container_id(uid, name)),
            })
        });
        let statuses: Vec<Value> = statuses.collect();
        if let Some(object) = object.as_object_mut() {
            object.insert("status".to_owned(), json!({"containerStatuses": statuses}));
        }
        let status = format!("{path}/status");
        self.kubectl(&["replace", "--raw", &status, "-f", "-"], Some(&object)).map(drop)
    }

    /// Deletes a pod on the spot: there is no kubelet that would end it first.
    pub fn delete_pod(&self, name: &str) -> anyhow::Result<()> {
        let namespace = format!("--namespace={NAMESPACE}");
        let now = ["--grace-period=0", "--force", "--wait=false"];
        self.kubectl(&[&["delete", "pod", name, &namespace][..], &now].concat(), None).map(drop)
    }

    fn kubectl(&self, arguments: &[&str], input: Option<&Value>) -> anyhow::Result<Vec<u8>> {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        run(command, input)
    }
}

/// The runtime's id of a container: 64 digits.
pub fn container_id(uid: &str, name: &str) -> String {
    let digits = uid.bytes().chain(name.bytes()).map(|byte| format!("{byte:02x}"));
    let mut id: String = digits.rev().collect();
    id.truncate(64);
    format!("{id:0>64}")
}

fn run(mut command: Command, input: Option<&Value>) -> anyhow::Result<Vec<u8>> {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| what.clone())?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        stdin.write_all(input.to_string().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{what}: {errors}");
    Ok(output.stdout)
}
