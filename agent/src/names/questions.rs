//! Which containers are asked about, when, and when it is given up.
//!
//! A container is declared by its name from its first sample on, so it waits for the answer. It does
//! not wait where nobody can be asked, nor for longer than [`PATIENCE`]: then it is measured under its
//! id. Nobody to ask is no lasting state: as long as a container of that kind is there without a name
//! it is tried again, ever more seldom, and whoever is named then changes its name.
//!
//! A runtime may not know a container whose cgroup is there already: containerd lists a sandbox only
//! once it runs. So one that is unknown is soon asked about again.

use std::{collections::HashMap, time::Duration};

use tally_proto::name::ContainerId;

use super::{Api, Called};
use crate::backoff::{Backoff, Policy};

/// How long a runtime that answers may not know a container: many times what the slowest needs.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The pause before an unknown container is asked about again; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How often it is tried to name what has no name because nobody could be asked.
const LATE: Policy = Policy {
    floor: Duration::from_secs(1),
    first: Duration::from_secs(2),
    ceiling: Duration::from_secs(60),
};

/// What is known of a container's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is asked for.
    Wait,
    /// This.
    Called(Called),
    /// Nobody knows.
    Unknown,
}

/// Whom one round of asking reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Sockets that answered.
    pub answered: usize,
    /// Sockets that are there and did not answer.
    pub failed: usize,
}

/// What one round of asking found out.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// Names by id; those that nobody asked for are passed over.
    pub called: HashMap<ContainerId, Called>,
    /// Whom it reached by CRI.
    pub cri: Reach,
    /// Whom it reached by Docker's API.
    pub docker: Reach,
}

#[derive(Debug)]
struct Question {
    api: Api,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It was not asked yet.
    New,
    /// Nobody knew at `at`; it is asked again after `pause`.
    Again { since: Duration, at: Duration, pause: Duration },
    /// Answered, and not yet fetched.
    Answered(Called),
    /// Nobody knows; whether it is asked again later.
    GivenUp { is_late: bool },
    /// It is measured without a name, because nobody could be asked.
    Late,
}

/// All questions. There are as many as containers that wait or have no name.
#[derive(Debug)]
pub struct Questions {
    open: HashMap<ContainerId, Question>,
    called_late: Vec<(ContainerId, Called)>,
    late: Backoff,
    late_at: Duration,
}

impl Default for Questions {
    fn default() -> Self {
        Self {
            open: HashMap::new(),
            called_late: Vec::new(),
            late: Backoff::new(LATE),
            late_at: Duration::ZERO,
        }
    }
}

impl Questions {
    /// What is known of a container. The first time makes a question of it.
    pub fn ask(&mut self, id: &ContainerId, api: Api) -> Answer {
        let Some(question) = self.open.get_mut(id) else {
            self.open.insert(id.clone(), Question { api, state: State::New });
            return Answer::Wait;
        };
        match std::mem::replace(&mut question.state, State::Late) {
            waiting @ (State::New | State::Again { .. }) => {
                question.state = waiting;
                Answer::Wait
            }
            State::Answered(called) => {
                self.open.remove(id);
                Answer::Called(called)
            }
            State::GivenUp { is_late: false } => {
                self.open.remove(id);
                Answer::Unknown
            }
            State::GivenUp { is_late: true } | State::Late => Answer::Unknown,
        }
    }

    /// A container is gone.
    pub fn forget(&mut self, id: &ContainerId) {
        self.open.remove(id);
    }

    /// Whether anything was not asked yet.
    pub fn has_new(&self) -> bool {
        self.open.values().any(|question| matches!(question.state, State::New))
    }

    /// What is to be asked now.
    pub fn due(&self, now: Duration) -> Vec<(ContainerId, Api)> {
        let is_due = |question: &Question| match question.state {
            State::New => true,
            State::Again { at, .. } => at <= now,
            State::Late => self.late_at <= now,
            State::Answered(_) | State::GivenUp { .. } => false,
        };
        let due = self.open.iter().filter(|(_, question)| is_due(question));
        due.map(|(id, question)| (id.clone(), question.api)).collect()
    }

    /// When the next is due though no container is new before.
    pub fn wake_at(&self) -> Option<Duration> {
        let times = self.open.values().filter_map(|question| match question.state {
            State::New => Some(Duration::ZERO),
            State::Again { at, .. } => Some(at),
            State::Late => Some(self.late_at),
            State::Answered(_) | State::GivenUp { .. } => None,
        });
        times.min()
    }

    /// Takes what was found out about `asked`. `random` is any number, evenly distributed.
    pub fn answer(
        &mut self,
        now: Duration,
        asked: &[(ContainerId, Api)],
        mut round: Round,
        random: u64,
    ) {
        for (id, api) in asked {
            let Some(question) = self.open.get_mut(id) else { continue };
            let reach = if *api == Api::Cri { round.cri } else { round.docker };
            let called = round.called.remove(id);
            match (&question.state, called) {
                (State::Late, Some(called)) => {
                    self.open.remove(id);
                    self.called_late.push((id.clone(), called));
                }
                (State::Late, None) if 0 < reach.answered && reach.failed == 0 => {
                    self.open.remove(id);
                }
                (State::Late, None) => (),
                (_, Some(called)) => question.state = State::Answered(called),
                (state, None) => question.state = state.unanswered(now, reach),
            }
        }
        let is_late = |question: &Question| {
            matches!(question.state, State::Late | State::GivenUp { is_late: true })
        };
        if !self.open.values().any(is_late) {
            self.late.reset();
        } else if self.late_at <= now {
            self.late_at = now + self.late.failed(random);
        }
    }

    /// Names of containers that were said to be unknown.
    pub fn take_late(&mut self) -> Vec<(ContainerId, Called)> {
        std::mem::take(&mut self.called_late)
    }
}

impl State {
    fn unanswered(&self, now: Duration, reach: Reach) -> Self {
        if reach.answered == 0 {
            return Self::GivenUp { is_late: true };
        }
        let (since, pause) = match self {
            Self::Again { since, pause, .. } => (*since, *pause * 2),
            _ => (now, FIRST_PAUSE),
        };
        if PATIENCE <= now.saturating_sub(since) {
            return Self::GivenUp { is_late: 0 < reach.failed };
        }
        Self::Again { since, at: now + pause, pause }
    }
}

#[cfg(test)]
mod tests;
