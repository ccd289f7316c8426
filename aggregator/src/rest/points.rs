//! A long series as a stream: pieces of its JSON are made as the client takes them, so that the
//! answer is in memory as points only, in less than half of what its JSON has.

use std::{io, vec};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    answer::{self, Wish},
    pretty::Indenter,
    series::{self, Series, SeriesPoint},
};
use crate::query::Point;

/// Points of a piece: 100 KB, made in less than a millisecond. What has no more is one answer with
/// its length.
const POINTS_OF_A_PIECE: usize = 2_000;

/// What is still to be sent, with the room that it takes.
struct Pieces {
    points: vec::IntoIter<Point>,
    /// `None` when all is said.
    latest: Option<String>,
    is_begun: bool,
    indenter: Option<Indenter>,
    _room: Option<OwnedSemaphorePermit>,
}

/// A series as an answer. It keeps `room` until its last point is sent.
pub(super) fn answer(
    wish: Wish,
    points: Vec<Point>,
    room: Option<OwnedSemaphorePermit>,
) -> Response {
    if points.len() <= POINTS_OF_A_PIECE {
        return answer::json(wish, &Series::from(points));
    }
    let pieces = Pieces {
        latest: Some(series::latest(&points)),
        points: points.into_iter(),
        is_begun: false,
        indenter: wish.pretty.then(Indenter::default),
        _room: room,
    };
    let mut answer = Response::new(Body::from_stream(stream::iter(pieces)));
    answer.headers_mut().insert(CONTENT_TYPE, answer::JSON);
    answer
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        // Nothing is left to say after the latest timestamp.
        self.latest.as_ref()?;
        Some(self.piece().map(Bytes::from))
    }
}

impl Pieces {
    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::with_capacity(POINTS_OF_A_PIECE * 64);
        for point in self.points.by_ref().take(POINTS_OF_A_PIECE) {
            let before = if self.is_begun { "," } else { "{\"metrics\":[" };
            self.is_begun = true;
            piece.extend_from_slice(before.as_bytes());
            serde_json::to_writer(&mut piece, &SeriesPoint::from(point))?;
        }
        if self.points.len() == 0
            && let Some(latest) = self.latest.take()
        {
            piece.extend_from_slice(b"],\"latestTimestamp\":");
            serde_json::to_writer(&mut piece, &latest)?;
            piece.push(b'}');
        }
        let Some(indenter) = &mut self.indenter else { return Ok(piece) };
        let mut indented = Vec::with_capacity(piece.len() * 2);
        indenter.push(&piece, &mut indented);
        Ok(indented)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tally_proto::tick::Tick;

    use super::*;
    use crate::query::Value;

    fn points(count: usize) -> Vec<Point> {
        let value =
            |at: u64| if at.is_multiple_of(2) { Value::Integer(7) } else { Value::Float(0.5) };
        let ticks = (0..count).map(|at| u64::try_from(at).unwrap());
        ticks.map(|at| Point { at: Tick(at), value: value(at) }).collect()
    }

    async fn body(wish: Wish, count: usize) -> Bytes {
        answer(wish, points(count), None).into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn the_pieces_together_are_what_a_short_answer_would_be() {
        let compact = Wish { json: true, pretty: false };
        for count in [0, 1, POINTS_OF_A_PIECE, POINTS_OF_A_PIECE + 1, POINTS_OF_A_PIECE * 2] {
            let whole = serde_json::to_vec(&Series::from(points(count))).unwrap();
            assert!(body(compact, count).await == whole, "{count} points");
        }
    }

    #[tokio::test]
    async fn a_long_answer_can_be_indented() {
        let pretty = Wish { json: true, pretty: true };
        let whole = serde_json::to_value(Series::from(points(5000))).unwrap();
        let body = body(pretty, 5000).await;
        assert!(body.starts_with(b"{\n  \"metrics\": [\n    {\n      \"timestamp\""));
        assert!(serde_json::from_slice::<serde_json::Value>(&body).unwrap() == whole);
    }
}
