//! What happens: everything works, then one thing after the other breaks and is mended again, and in
//! the end everything works. Several things may be broken at once.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use tally_proto::tick::{Tick, UnixMs};
use tokio::time::{Instant, sleep};

use super::{
    daemon::{Daemon, State},
    diary::{Broken, Diary, Happened},
    network::{Cut, Network, Side},
    past::{Expected, Past, Report},
    witness::Witness,
};
use crate::swarm::random::Random;

/// What the node is called.
pub const NODE: &str = "partitioned";

const GRPC: u16 = 8083;
const REST: u16 = 8082;

/// Before anything breaks, so that there is something to go on from.
const CALM: Duration = Duration::from_secs(3);

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// How long everything may take to be in history once nothing is broken: a dead stream is noticed
/// after 30 s, and a connection is tried again after 30 s at most.
const HEALING: Duration = Duration::from_secs(120);

/// Ticks that must be there after all healed, so that the present works too.
const AFTERWARDS: u64 = 3;

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The agent.
    pub agent: PathBuf,
    /// The aggregator.
    pub aggregator: PathBuf,
    /// Decides what breaks when.
    pub seed: u64,
    /// For how long things break.
    pub lasting: Duration,
    /// Where everything is put; must be empty.
    pub directory: PathBuf,
}

/// What can break. Each is whole or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Link,
    Agent,
    Aggregator,
}

/// How it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Cut(Cut),
    Killed(Side),
    Stopped(Side),
}

/// What breaks, in random order, and then all of it again: the agent less often than what it
/// delivers to, because it reads nothing meanwhile.
const TROUBLES: [Trouble; 10] = [
    Trouble::Cut(Cut::Down),
    Trouble::Cut(Cut::Down),
    Trouble::Cut(Cut::Silent),
    Trouble::Cut(Cut::Silent),
    Trouble::Killed(Side::Agent),
    Trouble::Killed(Side::Aggregator),
    Trouble::Killed(Side::Aggregator),
    Trouble::Stopped(Side::Agent),
    Trouble::Stopped(Side::Aggregator),
    Trouble::Stopped(Side::Aggregator),
];

impl Trouble {
    fn part(self) -> Part {
        match self {
            Self::Cut(_) => Part::Link,
            Self::Killed(Side::Agent) | Self::Stopped(Side::Agent) => Part::Agent,
            Self::Killed(Side::Aggregator) | Self::Stopped(Side::Aggregator) => Part::Aggregator,
        }
    }
}

/// Everything there is.
struct Stage<'a> {
    network: &'a Network,
    agent: Daemon,
    aggregator: Daemon,
    /// Since when the network is cut, the agent does not work, the aggregator stands still.
    cut: Option<UnixMs>,
    idle: Option<UnixMs>,
    still: Option<UnixMs>,
    happened: Happened,
    troubles: u32,
    say: fn(&str),
}

/// Plays everything and compares. The calling thread must be on the aggregator's side.
pub async fn play(plan: &Plan, network: &Network, say: fn(&str)) -> anyhow::Result<Report> {
    let mut stage = Stage::new(plan, network, say)?;
    stage.aggregator.start()?;
    let past = Past::new(&format!("http://{}", Network::at(REST)), NODE);
    stage.until_answering(&past).await?;
    stage.agent.start()?;
    let witness = Witness::begin()?;
    sleep(CALM).await;
    stage.disturb(&mut Random::new(plan.seed, 0), plan.lasting).await?;
    let healed = now();
    say("everything is mended");
    stage.settle(&past, healed).await?;
    let testimony = witness.end()?;
    let expected = stage.expected(Tick(seconds(healed)?))?;
    let mut report = past.examine(&expected, &testimony).await?;
    // What is open at a kill is closed for the next process, which makes columns of it.
    stage.aggregator.kill().await?;
    stage.aggregator.start()?;
    past.sealed(START).await?;
    past.is_still_so(&mut report).await?;
    say(&format!(
        "{} troubles; {} ticks read, {} of {} that may be lost are; {} skipped by the agent",
        stage.troubles,
        expected.diary.read.len(),
        report.lost,
        expected.may_be_lost.len(),
        expected.diary.skipped
    ));
    stage.agent.kill().await?;
    stage.aggregator.kill().await?;
    Ok(report)
}

impl<'a> Stage<'a> {
    fn new(plan: &Plan, network: &'a Network, say: fn(&str)) -> anyhow::Result<Self> {
        let at = |name: &str| plan.directory.join(name);
        let text = |path: PathBuf| path.into_os_string().into_string().ok();
        let folder = |name: &str| text(at(name)).context("the directory's name is no UTF-8");
        let aggregator = vec![
            format!("--grpc-listen={}", Network::at(GRPC)),
            format!("--rest-listen={}", Network::at(REST)),
            "--allow-plaintext-on-network".to_owned(),
            format!("--history-dir={}", folder("history")?),
            "--resolution=1s".to_owned(),
            // Segments of the journal become columns while things break.
            "--model-window=60s".to_owned(),
        ];
        let agent = vec![
            format!("--aggregator=http://{}", Network::at(GRPC)),
            format!("--spool-dir={}", folder("spool")?),
            format!("--node={NODE}"),
            "--resolution=1s".to_owned(),
            "--log=info,tally_agent::app::ticker=debug".to_owned(),
            "--log-format=json".to_owned(),
        ];
        let on =
            |side| vec!["nsenter".to_owned(), format!("--net={}", network.file(side).display())];
        let agent = Daemon::new(on(Side::Agent), &plan.agent, agent, at("agent"))?;
        let on = on(Side::Aggregator);
        let aggregator = Daemon::new(on, &plan.aggregator, aggregator, at("aggregator"))?;
        Ok(Self {
            network,
            agent,
            aggregator,
            cut: None,
            idle: None,
            still: None,
            happened: Happened::default(),
            troubles: 0,
            say,
        })
    }

