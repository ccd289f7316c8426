//! The process under test: started and ended here, or one that runs already; its CPU and memory.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use procfs::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{cadence::ROUND, shape::Shape};

/// An aggregator that can't be started or looked at.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// No free port.
    #[error("cannot find a free port")]
    Port(#[source] std::io::Error),
    /// It does not start.
    #[error("cannot start {0}")]
    Start(String, #[source] std::io::Error),
    /// It ended, or is somebody else's.
    #[error("cannot read what process {0} uses")]
    Usage(i32, #[source] procfs::ProcError),
    /// It does not end.
    #[error("cannot end process {0}")]
    Stop(i32, #[source] std::io::Error),
}

/// An aggregator that was started here.
#[derive(Debug)]
pub struct Spawned {
    /// Where agents connect.
    pub grpc_url: String,
    /// Where questions go.
    pub rest_url: String,
    /// Its process.
    pub pid: u32,
    child: Child,
}

impl Spawned {
    /// Starts a program on free loopback ports. Its log goes to standard error.
    pub fn start(
        program: &Path,
        shape: &Shape,
        window: &str,
        history: Option<&Path>,
    ) -> Result<Self, AggregatorError> {
        let [grpc, rest] = [free_address()?, free_address()?];
        let named = |source| AggregatorError::Start(program.display().to_string(), source);
        let child = Command::new(program)
            .arg(format!("--grpc-listen={grpc}"))
            .arg(format!("--rest-listen={rest}"))
            .arg(format!("--resolution={}s", shape.resolution_s))
            .arg(format!("--model-window={window}"))
            .arg(format!("--max-streams={}", shape.nodes + 10))
            .args(match history {
                Some(directory) => ["--history-dir".into(), directory.to_owned()].to_vec(),
                None => vec![PathBuf::from("--no-history")],
            })
            .arg("--log=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(named)?;
        let pid = child.id().unwrap_or(0);
        Ok(Self {
            grpc_url: format!("http://{grpc}"),
            rest_url: format!("http://{rest}"),
            pid,
            child,
        })
    }

    /// Asks it to end, and waits for that.
    pub async fn stop(mut self) -> Result<(), AggregatorError> {
        let pid = i32::try_from(self.pid).unwrap_or(0);
        let failed = |source| AggregatorError::Stop(pid, source);
        if let Some(process) = Pid::from_raw(pid) {
            kill_process(process, Signal::TERM).map_err(|errno| failed(errno.into()))?;
        }
        self.child.wait().await.map_err(failed)?;
        Ok(())
    }
}

/// A port that was free a moment ago: the aggregator takes the number, not the socket.
fn free_address() -> Result<SocketAddr, AggregatorError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(AggregatorError::Port)
}

/// The window that sending flat out needs, as the flag has it.
pub fn flat_out_window(resolution_s: u32) -> String {
    let ticks = u64::try_from(ROUND * 2).unwrap_or(u64::MAX);
    format!("{}s", u64::from(resolution_s) * ticks)
}

/// What a process has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of CPU time outside the kernel.
    pub user_s: f64,
    /// Seconds of CPU time in the kernel.
    pub system_s: f64,
    /// Times that a thread waited for something.
    pub voluntary_switches: u64,
    /// Times that a thread had to give way to another.
    pub involuntary_switches: u64,
    /// Bytes of memory now.
    pub resident_bytes: u64,
    /// Of these, pages of files: the program's own, which the kernel shares and takes back as it likes.
    pub file_bytes: u64,
    /// The most bytes of memory so far.
    pub peak_bytes: u64,
}

impl Usage {
    /// Of a process, from `/proc/PID/stat`, `/proc/PID/status` and the status of its threads.
    #[expect(clippy::as_conversions, reason = "a figure for people")]
    pub fn of(pid: u32) -> Result<Self, AggregatorError> {
        let pid = i32::try_from(pid).unwrap_or(0);
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let read = || {
            let process = Process::new(pid)?;
            let (stat, status) = (process.stat()?, process.status()?);
            let mut usage = Self {
                user_s: seconds(stat.utime),
                system_s: seconds(stat.stime),
                resident_bytes: status.vmrss.unwrap_or(0) * 1024,
                file_bytes: status.rssfile.unwrap_or(0) * 1024,
                peak_bytes: status.vmhwm.unwrap_or(0) * 1024,
                ..Self::default()
            };
            for thread in process.tasks()? {
                // A thread may end between the listing and the reading.
                let Ok(status) = thread.and_then(|thread| thread.status()) else { continue };
                usage.voluntary_switches += status.voluntary_ctxt_switches.unwrap_or(0);
                usage.involuntary_switches += status.nonvoluntary_ctxt_switches.unwrap_or(0);
            }
            Ok(usage)
        };
        read().map_err(|source| AggregatorError::Usage(pid, source))
    }

    /// Seconds of CPU time.
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }
}
