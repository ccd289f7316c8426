//! The aggregator as it runs: reads the clock, opens the ports, starts the servers, stops them.
//!
//! It can run inside another program (the `tally` binary, tests), with a clock of that program's
//! choice and on ports that the kernel picks.

mod grpc;
pub mod inventory_file;
mod keeping;
mod secure;
mod threads;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow};
use tally_proto::tick::UnixMs;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    grpc::GrpcError,
    inventory_file::BadInventoryFile,
    keeping::Keeping,
    secure::{SecurePort, Tools},
    threads::Threads,
};
pub use self::{
    keeping::KeepingError,
    secure::{BadFile, SecureError},
};
use crate::{
    admission::Rules,
    clock::{Clock, Now},
    ingest::IngestService,
    kubernetes::{BadServer, Fed, Server, Watches},
    model::Model,
    query::{
        Queries,
        past::{Past, PastQueries},
    },
    rest::{self, Rest, listen::Port},
    self_metrics::SelfMetrics,
    settings::{ApiServer, Settings},
    telemetry::chain,
};

/// How often ticks are looked at: a tick closes at most this much later than its grace.
const CLOSE_EVERY: Duration = Duration::from_millis(200);

/// How long agents wait at most for what the API server knows of their pods: without it their first
/// frames would lack requests and limits.
const FIRST_LISTS_WAIT: Duration = Duration::from_secs(5);

/// How often objects that left the window are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// For how long a kept list that nobody asks for is kept, and at most twice as long.
const UNASKED_KEPT: Duration = Duration::from_secs(5 * 60);

