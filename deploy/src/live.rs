//! What a person sees while the pair runs: URLs to try, and in a terminal the table.

mod screen;

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use anyhow::Context as _;
use tally_aggregator::query::Queries;
use tally_proto::tick::Resolution;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;
use tracing_subscriber::EnvFilter;

use self::screen::{Frame, Screen};
use crate::{table::summary, watch};

/// The log's name in the data folder.
const LOG: &str = "log";

/// How often the log says how the host is, where there is no table.
const SUMMARY_EVERY: Duration = Duration::from_secs(60);

/// Ticks until the first of these: a rate needs two readings.
const FIRST_SUMMARY_TICKS: u32 = 3;

/// Logs to standard error, or into `folder` while the table takes the terminal.
pub(crate) fn begin_log(filter: &str, folder: Option<&Path>) -> anyhow::Result<()> {
    let filter: EnvFilter = filter.parse().with_context(|| format!("--log {filter:?}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let begun = match folder {
        None => lines.with_ansi(io::stderr().is_terminal()).with_writer(io::stderr).try_init(),
        Some(folder) => {
            let path = folder.join(LOG);
            let file =
                File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            lines.with_ansi(false).with_writer(Mutex::new(file)).try_init()
        }
    };
    begun.map_err(anyhow::Error::from_boxed).context("cannot begin to log")
}

/// Whether standard output is a terminal that can draw a table.
pub(crate) fn can_draw() -> bool {
    let is_dumb = env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && !is_dumb
}

/// What to try first. Each is whole, so that it works wherever it is pasted.
pub(crate) fn urls(rest: SocketAddr) -> Vec<String> {
    // Who listens on every address is reached on loopback.
    let ip = match rest.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => "::1".parse().unwrap_or(rest.ip()),
        ip => ip,
    };
    let rest = SocketAddr::new(ip, rest.port());
    ["/api/v1/model/nodes", "/api/v1/metric-export", "/metrics"]
        .map(|path| format!("http://{rest}{path}"))
        .to_vec()
}

/// Shows the table again at every tick.
pub(crate) async fn watch(
    queries: Queries,
    resolution: Resolution,
    urls: Vec<String>,
    folder: &Path,
) -> io::Result<()> {
    let log = folder.join(LOG);
    let mut screen = Screen::open()?;
    let mut ticks = ticks(Duration::from_secs(u64::from(resolution.seconds())));
    loop {
        ticks.tick().await;
        let table = watch::table(&queries);
        screen.draw(&Frame { table: &table, resolution, urls: &urls, log: &log })?;
    }
}

/// Says the URLs, and in the log how the host is: at first soon, then now and then.
pub(crate) async fn tell(
    queries: Queries,
    resolution: Resolution,
    urls: Vec<String>,
) -> io::Result<()> {
    writeln!(io::stdout(), "Try: {}", urls.join(" "))?;
    let tick = Duration::from_secs(u64::from(resolution.seconds()));
    tokio::time::sleep(tick * FIRST_SUMMARY_TICKS).await;
    let mut ticks = ticks(SUMMARY_EVERY.max(tick));
    loop {
        ticks.tick().await;
        info!("{}", summary(&watch::table(&queries)));
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_work_wherever_they_are_pasted() {
        for (listens, first) in [
            ("127.0.0.1:8082", "http://127.0.0.1:8082/api/v1/model/nodes"),
            ("0.0.0.0:80", "http://127.0.0.1:80/api/v1/model/nodes"),
            ("[::]:80", "http://[::1]:80/api/v1/model/nodes"),
            ("192.0.2.7:1", "http://192.0.2.7:1/api/v1/model/nodes"),
        ] {
            assert_eq!(urls(listens.parse().unwrap())[0], first);
        }
    }
}
