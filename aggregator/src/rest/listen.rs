//! Takes HTTP connections, within limits, and lets them finish when the server stops.

use std::{error::Error, io, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::Rest;
use crate::self_metrics::SelfMetrics;

/// Why a connection ended in the middle of something.
type Broken = Box<dyn Error + Send + Sync>;

/// Open connections; more wait in the kernel's queue. Each costs some 20 KiB.
const CONNECTIONS: usize = 1_024;

/// How long a client may take for a request's head, the time before its first byte included; then
/// it is a client that only holds a place.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head: the longest URI that there is, 64 KiB, and headers.
const HEAD_BYTES: usize = 128 << 10;

/// How long a client may let an answer wait, in milliseconds: then it only holds memory. The
/// kernel ends the connection.
const WRITE_TIMEOUT_MS: u32 = 30_000;

/// How long requests under way may take when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// After an accept that failed (no descriptors left, say) there is no hurry.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lets `rest` answer until `stop`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, rest: Rest, stop: CancellationToken) {
    let metrics = rest.metrics().clone();
    let router = rest.router();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &places, &metrics) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = connection(stream, router.clone(), &graceful);
                let metrics = metrics.clone();
                connections.spawn(async move {
                    metrics.http_connections.inc();
                    if let Err(error) = connection.await {
                        metrics.http_connections_broken.inc();
                        tracing::debug!(error, "an HTTP connection broke off");
                    }
                    metrics.http_connections.dec();
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::info!("HTTP requests were cut off because they took too long to finish");
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    metrics: &SelfMetrics,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = match Arc::clone(places).try_acquire_owned() {
        Ok(place) => place,
        Err(_) => {
            metrics.http_connections_full.inc();
            Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?
        }
    };
    let (stream, _) = listener.accept().await?;
    // Answers are written in one piece, so waiting for more of it only delays them.
    let prepared = stream.set_nodelay(true);
    let prepared = prepared.and_then(|()| Ok(set_tcp_user_timeout(&stream, WRITE_TIMEOUT_MS)?));
    if let Err(error) = prepared {
        tracing::debug!(%error, "an HTTP connection is answered without its options");
    }
    Ok((stream, place))
}

fn connection(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = Result<(), Broken>> + Send + 'static {
    // HTTP/2 in the clear is what nobody speaks without having agreed on it before, and waiting
    // to find out which version a client speaks has no time limit.
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http1().max_buf_size(HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    graceful.watch(served)
}
