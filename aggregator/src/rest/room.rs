//! Room for long answers: how many are made at once, and how many bytes of them wait for slow
//! clients. Without it a thousand clients that ask for every name and do not read would hold a
//! thousand copies of the list.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    answer::{self, Wish},
    pieces::Pieces,
};

/// Long answers that are made at once. The longest list takes some ten milliseconds.
const MAKERS: usize = 4;

/// Bytes of long answers that wait to be read, in KiB: 256 MiB. The list of all names of 95,000
/// entities has 8 MiB.
const WAITING_KIB: u32 = 256 << 10;

/// How long a question waits for room before it is refused.
const WAIT: Duration = Duration::from_secs(5);

/// What is said when there was no room for long.
pub(super) const BUSY: &str = "too many long answers are under way";

/// What is said when an answer could not be made.
pub(super) const FAILED: &str = "the server is stopping or failed to make this answer";

/// Why an answer was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// There was no room for long.
    Busy,
    /// The server is stopping, or it failed.
    Failed,
}

/// The room for long answers.
#[derive(Clone, Debug)]
pub(super) struct Room {
    makers: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
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
        let made = async { self.hold(self.made(make).await?).await };
        match in_time(made).await {
            Ok(answer) => answer,
            Err(NoRoom::Failed) => failed(wish),
            Err(NoRoom::Busy) => answer::refused(wish, BUSY),
        }
    }

    /// Makes what an answer will be written from, on a blocking thread when there is room, with the
    /// room that its `bytes` take.
    pub(super) async fn make<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<(T, OwnedSemaphorePermit), NoRoom> {
        let made = async {
            let made = self.made(make).await?;
            let room = self.take(bytes(&made)).await?;
            Some((made, room))
        };
        in_time(made).await
    }

    async fn made<T: Send + 'static>(
        &self,
        make: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let maker = Arc::clone(&self.makers).acquire_owned().await.ok()?;
        // The work goes on when nobody waits for it any more, so it keeps its place itself.
        let (made, _maker) = spawn_blocking(move || (make(), maker)).await.ok()?;
        Some(made)
    }

    /// Waits for room for an answer's bytes.
    pub(super) async fn hold(&self, made: Response) -> Option<Response> {
        let (head, mut body) = made.into_parts();
        let mut pieces = Vec::new();
        // The whole body is there already, so nothing is copied and nothing waited for.
        while let Some(frame) = body.frame().await {
            pieces.extend(frame.ok()?.into_data());
        }
        let pieces = Pieces::new(pieces);
        let room = self.take(pieces.bytes()).await?;
        Some(Response::from_parts(head, Body::new(pieces.in_room(room))))
    }

    /// Waits for room for so many bytes. What is larger than all room waits for all of it.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(WAITING_KIB);
        Arc::clone(&self.waiting).acquire_many_owned(size).await.ok()
    }
}

async fn in_time<T>(made: impl Future<Output = Option<T>>) -> Result<T, NoRoom> {
    let made = timeout(WAIT, made).await.map_err(|_| NoRoom::Busy)?;
    made.ok_or(NoRoom::Failed)
}

fn failed(wish: Wish) -> Response {
    answer::failure(wish, StatusCode::INTERNAL_SERVER_ERROR, FAILED)
}

fn kib(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WISH: Wish = Wish { json: true, pretty: false };

    #[tokio::test]
    async fn an_answer_takes_its_room_until_its_bytes_are_gone() {
        let room = Room::new();
        let make = || answer::text(StatusCode::OK, "x".repeat(5000));
        let answer = room.answer(WISH, make).await;
        let mut body = answer.into_body();
        let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!((bytes.len(), room.waiting.available_permits()), (5000, kib(WAITING_KIB) - 5));
        drop(body);
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
