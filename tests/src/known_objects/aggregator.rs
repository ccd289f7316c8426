//! The aggregator's process, and what it answers.

use std::{
    fs::OpenOptions,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::swarm::http::HttpClient;

/// How long a start may take, with the API server away.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is asked for what is to become right.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// An aggregator.
#[derive(Debug)]
pub struct Aggregator {
    program: PathBuf,
    folder: PathBuf,
    kubeconfig: PathBuf,
    grpc: SocketAddr,
    rest: SocketAddr,
    child: Option<Child>,
}

impl Aggregator {
    /// One that does not run yet; its history and its log are in `folder`.
    pub fn new(program: &Path, folder: &Path, kubeconfig: &Path) -> anyhow::Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        // Both at once, so that they differ.
        let (grpc, rest) = (free()?, free()?);
        let (grpc, rest) = (grpc.local_addr()?, rest.local_addr()?);
        Ok(Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            kubeconfig: kubeconfig.to_owned(),
            grpc,
            rest,
            child: None,
        })
    }

    /// Where agents connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Starts it; ready when it answers.
    pub async fn start(&mut self) -> anyhow::Result<()> {
        let log = self.folder.join("aggregator.log");
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(&self.program)
            .arg(format!("--grpc-listen={}", self.grpc))
            .arg(format!("--rest-listen={}", self.rest))
            .arg("--history-dir")
            .arg(self.folder.join("history"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(["--resolution=1s", "--model-window=5m"])
            .args(["--label-separator=;", "--ignore-label=pod-template-hash"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let child = self.child.insert(child);
        let until = Instant::now() + PATIENCE;
        while let Err(error) = get(self.rest, "/livez").await {
            if let Some(status) = child.try_wait()? {
                return Err(error.context(format!("it ended: {status}")));
            }
            ensure!(Instant::now() < until, "it does not answer within {PATIENCE:?}");
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Ends it on the spot.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Its process.
    pub fn process(&self) -> anyhow::Result<u32> {
        self.child.as_ref().and_then(Child::id).context("it does not run")
    }

    /// Lets it stand still, or go on.
    pub fn stand_still(&self, still: bool) -> anyhow::Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.process()?)?).context("no pid")?;
        Ok(kill_process(pid, if still { Signal::STOP } else { Signal::CONT })?)
    }

    /// An answer in JSON.
    pub async fn json(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&get(self.rest, path).await?)?)
    }

    /// An answer in text.
    pub async fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8(get(self.rest, path).await?)?)
    }

    /// The newest value of a series below `/api/v1/model/`.
    pub async fn newest(&self, object: &str, metric: &str) -> anyhow::Result<Option<u64>> {
        let series = self.json(&format!("/api/v1/model/{object}/metrics/{metric}")).await?;
        let last = series.pointer("/metrics").and_then(Value::as_array).and_then(|all| all.last());
        Ok(last.and_then(|point| point.get("value")).and_then(Value::as_u64))
    }

    /// One of its own metrics.
    pub async fn own(&self, metric: &str) -> anyhow::Result<Option<f64>> {
        let text = self.text("/metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        Ok(value.and_then(|value| value.parse().ok()))
    }
}

async fn get(rest: SocketAddr, path: &str) -> anyhow::Result<Vec<u8>> {
    let mut client = HttpClient::connect(&format!("http://{rest}")).await?;
    let answer = client.get(path).await?;
    ensure!(answer.status == 200, "{path}: {}", answer.status);
    Ok(answer.body)
}
