//! Objects of the API server, and commands in pods, by kubectl.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The node of tests/setup/kube-node-up.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The folder of its scripts.
    pub setup: PathBuf,
}

impl Cluster {
    /// What kubectl prints; it is found by PATH, and its server by KUBECONFIG.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("kubectl");
        command.args(arguments);
        run(command, None)
    }

    /// An object, or a list of them.
    pub fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let printed = self.kubectl(&[&["get", "-o", "json"], arguments].concat())?;
        Ok(serde_json::from_str(&printed)?)
    }

    /// Makes an object.
    pub fn create(&self, object: &Value) -> anyhow::Result<()> {
        let mut command = Command::new("kubectl");
        command.args(["create", "-f", "-"]);
        run(command, Some(object)).map(drop)
    }

    /// A text of an object.
    pub fn text(&self, object: &[&str], pointer: &str) -> anyhow::Result<String> {
        let found = self.get(object)?;
        let text = found.pointer(pointer).and_then(Value::as_str);
        Ok(text.with_context(|| format!("{object:?} has no {pointer}"))?.to_owned())
    }

    /// Starts parts of the node.
    pub fn up(&self, parts: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.setup.join("kube-node-up"));
        command.args(parts);
        run(command, None).map(drop)
    }

    /// Kills parts of the node.
    pub fn down(&self, parts: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(self.setup.join("kube-node-down"));
        command.args(parts);
        run(command, None).map(drop)
    }
}

/// What a command prints.
pub fn run(mut command: Command, input: Option<&Value>) -> anyhow::Result<String> {
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
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {printed}{errors}");
    Ok(printed)
}
