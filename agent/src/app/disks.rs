//! The thread that looks at what is on disk, and the task that asks the runtimes for it.

use std::{
    convert::Infallible,
    future, io,
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use tokio::{sync::oneshot, task::JoinHandle};

use super::runtime_options;
use crate::{
    disk_usage::{Board, layer_questions},
    runtimes::layers,
    sampler::Sampler,
    settings::Settings,
    volumes::{self, Pause},
};

/// Both, while they run. The thread is asked to end when this goes, and nobody waits for it: it may hang
/// with a disk.
pub(super) struct Disks(Option<Running>);

struct Running {
    _stop: SyncSender<Infallible>,
    asking: JoinHandle<()>,
    ended: oneshot::Receiver<Infallible>,
}

/// Starts them, unless the settings say that nobody looks.
pub(super) fn start(settings: &Settings, sampler: &mut Sampler) -> anyhow::Result<Disks> {
    let Some(interval) = settings.disk_usage_interval else { return Ok(Disks(None)) };
    let options = volumes::Options {
        host_root: settings.host_root.clone(),
        kubelet_dir: settings.kubelet_dir.clone(),
        pod_logs_dir: settings.pod_logs_dir.clone(),
        interval,
    };
    let board = Board::default();
    sampler.watch_disk_usage(board.clone(), volumes::kept(interval).as_secs());
    let (questions, inbox) = layer_questions();
    let asking = tokio::spawn(layers::run(inbox, runtime_options(settings)));
    let (stop, stopped) = sync_channel(0);
    let (ends, ended) = oneshot::channel();
    let work = move || {
        // Dropped when the thread ends, also by a panic.
        let _ends: oneshot::Sender<Infallible> = ends;
        volumes::run(options, &questions, &board, spawn, |pause| wait(&stopped, pause));
    };
    let named = thread::Builder::new().name("disk-usage".to_owned());
    named.spawn(work).context("cannot start the thread that looks at disks")?;
    Ok(Disks(Some(Running { _stop: stop, asking, ended })))
}

impl Disks {
    /// Resolves when one of them ended unasked.
    pub(super) async fn ended(mut self) -> anyhow::Error {
        match &mut self.0 {
            None => future::pending().await,
            Some(Running { asking, ended, .. }) => tokio::select! {
                _ = ended => anyhow!("the thread that looks at disks panicked"),
                _ = asking => anyhow!("asking the runtimes for layers failed"),
            },
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name("statfs".to_owned()).spawn(work).map(drop)
}

fn wait(stopped: &Receiver<Infallible>, pause: Duration) -> Pause {
    match stopped.recv_timeout(pause) {
        Err(RecvTimeoutError::Timeout) => Pause::Over,
        Err(RecvTimeoutError::Disconnected) => Pause::Stopped,
        Ok(never) => match never {},
    }
}
