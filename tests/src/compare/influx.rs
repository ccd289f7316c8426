//! InfluxDB 1: line protocol in, InfluxQL out.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use serde_json::Value;
use tally_aggregator::history::series::Row;

use super::{
    Percentiles, Taken,
    server::{Server, free_port},
    text, timed,
};

/// Bytes of lines sent at once: some ten thousand points, as its documentation advises.
const BATCH: usize = 1 << 20;

/// Loads all rows, and asks for the percentiles of the series that `labels` name if there are any.
pub fn run(
    program: &Path,
    folder: &Path,
    spans: impl Iterator<Item = anyhow::Result<Vec<Row>>>,
    asked: Option<super::Asked<'_>>,
) -> anyhow::Result<Taken> {
    let (port, rpc) = (free_port()?, free_port()?);
    let at = folder.display();
    let config = folder.join("influxdb.conf");
    fs::create_dir_all(folder)?;
    // It writes to disk what has rested for five seconds, so that its size is that of whole files.
    fs::write(
        &config,
        format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{rpc}\"\n[meta]\ndir = \
             \"{at}/meta\"\n[data]\ndir = \"{at}/data\"\nwal-dir = \"{at}/wal\"\nquery-log-enabled = \
             false\ncache-snapshot-write-cold-duration = \"5s\"\ncompact-full-write-cold-duration \
             = \"5s\"\n[monitor]\nstore-enabled = false\n[http]\nbind-address = \
             \"127.0.0.1:{port}\"\nlog-enabled = false\nmax-body-size = 0\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-config").arg(&config);
    let server = Server::start(&mut command, port, folder, "/ping")?;
    server.post("/query?q=CREATE%20DATABASE%20t", "")?;
    let before = server.cpu_ns()?;
    for rows in spans {
        let lines = text::influx(&rows?);
        let mut rest = lines.as_str();
        while !rest.is_empty() {
            let end = rest.get(BATCH.min(rest.len())..).and_then(|after| after.find('\n'));
            let end = end.map_or(rest.len(), |end| BATCH.min(rest.len()) + end + 1);
            let (batch, after) = rest.split_at(end);
            server.post("/write?db=t&precision=s", batch)?;
            rest = after;
        }
    }
    let bytes = server.settled_bytes(30)?;
    let mut taken = Taken { bytes, cpu_ns: server.cpu_ns()? - before, ..Taken::default() };
    if let Some((metric, labels, begin, end, _)) = asked {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("%22{key}%22%3D'{value}'")).collect();
        let whole = format!(
            "/query?db=t&epoch=s&q=SELECT%20PERCENTILE(value,50),PERCENTILE(value,95),\
             PERCENTILE(value,99)%20FROM%20{}%20WHERE%20{}%20AND%20time%3E%3D{begin}s%20AND%20\
             time%3C{end}s",
            text::name(metric),
            labels.join("%20AND%20")
        );
        let hourly = format!("{whole}%20GROUP%20BY%20time(1h)");
        taken.whole = Some(timed(|| answer(&server.get(&whole)?))?);
        taken.hourly = Some(timed(|| answer(&server.get(&hourly)?))?);
    }
    Ok(taken)
}

fn answer(text: &str) -> anyhow::Result<Vec<Percentiles>> {
    let answer: Value = serde_json::from_str(text)?;
    let rows = answer.pointer("/results/0/series/0/values").and_then(Value::as_array);
    let rows = rows.with_context(|| format!("no result: {text}"))?;
    let number = |row: &Value, place: usize| row.get(place).and_then(Value::as_f64);
    let bucket = |row: &Value| Some([number(row, 1)?, number(row, 2)?, number(row, 3)?]);
    rows.iter().map(|row| bucket(row).context("a percentile is missing")).collect()
}
