//! The aggregator's process, and what is done to it and to its disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::swarm::{
    http::{Answer, HttpClient, HttpError},
    random::Random,
};

/// How long a start, or the making of columns, may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// An aggregator, in whatever process it is at present.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    /// Where its history is.
    pub directory: PathBuf,
    log: PathBuf,
    window: String,
    grpc: SocketAddr,
    rest: SocketAddr,
    child: Option<Child>,
}

impl Server {
    /// One that does not run yet.
    pub fn new(
        program: &Path,
        directory: PathBuf,
        log: PathBuf,
        window: &str,
    ) -> anyhow::Result<Self> {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        // Both at once, so that they differ.
        let (grpc, rest) = (free()?, free()?);
        let (grpc, rest) = (grpc.local_addr()?, rest.local_addr()?);
        Ok(Self {
            program: program.to_owned(),
            directory,
            log,
            window: window.to_owned(),
            grpc,
            rest,
            child: None,
        })
    }

    /// Where agents connect.
    pub fn grpc_url(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// Starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .arg(format!("--grpc-listen={}", self.grpc))
            .arg(format!("--rest-listen={}", self.rest))
            .arg("--history-dir")
            .arg(&self.directory)
            .args(["--resolution=1s", "--log=info"])
            .arg(format!("--model-window={}", self.window))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// How it ended, if it did so by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.as_mut().context("it was not started")?.try_wait()?)
    }

    /// Ends it on the spot: SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Waits until all that was written before this process began is columns of history.
    pub async fn sealed(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(answer) = self.ask("/metrics").await {
                let text = String::from_utf8_lossy(&answer.body);
                let has_counted = text.contains("tally_history_files{tier=\"journal\"}");
                if has_counted
                    && text.lines().any(|line| line == "tally_history_segments_waiting 0")
                {
                    return Ok(());
                }
            }
            anyhow::ensure!(Instant::now() < until, "history is not made within {PATIENCE:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// A connection for questions.
    pub async fn client(&self) -> Result<HttpClient, HttpError> {
        HttpClient::connect(&format!("http://{}", self.rest)).await
    }

    async fn ask(&self, path: &str) -> Result<Answer, HttpError> {
        self.client().await?.get(path).await
    }

    /// Adds what a write that was torn may leave behind the end of the newest journal file: other
    /// bytes, zeros, or the beginning of something whole. Only while no process runs.
    pub fn tear(&self, random: &mut Random) -> anyhow::Result<()> {
        let names = fs::read_dir(&self.directory)?.filter_map(|entry| Some(entry.ok()?.path()));
        let is_open = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("journal-") && !name.contains("kept")
        };
        let Some(newest) = names.filter(is_open).max() else { return Ok(()) };
        let length = random.place(400);
        let torn = match random.below(3) {
            0 => vec![0; length],
            1 => (0..length).map(|_| random.bits().to_le_bytes()[0]).collect(),
            _ => {
                let mut begun = Vec::new();
                // A record with its head, but for its last bytes.
                File::open(&newest)?.take(12 + 30).read_to_end(&mut begun)?;
                begun.into_iter().skip(12).collect()
            }
        };
        OpenOptions::new().append(true).open(&newest)?.write_all(&torn)?;
        Ok(())
    }
}

/// A small file system in memory. It is gone with this value.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it; `Err` says why it can't be had.
    pub fn mount(at: &Path, megabytes: u32) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tally-faults"])
            .arg(at)
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if mounted.status.success() {
            Ok(Self(at.to_owned()))
        } else {
            Err(String::from_utf8_lossy(&mounted.stderr).trim().to_owned())
        }
    }

    /// Takes all its room.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut ballast = File::create(self.0.join("ballast"))?;
        let mut size = 1 << 20;
        while 0 < size {
            if ballast.write_all(&vec![1; size]).is_err() {
                size /= 2;
            }
        }
        Ok(())
    }

    /// Gives it back.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the directory is gone at once, and its files with the last that has them open.
        std::process::Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
