//! Answers the questions under /api/v1/historical.
//!
//! They read files, so they are worked out on blocking threads, a few at a time, and each for a
//! limited time: whoever asks for much waits for others that do, and nobody else notices. Work
//! that nobody waits for any more stops at its next read.

mod work;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::response::Response;
use http::StatusCode;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use self::work::{Made, Work};
use super::{
    answer::{self, Wish},
    api::Asked,
    points,
    room::Room,
    route::past::PastQuestion,
};
use crate::{
    query::past::{Past, PastError, PastState, Stop},
    self_metrics::{HistoryCounts, Refusal},
    telemetry::chain,
};

/// Questions that are worked out at once. One may take some 250 MB while it is.
const QUESTIONS: usize = 3;

/// How long one more waits for its turn before it is refused.
const WAIT: Duration = Duration::from_secs(5);

/// How long a question may be worked out. A year of one series at 15 s takes some seconds.
const LONGEST: Duration = Duration::from_secs(20);

const OFF: &str = "history is off; start the aggregator with --history-dir";
const OPENING: &str = "history is being read back after a start";
const BUSY: &str = "too many questions to history are under way";
const TOO_LONG: &str =
    "no answer within 20 s; a shorter range, fewer pods or larger buckets take less time";
const FULL: &str = "too many long answers are waiting to be read";

/// Different faults that are remembered as said.
const FAULTS_SAID: usize = 100;

/// Answers from history, if there is one.
#[derive(Debug)]
pub(super) struct History {
    past: Past,
    places: Arc<Semaphore>,
    counts: HistoryCounts,
    said: Mutex<BTreeSet<String>>,
}

/// Why a question got no answer.
#[derive(Debug)]
enum Refused {
    /// No place in time.
    Busy,
    /// No answer in time.
    TooLong,
    /// Nothing will be answered any more.
    Stopping,
    /// History says why.
    Past(PastError),
}

/// Stops the work when nobody waits for it any more.
struct Waiting(Stop);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl History {
    /// Answers from `past`.
    pub(super) fn new(past: Past, counts: HistoryCounts) -> Self {
        let places = Arc::new(Semaphore::new(QUESTIONS));
        Self { past, places, counts, said: Mutex::default() }
    }

    /// What every path below /api/v1/historical is answered with where there is no history.
    pub(super) fn off(&self, wish: Wish) -> Option<Response> {
        let is_off = matches!(self.past.state(), PastState::Off);
        is_off.then(|| answer::failure(wish, StatusCode::NOT_FOUND, OFF))
    }

    /// Answers `question`.
    pub(super) async fn answer(&self, question: PastQuestion, asked: Asked<'_>) -> Response {
        let Asked { wish, parameters, now, room, .. } = asked;
        let queries = match self.past.state() {
            PastState::Off => return answer::failure(wish, StatusCode::NOT_FOUND, OFF),
            PastState::Opening => return self.later(wish, "opening", OPENING),
            PastState::Open(queries) => queries,
        };
        let work = match Work::of(question, parameters, now) {
            Ok(work) => work,
            Err(bad) => return answer::failure(wish, StatusCode::BAD_REQUEST, &bad.to_string()),
        };
        self.counts.questions.inc();
        match self.ask(LONGEST, move |stop| work.answer(wish, &queries, stop)).await {
            Ok(made) => self.sent(wish, made, room).await,
            Err(refused) => self.refused(wish, &refused),
        }
    }

    /// Does `work` when there is a place for it, for as long as somebody waits.
    async fn ask<T: Send + 'static>(
        &self,
        longest: Duration,
        work: impl FnOnce(&Stop) -> Result<T, PastError> + Send + 'static,
    ) -> Result<T, Refused> {
        let place = self.place(WAIT).await.ok_or(Refused::Busy)?;
        let waiting = Waiting(Stop::default());
        let stop = waiting.0.clone();
        let work = spawn_blocking(move || {
            let made = work(&stop);
            // Work that goes on when nobody waits for it any more keeps its place.
            drop(place);
            made
        });
        match timeout(longest, work).await {
            Ok(Ok(made)) => made.map_err(Refused::Past),
            Ok(Err(_)) => Err(Refused::Stopping),
            Err(_) => Err(Refused::TooLong),
        }
    }

    async fn place(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(wait, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    /// Sends what was made when there is room for it to wait for its client.
    async fn sent(&self, wish: Wish, made: Made, room: &Room) -> Response {
        let held = async {
            match made {
                Made::Whole(answer) => room.hold(answer).await,
                Made::Points(points) => {
                    let room = room.take(size_of_val(points.as_slice())).await?;
                    Some(points::answer(wish, points, Some(room)))
                }
            }
        };
        match timeout(WAIT, held).await {
            Ok(Some(answer)) => answer,
            Ok(None) => self.refused(wish, &Refused::Stopping),
            Err(_) => self.later(wish, "full", FULL),
        }
    }

    fn refused(&self, wish: Wish, refused: &Refused) -> Response {
        match refused {
            Refused::Busy => self.later(wish, "busy", BUSY),
            Refused::TooLong | Refused::Past(PastError::Stopped) => {
                self.later(wish, "too_long", TOO_LONG)
            }
            Refused::Stopping => {
                let message = "the server is stopping or failed to make this answer";
                answer::failure(wish, StatusCode::INTERNAL_SERVER_ERROR, message)
            }
            Refused::Past(large @ (PastError::TooLarge { .. } | PastError::TooMuch(_))) => {
                self.count("too_much");
                answer::failure(wish, StatusCode::BAD_REQUEST, &large.to_string())
            }
            Refused::Past(fault @ PastError::Fault(_)) => {
                self.count("fault");
                let fault = chain(fault);
                self.say(&fault);
                answer::failure(wish, StatusCode::INTERNAL_SERVER_ERROR, &fault)
            }
        }
    }

    fn later(&self, wish: Wish, reason: &'static str, why: &str) -> Response {
        self.count(reason);
        answer::refused(wish, why)
    }

    fn count(&self, reason: &'static str) {
        self.counts.refused.get_or_create(&Refusal { reason }).inc();
    }

    /// Logs a fault once: who asks every minute says nothing new.
    fn say(&self, fault: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < FAULTS_SAID && said.insert(fault.to_owned()) {
            tracing::error!(fault, "a question to history was answered with an error");
        }
    }
}

#[cfg(test)]
mod tests;
