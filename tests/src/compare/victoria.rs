//! VictoriaMetrics: imported as JSON, merged on demand, asked in MetricsQL.

use std::{
    path::{Component, Path},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;
use tally_aggregator::history::life::Who;

use super::{
    Answers, Asked, Percentiles, Spans, Taken,
    server::{Server, free_port},
    stop::Stop,
    text, timed,
};

/// Bytes of lines sent at once.
const BATCH: usize = 8 << 20;

/// It writes what is in memory every five seconds, so what has had one size for longer is all.
const SETTLED_S: u32 = 8;

/// The percentiles as it names them.
const PHIS: [&str; 3] = ["0.5", "0.95", "0.99"];

/// Loads all rows, and asks if there is a question.
pub fn run(
    program: &Path,
    folder: &Path,
    spans: Spans<'_>,
    asked: Option<&Asked>,
    stop: &Stop,
) -> anyhow::Result<Taken> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.arg(format!("-storageDataPath={}", folder.display()));
    command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
    // The samples have the times of the recording. Answers that are kept would be all that is
    // measured.
    command.args(["-retentionPeriod=10y", "-search.disableCache", "-memory.allowedBytes=1GB"]);
    command.arg("-search.maxStalenessInterval=1s");
    let mut server = Server::start(&mut command, port, folder, "/health", stop)?;
    let before = server.cpu_ns()?;
    let mut lines = String::new();
    for rows in spans {
        lines.push_str(&text::victoria(&rows?));
        if BATCH <= lines.len() {
            server.post("/api/v1/import", &lines)?;
            lines.clear();
        }
    }
    server.post("/api/v1/import", &lines)?;
    server.get("/internal/force_flush")?;
    server.get("/internal/force_merge")?;
    let bytes = server.settled_bytes(SETTLED_S, is_data)?;
    let cpu_ns = server.cpu_ns()? - before;
    let answers = asked.map(|asked| ask(&mut server, asked)).transpose()?;
    Ok(Taken { bytes, tier_bytes: 0, cpu_ns, answers })
}

/// Samples and index; what it keeps of its caches is neither.
fn is_data(path: &Path) -> bool {
    !path.components().any(|part| part == Component::Normal("cache".as_ref()))
}

fn ask(server: &mut Server, asked: &Asked) -> anyhow::Result<Answers> {
    let Asked { metric, whose, begin, end, step } = asked;
    let labels = text::labels(&Who::InPod(whose.clone()));
    let labels: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}=%22{value}%22")).collect();
    let of = |window: u64| {
        format!(
            "quantiles_over_time(%22phi%22,{},{}%7B{}%7D%5B{window}s%5D)",
            PHIS.join(","),
            text::name(metric),
            labels.join(",")
        )
    };
    // A window ends with its time, itself included.
    let whole = format!("/api/v1/query?nocache=1&time={}&query={}", end - step, of(end - begin));
    let hourly = format!(
        "/api/v1/query_range?nocache=1&step=3600&start={}&end={}&query={}",
        begin + 3600 - step,
        end - step,
        of(3600)
    );
    Ok(Answers {
        whole: timed(|| answer(&server.get(&whole)?))?,
        hourly: timed(|| answer(&server.get(&hourly)?))?,
    })
}

/// Three series, one for each percentile.
fn answer(text: &str) -> anyhow::Result<Vec<Percentiles>> {
    let answer: Value = serde_json::from_str(text)?;
    let result = answer.pointer("/data/result").and_then(Value::as_array).context("no result")?;
    let mut buckets: Vec<Percentiles> = Vec::new();
    for (place, phi) in PHIS.into_iter().enumerate() {
        let of_phi =
            |series: &&Value| series.pointer("/metric/phi").and_then(Value::as_str) == Some(phi);
        let series = result.iter().find(of_phi).context("a percentile is missing")?;
        let single = series.get("value").cloned().map(|value| vec![value]);
        let points = single.or_else(|| series.get("values")?.as_array().cloned());
        let points = points.context("no points")?;
        buckets.resize(points.len(), [f64::NAN; 3]);
        for (bucket, point) in buckets.iter_mut().zip(&points) {
            let value = point.get(1).and_then(Value::as_str).context("no value")?;
            if let Some(number) = bucket.get_mut(place) {
                *number = value.parse()?;
            }
        }
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(phi: &str, points: &str) -> String {
        format!(r#"{{"metric":{{"phi":"{phi}"}},{points}}}"#)
    }

    fn result(series: &[String]) -> anyhow::Result<Vec<Percentiles>> {
        answer(&format!(r#"{{"data":{{"result":[{}]}}}}"#, series.join(",")))
    }

    #[test]
    fn one_bucket_and_several_are_read_in_any_order() {
        let of = |phi, value: u32| series(phi, &format!(r#""value":[1,"{value}"]"#));
        let one = result(&[of("0.99", 3), of("0.5", 1), of("0.95", 2)]);
        assert_eq!(one.unwrap(), [[1.0, 2.0, 3.0]]);
        let of = |phi| series(phi, r#""values":[[1,"4"],[2,"5.5"]]"#);
        let two = result(&[of("0.5"), of("0.95"), of("0.99")]);
        assert_eq!(two.unwrap(), [[4.0; 3], [5.5; 3]]);
        assert!(result(&[of("0.5"), of("0.95")]).is_err());
    }

    #[test]
    fn caches_are_no_data() {
        assert!(is_data(Path::new("/f/data/small/x")) && is_data(Path::new("/f/indexdb/x")));
        assert!(!is_data(Path::new("/f/cache/x")));
    }
}
