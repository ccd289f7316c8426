//! What a person sees while the pair runs: the URLs, and in a terminal the table.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use anyhow::Context as _;
use tally_aggregator::query::Queries;
use tally_proto::tick::Resolution;
use tokio::time::{MissedTickBehavior, interval};
use tracing_subscriber::EnvFilter;

use crate::{
    table::{Table, render},
    watch,
};

/// The log's name in the data folder.
const LOG: &str = "log";
/// Shown where the terminal does not say how wide it is.
const COLUMNS_DEFAULT: usize = 100;
/// Moves to the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears from here to the end of the line, or of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

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

/// What to try first.
pub(crate) fn urls(rest: &str) -> String {
    format!("Try curl {rest}/api/v1/model/nodes, /api/v1/metric-export, /metrics")
}

/// Shows the URLs, and the table again at every tick if there is a terminal to show it on.
pub(crate) async fn watch(
    queries: Queries,
    resolution: Resolution,
    urls: &str,
    folder: Option<&Path>,
) -> io::Result<()> {
    writeln!(io::stdout(), "{urls}")?;
    let Some(folder) = folder else { return std::future::pending().await };
    let foot = format!("Ctrl-C ends it. What could not be read: {}", folder.join(LOG).display());
    write!(io::stdout(), "{HOME}{CLEAR_BELOW}")?;
    let mut ticks = interval(Duration::from_secs(u64::from(resolution.seconds())));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let table = watch::table(&queries);
        let screen = screen(&table, (urls, &foot), columns());
        let mut out = io::stdout().lock();
        out.write_all(screen.as_bytes())?;
        out.flush()?;
    }
}

/// One picture, drawn over the one before without flicker.
fn screen(table: &Table, (urls, foot): (&str, &str), columns: usize) -> String {
    let text = if table.nodes.is_empty() {
        "Reading this host…\n".to_owned()
    } else {
        render(table, columns)
    };
    let lines = std::iter::once(urls).chain([""]).chain(text.lines()).chain([foot]);
    let drawn: Vec<String> = lines.map(|line| format!("{line}{CLEAR_LINE}\n")).collect();
    format!("{HOME}{}{CLEAR_BELOW}", drawn.concat())
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.map_or(COLUMNS_DEFAULT, |size| usize::from(size.ws_col))
}