    /// Breaks and mends for so long, and mends all that is broken then.
    async fn disturb(&mut self, random: &mut Random, lasting: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + lasting;
        let mut deck = Vec::new();
        while Instant::now() < until {
            sleep(Duration::from_millis(300 + random.below(2_700))).await;
            self.agent.check()?;
            self.aggregator.check()?;
            let broken = self.broken();
            let is_idle = broken.contains(&Part::Agent);
            if is_idle || !broken.is_empty() && random.percent(55) {
                let part = broken.get(random.place(broken.len())).copied();
                let part = part.filter(|_| !is_idle).unwrap_or(Part::Agent);
                self.mend(part, random.percent(30)).await?;
                continue;
            }
            if deck.is_empty() {
                deck = TROUBLES.to_vec();
            }
            let trouble = deck.swap_remove(random.place(deck.len()));
            if !broken.contains(&trouble.part()) {
                self.befall(trouble).await?;
            }
        }
        for part in self.broken() {
            self.mend(part, false).await?;
        }
        Ok(())
    }

    fn broken(&self) -> Vec<Part> {
        let mut broken = Vec::new();
        if self.cut.is_some() {
            broken.push(Part::Link);
        }
        if self.agent.state() != State::Runs {
            broken.push(Part::Agent);
        }
        if self.aggregator.state() != State::Runs {
            broken.push(Part::Aggregator);
        }
        broken
    }

    async fn befall(&mut self, trouble: Trouble) -> anyhow::Result<()> {
        (self.say)(&format!("{trouble:?}"));
        self.troubles += 1;
        let at = now();
        match trouble {
            Trouble::Cut(cut) => {
                self.network.cut(cut)?;
                self.cut = Some(at);
            }
            Trouble::Killed(Side::Agent) => {
                self.agent.kill().await?;
                self.happened.agent_kills.push(now());
                self.idle = Some(at);
            }
            Trouble::Stopped(Side::Agent) => {
                self.agent.stop()?;
                self.idle = Some(at);
            }
            Trouble::Killed(Side::Aggregator) => self.aggregator.kill().await?,
            Trouble::Stopped(Side::Aggregator) => {
                self.aggregator.stop()?;
                self.still = Some(at);
            }
        }
        Ok(())
    }

    /// Mends a part; a process that stands still may be killed first.
    async fn mend(&mut self, part: Part, is_hard: bool) -> anyhow::Result<()> {
        (self.say)(&format!("{part:?} is whole"));
        match part {
            Part::Link => {
                self.network.mend()?;
                end(&mut self.cut, &mut self.happened.unnoticed);
            }
            Part::Agent => {
                if is_hard && self.agent.state() == State::Stopped {
                    self.agent.kill().await?;
                    // It has done nothing since it was stopped.
                    self.happened.agent_kills.extend(self.idle);
                }
                revive(&mut self.agent)?;
                end(&mut self.idle, &mut self.happened.agent_idle);
            }
            Part::Aggregator => {
                if is_hard {
                    self.aggregator.kill().await?;
                }
                revive(&mut self.aggregator)?;
                end(&mut self.still, &mut self.happened.unnoticed);
            }
        }
        Ok(())
    }

    /// Waits until there are answers.
    async fn until_answering(&mut self, past: &Past) -> anyhow::Result<()> {
        let until = Instant::now() + START;
        while !past.is_answering().await {
            self.aggregator.check()?;
            ensure!(Instant::now() < until, "the aggregator does not answer within {START:?}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until all that was read is in history, and some of the present.
    async fn settle(&mut self, past: &Past, healed: UnixMs) -> anyhow::Result<()> {
        let began = Instant::now();
        let last = Tick(seconds(healed)? + AFTERWARDS);
        loop {
            sleep(Duration::from_secs(1)).await;
            self.agent.check()?;
            self.aggregator.check()?;
            let expected = self.expected(last)?;
            let missing = past.missing(&expected).await;
            if matches!(&missing, Ok(ticks) if ticks.is_empty())
                && expected.diary.read.contains(&last)
            {
                let took = began.elapsed().as_secs_f64();
                (self.say)(&format!("everything is in history after {took:.1} s"));
                return Ok(());
            }
            if HEALING <= began.elapsed() {
                // What is missing is told by who compares.
                let missing = missing?;
                (self.say)(&format!("after {HEALING:?} still missing: {missing:?}"));
                return Ok(());
            }
        }
    }

    /// What must be there, from the first tick to `last`.
    fn expected(&self, last: Tick) -> anyhow::Result<Expected> {
        let mut diary = Diary::default();
        for log in self.agent.logs() {
            diary.add(&std::fs::read_to_string(log)?);
        }
        diary.read.retain(|tick| *tick <= last);
        let may_be_lost = diary.may_be_lost(&self.happened);
        let unread = diary.unread(&self.happened);
        Ok(Expected { diary, may_be_lost, unread })
    }
}

/// Lets a process work, whatever it did before.
fn revive(daemon: &mut Daemon) -> anyhow::Result<()> {
    match daemon.state() {
        State::Runs => Ok(()),
        State::Stopped => daemon.go_on(),
        State::Dead => daemon.start(),
    }
}

fn end(since: &mut Option<UnixMs>, all: &mut Vec<Broken>) {
    all.extend(since.take().map(|from| Broken { from, to: now() }));
}

fn seconds(at: UnixMs) -> anyhow::Result<u64> {
    Ok(u64::try_from(at.0 / 1000)?)
}

fn now() -> UnixMs {
    UnixMs(Timestamp::now().as_millisecond())
}
