//! Tally's store, in this process: what its files take, and what an answer from them takes.

use std::{num::NonZeroU64, path::Path, sync::Arc};

use anyhow::Context;
use tally_aggregator::history::{
    cache::Cache, disk::real::Directory, error::Budget, file::Tier, life::InPod, point::Value,
    question::Question, selection::Selection, series::Row, store::Store,
};
use tally_proto::{
    metric::{Labels, MetricName},
    tick::Tick,
};

use super::{Percentiles, Taken, timed};
use crate::history::cpu_clock;

/// Writes all rows, merges all days, and asks.
pub fn run(
    folder: &Path,
    spans: impl Iterator<Item = anyhow::Result<Vec<Row>>>,
    asked: Option<(&str, &InPod, u64, u64)>,
) -> anyhow::Result<(Taken, u64)> {
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
        while store.merge(Tick(last + 3 * 86_400))?.is_some() {}
        Ok(())
    });
    merged?;
    let files = store.files();
    // The coarser tiers are more than the others keep; they are a part of what a question needs,
    // so that they count where one is asked.
    let counts = |tier: Tier| asked.is_some() || tier == Tier::Raw;
    let bytes = files.values().filter(|file| counts(file.name.tier)).map(|file| file.bytes).sum();
    let mut taken = Taken { bytes, cpu_ns: cpu_ns + ns, ..Taken::default() };
    if let Some((metric, container, begin, end)) = asked {
        let InPod { namespace, pod, container, .. } = container.clone();
        let question = Question {
            of: Selection::PodContainer(namespace, pod, container),
            metric: MetricName::parse(metric)?,
            labels: Labels::none(),
            first: Tick(begin),
            last: Tick(end - 1),
        };
        taken.whole = Some(timed(|| answer(&store, &question, None))?);
        taken.hourly = Some(timed(|| answer(&store, &question, NonZeroU64::new(3_600_000)))?);
    }
    Ok((taken, samples))
}

fn answer(
    store: &Store,
    question: &Question,
    bucket_ms: Option<NonZeroU64>,
) -> anyhow::Result<Vec<Percentiles>> {
    let buckets = store.aggregate(question, bucket_ms, &[], &mut Budget::default())?;
    let of = |bucket: &_, percent| {
        let bucket: &tally_aggregator::history::aggregate::Bucket = bucket;
        bucket.percentile(percent).map(Value::as_f64).context("an empty bucket")
    };
    buckets.iter().map(|one| Ok([of(one, 50)?, of(one, 95)?, of(one, 99)?])).collect()
}
