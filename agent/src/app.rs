//! The agent as it runs: reads the clock, starts the sampling thread and the uplink, stops both.
//!
//! Sampling has a thread of its own, so that a slow kernel file delays no keep-alive and a slow
//! network no tick. The way between them is [`crate::handover`]. Stopping follows the data: the
//! thread ends first, its queue closes, the uplink delivers what is left for two seconds.

mod disks;
mod reader;
mod spool_folder;
mod ticker;

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    io,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, anyhow};
use tally_proto::{
    columns::Builder,
    message::{Declarations, Hello, Run},
    tick::{Resolution, Tick, UnixMs},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};
use tonic::transport::Endpoint;
use tracing::{info, warn};

use self::{
    reader::Reader,
    ticker::{Pause, Time},
};
use crate::{
    counters::Counters,
    folder::{Folder, Worker, worker},
    handover::{UplinkEnded, handover},
    host::facts,
    inquiry::inquiry,
    once, runtimes,
    sampler::{Sampler, SamplerOptions},
    schedule::Moment,
    settings::Settings,
    uplink::{self, Leftover},
};

/// Longer than the uplink's own last words: after this it is stuck, or the sampling thread is, in
/// a kernel file that does not answer.
const STOP_WITHIN: Duration = Duration::from_secs(4);

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Measures this host and delivers, until `shutdown`. Fails when it cannot begin, or when one of
/// its halves ends unasked.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let Settings { aggregator, node, resolution, host_root, outbox, .. } = &settings;
    let node = match node {
        Some(node) => node.clone(),
        None => facts::node_name(host_root).context("this node has no name; give one by --node")?,
    };
    let boot = facts::boot_id(host_root).context("cannot tell this boot of the host")?;
    let mut sampler =
        Sampler::open(sampler_options(&settings)).context("cannot measure this host")?;
    let (inquiry, inbox) = inquiry();
    sampler.ask_names(inquiry);
    let disks = disks::start(&settings, &mut sampler)?;
    info!(
        %node,
        cgroups = %sampler.layout(),
        host_root = %host_root.display(),
        %aggregator,
        %resolution,
        version = VERSION,
        "tally-agent begins"
    );
    let folder = spool_folder::choose(&settings.spool_dir)?;
    let hello = Hello {
        node,
        boot,
        run: Run(random()),
        resolution: *resolution,
        agent_version: VERSION.to_owned(),
        acknowledge_within: uplink::ACKNOWLEDGE_WITHIN,
    };
    let endpoint = Endpoint::from(aggregator.clone());
    let mut options = uplink::Options::new(endpoint, hello, *outbox, random);
    options.spool = folder.is_some().then_some(settings.spool);
    let counters = Arc::new(Counters::default());
    let mut reader = Reader::new(sampler, Arc::clone(&counters), folder.is_some());
    let read = move |tick, frame: &mut Builder| reader.read(tick, || since_us(tick), frame);
    let mut naming = tokio::spawn(runtimes::run(inbox, runtime_options(&settings)));
    let ended = tokio::select! {
        ended = drive(*resolution, options, read, folder, counters, shutdown) => ended,
        // It ends with its handle only.
        ended = &mut naming => ended.context("asking the runtimes failed"),
        ended = disks.ended() => Err(ended),
    };
    naming.abort();
    ended
}

/// Two readings of this host one second apart, the later one as JSON.
pub fn once(settings: &Settings) -> anyhow::Result<serde_json::Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let (inquiry, inbox) = inquiry();
    let naming = runtime.spawn(runtimes::run(inbox, runtime_options(settings)));
    let read = once::run(sampler_options(settings), inquiry, || since_us(Tick(0)));
    naming.abort();
    read.context("cannot measure this host")
}

fn runtime_options(settings: &Settings) -> runtimes::Options {
    let Settings { host_root, cri_sockets, docker_sockets, .. } = settings;
    let (cri, docker) = (cri_sockets.clone(), docker_sockets.clone());
    runtimes::Options { host_root: host_root.clone(), cri, docker, random }
}

fn sampler_options(settings: &Settings) -> SamplerOptions {
    let options = SamplerOptions::new(&settings.host_root, settings.resolution);
    let kubelet_dir = settings.kubelet_dir.clone();
    SamplerOptions { container_load: settings.container_load, kubelet_dir, ..options }
}

