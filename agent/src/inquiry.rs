//! The way between the sampling thread, which meets new containers, and whoever asks the runtimes.
//!
//! The sampling thread asks for nothing but what it has not met before, and waits for a bounded time
//! only, so a runtime that hangs delays one reading and no more. Without new containers neither side
//! does anything.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tally_proto::name::ContainerId;
use tokio::{sync::Notify, time::timeout};

use crate::names::{
    Api, Called,
    questions::{Answer, Questions, Round},
};

#[derive(Debug, Default)]
struct Shared {
    questions: Mutex<State>,
    answered: Condvar,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    questions: Questions,
    /// Nobody answers any more.
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the other side ends the program; until then what is there is whole.
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sampling thread's end.
#[derive(Debug)]
pub struct Inquiry(Arc<Shared>);

/// The end of whoever asks the runtimes.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

/// Both ends.
pub fn inquiry() -> (Inquiry, Inbox) {
    let shared = Arc::new(Shared::default());
    (Inquiry(Arc::clone(&shared)), Inbox(shared))
}

impl Inquiry {
    /// What is known of a container. The first time makes a question of it.
    pub fn ask(&self, id: &ContainerId, api: Api) -> Answer {
        let mut state = self.0.lock();
        if state.is_closed {
            return Answer::Unknown;
        }
        let answer = state.questions.ask(id, api);
        // Of one that stays without a name the time is to be waited for at which it is asked again.
        self.0.asked.notify_one();
        answer
    }

    /// Waits until every question was asked once, at most for so long.
    pub fn wait(&self, most: Duration) {
        let is_open = |state: &mut State| !state.is_closed && state.questions.has_new();
        // Whether it was in time shows in the answers.
        drop(self.0.answered.wait_timeout_while(self.0.lock(), most, is_open));
    }

    /// A container is gone.
    pub fn forget(&self, id: &ContainerId) {
        self.0.lock().questions.forget(id);
    }

    /// Names of containers that were said to be unknown.
    pub fn take_late(&self) -> Vec<(ContainerId, Called)> {
        self.0.lock().questions.take_late()
    }
}

impl Inbox {
    /// Waits for the next questions. `now` tells the time since an instant that stays the same.
    pub async fn next(&self, now: impl Fn() -> Duration) -> Vec<(ContainerId, Api)> {
        loop {
            let due = self.due(now());
            if !due.is_empty() {
                return due;
            }
            let asked = self.0.asked.notified();
            let wake_at = self.0.lock().questions.wake_at();
            match wake_at {
                None => asked.await,
                Some(at) => drop(timeout(at.saturating_sub(now()), asked).await),
            }
        }
    }

    /// What is to be asked now.
    pub fn due(&self, now: Duration) -> Vec<(ContainerId, Api)> {
        self.0.lock().questions.due(now)
    }

    /// Answers them.
    pub fn answer(&self, now: Duration, asked: &[(ContainerId, Api)], round: Round, random: u64) {
        self.0.lock().questions.answer(now, asked, round, random);
        self.0.answered.notify_all();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.answered.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, thread};

    use tally_proto::name::ContainerName;
    use tokio::time::Instant;

    use super::*;
    use crate::names::questions::Reach;

    fn id() -> ContainerId {
        ContainerId::parse("a").unwrap()
    }

    fn web() -> Called {
        Called::Free { name: ContainerName::parse("web").unwrap(), image: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_wakes_who_answers_and_an_answer_who_waits() {
        let (inquiry, inbox) = inquiry();
        let sampling = thread::spawn(move || {
            assert_eq!(inquiry.ask(&id(), Api::Docker), Answer::Wait);
            inquiry.wait(Duration::from_secs(60));
            inquiry.ask(&id(), Api::Docker)
        });
        let due = inbox.next(|| Duration::ZERO).await;
        let reach = Reach { answered: 1, failed: 0 };
        let called = HashMap::from([(id(), web())]);
        let round = Round { called, docker: reach, ..Round::default() };
        inbox.answer(Duration::ZERO, &due, round, 0);
        assert_eq!(sampling.join().unwrap(), Answer::Called(web()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_stays_without_a_name_is_asked_about_again() {
        let (inquiry, inbox) = inquiry();
        let began = Instant::now();
        let elapsed = || began.elapsed();
        inquiry.ask(&id(), Api::Cri);
        let due = inbox.next(elapsed).await;
        inbox.answer(elapsed(), &due, Round::default(), 0);
        let gives_up = async {
            tokio::task::yield_now().await;
            assert_eq!(inquiry.ask(&id(), Api::Cri), Answer::Unknown);
        };
        let again = timeout(Duration::from_secs(600), inbox.next(elapsed));
        let (due, ()) = tokio::join!(again, gives_up);
        assert_eq!(due.unwrap(), [(id(), Api::Cri)]);
        assert!(Duration::from_secs(1) <= elapsed());
    }

    #[test]
    fn a_wait_has_an_end() {
        let (inquiry, _inbox) = inquiry();
        inquiry.wait(Duration::from_secs(60));
        inquiry.ask(&id(), Api::Cri);
        inquiry.wait(Duration::from_millis(1));
        assert_eq!(inquiry.ask(&id(), Api::Cri), Answer::Wait);
    }

    #[test]
    fn without_anybody_who_answers_nobody_waits() {
        let (inquiry, inbox) = inquiry();
        inquiry.ask(&id(), Api::Cri);
        drop(inbox);
        inquiry.wait(Duration::from_secs(60));
        assert_eq!(inquiry.ask(&id(), Api::Cri), Answer::Unknown);
    }
}