/// Why the aggregator cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or an address is not this host's.
    #[error("cannot listen on {address} ({flag})")]
    Listen {
        /// The flag that says where.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start threads")]
    Threads(#[source] io::Error),
    /// An inventory file is missing or broken.
    #[error(transparent)]
    Inventory(#[from] BadInventoryFile),
    /// The API server that was named can't be asked.
    #[error(transparent)]
    ApiServer(#[from] BadServer),
    /// There can be no history where it should be.
    #[error(transparent)]
    History(#[from] KeepingError),
    /// The secure port can't be as it was asked for.
    #[error(transparent)]
    Secure(#[from] SecureError),
}

/// Why a server ended that should not have.
#[derive(Debug, thiserror::Error)]
enum ServerError {
    /// The one that agents deliver to.
    #[error(transparent)]
    Grpc(#[from] GrpcError),
    /// The one that answers HTTP.
    #[error("the HTTP server failed")]
    Rest(#[source] io::Error),
    /// The threads of the one that agents deliver to.
    #[error("the threads that take agents' streams failed")]
    Threads(#[source] io::Error),
}

/// Why an aggregator that runs can't go on as it is.
#[derive(Debug)]
pub enum Ended {
    /// A server or a thread ended that should not have.
    Failed(anyhow::Error),
    /// The clock was set back by more than agents' clocks may differ, so all that is measured from
    /// now on is older than what the live model takes for the present: see [`Running::begin_anew`].
    ClockSetBack,
}

/// An aggregator that runs. Dropping it stops it at once; [`Running::stop`] lets it finish.
#[derive(Debug)]
pub struct Running {
    /// Where HTTP is answered.
    pub rest_addr: SocketAddr,
    /// Where agents deliver.
    pub grpc_addr: SocketAddr,
    /// Where HTTPS is answered.
    pub secure_addr: Option<SocketAddr>,
    settings: Settings,
    clock: Clock,
    metrics: SelfMetrics,
    model: Arc<Model>,
    queries: Queries,
    stop: CancellationToken,
    /// Cancelled when the clock was set back.
    clock_set_back: CancellationToken,
    servers: JoinSet<Result<(), ServerError>>,
    /// History, where there is one.
    keeping: Option<Keeping>,
    // Dropped last: answers under way run on them.
    rest_threads: Threads,
    agents_threads: Threads,
}

/// Runs until SIGTERM or SIGINT; SIGHUP reads the inventory again.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot wait for SIGHUP")?;
    let mut running = start(settings, system_clock()).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match running.reload_inventory().await {
                Ok(()) => tracing::info!("inventory read again"),
                Err(error) => tracing::error!(
                    error = chain(&error),
                    "the inventory stays as it was; correct the file and send SIGHUP again"
                ),
            },
            ended = running.ended() => match ended {
                Ended::Failed(error) => return Err(error),
                Ended::ClockSetBack => running = running.begin_anew().await?,
            },
        }
    }
    tracing::info!("stopping");
    running.stop().await;
    Ok(())
}

/// Begins: when this returns, both ports are open, the inventory is read, and the model has what it
/// had before a restart. HTTP is answered meanwhile.
pub async fn start(settings: Settings, clock: Clock) -> Result<Running, StartError> {
    begin(settings, clock, SelfMetrics::default()).await
}

async fn begin(
    settings: Settings,
    clock: Clock,
    metrics: SelfMetrics,
) -> Result<Running, StartError> {
    let (rest_listener, rest_addr) = listen("--rest-listen", settings.rest_listen).await?;
    let (grpc_listener, grpc_addr) = listen("--grpc-listen", settings.grpc_listen).await?;
    let secure_listener = match &settings.secure {
        Some(secure) => Some(listen("--secure-listen", secure.listen).await?),
        None => None,
    };
    let window_ms = u64::try_from(settings.model_window.as_millis()).unwrap_or(u64::MAX);
    let model = Arc::new(Model::new(settings.resolution, window_ms));
    let keeping = settings.history.as_ref();
    let keeping = keeping.map(|history| Keeping::open(history, &settings)).transpose()?;
    if keeping.is_none() && !settings.labels.stored.is_empty() {
        tracing::warn!("--store-label has no effect with --no-history: nothing is stored");
    }
    let stop = CancellationToken::new();
    let archive = keeping.as_ref().map(|keeping| Arc::clone(&keeping.status));
    let past = if keeping.is_some() { Past::opening() } else { Past::off() };
    let queries = Queries::new(Arc::clone(&model));
    let rest = Rest::new(queries.clone(), (past.clone(), archive), clock.clone(), metrics.clone());
    let rest_threads = Threads::for_rest().map_err(StartError::Threads)?;
    Threads::for_long_lists().map_err(StartError::Threads)?;
    let agents_threads = Threads::for_agents().map_err(StartError::Threads)?;
    let mut running = Running {
        rest_addr,
        grpc_addr,
        secure_addr: secure_listener.as_ref().map(|(_, address)| *address),
        settings,
        clock,
        metrics,
        model,
        queries,
        stop,
        clock_set_back: CancellationToken::new(),
        servers: JoinSet::new(),
        keeping,
        rest_threads,
        agents_threads,
    };
    running.reload_inventory().await?;
    running.answer(rest_listener, Port::clear(rest.clone()));
    let server = api_server(&running.settings.kubernetes).await?;
    if let Some((listener, address)) = secure_listener {
        running.answer_securely(listener, server.as_ref(), rest)?;
        tracing::info!(%address, "callers are checked there");
    }
    let listed = match server {
        Some(server) => Some(running.watch_api_server(&server)?),
        None => None,
    };
    running.keep(&past).await;
    if let Some(listed) = listed {
        // Without an answer they go on with what was known before.
        timeout(FIRST_LISTS_WAIT, listed).await.ok();
    }
    running.serve_agents(grpc_listener);
    let resolution = running.settings.resolution;
    tracing::info!(rest = %rest_addr, grpc = %grpc_addr, %resolution, "started");
    Ok(running)
}

impl Running {
    /// Fills the model from the journal, and begins to keep what comes.
    async fn keep(&mut self, past: &Past) {
        let latest = UnixMs(self.clock.now().0.saturating_add(clock_skew_ms(&self.settings)));
        let until = self.settings.resolution.tick_at(latest);
        if let Some(keeping) = &mut self.keeping {
            let refilled = tokio::task::spawn_blocking(keeping.refill(&self.model, until)).await;
            if let Err(error) = refilled {
                tracing::error!(%error, "the journal was not read back");
            }
            keeping.begin(&self.model, &self.metrics, &self.clock);
            let archive = Arc::clone(&keeping.archive);
            past.open(PastQueries::new(archive, self.queries.clone()));
        }
    }

    /// Answers HTTP on one more port.
    fn answer(&mut self, listener: TcpListener, port: Port) {
        let stop = self.stop.clone();
        let served =
            self.rest_threads.run(listener, |listener| rest::listen::serve(listener, port, stop));
        self.servers.spawn(async { served.await.map_err(ServerError::Rest) });
    }

    /// Answers on the secure port, where there is one.
    fn answer_securely(
        &mut self,
        listener: TcpListener,
        server: Option<&Server>,
        rest: Rest,
    ) -> Result<(), SecureError> {
        let Some(settings) = &self.settings.secure else { return Ok(()) };
        let history = self.settings.history.as_ref().map(|history| history.directory.as_path());
        let tools = Tools { clock: self.clock.clone(), metrics: self.metrics.secure.clone() };
        let secure = SecurePort::new(settings, server, history, rest, &tools)?;
        self.answer(listener, secure.port);
        self.keep_up(secure.upkeep);
        Ok(())
    }

    /// Lets what the secure port needs go on until the stop.
    fn keep_up(&mut self, tasks: Vec<secure::Upkeep>) {
        for task in tasks {
            let stop = self.stop.clone();
            self.servers.spawn(async move {
                tokio::select! {
                    () = task => (),
                    () = stop.cancelled() => (),
                }
                Ok(())
            });
        }
    }

    /// Begins to watch an API server: ready when all of it is known.
    fn watch_api_server(&mut self, server: &Server) -> Result<oneshot::Receiver<()>, BadServer> {
        let (model, form) = (Arc::clone(&self.model), self.settings.labels.clone());
        let (clock, metrics) = (self.clock.clone(), self.metrics.kubernetes.clone());
        let watches = Watches::new(server, Fed { model, form, clock, metrics })?;
        tracing::info!(address = server.address(), "the API server is watched");
        let (complete, listed) = oneshot::channel();
        let stop = self.stop.clone();
        self.servers.spawn(async move {
            tokio::select! {
                () = watches.run(complete) => (),
                () = stop.cancelled() => (),
            }
            Ok(())
        });
        Ok(listed)
    }

    /// Takes agents' streams.
    fn serve_agents(&mut self, listener: TcpListener) {
        let settings = &self.settings;
        let (metrics, clock) = (self.metrics.clone(), self.clock.clone());
        let rules = Rules {
            resolution: settings.resolution,
            clock_skew_ms: clock_skew_ms(settings),
            entities_per_node: settings.max_entities_per_node,
        };
        let keeping = self.keeping.as_ref();
        let journal =
            keeping.map(|keeping| (Arc::clone(keeping.archive.journal()), keeping.durable.clone()));
        let (model, stop) = (Arc::clone(&self.model), self.stop.clone());
        self.servers.spawn(upkeep(
            (Arc::clone(&model), self.queries.clone()),
            clock.clone(),
            metrics.clone(),
            stop.clone(),
        ));
        let rules = (rules, settings.max_streams);
        let clock = (clock, self.clock_set_back.clone());
        let ingest = IngestService::new(model, journal, rules, metrics, clock);
        let served =
            self.agents_threads.run(listener, |listener| grpc::serve(listener, ingest, stop));
        self.servers.spawn(async { Ok(served.await.map_err(ServerError::Threads)??) });
    }

    /// Questions to the live model, for programs that run the aggregator inside.
    pub fn queries(&self) -> Queries {
        self.queries.clone()
    }

    /// Reads the inventory files again. On an error everything stays as it was.
    pub async fn reload_inventory(&self) -> Result<(), BadInventoryFile> {
        if self.settings.inventory.is_empty() {
            return Ok(());
        }
        let paths = self.settings.inventory.clone();
        let form = self.settings.labels.clone();
        let read = tokio::task::spawn_blocking(move || inventory_file::read(&paths, &form)).await;
        let inventory = read.map_err(|error| BadInventoryFile::Read {
            path: self.settings.inventory.first().cloned().unwrap_or_default(),
            source: io::Error::other(error),
        })?;
        self.model.set_inventory(inventory?);
        Ok(())
    }

    /// Waits until it can't go on, and says why.
    pub async fn ended(&mut self) -> Ended {
        let keeping = async {
            match &mut self.keeping {
                Some(keeping) => keeping.ended().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = self.servers.join_next() => ended,
            () = keeping => return Ended::Failed(anyhow!("a thread of history ended unasked")),
            () = self.clock_set_back.cancelled() => return Ended::ClockSetBack,
        };
        Ended::Failed(match ended {
            Some(Ok(Err(error))) => error.into(),
            Some(Err(error)) => anyhow::Error::new(error).context("a server failed"),
            Some(Ok(Ok(()))) | None => anyhow!("a server ended unasked"),
        })
    }

    /// Stops, and begins again at the same addresses, with a live model that is filled from the
    /// journal up to now: what was recorded as later is history's alone. Agents connect again, and
    /// lose nothing.
    pub async fn begin_anew(self) -> Result<Running, StartError> {
        tracing::warn!(
            "the clock was set back: beginning anew, as the live model had ticks that are yet to come"
        );
        self.metrics.clock_set_back.inc();
        let mut settings = self.settings.clone();
        (settings.rest_listen, settings.grpc_listen) = (self.rest_addr, self.grpc_addr);
        if let (Some(secure), Some(address)) = (&mut settings.secure, self.secure_addr) {
            secure.listen = address;
        }
        let (clock, metrics) = (self.clock.clone(), self.metrics.clone());
        self.stop().await;
        begin(settings, clock, metrics).await
    }

    /// Takes no more connections, ends agents' streams, lets answers under way finish.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.servers.join_next().await {
            match ended {
                Ok(Ok(())) => (),
                Ok(Err(error)) => tracing::warn!(error = chain(&error), "a server ended badly"),
                Err(error) => tracing::warn!(error = chain(&error), "a server ended badly"),
            }
        }
        // Nothing is appended any more.
        if let Some(keeping) = self.keeping.take() {
            keeping.stop().await;
        }
    }
}

fn clock_skew_ms(settings: &Settings) -> i64 {
    i64::try_from(settings.max_clock_skew.as_millis()).unwrap_or(i64::MAX)
}

/// The API server that there is.
async fn api_server(settings: &ApiServer) -> Result<Option<Server>, BadServer> {
    Ok(match settings {
        ApiServer::None => None,
        ApiServer::Kubeconfig(file) => Some(Server::of_kubeconfig(file).await?),
        ApiServer::Own => Server::own().unwrap_or_else(|error| {
            tracing::warn!(error = chain(&error), "no API server is watched");
            None
        }),
    })
}

/// Closes ticks whose grace is over, and forgets what left the window and what nobody asks for.
async fn upkeep(
    (model, queries): (Arc<Model>, Queries),
    clock: Clock,
    metrics: SelfMetrics,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let mut closing = interval(CLOSE_EVERY);
    let mut sweeping = interval(SWEEP_EVERY);
    let mut forgetting = interval(UNASKED_KEPT);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = closing.tick() => {
                let closed = model.advance(clock.now());
                metrics.ticks_closed.inc_by(closed);
            }
            _ = sweeping.tick() => {
                let entities = model.sweep();
                metrics.entities.set(i64::try_from(entities).unwrap_or(i64::MAX));
            }
            _ = forgetting.tick() => queries.forget_unasked(),
        }
    }
}

/// The host's clocks.
#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
pub fn system_clock() -> Clock {
    let began = Instant::now();
    Clock::new(move || {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let unix = UnixMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Now { unix, elapsed: began.elapsed() }
    })
}

async fn listen(
    flag: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { flag, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}
