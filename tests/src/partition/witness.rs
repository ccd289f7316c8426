//! A second reader of the same host. It reads between the agent's ticks, and counters never go
//! down, so each value of the agent lies between two of the witness'.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::Duration,
};

use anyhow::anyhow;
use jiff::Timestamp;
use serde_json::Value;
use tally_agent::{
    once::{Meanings, render},
    sampler::{Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    tick::{Resolution, Tick, UnixMs},
};

use crate::known_loads::agent::text;

/// After a tick: agents read within half a second of it.
const AFTER_TICK_MS: i64 = 600;

/// The agent reads a tick until then at the latest, and a reading takes a while.
const READ_WITHIN_MS: i64 = 1_000;

/// The counters that are watched.
pub const COUNTERS: [&str; 2] = ["cpu/usage", "memory/page_faults"];

/// One look at the host.
#[derive(Clone, Debug)]
pub struct Look {
    /// Before it was read.
    pub began: UnixMs,
    /// After it was read.
    pub ended: UnixMs,
    /// Values by cgroup (`/` is the node) and metric.
    values: BTreeMap<(String, &'static str), i64>,
}

/// All looks, in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Testimony(pub Vec<Look>);

impl Testimony {
    /// Cgroups other than the root that were there at every look.
    pub fn throughout(&self) -> impl Iterator<Item = &str> {
        let of = |look: &Look, cgroup: &str| {
            look.values
                .range((cgroup.to_owned(), "")..)
                .next()
                .is_some_and(|((of, _), _)| of == cgroup)
        };
        let first = self.0.first().into_iter().flat_map(|look| look.values.keys());
        let cgroups: BTreeSet<&str> = first.map(|(cgroup, _)| cgroup.as_str()).collect();
        cgroups
            .into_iter()
            .filter(move |cgroup| *cgroup != "/" && self.0.iter().all(|look| of(look, cgroup)))
    }

    /// Whether a counter of a cgroup was ever seen.
    pub fn has(&self, cgroup: &str, metric: &'static str) -> bool {
        self.0.iter().any(|look| look.values.contains_key(&(cgroup.to_owned(), metric)))
    }

    /// What a counter of a cgroup was at least and at most when the agent read a tick.
    pub fn bounds(&self, cgroup: &str, metric: &'static str, tick: Tick) -> (i64, i64) {
        let key = (cgroup.to_owned(), metric);
        let at = tick.unix_ms();
        let before = self.0.iter().rev().filter(|look| look.ended <= at);
        let after = self.0.iter().filter(|look| READ_WITHIN_MS <= look.began.since(at));
        let first = |value: Option<&i64>, otherwise| value.copied().unwrap_or(otherwise);
        (
            first(before.filter_map(|look| look.values.get(&key)).next(), i64::MIN),
            first(after.filter_map(|look| look.values.get(&key)).next(), i64::MAX),
        )
    }
}

/// The second reader, at work on a thread of its own.
#[derive(Debug)]
pub struct Witness {
    thread: JoinHandle<anyhow::Result<Testimony>>,
    is_over: Arc<AtomicBool>,
}

impl Witness {
    /// Begins to look, once a second.
    pub fn begin() -> anyhow::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::Builder::new().name("witness".to_owned()).spawn(move || watch(&over));
        Ok(Self { thread: thread?, is_over })
    }

    /// Ends, and says what was seen.
    pub fn end(self) -> anyhow::Result<Testimony> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the witness panicked"))?
    }
}

fn watch(over: &AtomicBool) -> anyhow::Result<Testimony> {
    let mut sampler = Sampler::open(SamplerOptions::new("/", Resolution::from_seconds(1)?))?;
    let (mut builder, mut meanings) = (Builder::new(), Meanings::default());
    let mut testimony = Testimony::default();
    while !over.load(Ordering::Relaxed) {
        let in_second = now().0.rem_euclid(1_000);
        let wait_ms = (AFTER_TICK_MS - in_second).rem_euclid(1_000);
        sleep(Duration::from_millis(wait_ms.max(1).unsigned_abs()));
        let began = now();
        let tick = Tick(u64::try_from(began.0.div_euclid(1_000))?);
        let mut clock = || (now().0 - tick.unix_ms().0) * 1_000;
        meanings.apply(sampler.read(tick, &mut clock, &mut builder));
        let frame = tally_agent::once::Frame { tick, columns: builder.finish().clone() };
        let ended = now();
        let rendered = render(&meanings, &frame, &frame);
        testimony.0.push(Look { began, ended, values: values(&rendered) });
    }
    Ok(testimony)
}

fn values(rendered: &Value) -> BTreeMap<(String, &'static str), i64> {
    let entities = rendered.get("entities").and_then(Value::as_array).into_iter().flatten();
    let of_entity = |entity: &Value| {
        let cgroup = text(entity, "cgroup")?.to_owned();
        let metrics = entity.get("metrics")?;
        let value = |metric| Some(((cgroup.clone(), metric), metrics.get(metric)?.as_i64()?));
        Some(COUNTERS.into_iter().filter_map(value).collect::<Vec<_>>())
    };
    entities.filter_map(of_entity).flatten().collect()
}

fn now() -> UnixMs {
    UnixMs(Timestamp::now().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(began: i64, value: i64) -> Look {
        let key = ("/".to_owned(), "cpu/usage");
        let values = BTreeMap::from([(key, value)]);
        Look { began: UnixMs(began), ended: UnixMs(began + 50), values }
    }

    #[test]
    fn a_value_lies_between_the_looks_before_and_after_it() {
        let testimony = Testimony(vec![look(99_600, 5), look(100_600, 7), look(101_600, 9)]);
        let bounds = |tick| testimony.bounds("/", "cpu/usage", Tick(tick));
        assert_eq!(bounds(100), (5, 9));
        assert_eq!(bounds(99), (i64::MIN, 7));
        assert_eq!(bounds(101), (7, i64::MAX));
        assert_eq!(testimony.bounds("/a", "cpu/usage", Tick(100)), (i64::MIN, i64::MAX));
    }
}
