//! `metric-export` as a stream: pieces are made on a blocking thread while earlier ones are on
//! their way, so an export of any size needs the memory of a few pieces only.

use std::convert::Infallible;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{answer, answer::Wish, pretty::Indenter};

/// Pieces that wait for a slow client; when full, making more waits too. Four pieces of about
/// 64 KiB keep a fast client busy.
const PIECES_WAITING: usize = 4;

/// The pieces as one answer. When the client goes away, no more pieces are made.
pub(super) fn streamed(
    wish: Wish,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Response {
    let (sender, receiver) = mpsc::channel(PIECES_WAITING);
    // It ends with its iterator or its client, whichever comes first, so nobody needs its handle.
    drop(tokio::task::spawn_blocking(move || {
        let mut indenter = wish.pretty.then(Indenter::default);
        for piece in pieces {
            let piece = match &mut indenter {
                Some(indenter) => {
                    let mut indented = Vec::with_capacity(piece.len() * 2);
                    indenter.push(&piece, &mut indented);
                    indented
                }
                None => piece,
            };
            if sender.blocking_send(Bytes::from(piece)).is_err() {
                return;
            }
        }
    }));
    let stream = ReceiverStream::new(receiver).map(Ok::<_, Infallible>);
    let mut answer = Response::new(Body::from_stream(stream));
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

    #[tokio::test]
    async fn the_pieces_together_are_the_document() {
        let pieces = [b"[1,".to_vec(), b"2]".to_vec()];
        let body = streamed(COMPACT, pieces.clone().into_iter()).into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[1,2]");
        let pretty = Wish { pretty: true, ..COMPACT };
        let body = streamed(pretty, pieces.into_iter()).into_body();
        assert_eq!(body.collect().await.unwrap().to_bytes(), "[\n  1,\n  2\n]");
    }

    #[tokio::test]
    async fn a_client_that_goes_away_stops_it() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let endless = std::iter::repeat_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
            vec![0; 16]
        });
        // The runtime waits for its blocking threads when it stops: this test ends only if the
        // endless iterator is given up.
        drop(streamed(COMPACT, endless));
    }
}
