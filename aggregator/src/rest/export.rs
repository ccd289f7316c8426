//! `metric-export` as a stream: pieces are made on a blocking thread while earlier ones are on
//! their way, so an export of any size needs the memory of a few pieces only.
//!
//! Whoever exports must not stand in the way of those who deliver or ask: one piece is made at a
//! time, whoever it is for, so all exports together take at most one core; and a client that
//! stops reading gives its place up.

use std::{io, ops::ControlFlow, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

use super::{answer, answer::Wish, pretty::Indenter};
use crate::query::Queries;

/// Exports under way at once. Each holds a thread and, while its client is slow, about 1.5 MiB.
const EXPORTS: usize = 16;

/// How long one more waits for a place before it is refused.
const WAIT: Duration = Duration::from_secs(5);

const TOO_MANY: &str = "too many exports are under way";

/// Pieces that wait for a slow client; when full, making more waits too. Four keep a fast client
/// busy.
const PIECES_WAITING: usize = 4;

/// How long a client may take for one piece: at a quarter of a megabyte, 10 KB/s.
const PATIENCE: Duration = Duration::from_secs(30);

/// The places of exports.
#[derive(Clone, Debug)]
pub(super) struct Exports {
    places: Arc<Semaphore>,
    /// Whose piece is being made.
    turns: Arc<Semaphore>,
    /// Exports that ended early because their client stopped reading.
    cut_off: Counter,
}

/// What the bytes of an export are sent to.
struct Recipient {
    runtime: Handle,
    turns: Arc<Semaphore>,
    /// `None` is the end: without it the answer is cut off.
    sender: mpsc::Sender<Option<Bytes>>,
    indenter: Option<Indenter>,
    cut_off: Counter,
}

impl Exports {
    /// All places are free.
    pub(super) fn new(cut_off: Counter) -> Self {
        let (places, turns) = (Semaphore::new(EXPORTS), Semaphore::new(1));
        Self { places: Arc::new(places), turns: Arc::new(turns), cut_off }
    }

    /// The export as an answer; 503 when there is no place for it. When the client goes away, no
    /// more of it is made.
    pub(super) async fn answer(&self, wish: Wish, queries: &Queries) -> Response {
        let Some(place) = self.place(WAIT).await else { return answer::refused(wish, TOO_MANY) };
        let queries = queries.clone();
        self.stream(wish, place, move |take| queries.export(take))
    }

    async fn place(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.places).acquire_owned();
        timeout(wait, place).await.ok()?.ok()
    }

    fn stream(
        &self,
        wish: Wish,
        place: OwnedSemaphorePermit,
        make: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> ControlFlow<()>) -> ControlFlow<()>
        + Send
        + 'static,
    ) -> Response {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING);
        let recipient = Recipient {
            runtime: Handle::current(),
            turns: Arc::clone(&self.turns),
            sender,
            indenter: wish.pretty.then(Indenter::default),
            cut_off: self.cut_off.clone(),
        };
        // It ends with its document or its client, whichever comes first, so nobody needs its
        // handle.
        drop(tokio::task::spawn_blocking(move || {
            recipient.send(make);
            drop(place);
        }));
        let pieces = stream::unfold(Some(receiver), |receiver| async {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
                Some(None) => None,
                None => Some((Err(io::Error::other("the export was cut off")), None)),
            }
        });
        // Who compresses it asks once more after the end.
        json(Body::from_stream(pieces.fuse()))
    }
}

impl Recipient {
    fn send(
        mut self,
        make: impl FnOnce(&mut dyn FnMut(Vec<u8>) -> ControlFlow<()>) -> ControlFlow<()>,
    ) {
        let turns = Arc::clone(&self.turns);
        let runtime = self.runtime.clone();
        let turn = || runtime.block_on(turns.acquire()).ok();
        let mut making = turn();
        let made = make(&mut |piece| {
            making = None;
            let taken = self.take(piece);
            making = turn();
            taken
        });
        drop(making);
        if made.is_continue() {
            // After the end it is all the same whether the client is there.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = self.hand_over(None);
        }
    }

    fn take(&mut self, piece: Vec<u8>) -> ControlFlow<()> {
        let piece = match &mut self.indenter {
            Some(indenter) => {
                let mut indented = Vec::with_capacity(piece.len() * 2);
                indenter.push(&piece, &mut indented);
                indented
            }
            None => piece,
        };
        self.hand_over(Some(piece.into()))
    }

    fn hand_over(&mut self, piece: Option<Bytes>) -> ControlFlow<()> {
        match self.runtime.block_on(timeout(PATIENCE, self.sender.send(piece))) {
            Ok(Ok(())) => ControlFlow::Continue(()),
            // The client went away.
            Ok(Err(_)) => ControlFlow::Break(()),
            Err(_) => {
                self.cut_off.inc();
                ControlFlow::Break(())
            }
        }
    }
}

/// The answer to HEAD: as long as the export, which nobody knows before it is made.
pub(super) fn head() -> Response {
    json(Body::from_stream(stream::empty::<io::Result<Bytes>>()))
}

fn json(body: Body) -> Response {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(CONTENT_TYPE, answer::JSON);
    answer
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use http_body_util::BodyExt;

    use super::*;

    const COMPACT: Wish = Wish { json: true, pretty: false };

    async fn streamed(wish: Wish, pieces: &'static [&'static str], whole: bool) -> Response {
        let exports = Exports::new(Counter::default());
        let place = exports.place(WAIT).await.unwrap();
        exports.stream(wish, place, move |take| {
            for piece in pieces {
                take(piece.as_bytes().to_vec())?;
            }
            if whole { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }

    #[tokio::test]
    async fn the_pieces_together_are_the_document() {
        let body = streamed(COMPACT, &["[1,", "2]"], true).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[1,2]");
        let pretty = Wish { pretty: true, ..COMPACT };
        let body = streamed(pretty, &["[1,", "2]"], true).await.into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[\n  1,\n  2\n]");
    }

    #[tokio::test]
    async fn a_document_without_its_end_is_no_whole_answer() {
        let body = streamed(COMPACT, &["[1,"], false).await.into_body();
        assert!(body.collect().await.is_err());
    }

    #[tokio::test]
    async fn a_client_that_goes_away_stops_it() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let exports = Exports::new(Counter::default());
        let place = exports.place(WAIT).await.unwrap();
        // The runtime waits for its blocking threads when it stops: this test ends only if the
        // endless document is given up.
        drop(exports.stream(COMPACT, place, move |take| {
            loop {
                counter.fetch_add(1, Ordering::Relaxed);
                take(vec![0; 16])?;
            }
        }));
    }

    #[tokio::test]
    async fn there_are_so_many_places_and_no_more() {
        let exports = Exports::new(Counter::default());
        let mut taken = Vec::new();
        for _ in 0..EXPORTS {
            taken.push(exports.place(Duration::ZERO).await.unwrap());
        }
        assert!(exports.place(Duration::ZERO).await.is_none());
        taken.pop();
        assert!(exports.place(Duration::ZERO).await.is_some());
    }
}
