//! A database of others on this host: started in a folder that goes with it, asked over loopback, and
//! ended by its process id.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

/// How long a server may take to begin, in tenths of a second.
const TENTHS: u32 = 300;

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    port: u16,
    /// Where its data lies.
    pub data: PathBuf,
}

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a server and waits until `ready` answers.
    pub fn start(
        command: &mut Command,
        port: u16,
        data: &Path,
        ready: &str,
    ) -> anyhow::Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        let server = Self { child, port, data: data.to_owned() };
        for _ in 0..TENTHS {
            if server.get(ready).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("{command:?} does not answer")
    }

    /// The body of an answer.
    pub fn get(&self, path: &str) -> anyhow::Result<String> {
        self.ask("GET", path, "")
    }

    /// Sends a body.
    pub fn post(&self, path: &str, body: &str) -> anyhow::Result<String> {
        self.ask("POST", path, body)
    }

    /// HTTP 1.0: the answer ends with the connection, so there is nothing to take apart.
    fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            bail!("{path}: {status} {body}");
        }
        Ok(body.to_owned())
    }

    /// CPU time so far.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        let stat = procfs::process::Process::new(i32::try_from(self.child.id())?)?.stat()?;
        Ok((stat.utime + stat.stime) * (1_000_000_000 / procfs::ticks_per_second()))
    }

    /// Waits until the data has had one size for a while; gives it.
    pub fn settled_bytes(&self, seconds: u32) -> anyhow::Result<u64> {
        let (mut bytes, mut same) = (bytes_in(&self.data)?, 0);
        // Ten minutes: merges of so little take less.
        for _ in 0..600 {
            thread::sleep(Duration::from_secs(1));
            let now = bytes_in(&self.data)?;
            same = if now == bytes { same + 1 } else { 0 };
            bytes = now;
            if seconds <= same {
                return Ok(bytes);
            }
        }
        bail!("{} never has one size", self.data.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its data goes with it.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Bytes of all files of a folder; those that go meanwhile are none.
pub fn bytes_in(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(0) };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes += bytes_in(&entry.path())?,
            // InfluxDB makes files of 4 MB with holes: what takes no room on disk is not counted.
            Ok(metadata) => bytes += metadata.len().min(metadata.blocks() * 512),
            Err(_) => {}
        }
    }
    Ok(bytes)
}
