//! Threads for HTTP, others for agents' streams, and others for lists of tens of thousands.
//!
//! A thousand agents deliver in the same milliseconds of a second; a question that had to wait in
//! one queue with their frames would wait for all of them. On threads of its own it waits for the
//! scheduler only, and whoever asks for much slows nobody's delivery.
//!
//! Agents' streams have few threads: what comes for one thread is found by it when it looks next,
//! while threads that share work wake each other for every frame.

use std::{error::Error as _, io, thread};

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

/// Threads that answer HTTP: one answers while another compresses.
const REST: usize = 2;

/// The most threads that take agents' streams. One takes forty thousand frames of 95 entities a
/// second.
const AGENTS_MOST: usize = 4;

/// The most threads that work on one long list: a list of 150,000 pods is there in time with two.
const LISTS_MOST: usize = 4;

/// Threads of their own; dropping this ends what runs on them.
#[derive(Debug)]
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    /// For HTTP.
    pub(super) fn for_rest() -> io::Result<Self> {
        Self::start("rest", REST)
    }

    /// For agents' streams: at most half of the cores.
    pub(super) fn for_agents() -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::start("agents", (cores / 2).clamp(1, AGENTS_MOST))
    }

    /// For what is worked out on several cores at once, of which all of this process share the same.
    pub(super) fn for_long_lists() -> io::Result<()> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.min(LISTS_MOST))
            .thread_name(|number| format!("lists-{number}"));
        match threads.build_global() {
            Err(error) if error.source().is_some() => Err(io::Error::other(error)),
            // Without a cause, another aggregator in this process has started them.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn start(name: &'static str, count: usize) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(count).thread_name(name).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Lets `serve` answer on these threads; ready when that has ended.
    pub(super) fn run<S, F>(
        &self,
        listener: TcpListener,
        serve: S,
    ) -> impl Future<Output = io::Result<F::Output>> + Send + use<S, F>
    where
        S: FnOnce(TcpListener) -> F + Send + 'static,
        F: Future<Output: Send> + Send + 'static,
    {
        let server = self.0.as_ref().map(|runtime| {
            runtime.spawn(async move {
                // A listener belongs to the runtime that it was made in.
                let listener = TcpListener::from_std(listener.into_std()?)?;
                Ok(serve(listener).await)
            })
        });
        async move {
            match server {
                Some(server) => server.await.map_err(io::Error::other).flatten(),
                None => Err(io::Error::other("its threads have ended")),
            }
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A runtime may not be waited for where others run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
