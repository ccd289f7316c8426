//! What happens: a run full of faults, the same run without any, and what both say of it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::ensure;
use tally_proto::tick::Tick;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    cluster::{Cluster, NODES},
    past::{self, Report},
    player::{Counts, Fate, Player, Schedule},
    server::{Server, SmallDisk},
};
use crate::{skip::is_refused, swarm::random::Random};

const DAY_S: u64 = 86_400;

/// Ticks before and after a midnight that is long over.
const AT_MIDNIGHT: u64 = 300;

/// The node that is cut off while the hour passes.
const LONELY: u32 = 3;

/// How long everything may take to be acknowledged once nothing breaks any more.
const HEALING: Duration = Duration::from_secs(300);

/// Room on the small disk.
const DISK_MB: u32 = 96;

/// What is played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The aggregator.
    pub program: PathBuf,
    /// Decides when what happens.
    pub seed: u64,
    /// How often the aggregator is killed.
    pub kills: u64,
    /// How far the live model reaches back.
    pub window: String,
    /// Where everything is put; must be empty.
    pub directory: PathBuf,
}

/// Everybody who plays.
struct Cast {
    cluster: Arc<Cluster>,
    measured: watch::Sender<u64>,
    connected: Vec<watch::Sender<bool>>,
    fates: Vec<mpsc::Sender<Fate>>,
    counts: Arc<Counts>,
    players: JoinSet<anyhow::Result<()>>,
}

/// Plays everything and compares.
pub async fn play(plan: &Plan, say: fn(&str)) -> anyhow::Result<Report> {
    let small = plan.directory.join("small");
    let disk = SmallDisk::mount(&small, DISK_MB);
    if let Err(why) = &disk {
        say(&format!("SKIPPED: faults: a full disk: no small file system can be mounted: {why}"));
        ensure!(!is_refused(), "CI could have run it");
    }
    let disk = disk.ok();
    let home = if disk.is_some() { small } else { plan.directory.clone() };
    let now = past::now()?;
    let midnight = (now.0 / DAY_S - 1) * DAY_S;
    let stretches = vec![
        (Tick(midnight - AT_MIDNIGHT), 2 * AT_MIDNIGHT),
        // An hour that is over when the last node is heard of again, and some of the present.
        (Tick(now.0 - 3_600), 3_600 + 60 + plan.kills),
    ];
    let cluster = Arc::new(Cluster { seed: plan.seed, stretches });
    let log = |name: &str| plan.directory.join(name).with_extension("log");
    let mut disturbed =
        Server::new(&plan.program, home.join("disturbed"), log("disturbed"), &plan.window)?;
    disturb(plan, &cluster, &mut disturbed, disk.as_ref(), say).await?;
    let mut calm = Server::new(&plan.program, home.join("calm"), log("calm"), &plan.window)?;
    leave_alone(&cluster, &mut calm, say).await?;
    say("comparing");
    let report = past::compare(&cluster, &disturbed, &calm).await;
    disturbed.kill().await?;
    calm.kill().await?;
    report
}

/// The run in which everything breaks.
async fn disturb(
    plan: &Plan,
    cluster: &Arc<Cluster>,
    server: &mut Server,
    disk: Option<&SmallDisk>,
    say: fn(&str),
) -> anyhow::Result<()> {
    let mut random = Random::new(plan.seed, 1);
    server.start()?;
    let mut cast = Cast::new(cluster, &server.grpc_url());
    let clock = tokio::spawn(measure(Arc::clone(cluster), cast.measured.clone(), plan.kills));
    cast.connect(LONELY, false);
    for kill in 0..plan.kills {
        if kill == plan.kills * 2 / 3 {
            say("the node that was cut off is back");
            cast.connect(LONELY, true);
        }
        for _ in 0..random.below(3) {
            sleep(Duration::from_millis(random.below(700))).await;
            cast.befall(&mut random);
        }
        sleep(Duration::from_millis(200 + random.below(1_500))).await;
        let is_full = disk.filter(|_| kill % 12 == 5);
        if let Some(disk) = is_full {
            say("the disk is full");
            disk.fill()?;
            sleep(Duration::from_millis(500 + random.below(1_500))).await;
        }
        server.kill().await?;
        if random.percent(60) && is_full.is_none() {
            server.tear(&mut random)?;
        }
        sleep(Duration::from_millis(random.below(400))).await;
        server.start()?;
        if let Some(disk) = is_full {
            sleep(Duration::from_millis(1_000 + random.below(2_000))).await;
            if let Some(status) = server.ended()? {
                say(&format!("on a full disk it does not start: {status}"));
            }
            disk.free()?;
        }
        if let Some(status) = server.ended()? {
            say(&format!("it ended by itself: {status}"));
            server.start()?;
        }
    }
    say(&format!("killed {} times; nothing breaks any more", plan.kills));
    clock.await??;
    cast.settle(server, say).await
}

