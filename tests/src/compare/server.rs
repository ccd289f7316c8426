//! A server on this host: started for a folder of its own, asked over loopback, and ended by its
//! process id whatever becomes of the comparison.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{http::Http, stop::Stop};

/// How long a server may take to begin, in tenths of a second.
const BEGIN_TENTHS: u32 = 300;

/// How long merging may take, in seconds: merges of so little take a few.
const MERGE_S: u32 = 120;

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    http: Http,
    stop: Stop,
    folder: PathBuf,
}

/// A port that is free now.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts a server whose data lies in `folder`, and waits until the path `ready` answers.
    pub fn start(
        command: &mut Command,
        port: u16,
        folder: &Path,
        ready: &str,
        stop: &Stop,
    ) -> anyhow::Result<Self> {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.with_context(|| format!("cannot start {command:?}"))?;
        let (http, stop, folder) = (Http::new(port), stop.clone(), folder.to_owned());
        let mut server = Self { child, http, stop, folder };
        for _ in 0..BEGIN_TENTHS {
            server.stop.check()?;
            if let Some(status) = server.child.try_wait()? {
                bail!("{command:?} ended: {status}");
            }
            if server.get(ready).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(100));
        }
        bail!("{command:?} does not answer")
    }

    /// The body of an answer.
    pub fn get(&mut self, path: &str) -> anyhow::Result<String> {
        self.stop.check()?;
        self.http.ask("GET", path, "")
    }

    /// Sends a body.
    pub fn post(&mut self, path: &str, body: &str) -> anyhow::Result<String> {
        self.stop.check()?;
        self.http.ask("POST", path, body)
    }

    /// CPU time so far.
    pub fn cpu_ns(&self) -> anyhow::Result<u64> {
        let stat = procfs::process::Process::new(i32::try_from(self.child.id())?)?.stat()?;
        Ok((stat.utime + stat.stime) * (1_000_000_000 / procfs::ticks_per_second()))
    }

    /// Waits until what `counts` says belongs to the data has had one size for so many seconds;
    /// gives it.
    pub fn settled_bytes(&self, seconds: u32, counts: fn(&Path) -> bool) -> anyhow::Result<u64> {
        let (mut bytes, mut same) = (bytes_in(&self.folder, counts), 0);
        for _ in 0..MERGE_S {
            self.stop.check()?;
            thread::sleep(Duration::from_secs(1));
            let now = bytes_in(&self.folder, counts);
            same = if now == bytes { same + 1 } else { 0 };
            bytes = now;
            if seconds <= same {
                return Ok(bytes);
            }
        }
        bail!("{} never has one size", self.folder.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is needed any more, so it need not end well.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Bytes on disk of the files of a folder that count; those that go meanwhile are none.
fn bytes_in(folder: &Path, counts: fn(&Path) -> bool) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path(), counts),
        // InfluxDB makes files of 4 MB with holes: what takes no room on disk is not counted, nor
        // is the rest of the last block of a file.
        Ok(metadata) if counts(&entry.path()) => metadata.len().min(metadata.blocks() * 512),
        _ => 0,
    };
    entries.flatten().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_or_is_not_wanted_any_more_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let start = |program: &mut Command, stop: &Stop| {
            let port = free_port().unwrap();
            Server::start(program, port, folder.path(), "/", stop).expect_err("none").to_string()
        };
        assert!(start(&mut Command::new("true"), &Stop::default()).contains("ended"));
        let stop = Stop::default();
        stop.now();
        assert_eq!(start(Command::new("sleep").arg("60"), &stop), "interrupted");
    }

    #[test]
    fn holes_take_no_room_and_what_does_not_count_none_either() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| fs::File::create(folder.path().join(name)).unwrap();
        file("hole").set_len(1 << 20).unwrap();
        fs::write(folder.path().join("data"), "12345").unwrap();
        fs::write(folder.path().join("cache"), "12345").unwrap();
        assert_eq!(bytes_in(folder.path(), |path| !path.ends_with("cache")), 5);
    }
}
