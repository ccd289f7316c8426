//! What the agent says: its sampler in this process, so that it can be asked at the right moment.

use std::{thread::sleep, time::Duration};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::Value;
use tally_agent::{
    once::{Frame, Meanings, render},
    sampler::{Sampler, SamplerOptions},
};
use tally_proto::{
    columns::Builder,
    tick::{Resolution, Tick},
};

use super::{
    arguments::Kind,
    figure::{Figure, Figures},
};

/// Often enough to meet the begin of a second.
const LOOK: Duration = Duration::from_millis(1);

const US_PER_SECOND: i64 = 1_000_000;

/// The agent's sampler, and what it said so far.
#[derive(Debug)]
pub struct Agent {
    sampler: Sampler,
    builder: Builder,
    meanings: Meanings,
    last: Tick,
}

impl Agent {
    /// Opens this host.
    pub fn open() -> anyhow::Result<Self> {
        let options = SamplerOptions::new("/", Resolution::from_seconds(1)?);
        Ok(Self {
            sampler: Sampler::open(options)?,
            builder: Builder::new(),
            meanings: Meanings::default(),
            last: Tick(0),
        })
    }

    /// Waits until there is a tick that was not read yet.
    pub fn wait_for_tick(&self) {
        while tick() == self.last {
            sleep(LOOK);
        }
    }

    /// Reads the host in a new tick.
    pub fn read(&mut self) -> Frame {
        let tick = tick();
        self.last = tick;
        let mut clock =
            || Timestamp::now().as_microsecond() - tick.unix_ms().0.saturating_mul(1000);
        self.meanings.apply(self.sampler.read(tick, &mut clock, &mut self.builder));
        Frame { tick, columns: self.builder.finish().clone() }
    }

    /// What two frames say of all entities.
    pub fn entities(&self, earlier: &Frame, later: &Frame) -> Entities {
        let rendered = render(&self.meanings, earlier, later);
        Entities(rendered.get("entities").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}

fn tick() -> Tick {
    let seconds = Timestamp::now().as_microsecond().div_euclid(US_PER_SECOND);
    Tick(u64::try_from(seconds).unwrap_or(0))
}

/// Entities as `tally-agent --once` shows them.
#[derive(Clone, Debug)]
pub struct Entities(pub Vec<Value>);

impl Entities {
    /// The figures of the entity that a load counts to. A pod's containers share its network.
    pub fn figures(&self, kind: Kind, path: &str) -> anyhow::Result<Figures> {
        let find = |fields: &[(&str, &str)]| {
            self.0
                .iter()
                .find(|entity| fields.iter().all(|(key, value)| text(entity, key) == Some(*value)))
        };
        let mut entity = find(&[("cgroup", path)])
            .with_context(|| format!("the agent has no entity at {path}"))?;
        if let (Kind::Receive, Some(uid)) = (kind, text(entity, "pod_uid")) {
            entity =
                find(&[("kind", "pod"), ("pod_uid", uid)]).context("the container has no pod")?;
        }
        Ok(figures(entity))
    }
}

/// A field of an entity that is text.
pub fn text<'a>(entity: &'a Value, key: &str) -> Option<&'a str> {
    entity.get(key)?.as_str()
}

fn figures(entity: &Value) -> Figures {
    let plain = entity.get("metrics").and_then(Value::as_object).into_iter().flatten();
    let plain = plain.map(|(metric, value)| (Figure::plain(metric), value));
    let labeled = entity.get("labeled").and_then(Value::as_array).into_iter().flatten();
    let labeled = labeled.filter_map(|row| {
        let resource = text(row.get("labels")?, "resource_id")?;
        Some((Figure::of(text(row, "metric")?, resource), row.get("value")?))
    });
    plain.chain(labeled).filter_map(|(figure, value)| Some((figure, value.as_i64()?))).collect()
}