/// Reads the host with `read` at every tick and delivers, until `shutdown`.
async fn drive(
    resolution: Resolution,
    options: uplink::Options,
    read: impl FnMut(Tick, &mut Builder) -> Declarations + Send + 'static,
    folder: Option<Folder>,
    counters: Arc<Counters>,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let (giver, taker) = handover(Arc::clone(&counters));
    let (stop, stopped) = mpsc::sync_channel(0);
    let (ends, mut ended) = oneshot::channel();
    let sampling_counters = Arc::clone(&counters);
    let sampling = thread::Builder::new()
        .name("sampling".to_owned())
        .spawn(move || {
            // Dropped when the thread ends, also by a panic.
            let _ends: oneshot::Sender<Infallible> = ends;
            let time = SystemClocks { started: started(), stopped };
            ticker::run(resolution, time, read, giver, &sampling_counters)
        })
        .context("cannot start the sampling thread")?;
    let disk = folder.map(worker_thread).transpose()?;
    let mut uplink = tokio::spawn(uplink::run(options, taker, disk, counters));

    tokio::select! {
        () = shutdown => info!("stopping"),
        _ = &mut ended => return Err(why_ended(sampling)),
        left = &mut uplink => {
            left.context("the uplink failed")?;
            return Err(why_ended(sampling));
        }
    }
    drop(stop);
    match timeout(STOP_WITHIN, &mut uplink).await {
        Ok(left) => report(left.context("the uplink failed while stopping")?),
        Err(_) => {
            uplink.abort();
            warn!("stopped without waiting for a reading that hangs; what was queued is lost");
        }
    }
    Ok(())
}

/// Starts the spool's thread, so that a disk that hangs delays nothing. It ends when the uplink
/// lets go of the worker; nobody waits for it, because it may hang.
fn worker_thread(folder: Folder) -> anyhow::Result<Worker> {
    let (worker, work) = worker(folder);
    let spawned = thread::Builder::new().name("spool".to_owned()).spawn(work);
    spawned.context("cannot start the spool's thread")?;
    Ok(worker)
}

fn report(Leftover { lost, spooled }: Leftover) {
    match (lost, spooled) {
        (0, 0) => info!("stopped; everything is delivered"),
        (0, spooled) => info!(spooled, "stopped; frames in the spool are sent at the next start"),
        (lost, spooled) => {
            warn!(lost, spooled, "stopped; frames that the aggregator did not acknowledge are lost")
        }
    }
}

/// What to say when sampling ended though nobody asked it to.
fn why_ended(sampling: JoinHandle<Result<(), UplinkEnded>>) -> anyhow::Error {
    match sampling.join() {
        Ok(Ok(())) => anyhow!("sampling ended unasked"),
        Ok(Err(ended)) => anyhow::Error::new(ended).context("sampling ended unasked"),
        Err(_) => anyhow!("the sampling thread panicked"),
    }
}

/// Resolves when the process is asked to stop.
pub fn asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    })
}

/// The host's clocks, and pauses that the end of the agent cuts short.
struct SystemClocks {
    started: Instant,
    stopped: mpsc::Receiver<Infallible>,
}

impl Time for SystemClocks {
    fn now(&mut self) -> Moment {
        Moment { wall: wall_clock(), running: self.started.elapsed() }
    }

    fn pause(&mut self, pause: Duration) -> Pause {
        match self.stopped.recv_timeout(pause) {
            Err(RecvTimeoutError::Timeout) => Pause::Over,
            Err(RecvTimeoutError::Disconnected) => Pause::Stopped,
            Ok(never) => match never {},
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn started() -> Instant {
    Instant::now()
}

fn wall_clock() -> UnixMs {
    UnixMs(i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX))
}

/// Microseconds since a tick.
fn since_us(tick: Tick) -> i64 {
    let now_us = i64::try_from(since_epoch().as_micros()).unwrap_or(i64::MAX);
    now_us.saturating_sub(tick.unix_ms().0.saturating_mul(1000))
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn since_epoch() -> Duration {
    // A clock before 1970 is a wrong clock.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// A number from the kernel's randomness, which std seeds its hash maps with.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests;
