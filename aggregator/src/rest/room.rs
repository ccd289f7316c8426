//! Room for long answers: how many are made at once, and how many bytes of them wait for slow
//! clients. Without it a thousand clients that ask for every name and do not read would hold a
//! thousand copies of the list.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, to_bytes},
    response::Response,
};
use bytes::Bytes;
use http::StatusCode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::answer::{self, Wish};

/// Long answers that are made at once. The longest list takes some ten milliseconds.
const MAKERS: usize = 4;

/// Bytes of long answers that wait to be read, in KiB: 256 MiB. The list of all names of 95,000
/// entities has 8 MiB.
const WAITING_KIB: u32 = 256 << 10;

/// How long a question waits for room before it is refused.
const WAIT: Duration = Duration::from_secs(5);

/// The room for long answers.
#[derive(Clone, Debug)]
pub(super) struct Room {
    makers: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// Bytes of an answer and the room they take, until they are sent.
struct Held {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Room {
    /// All of it is free.
    pub(super) fn new() -> Self {
        let waiting = Semaphore::new(kib(WAITING_KIB));
        Self { makers: Arc::new(Semaphore::new(MAKERS)), waiting: Arc::new(waiting) }
    }

    /// Makes an answer on a blocking thread when there is room; 503 when there is none for long.
    pub(super) async fn answer(
        &self,
        wish: Wish,
        make: impl FnOnce() -> Response + Send + 'static,
    ) -> Response {
        let made = async {
            let maker = Arc::clone(&self.makers).acquire_owned().await.ok()?;
            // The work goes on when nobody waits for it any more, so it keeps its place itself.
            let (made, _maker) = spawn_blocking(move || (make(), maker)).await.ok()?;
            self.hold(made).await
        };
        match timeout(WAIT, made).await {
            Ok(Some(answer)) => answer,
            Ok(None) => failed(wish),
            Err(_) => answer::refused(wish, "too many long answers are under way"),
        }
    }

    /// Waits for room for an answer's bytes.
    pub(super) async fn hold(&self, made: Response) -> Option<Response> {
        let (head, body) = made.into_parts();
        // The whole body is there already, so nothing is copied and nothing waited for.
        let bytes = to_bytes(body, usize::MAX).await.ok()?;
        let _room = self.take(bytes.len()).await?;
        Some(Response::from_parts(head, Body::from(Bytes::from_owner(Held { bytes, _room }))))
    }

    /// Waits for room for so many bytes. What is larger than all room waits for all of it.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        Arc::clone(&self.waiting).acquire_many_owned(size).await.ok()
    }
}

fn failed(wish: Wish) -> Response {
    let message = "the server is stopping or failed to make this answer";
    answer::failure(wish, StatusCode::INTERNAL_SERVER_ERROR, message)
}

fn kib(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const WISH: Wish = Wish { json: true, pretty: false };

    #[tokio::test]
    async fn an_answer_takes_its_room_until_its_bytes_are_gone() {
        let room = Room::new();
        let make = || answer::text(StatusCode::OK, "x".repeat(5000));
        let answer = room.answer(WISH, make).await;
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!((bytes.len(), room.waiting.available_permits()), (5000, kib(WAITING_KIB) - 5));
        drop(bytes);
        assert_eq!(room.waiting.available_permits(), kib(WAITING_KIB));
    }

    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_place() {
        let room = Room::new();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let make = move || {
            wait.recv().ok();
            answer::text(StatusCode::OK, "late")
        };
        assert!(timeout(Duration::from_millis(1), room.answer(WISH, make)).await.is_err());
        assert_eq!(room.makers.available_permits(), MAKERS - 1);
        go.send(()).unwrap();
        let all = u32::try_from(MAKERS).unwrap();
        assert!(room.makers.acquire_many(all).await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_that_is_larger_than_all_room_waits_for_all_of_it() {
        let room = Room::new();
        let long = "x".repeat(kib(WAITING_KIB + 1) * 1024);
        let answer = room.answer(WISH, || answer::text(StatusCode::OK, long)).await;
        assert_eq!((answer.status(), room.waiting.available_permits()), (StatusCode::OK, 0));
    }
}
