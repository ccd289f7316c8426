//! Asks the container runtimes over their sockets what containers are called, and (in [`layers`]) what they
//! have on disk.
//!
//! A round connects, asks about everything that is due and leaves: nothing is held between rounds, so a
//! socket that dies, returns or appears needs no care, and a host in which nothing begins costs nothing.
//! A socket that refuses is tried again whenever somebody is due, because a new container says that its
//! runtime is back; one that does not answer in time is left alone for a while.

mod cri;
mod docker;
pub mod layers;
mod sockets;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use tally_proto::name::ContainerId;
use tokio::{
    net::UnixStream,
    time::{Instant, timeout},
};
use tracing::{debug, info, warn};

pub use self::sockets::Places;
use crate::{
    backoff::{Backoff, Policy},
    inquiry::Inbox,
    names::{
        Api, Called,
        questions::{Reach, Round},
    },
    telemetry::chain,
};

/// How long one socket may take for a round.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Bytes of one answer: as many as the kubelet takes.
const ANSWER_BYTES: usize = 16 << 20;

/// Containers that are asked for one by one; of more everything is listed.
const ONE_BY_ONE_MAX: usize = 4;

/// How long a socket that does not answer is left alone.
const REST: Policy = Policy {
    floor: Duration::from_secs(1),
    first: Duration::from_secs(2),
    ceiling: Duration::from_secs(300),
};

/// Whom to ask.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the host's root directory is seen.
    pub host_root: PathBuf,
    /// Sockets of runtimes that speak CRI.
    pub cri: Places,
    /// Sockets of Docker and podman.
    pub docker: Places,
    /// Any number, evenly distributed.
    pub random: fn() -> u64,
}

/// A socket that gave no names.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// Nobody listens, or we may not open it.
    #[error("cannot connect")]
    Dead(#[source] io::Error),
    /// It takes too long.
    #[error("no answer within {} s", ANSWER_WITHIN.as_secs())]
    Late,
    /// It does not speak CRI, or refuses.
    #[error("it does not answer by CRI")]
    Cri(#[from] cri::CriError),
    /// It does not speak Docker's API, or refuses.
    #[error("it does not answer by Docker's API")]
    Docker(#[from] docker::DockerError),
}

/// What is known of one socket.
#[derive(Debug)]
struct Socket {
    /// The version of CRI that it speaks, once that is known.
    version: Option<cri::Version>,
    backoff: Backoff,
    /// Not before this is it asked again.
    rests_until: Option<Instant>,
    /// How it went the last time; each change is logged.
    answered: Option<bool>,
}

/// Answers the questions of the inbox until it is dropped.
pub async fn run(inbox: Inbox, options: Options) {
    let began = Instant::now();
    let mut asking = Asking { options, sockets: BTreeMap::new() };
    loop {
        let due = inbox.next(|| began.elapsed()).await;
        let round = asking.round(&due).await;
        inbox.answer(began.elapsed(), &due, round, (asking.options.random)());
    }
}

struct Asking {
    options: Options,
    sockets: BTreeMap<PathBuf, Socket>,
}

impl Asking {
    async fn round(&mut self, due: &[(ContainerId, Api)]) -> Round {
        let mut round = Round::default();
        for api in [Api::Cri, Api::Docker] {
            let mut wanted: Vec<ContainerId> =
                due.iter().filter(|(_, of)| *of == api).map(|(id, _)| id.clone()).collect();
            if wanted.is_empty() {
                continue;
            }
            let places = match api {
                Api::Cri => &self.options.cri,
                Api::Docker => &self.options.docker,
            };
            let mut reach = Reach::default();
            for path in places.find(api, &self.options.host_root) {
                if wanted.is_empty() {
                    break;
                }
                let socket = self.sockets.entry(path.clone()).or_insert_with(Socket::new);
                match socket.ask(&path, api, &wanted, self.options.random).await {
                    Some(called) => {
                        reach.answered += 1;
                        wanted.retain(|id| !called.contains_key(id));
                        round.called.extend(called);
                    }
                    None => reach.failed += 1,
                }
            }
            match api {
                Api::Cri => round.cri = reach,
                Api::Docker => round.docker = reach,
            }
        }
        round
    }
}

impl Socket {
    fn new() -> Self {
        Self { version: None, backoff: Backoff::new(REST), rests_until: None, answered: None }
    }

    /// `None` when it gave no answer.
    async fn ask(
        &mut self,
        path: &Path,
        api: Api,
        wanted: &[ContainerId],
        random: fn() -> u64,
    ) -> Option<HashMap<ContainerId, Called>> {
        if self.rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let answer = timeout(ANSWER_WITHIN, self.exchange(path, api, wanted)).await;
        match answer.unwrap_or(Err(AskError::Late)) {
            Ok(names) => {
                if self.answered != Some(true) {
                    info!(socket = %path.display(), "this runtime names its containers");
                }
                self.answered = Some(true);
                self.rests_until = None;
                self.backoff.reset();
                Some(names)
            }
            Err(error) => {
                self.failed(path, &error, random());
                None
            }
        }
    }

    async fn exchange(
        &mut self,
        path: &Path,
        api: Api,
        wanted: &[ContainerId],
    ) -> Result<HashMap<ContainerId, Called>, AskError> {
        let stream = UnixStream::connect(path).await.map_err(AskError::Dead)?;
        let wanted = if wanted.len() <= ONE_BY_ONE_MAX { wanted } else { &[] };
        match api {
            Api::Cri => Ok(cri::ask(stream, &mut self.version, wanted).await?),
            Api::Docker => Ok(docker::ask(stream, wanted).await?),
        }
    }

    fn failed(&mut self, path: &Path, error: &AskError, random: u64) {
        let reason = chain(error);
        match self.answered {
            Some(true) => {
                warn!(socket = %path.display(), %reason, "this runtime names nobody any more");
            }
            None => info!(socket = %path.display(), %reason, "this socket gives no names"),
            Some(false) => debug!(socket = %path.display(), %reason, "this socket gives no names"),
        }
        self.answered = Some(false);
        // Another version may listen when it is back.
        self.version = None;
        if !matches!(error, AskError::Dead(_)) {
            self.rests_until = Some(Instant::now() + self.backoff.failed(random));
        }
    }
}

#[cfg(test)]
mod tests;
