//! Tally's store in this process: what its files take, and what an answer from them takes, without
//! HTTP and with it.

use std::{num::NonZeroU64, path::Path, process::Command, sync::Arc};

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value as Json;
use tally_aggregator::history::{
    aggregate::Bucket, cache::Cache, disk::real::Directory, error::Budget, file::Tier, life::InPod,
    point::Value, question::Question, selection::Selection, store::Store,
};
use tally_proto::{
    metric::{Labels, MetricName},
    tick::Tick,
};

use super::{
    Answers, Asked, Percentiles, Spans, Taken,
    server::{Server, free_port},
    stop::Stop,
    timed,
    truth::PERCENTS,
};
use crate::history::cpu_clock;

/// A day is merged when it has been over for a while; this is long after the last one.
const LONG_AFTER_S: u64 = 3 * 86_400;

/// Writes all rows, merges all days, and asks if there is a question.
pub fn run(folder: &Path, spans: Spans<'_>, asked: Option<&Asked>) -> anyhow::Result<(Taken, u64)> {
    let directory = Directory::take(folder, std::process::id())?;
    let (store, _) = Store::open(Arc::new(directory), Cache::default())?;
    let (mut samples, mut cpu_ns, mut last) = (0, 0, 0);
    for rows in spans {
        let rows = rows?;
        let ends = rows.iter().flat_map(|row| &row.series).filter_map(|one| one.timeline.last());
        last = ends.map(|tick| tick.0).max().unwrap_or(0).max(last);
        let (written, ns) = cpu_clock::timed(|| store.write(rows));
        samples += written?;
        cpu_ns += ns;
    }
    let (merged, ns) = cpu_clock::timed(|| -> anyhow::Result<()> {
        while store.merge(Tick(last + LONG_AFTER_S), || u64::MAX)?.is_some() {}
        Ok(())
    });
    merged?;
    let files = store.files();
    let bytes = |raw: bool| {
        let of_tier = files.values().filter(|file| (file.name.tier == Tier::Raw) == raw);
        of_tier.map(|file| file.bytes).sum()
    };
    let answers = asked.map(|asked| in_process(&store, asked)).transpose()?;
    let taken =
        Taken { bytes: bytes(true), tier_bytes: bytes(false), cpu_ns: cpu_ns + ns, answers };
    Ok((taken, samples))
}

fn in_process(store: &Store, asked: &Asked) -> anyhow::Result<Answers> {
    let InPod { namespace, pod, container, .. } = asked.whose.clone();
    let question = Question {
        of: Selection::PodContainer(namespace, pod, container),
        metric: MetricName::parse(asked.metric)?,
        labels: Labels::none(),
        first: Tick(asked.begin),
        last: Tick(asked.end - 1),
    };
    let ask = |bucket_ms| answer(store, &question, bucket_ms);
    Ok(Answers { whole: timed(|| ask(None))?, hourly: timed(|| ask(NonZeroU64::new(3_600_000)))? })
}

fn answer(
    store: &Store,
    question: &Question,
    bucket_ms: Option<NonZeroU64>,
) -> anyhow::Result<Vec<Percentiles>> {
    let buckets = store.aggregate(question, bucket_ms, &[], &mut Budget::default())?;
    let of = |bucket: &Bucket, percent| {
        bucket.percentile(percent).map(Value::as_f64).context("an empty bucket")
    };
    buckets.iter().map(|one| Ok([of(one, 50)?, of(one, 95)?, of(one, 99)?])).collect()
}

/// Asks the same of an aggregator that is started on the folder that [`run`] has filled.
pub fn over_http(
    program: &Path,
    folder: &Path,
    asked: &Asked,
    stop: &Stop,
) -> anyhow::Result<Answers> {
    let (rest, grpc) = (free_port()?, free_port()?);
    let mut command = Command::new(program);
    command.arg("--history-dir").arg(folder).arg("--log=error");
    command.arg(format!("--rest-listen=127.0.0.1:{rest}"));
    command.arg(format!("--grpc-listen=127.0.0.1:{grpc}"));
    // The samples have the times of the recording: they may be old by now, and must not go.
    command.args(["--history-retention=3650d", "--resolution=15s"]);
    // It is not healthy, as no agent sends; it is ready as soon as it answers at all.
    let ready = "/api/v1/historical/namespaces";
    let mut server = Server::start(&mut command, rest, folder, ready, stop)?;
    let path = path(asked)?;
    Ok(Answers {
        whole: timed(|| parsed(&server.get(&path)?))?,
        hourly: timed(|| parsed(&server.get(&format!("{path}&bucket=1h"))?))?,
    })
}

fn path(asked: &Asked) -> anyhow::Result<String> {
    let time = |second: u64| anyhow::Ok(Timestamp::from_second(i64::try_from(second)?)?);
    let InPod { namespace, pod, container, .. } = &asked.whose;
    let container = container.as_ref().context("a container is asked for")?;
    Ok(format!(
        "/api/v1/historical/namespaces/{namespace}/pods/{pod}/containers/{container}/\
         metrics-aggregated/50-perc,95-perc,99-perc/{}?start={}&end={}",
        asked.metric,
        time(asked.begin)?,
        time(asked.end - 1)?
    ))
}

fn parsed(text: &str) -> anyhow::Result<Vec<Percentiles>> {
    let answer: Json = serde_json::from_str(text)?;
    let buckets = answer.get("buckets").and_then(Json::as_array).context("no buckets")?;
    let of = |bucket: &Json| {
        let mut found: Percentiles = [0.0; 3];
        for (number, percent) in found.iter_mut().zip(PERCENTS) {
            let said = bucket.pointer(&format!("/percentiles/{percent}/intValue"));
            *number = said.and_then(Json::as_f64).context("a percentile is missing")?;
        }
        Ok(found)
    };
    buckets.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_has_all_three() {
        let answer = |percentiles: &str| {
            parsed(&format!(r#"{{"buckets":[{{"percentiles":{percentiles}}}],"bucketSize":0}}"#))
        };
        let all = r#"{"50":{"intValue":1},"95":{"intValue":2},"99":{"intValue":3}}"#;
        assert_eq!(answer(all).unwrap(), [[1.0, 2.0, 3.0]]);
        assert!(answer(r#"{"50":{"intValue":1},"95":{"intValue":2}}"#).is_err());
        assert!(parsed(r#"{"error":"x"}"#).is_err());
    }
}
