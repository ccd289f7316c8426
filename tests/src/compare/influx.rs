//! InfluxDB 1: line protocol in, InfluxQL out.

use std::{fs, path::Path, process::Command};

use anyhow::Context;
use serde_json::Value;
use tally_aggregator::history::life::Who;

use super::{
    Answers, Asked, Percentiles, Spans, Taken,
    server::{Server, free_port},
    stop::Stop,
    text, timed,
};

/// Bytes of lines sent at once: five to ten thousand points, as its documentation advises.
const BATCH: usize = 1 << 20;

/// It compacts what has rested for five seconds, and then again what came of that, so what has had
/// one size for longer is all.
const SETTLED_S: u32 = 14;

/// Loads all rows, and asks if there is a question.
pub fn run(
    program: &Path,
    folder: &Path,
    spans: Spans<'_>,
    asked: Option<&Asked>,
    stop: &Stop,
) -> anyhow::Result<Taken> {
    let (port, rpc) = (free_port()?, free_port()?);
    fs::create_dir_all(folder)?;
    let config = folder.join("influxdb.conf");
    fs::write(&config, configuration(folder, port, rpc))?;
    let mut command = Command::new(program);
    command.arg("-config").arg(&config);
    let mut server = Server::start(&mut command, port, folder, "/ping", stop)?;
    server.post("/query?q=CREATE%20DATABASE%20t", "")?;
    let before = server.cpu_ns()?;
    for rows in spans {
        let lines = text::influx(&rows?);
        let mut rest = lines.as_str();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(text::end_of_line(rest, BATCH));
            server.post("/write?db=t&precision=s", batch)?;
            rest = after;
        }
    }
    let bytes = server.settled_bytes(SETTLED_S, is_data)?;
    let cpu_ns = server.cpu_ns()? - before;
    let answers = asked.map(|asked| ask(&mut server, asked)).transpose()?;
    Ok(Taken { bytes, tier_bytes: 0, cpu_ns, answers })
}

/// As it comes, but that it writes and compacts soon after the last sample instead of hours later, so
/// that its size is that of whole files, and that it keeps no metrics or log of its own.
fn configuration(folder: &Path, port: u16, rpc: u16) -> String {
    let at = folder.display();
    format!(
        r#"reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
dir = "{at}/meta"
[data]
dir = "{at}/data"
wal-dir = "{at}/wal"
query-log-enabled = false
cache-snapshot-write-cold-duration = "5s"
compact-full-write-cold-duration = "5s"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
max-body-size = 0
"#
    )
}

/// Samples and index; what is on its way into files is gone when all is at rest, and a rest of it that
/// the next write would use again is neither.
fn is_data(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "data")
}

fn ask(server: &mut Server, asked: &Asked) -> anyhow::Result<Answers> {
    let Asked { metric, whose, begin, end, .. } = asked;
    let labels = text::labels(&Who::InPod(whose.clone()));
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
    Ok(Answers {
        whole: timed(|| answer(&server.get(&whole)?))?,
        hourly: timed(|| answer(&server.get(&hourly)?))?,
    })
}

fn answer(text: &str) -> anyhow::Result<Vec<Percentiles>> {
    let answer: Value = serde_json::from_str(text)?;
    let rows = answer.pointer("/results/0/series/0/values").and_then(Value::as_array);
    let rows = rows.with_context(|| format!("no result: {text}"))?;
    let number = |row: &Value, place: usize| row.get(place).and_then(Value::as_f64);
    let bucket = |row: &Value| Some([number(row, 1)?, number(row, 2)?, number(row, 3)?]);
    rows.iter().map(|row| bucket(row).context("a percentile is missing")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_bucket_behind_its_time() {
        let of =
            |rows: &str| answer(&format!(r#"{{"results":[{{"series":[{{"values":{rows}}}]}}]}}"#));
        assert_eq!(of("[[0,1,2,3],[9,4,5,6.5]]").unwrap(), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]);
        assert!(of("[[0,1,null,3]]").is_err());
        assert!(answer(r#"{"results":[{"statement_id":0}]}"#).is_err());
    }
}
