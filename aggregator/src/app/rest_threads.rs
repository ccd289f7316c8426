//! The threads that answer HTTP.
//!
//! A thousand agents deliver in the same milliseconds of a second; a question that had to wait in
//! one queue with their frames would wait for all of them. On threads of its own it waits for the
//! scheduler only, and whoever asks for much slows nobody's delivery.

use std::io;

use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tokio_util::sync::CancellationToken;

use crate::rest::listen::{self, Port};

/// One answers while another compresses.
const THREADS: usize = 2;

/// Threads of their own; dropping this ends what runs on them.
#[derive(Debug)]
pub(super) struct RestThreads(Option<Runtime>);

impl RestThreads {
    pub(super) fn start() -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(THREADS).thread_name("rest").enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Answers on these threads; ready when that has ended.
    pub(super) fn serve(
        &self,
        listener: TcpListener,
        port: Port,
        stop: CancellationToken,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let server = self.0.as_ref().map(|runtime| {
            runtime.spawn(async move {
                // A listener belongs to the runtime that it was made in.
                let listener = TcpListener::from_std(listener.into_std()?)?;
                listen::serve(listener, port, stop).await;
                Ok::<(), io::Error>(())
            })
        });
        async move {
            match server {
                Some(server) => server.await.map_err(io::Error::other).flatten(),
                None => Ok(()),
            }
        }
    }
}

impl Drop for RestThreads {
    fn drop(&mut self) {
        // A runtime may not be waited for where others run.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
