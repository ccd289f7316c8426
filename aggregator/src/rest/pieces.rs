//! An answer of known length, in pieces that need not be copied into one.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The pieces of a body, whose length is known.
pub(super) struct Pieces {
    left: Box<dyn Iterator<Item = Bytes> + Send>,
    bytes: usize,
    /// What they take, until the last is sent.
    _room: Option<OwnedSemaphorePermit>,
}

impl Pieces {
    /// Pieces that together are the body.
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let bytes = pieces.iter().map(Bytes::len).sum();
        Self::as_taken(bytes, pieces.into_iter())
    }

    /// Pieces of so many `bytes` together, which are made when the one before is on its way.
    pub(super) fn as_taken(
        bytes: usize,
        pieces: impl Iterator<Item = Bytes> + Send + 'static,
    ) -> Self {
        Self { left: Box::new(pieces), bytes, _room: None }
    }

    /// The same, which takes `room`.
    pub(super) fn in_room(self, room: OwnedSemaphorePermit) -> Self {
        Self { _room: Some(room), ..self }
    }

    /// Bytes that are not sent yet.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pieces").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.left.find(|piece| !piece.is_empty());
        self.bytes = self.bytes.saturating_sub(piece.as_ref().map_or(0, Bytes::len));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.bytes).unwrap_or(u64::MAX))
    }
}
