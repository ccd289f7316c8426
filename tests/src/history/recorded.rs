//! The recorded samples of `tests/data`, all 1,055 series, as rows of history.

use std::{collections::BTreeMap, io::Read, sync::Arc};

use anyhow::Context;
use flate2::read::GzDecoder;
use tally_aggregator::history::{
    life::{InPod, Life, Who},
    series::{Field, Quantity, Row, Series, What},
    timeline::Timeline,
};
use tally_proto::{
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Tick, UnixMs},
};

use crate::swarm::random::Random;

const RECORDED: &[u8] = include_bytes!("../../data/containers-1s.tsv.gz");

/// The first tick that rows are given: the beginning of a day, so that all are in one file.
pub const BEGIN: u64 = 20_717 * 86_400;

/// Microseconds that an agent takes to read one cgroup: the recording has no offsets.
const READ_US: i64 = 27;

/// One recorded series.
#[derive(Clone, Debug)]
pub struct Recorded {
    who: Who,
    metric: MetricName,
    cumulative: bool,
    values: Vec<i64>,
}

/// All series of the recording.
pub fn series() -> anyhow::Result<Vec<Recorded>> {
    let mut text = String::new();
    GzDecoder::new(RECORDED).read_to_string(&mut text)?;
    text.lines().map(|line| one(line).with_context(|| "a line is no series")).collect()
}

fn one(line: &str) -> anyhow::Result<Recorded> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().context("a field is missing");
    let (entity, metric, values) = (field()?, field()?, field()?);
    let mut total = 0i64;
    let values = values.split(',').map(|difference| {
        if !difference.is_empty() {
            total += difference.parse::<i64>()?;
        }
        anyhow::Ok(total)
    });
    let is_level = metric.starts_with("mem") || metric.starts_with("stat_procs");
    Ok(Recorded {
        who: who(entity)?,
        metric: MetricName::parse(metric)?,
        cumulative: !is_level,
        values: values.collect::<Result<_, _>>()?,
    })
}

/// Pods have uids as Kubernetes makes them: their bytes are part of what history holds.
fn who(entity: &str) -> anyhow::Result<Who> {
    let node = NodeName::parse("node1")?;
    if entity == "node" {
        return Ok(Who::Node(node));
    }
    let (pod, container) =
        entity.split_once('/').map_or((entity, None), |(pod, container)| (pod, Some(container)));
    let seed = pod.bytes().fold(7u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let mut random = Random::new(seed, 1);
    let (high, low) = (random.bits(), random.bits());
    let uid = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    );
    Ok(Who::InPod(InPod {
        namespace: NamespaceName::parse("default")?,
        pod: PodName::parse(pod)?,
        uid: PodUid::parse(&uid)?,
        container: container.map(ContainerName::parse).transpose()?,
        node,
    }))
}

/// Rows of the seconds from `first` on to before `end`, of every `step`-th; with made-up read
/// offsets if `with_offsets`.
pub fn rows(
    series: &[Recorded],
    first: usize,
    end: usize,
    step: usize,
    with_offsets: bool,
) -> Vec<Row> {
    let kept = |place: &usize| first <= *place && *place < end;
    let places: Vec<usize> = (0..1440).step_by(step.max(1)).filter(kept).collect();
    let tick = |place: &usize| Tick(BEGIN + u64::try_from(*place).unwrap_or(0));
    let timeline = Arc::new(Timeline::of(places.iter().map(tick)));
    let mut whats: BTreeMap<&MetricName, Arc<What>> = BTreeMap::new();
    let mut by_who: BTreeMap<&Who, Vec<Series>> = BTreeMap::new();
    for one in series {
        let what = whats.entry(&one.metric).or_insert_with(|| {
            Arc::new(What::Metric(Quantity {
                metric: one.metric.clone(),
                labels: Labels::none(),
                field: Field::Value,
                floating: false,
                cumulative: one.cumulative,
            }))
        });
        let values = places.iter().filter_map(|place| one.values.get(*place).copied()).collect();
        let (what, timeline) = (Arc::clone(what), Arc::clone(&timeline));
        let series = Series { what, timeline, values, sketches: Vec::new() };
        by_who.entry(&one.who).or_default().push(series);
    }
    if with_offsets {
        add_offsets(&mut by_who, &timeline);
    }
    let row = |(who, mut series): (&Who, Vec<Series>)| {
        series.sort_by(|a, b| a.what.cmp(&b.what));
        let start = Some(UnixMs(1_790_000_000_000));
        Row { life: Arc::new(Life { who: who.clone(), start }), series }
    };
    by_who.into_iter().map(row).collect()
}

/// An agent wakes some time after the tick and reads one cgroup after the other.
fn add_offsets(by_who: &mut BTreeMap<&Who, Vec<Series>>, timeline: &Arc<Timeline>) {
    let mut random = Random::new(1, 1);
    let mut offsets: Vec<Vec<i64>> = vec![Vec::new(); by_who.len()];
    for _ in 0..timeline.len() {
        let mut at = random.between(60, 400);
        for of_row in &mut offsets {
            at += READ_US + random.between(-3, 6);
            of_row.push(at);
        }
    }
    let what = Arc::new(What::ReadOffset);
    for (series, values) in by_who.values_mut().zip(offsets) {
        let (what, timeline) = (Arc::clone(&what), Arc::clone(timeline));
        series.push(Series { what, timeline, values, sketches: Vec::new() });
    }
}
