//! How full a filesystem is, asked so that one that is silent holds up nobody.
//!
//! `statfs` of a volume whose server is dead never returns. Each is asked by a thread beside; one that
//! does not answer in time is left behind with its question, and a new one takes over. What hangs is not
//! asked again until its thread is back.

use std::{
    io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    time::Duration,
};

use rustix::fs::{StatVfs, major, minor, stat, statvfs};

use crate::{
    disk_usage::{Room, Space},
    parse::device::DeviceNumber,
};

/// How long one may take: disks answer at once, servers within a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Threads that are left behind: each is a stack, and a server that is dead has many volumes.
const HANGING_MAX: usize = 8;

/// Starts a thread.
pub type Spawn = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// A filesystem that tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoAnswer {
    /// It is not there, or something else is.
    Gone,
    /// It did not answer in time, or did not the last time; or too many others do not.
    Hangs,
}

#[derive(Debug)]
struct Question {
    path: String,
    /// Of the filesystem that must be there; where it is known.
    device: Option<DeviceNumber>,
}

#[derive(Debug)]
struct Worker {
    questions: SyncSender<Question>,
    answers: Receiver<Option<Space>>,
}

#[derive(Debug)]
struct Hanging {
    path: String,
    answers: Receiver<Option<Space>>,
}

/// Asks filesystems.
#[derive(Debug)]
pub(super) struct Asker {
    spawn: Spawn,
    ask: fn(&str, Option<DeviceNumber>) -> Option<Space>,
    within: Duration,
    worker: Option<Worker>,
    hanging: Vec<Hanging>,
}

impl Asker {
    pub(super) fn new(spawn: Spawn) -> Self {
        Self { spawn, ask: space, within: ANSWER_WITHIN, worker: None, hanging: Vec::new() }
    }

    /// Of the filesystem that is mounted at `path`.
    pub(super) fn ask(
        &mut self,
        path: &str,
        device: Option<DeviceNumber>,
    ) -> Result<Space, NoAnswer> {
        // Whoever is back has either answered or gone.
        self.hanging.retain(|hanging| hanging.answers.try_recv() == Err(TryRecvError::Empty));
        let is_known = self.hanging.iter().any(|hanging| hanging.path == path);
        if is_known || HANGING_MAX <= self.hanging.len() {
            return Err(NoAnswer::Hangs);
        }
        let Some(worker) = self.worker.take().or_else(|| self.start()) else {
            return Err(NoAnswer::Hangs);
        };
        let question = Question { path: path.to_owned(), device };
        if worker.questions.send(question).is_err() {
            return Err(NoAnswer::Gone);
        }
        match worker.answers.recv_timeout(self.within) {
            Ok(space) => {
                self.worker = Some(worker);
                space.ok_or(NoAnswer::Gone)
            }
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Gone),
            Err(RecvTimeoutError::Timeout) => {
                // Without questions its thread ends once it is back.
                let Worker { answers, .. } = worker;
                self.hanging.push(Hanging { path: path.to_owned(), answers });
                Err(NoAnswer::Hangs)
            }
        }
    }

    fn start(&self) -> Option<Worker> {
        let (questions, to_answer) = sync_channel::<Question>(1);
        let (answer, answers) = sync_channel(1);
        let ask = self.ask;
        let work = move || {
            while let Ok(Question { path, device }) = to_answer.recv() {
                if answer.send(ask(&path, device)).is_err() {
                    return;
                }
            }
        };
        (self.spawn)(Box::new(work)).ok()?;
        Some(Worker { questions, answers })
    }
}

/// How full the filesystem at a path is; `None` when it is not there, or another is.
fn space(path: &str, device: Option<DeviceNumber>) -> Option<Space> {
    if let Some(device) = device {
        let found = stat(path).ok()?.st_dev;
        let found = DeviceNumber { major: major(found), minor: minor(found) };
        if found != device {
            return None;
        }
    }
    let StatVfs { f_frsize, f_blocks, f_bfree, .. } = statvfs(path).ok()?;
    let used_bytes = f_blocks.saturating_sub(f_bfree).saturating_mul(f_frsize);
    Some(Space { used_bytes: Some(used_bytes), room: room(path) })
}

/// How large the filesystem is in which something lies.
pub(super) fn room(path: &str) -> Option<Room> {
    let StatVfs { f_frsize, f_blocks, f_bavail, f_files, f_ffree, .. } = statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(f_frsize);
    Some(Room {
        limit_bytes: bytes(f_blocks),
        available_bytes: bytes(f_bavail),
        inodes: f_files,
        inodes_free: f_ffree,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Mutex, PoisonError},
        thread,
    };

    use super::*;

    /// Held by the test while paths that begin with `/hung` do not answer.
    static SERVER: Mutex<()> = Mutex::new(());

    fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        thread::Builder::new().spawn(work).map(drop)
    }

    fn served(path: &str, device: Option<DeviceNumber>) -> Option<Space> {
        if path.starts_with("/hung") {
            drop(SERVER.lock().unwrap_or_else(PoisonError::into_inner));
        }
        (path != "/gone")
            .then_some(Space { used_bytes: Some(7), room: None })
            .filter(|_| device.is_none())
    }

    #[test]
    fn one_that_hangs_holds_up_nobody_and_is_asked_again_when_it_is_back() {
        let mut asker = Asker { ask: served, ..Asker::new(spawn) };
        let answers = Ok(Space { used_bytes: Some(7), room: None });
        // Who answers has a minute for it, as a busy machine may need.
        let mut ask = |path: &str, within: Duration| {
            asker.within = within;
            let answer = asker.ask(path, None);
            (answer, asker.hanging.len())
        };
        let (soon, minute) = (Duration::from_millis(20), Duration::from_secs(60));
        let dead = SERVER.lock().unwrap();
        assert_eq!(ask("/disk", minute).0, answers);
        assert_eq!(ask("/hung", soon).0, Err(NoAnswer::Hangs));
        assert_eq!(ask("/disk", minute).0, answers);
        assert_eq!(ask("/gone", minute).0, Err(NoAnswer::Gone));
        for number in 0..20 {
            assert_eq!(ask(&format!("/hung{number}"), soon).0, Err(NoAnswer::Hangs));
            // It is known, so it is not waited for.
            assert_eq!(ask("/hung", minute).0, Err(NoAnswer::Hangs));
        }
        assert_eq!(ask("/hung", minute).1, HANGING_MAX, "threads have an end");
        drop(dead);
        // Each is asked again once its own thread is back.
        for path in ["/hung", "/hung1"] {
            while ask(path, minute).0 != answers {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn another_filesystem_than_the_one_that_is_mounted_says_nothing() {
        let mut asker = Asker::new(spawn);
        let found = stat("/").unwrap().st_dev;
        let device = DeviceNumber { major: major(found), minor: minor(found) };
        let Space { used_bytes, room } = asker.ask("/", Some(device)).unwrap();
        let Room { limit_bytes, .. } = room.unwrap();
        assert!(used_bytes.unwrap() <= limit_bytes);
        let other = DeviceNumber { major: 4095, minor: 1 };
        assert_eq!(asker.ask("/", Some(other)), Err(NoAnswer::Gone));
        assert_eq!(asker.ask("/none", None), Err(NoAnswer::Gone));
    }
}