/// The run in which nothing breaks.
async fn leave_alone(
    cluster: &Arc<Cluster>,
    server: &mut Server,
    say: fn(&str),
) -> anyhow::Result<()> {
    server.start()?;
    let mut cast = Cast::new(cluster, &server.grpc_url());
    cast.measured.send_replace(cluster.ticks());
    cast.settle(server, say).await
}

/// Lets time pass: the past runs fast until the present is reached, a little before the faults end.
async fn measure(
    cluster: Arc<Cluster>,
    measured: watch::Sender<u64>,
    kills: u64,
) -> anyhow::Result<()> {
    let steps_ms = 50;
    // A kill takes about two seconds.
    let fast = (cluster.ticks() / (kills * 2 * 1_000 / steps_ms).max(1)).max(1);
    let mut place = 0;
    while place < cluster.ticks() {
        let now = past::now()?;
        let next = (place + fast).min(cluster.ticks());
        while place < next && cluster.tick(place) <= now {
            place += 1;
        }
        measured.send_replace(place);
        sleep(Duration::from_millis(steps_ms)).await;
    }
    Ok(())
}

impl Cast {
    fn new(cluster: &Arc<Cluster>, url: &str) -> Self {
        let (measured, ticks) = watch::channel(0);
        let (mut connected, mut fates) = (Vec::new(), Vec::new());
        let counts = Arc::new(Counts::default());
        let mut players = JoinSet::new();
        for node in 0..NODES {
            let (connect, is_connected) = watch::channel(true);
            let (send, befalls) = mpsc::channel(1);
            let schedule =
                Schedule { url: url.to_owned(), measured: ticks.clone(), connected: is_connected };
            let player =
                Player::new(Arc::clone(cluster), node, schedule, befalls, Arc::clone(&counts));
            players.spawn(player.play());
            connected.push(connect);
            fates.push(send);
        }
        let cluster = Arc::clone(cluster);
        Self { cluster, measured, connected, fates, counts, players }
    }

    fn connect(&self, node: u32, is_connected: bool) {
        let node = usize::try_from(node).ok().and_then(|node| self.connected.get(node));
        if let Some(connected) = node {
            connected.send_replace(is_connected);
        }
    }

    /// Something happens to some node; nothing if something is happening to it.
    fn befall(&self, random: &mut Random) {
        let fate = match random.below(4) {
            0 => Fate::Restarted,
            1 => Fate::Deaf,
            _ => Fate::Cut,
        };
        if let Some(fates) = self.fates.get(random.place(self.fates.len())) {
            fates.try_send(fate).ok();
        }
    }

    /// Waits until everything is acknowledged, and then until all of it is columns.
    async fn settle(&mut self, server: &mut Server, say: fn(&str)) -> anyhow::Result<()> {
        let began = Instant::now();
        let all = async {
            while let Some(played) = self.players.join_next().await {
                played??;
            }
            anyhow::Ok(())
        };
        let settled = timeout(HEALING, all).await;
        let acknowledged =
            self.counts.acknowledged.each_ref().map(|count| count.load(Ordering::Relaxed));
        say(&format!(
            "{} frames measured; {} sent on {} streams; acknowledged {acknowledged:?} after {:.1} s",
            self.cluster.ticks() * u64::from(NODES),
            self.counts.sent.load(Ordering::Relaxed),
            self.counts.streams.load(Ordering::Relaxed),
            began.elapsed().as_secs_f64()
        ));
        ensure!(settled.is_ok(), "not everything is acknowledged within {HEALING:?}");
        settled??;
        // What is open at a kill is closed for the next process, which makes columns of it.
        server.kill().await?;
        server.start()?;
        server.sealed().await
    }
}

/// Removes what a run left; a report that is wanted later is copied first.
pub fn clean(directory: &Path) {
    std::fs::remove_dir_all(directory).ok();
}
