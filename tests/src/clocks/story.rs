//! Which clocks are wrong, by how much, and what must be there afterwards: every tick that was read,
//! and, within seconds of each mending, the present.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tally_proto::tick::{Tick, UnixMs};
use tokio::time::{Instant, sleep};

use super::clock::SetClock;
use crate::{
    partition::{
        daemon::Daemon,
        diary::{Broken, Diary, Happened},
        past::{Expected, Past},
    },
    swarm::http::HttpClient,
};

/// What the node is called.
const NODE: &str = "clocked";

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// How long clocks are wrong each time, and right in between: several ticks.
const LASTING: Duration = Duration::from_secs(7);

/// How old the newest sample may be, read on the node until answered, for the present to be there.
const PRESENT_S: i64 = 3;

/// How long the present may take to be there after a mending: a stream that was refused is opened
/// again after 30 s at most, and an aggregator that begins anew ends first what it is merging.
const PRESENT_WITHIN: Duration = Duration::from_secs(90);

/// How long everything may take to be in history.
const HEALING: Duration = Duration::from_secs(120);

/// How far ahead of the aggregator's clock a frame may be, by its default.
const SKEW_S: i64 = 60;

const HOUR_S: i64 = 3_600;

/// By how much the clocks are wrong, in seconds, one time after the other: the agent's, the
/// aggregator's. No two times share a tick, so that each has a value of its own.
const WRONG: [(&str, i64, i64); 7] = [
    ("both ahead by three hours", 3 * HOUR_S, 3 * HOUR_S),
    ("both back by one hour", -HOUR_S, -HOUR_S),
    ("the agent's ahead by two hours", 2 * HOUR_S, 0),
    ("the agent's back by two hours", -2 * HOUR_S, 0),
    ("the aggregator's ahead by two hours", 0, 2 * HOUR_S),
    ("the aggregator's back by two hours", 0, -2 * HOUR_S),
    ("both ahead by ten days", 240 * HOUR_S, 240 * HOUR_S),
];

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The agent.
    pub agent: PathBuf,
    /// The aggregator.
    pub aggregator: PathBuf,
    /// libfaketime.
    pub library: PathBuf,
    /// Where everything is put; must be empty.
    pub directory: PathBuf,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What held, in words.
    pub held: Vec<String>,
    /// What is wrong, in words.
    pub faults: Vec<String>,
}

impl Report {
    fn note(&mut self, holds: bool, what: String) {
        if holds { self.held.push(what) } else { self.faults.push(what) }
    }
}

/// Everything there is.
struct Stage {
    agent: Daemon,
    aggregator: Daemon,
    agents_clock: SetClock,
    aggregators_clock: SetClock,
    rest: String,
    past: Past,
    /// When the agent's clock was further ahead of the aggregator's than any frame may be, by the
    /// agent's clock: what it read then is of a time that nobody believes in.
    unbelieved: Vec<Broken>,
    report: Report,
}

/// Plays everything and compares.
pub async fn play(plan: &Plan, say: fn(&str)) -> anyhow::Result<Report> {
    let mut stage = Stage::new(plan)?;
    stage.aggregator.start()?;
    let until = Instant::now() + START;
    while !stage.past.is_answering().await {
        stage.check()?;
        ensure!(Instant::now() < until, "the aggregator does not answer within {START:?}");
        sleep(Duration::from_millis(100)).await;
    }
    stage.agent.start()?;
    stage.present("at the beginning").await?;
    for (what, agent_s, aggregator_s) in WRONG {
        say(what);
        stage.set_wrong(agent_s, aggregator_s).await?;
        stage.present(&format!("after {what}")).await?;
        sleep(LASTING).await;
    }
    stage.settle().await?;
    // The journal has ticks that are yet to come: a restart must not take them for the present.
    stage.aggregator.kill().await?;
    stage.aggregator.start()?;
    stage.past.sealed(START).await?;
    stage.present("after a restart").await?;
    stage.settle().await?;
    stage.agent.kill().await?;
    stage.aggregator.kill().await?;
    Ok(stage.report)
}

impl Stage {
    fn new(plan: &Plan) -> anyhow::Result<Self> {
        let at = |name: &str| plan.directory.join(name);
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        // Both at once, so that they differ.
        let (grpc, rest) = (free()?, free()?);
        let (grpc, rest): (SocketAddr, SocketAddr) = (grpc.local_addr()?, rest.local_addr()?);
        let aggregator = vec![
            format!("--grpc-listen={grpc}"),
            format!("--rest-listen={rest}"),
            format!("--history-dir={}", at("history").display()),
            "--resolution=1s".to_owned(),
            // Segments of the journal become columns meanwhile.
            "--model-window=60s".to_owned(),
            "--no-kubernetes".to_owned(),
        ];
        let agent = vec![
            format!("--aggregator=http://{grpc}"),
            format!("--spool-dir={}", at("spool").display()),
            format!("--node={NODE}"),
            "--resolution=1s".to_owned(),
            "--log=info,tally_agent::app::ticker=debug".to_owned(),
            "--log-format=json".to_owned(),
        ];
        let clock = |name: &str, library: &Path| SetClock::new(at(name), library);
        let agents_clock = clock("agent.clock", &plan.library)?;
        let aggregators_clock = clock("aggregator.clock", &plan.library)?;
        let launcher = (agents_clock.launcher(), aggregators_clock.launcher());
        Ok(Self {
            agent: Daemon::new(launcher.0, &plan.agent, agent, at("agent"))?,
            aggregator: Daemon::new(launcher.1, &plan.aggregator, aggregator, at("aggregator"))?,
            agents_clock,
            aggregators_clock,
            past: Past::new(&format!("http://{rest}"), NODE),
            rest: format!("http://{rest}"),
            unbelieved: Vec::new(),
            report: Report::default(),
        })
    }

