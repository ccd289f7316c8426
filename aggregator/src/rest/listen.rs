//! Takes connections, in the clear or over TLS, within limits, and lets them finish when the server
//! stops.

use std::{convert::Infallible, error::Error, io, sync::Arc, time::Duration};

use axum::{Router, middleware::from_fn_with_state};
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use super::{
    Rest,
    guard::{Guard, Presented, guarded},
    idle::Idle,
};
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

/// How long a client may take for its part of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long nothing may be heard on a connection of HTTP/2: its requests have no head that could be
/// waited for. An API server asks every 30 s.
const SILENCE: Duration = Duration::from_secs(90);

/// Requests at once on a connection of HTTP/2. An API server sends those of all its users over
/// one, and opens another beyond.
const REQUESTS_AT_ONCE: u32 = 250;

/// How long requests under way may take when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// After an accept that failed (no descriptors left, say) there is no hurry.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered on a port, and how it is spoken there.
#[derive(Clone)]
pub struct Port {
    router: Router,
    metrics: SelfMetrics,
    /// `None` in the clear.
    tls: Option<TlsAcceptor>,
}

/// The HTTP of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Port {
    /// Answers everybody, in the clear.
    pub fn clear(rest: Rest) -> Self {
        Self { metrics: rest.metrics().clone(), router: rest.router(), tls: None }
    }

    /// Answers those that `guard` lets through, over TLS.
    pub fn secure(rest: Rest, guard: Guard, tls: ServerConfig) -> Self {
        let metrics = rest.metrics().clone();
        let router = rest.router().layer(from_fn_with_state(guard, guarded));
        Self { router, metrics, tls: Some(TlsAcceptor::from(Arc::new(tls))) }
    }

    /// Answers on one connection until it ends.
    async fn converse(
        &self,
        stream: TcpStream,
        watcher: Watcher,
        stop: &CancellationToken,
    ) -> Result<(), Broken> {
        let Some(tls) = &self.tls else {
            return http(stream, self.router.clone(), Version::One, watcher).await;
        };
        let shaken = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            shaken = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)) => shaken,
        };
        let shaken = shaken.map_err(io::Error::from).flatten();
        match shaken {
            Ok(stream) => self.converse_securely(stream, watcher).await,
            Err(error) => {
                self.metrics.secure.handshakes_failed.inc();
                tracing::debug!(%error, "a TLS handshake failed");
                Ok(())
            }
        }
    }

    async fn converse_securely(
        &self,
        stream: TlsStream<TcpStream>,
        watcher: Watcher,
    ) -> Result<(), Broken> {
        let (_, session) = stream.get_ref();
        let version = match session.alpn_protocol() {
            Some(b"h2") => Version::Two,
            _ => Version::One,
        };
        let chain = session.peer_certificates().filter(|chain| !chain.is_empty()).map(|chain| {
            Presented(chain.iter().map(|one| CertificateDer::into_owned(one.clone())).collect())
        });
        let router = MapRequest::new(self.router.clone(), move |mut request: Request<_>| {
            if let Some(chain) = &chain {
                request.extensions_mut().insert(chain.clone());
            }
            request
        });
        match version {
            Version::One => http(stream, router, version, watcher).await,
            Version::Two => http(Idle::new(stream, SILENCE), router, version, watcher).await,
        }
    }
}

/// Lets `port` answer until `stop`, then lets the requests under way finish.
pub async fn serve(listener: TcpListener, port: Port, stop: CancellationToken) {
    let metrics = port.metrics.clone();
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
                let (port, stop, watcher) = (port.clone(), stop.clone(), graceful.watcher());
                connections.spawn(async move {
                    let metrics = &port.metrics;
                    metrics.http_connections.inc();
                    if let Err(error) = port.converse(stream, watcher, &stop).await {
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

/// Speaks HTTP over `stream`. Which version is agreed on before: waiting to find out which one a
/// client speaks has no time limit, and nobody speaks the second in the clear.
async fn http<S, R>(stream: S, router: R, version: Version, watcher: Watcher) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: tower::Service<
            Request<hyper::body::Incoming>,
            Response = axum::response::Response,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http1().max_buf_size(HEAD_BYTES);
    let list_bytes = u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(list_bytes);
    builder.http2().max_concurrent_streams(REQUESTS_AT_ONCE);
    let builder = match version {
        Version::One => builder.http1_only(),
        Version::Two => builder.http2_only(),
    };
    let service = TowerToHyperService::new(router);
    let served = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    watcher.watch(served).await
}
