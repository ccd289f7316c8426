//! VictoriaMetrics: imported as JSON, merged on demand, asked in MetricsQL.

use std::{path::Path, process::Command};

use anyhow::Context;
use serde_json::Value;
use tally_aggregator::history::series::Row;

use super::{
    Percentiles, Taken,
    server::{Server, free_port},
    text, timed,
};

/// Loads all rows, and asks for the percentiles of the series that `labels` name if there are any.
pub fn run(
    program: &Path,
    folder: &Path,
    spans: impl Iterator<Item = anyhow::Result<Vec<Row>>>,
    asked: Option<super::Asked<'_>>,
) -> anyhow::Result<Taken> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.arg(format!("-storageDataPath={}", folder.display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    // What is compared is older than a month; caches of answers would be all that is measured.
    command.args(["-retentionPeriod=10y", "-search.disableCache", "-memory.allowedBytes=1GB"]);
    command.arg("-search.maxStalenessInterval=1s");
    let server = Server::start(&mut command, port, folder, "/health")?;
    let before = server.cpu_ns()?;
    for rows in spans {
        server.post("/api/v1/import", &text::victoria(&rows?))?;
    }
    server.get("/internal/force_flush")?;
    server.get("/internal/force_merge")?;
    let bytes = server.settled_bytes(10)?;
    let mut taken = Taken { bytes, cpu_ns: server.cpu_ns()? - before, ..Taken::default() };
    if let Some((metric, labels, begin, end, step)) = asked {
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=%22{value}%22")).collect();
        let of = |window: u64| {
            format!(
                "quantiles_over_time(%22phi%22,0.5,0.95,0.99,{}%7B{}%7D%5B{window}s%5D)",
                text::name(metric),
                labels.join(",")
            )
        };
        // A window ends with its time, itself included.
        let whole =
            format!("/api/v1/query?nocache=1&time={}&query={}", end - step, of(end - begin));
        let hourly = format!(
            "/api/v1/query_range?nocache=1&step=3600&start={}&end={}&query={}",
            begin + 3600 - step,
            end - step,
            of(3600)
        );
        taken.whole = Some(timed(|| answer(&server.get(&whole)?))?);
        taken.hourly = Some(timed(|| answer(&server.get(&hourly)?))?);
    }
    Ok(taken)
}

/// Three series, one for each percentile.
fn answer(text: &str) -> anyhow::Result<Vec<Percentiles>> {
    let answer: Value = serde_json::from_str(text)?;
    let result = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
    let mut buckets: Vec<Percentiles> = Vec::new();
    for (place, phi) in ["0.5", "0.95", "0.99"].into_iter().enumerate() {
        let of_phi =
            |series: &&Value| series.pointer("/metric/phi").and_then(Value::as_str) == Some(phi);
        let series = result.iter().find(of_phi).context("a percentile is missing")?;
        let single = series.get("value").cloned().map(|value| vec![value]);
        let points = single.or_else(|| series.get("values")?.as_array().cloned());
        let points = points.context("no points")?;
        buckets.resize(points.len(), [0.0; 3]);
        for (bucket, point) in buckets.iter_mut().zip(&points) {
            let value = point.get(1).and_then(Value::as_str).context("no value")?;
            if let Some(number) = bucket.get_mut(place) {
                *number = value.parse()?;
            }
        }
    }
    Ok(buckets)
}