    /// Neither ends by itself, whatever its clock says.
    fn check(&mut self) -> anyhow::Result<()> {
        self.agent.check()?;
        self.aggregator.check()
    }

    /// Sets clocks wrong for a while, and right again.
    async fn set_wrong(&mut self, agent_s: i64, aggregator_s: i64) -> anyhow::Result<()> {
        self.aggregators_clock.set(aggregator_s)?;
        self.agents_clock.set(agent_s)?;
        let began = self.agents_now();
        sleep(LASTING).await;
        let ended = self.agents_now();
        // A frame that is only ahead of an aggregator that is late is true: it waits.
        if SKEW_S < agent_s - aggregator_s && agent_s != 0 {
            self.unbelieved.push(Broken { from: began, to: ended });
        }
        self.agents_clock.set(0)?;
        self.aggregators_clock.set(0)?;
        self.check()
    }

    fn agents_now(&self) -> UnixMs {
        UnixMs(now().0 + self.agents_clock.wrong_by_s() * 1000)
    }

    /// Waits for the present.
    async fn present(&mut self, when: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let newest = self.newest_live().await;
            if matches!(newest, Ok(Some(newest)) if (now().0 / 1000 - newest).abs() <= PRESENT_S) {
                let took = began.elapsed().as_secs_f64();
                self.report.note(true, format!("{when} the present is there within {took:.1} s"));
                return Ok(());
            }
            self.check()?;
            if PRESENT_WITHIN <= began.elapsed() {
                let now = now().0 / 1000;
                let fault =
                    format!("{when} the newest live sample is {newest:?}, and now is {now}");
                self.report.note(false, fault);
                return Ok(());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// When the newest sample of the live model was measured, in seconds.
    async fn newest_live(&self) -> anyhow::Result<Option<i64>> {
        let mut client = HttpClient::connect(&self.rest).await?;
        let answer = client.get(&format!("/api/v1/model/nodes/{NODE}/metrics/uptime")).await?;
        ensure!(answer.status == 200, "status {}", answer.status);
        let series: Value = serde_json::from_slice(&answer.body)?;
        let metrics = series.get("metrics").and_then(Value::as_array).context("no metrics")?;
        let newest = metrics.last().and_then(|point| point.get("timestamp")?.as_str());
        Ok(newest.map(str::parse::<Timestamp>).transpose()?.map(|newest| newest.as_second()))
    }

    /// Waits until all that was read is in history.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            sleep(Duration::from_secs(1)).await;
            self.check()?;
            let expected = self.expected()?;
            let (read, unbelieved) = (expected.diary.read.len(), expected.may_be_lost.len());
            let missing = self.past.missing(&expected).await;
            if matches!(&missing, Ok(ticks) if ticks.is_empty()) {
                self.report.note(
                    true,
                    format!("all of {read} ticks are in history but {unbelieved} of a time that nobody believes in"),
                );
                return Ok(());
            }
            if HEALING <= began.elapsed() {
                let missing: Vec<u64> = missing?.iter().map(|tick| tick.0).collect();
                self.report.note(false, format!("of {read} ticks {missing:?} are not in history"));
                return Ok(());
            }
        }
    }

    /// What was read until a moment ago.
    fn expected(&self) -> anyhow::Result<Expected> {
        let mut diary = Diary::default();
        for log in self.agent.logs() {
            diary.add(&std::fs::read_to_string(log)?);
        }
        // The last ticks are under way.
        let now_s = now().0 / 1000;
        let under_way = |tick: &Tick| (now_s - 2..=now_s).contains(&(tick.unix_ms().0 / 1000));
        diary.read.retain(|tick| !under_way(tick));
        let unbelieved = |tick: &&Tick| {
            let at = tick.unix_ms();
            self.unbelieved.iter().any(|span| 0 <= at.since(span.from) && at.since(span.to) <= 0)
        };
        let may_be_lost = diary.read.iter().filter(unbelieved).copied().collect();
        let unread = diary.unread(&Happened::default());
        Ok(Expected { diary, may_be_lost, unread })
    }
}

fn now() -> UnixMs {
    UnixMs(Timestamp::now().as_millisecond())
}
