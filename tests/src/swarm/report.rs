//! What a run found out, as one JSON object.

use std::{sync::atomic::Ordering, time::Duration};

use serde::Serialize;

use super::{
    aggregator::Usage,
    asking::Asked,
    memory,
    punctuality::Verdict,
    quantiles::{Quantiles, rounded},
    shape::Shape,
    uplink::Counts,
    weather::Record,
};

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nodes that were played.
    pub nodes: u32,
    /// Pods on each.
    pub pods_per_node: u32,
    /// Containers in each pod.
    pub containers_per_pod: u32,
    /// Entities of all nodes, these included.
    pub entities: u64,
    /// Metrics of each.
    pub metrics: usize,
    /// The seed.
    pub seed: u64,
    /// Seconds from tick to tick.
    pub resolution_s: u32,
    /// Whether frames were sent as fast as they were acknowledged.
    pub flat_out: bool,
    /// How long was measured.
    pub seconds: f64,
    /// Frames sent in that time.
    pub frames: u64,
    /// Values sent each second.
    pub samples_sent_per_second: u64,
    /// Values acknowledged each second.
    pub samples_acknowledged_per_second: u64,
    /// Bytes of packed columns for each value.
    pub bytes_per_sample: f64,
    /// Whether the player kept up: if not, the aggregator was not loaded as the numbers above say.
    /// Flat out there is no time to keep.
    pub kept_up: Option<bool>,
    /// Whether the aggregator kept up too. If not, what it used is not called a share of a core or
    /// a cost of an entity.
    pub sustained: Option<bool>,
    /// How late frames were sent and acknowledged.
    pub punctuality: Option<Verdict>,
    /// What the aggregator used.
    pub aggregator: Option<Cost>,
    /// What the player used, all its threads together.
    pub player: Player,
    /// The aggregator's memory in ten parts of the measured time.
    pub memory: Vec<memory::Part>,
    /// From a reading on a node until REST showed it.
    pub freshness: Option<Quantiles>,
    /// What happened to nodes, pods and containers, the warm-up included.
    pub weather: Option<Record>,
    /// Questions under load.
    pub asked: Option<Asked>,
}

/// What the aggregator used, and what that is for each entity.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// CPU time in the measured time.
    pub cpu_seconds: f64,
    /// Of this, outside the kernel.
    pub cpu_user_seconds: f64,
    /// Of this, in the kernel.
    pub cpu_system_seconds: f64,
    /// Share of one core. This and the three below are absent when the load was not sustained.
    pub cores: Option<f64>,
    /// CPU time for each entity at each tick.
    pub cpu_us_per_entity_cycle: Option<f64>,
    /// CPU time for each frame.
    pub cpu_us_per_frame: Option<f64>,
    /// Values that one core would take in a second.
    pub samples_per_second_per_core: Option<u64>,
    /// Times that a thread waited for something, a frame.
    pub voluntary_switches_per_frame: f64,
    /// Times that a thread had to give way to another, a frame.
    pub involuntary_switches_per_frame: f64,
    /// The most memory so far, questions not included.
    pub peak_rss_bytes: u64,
    /// Memory when the measurement ended.
    pub rss_bytes: u64,
    /// Of this, pages of the program's file.
    pub rss_of_file_bytes: u64,
    /// All of it for each entity.
    pub rss_bytes_per_entity: u64,
    /// The same without the pages of the program's file.
    pub anonymous_bytes_per_entity: u64,
}

/// What the player used.
#[derive(Clone, Debug, Serialize)]
pub struct Player {
    /// CPU time in the measured time.
    pub cpu_seconds: f64,
    /// Share of one core.
    pub cores: f64,
    /// CPU time for each frame: making, packing, sending, and reading its acknowledgement.
    pub cpu_us_per_frame: f64,
    /// Memory when the measurement ended.
    pub rss_bytes: u64,
}

/// Counts and usage at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    /// When.
    pub at: Duration,
    /// Frames sent.
    pub frames: u64,
    /// Values sent.
    pub samples: u64,
    /// Bytes of columns sent.
    pub bytes: u64,
    /// Values acknowledged.
    pub acknowledged: u64,
    /// What the aggregator used, if its process is known.
    pub usage: Option<Usage>,
    /// What the player used.
    pub own: Usage,
}

impl Moment {
    /// Now.
    pub fn take(at: Duration, counts: &Counts, usage: Option<Usage>, own: Usage) -> Self {
        Self {
            at,
            frames: counts.frames.load(Ordering::Relaxed),
            samples: counts.samples.load(Ordering::Relaxed),
            bytes: counts.bytes.load(Ordering::Relaxed),
            acknowledged: counts.samples_acknowledged.load(Ordering::Relaxed),
            usage,
            own,
        }
    }
}

impl Report {
    /// What happened between two moments.
    #[expect(clippy::as_conversions, reason = "figures for people")]
    pub fn between(shape: Shape, flat_out: bool, before: &Moment, after: &Moment) -> Self {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64();
        let samples = after.samples - before.samples;
        let frames = after.frames - before.frames;
        let per_second = |count: u64| (count as f64 / seconds).round() as u64;
        let usage = before.usage.zip(after.usage);
        Self {
            nodes: shape.nodes,
            pods_per_node: shape.pods,
            containers_per_pod: shape.containers,
            entities: shape.entities(),
            metrics: shape.metrics,
            seed: shape.seed,
            resolution_s: shape.resolution_s,
            flat_out,
            seconds: rounded(seconds),
            frames,
            samples_sent_per_second: per_second(samples),
            samples_acknowledged_per_second: per_second(after.acknowledged - before.acknowledged),
            bytes_per_sample: rounded((after.bytes - before.bytes) as f64 / samples as f64),
            kept_up: None,
            sustained: None,
            punctuality: None,
            player: Player::between(frames, seconds, before.own, after.own),
            aggregator: usage.map(|(before, after)| {
                Cost::between(shape, (frames, samples), seconds, before, after)
            }),
            memory: Vec::new(),
            freshness: None,
            weather: None,
            asked: None,
        }
    }

    /// Adds how punctual frames and acknowledgements were. Where they were not, the aggregator's
    /// CPU time says nothing about what the load costs.
    pub fn judge(&mut self, verdict: Verdict) {
        self.kept_up = Some(verdict.kept_up);
        self.sustained = Some(verdict.sustained);
        if !verdict.sustained
            && let Some(cost) = &mut self.aggregator
        {
            cost.cores = None;
            cost.cpu_us_per_entity_cycle = None;
            cost.cpu_us_per_frame = None;
            cost.samples_per_second_per_core = None;
        }
        self.punctuality = Some(verdict);
    }
}

impl Player {
    #[expect(clippy::as_conversions, reason = "figures for people")]
    fn between(frames: u64, seconds: f64, before: Usage, after: Usage) -> Self {
        let cpu_s = after.cpu_s() - before.cpu_s();
        Self {
            cpu_seconds: rounded(cpu_s),
            cores: rounded(cpu_s / seconds),
            cpu_us_per_frame: rounded(cpu_s * 1e6 / frames as f64),
            rss_bytes: after.resident_bytes,
        }
    }
}

impl Cost {
    #[expect(clippy::as_conversions, reason = "figures for people")]
    fn between(
        shape: Shape,
        (frames, samples): (u64, u64),
        seconds: f64,
        before: Usage,
        after: Usage,
    ) -> Self {
        let cpu_s = after.cpu_s() - before.cpu_s();
        let per_frame = |count: u64| rounded(count as f64 / frames as f64);
        let entity_cycles = frames as f64 * f64::from(shape.entities_per_node());
        Self {
            cpu_seconds: rounded(cpu_s),
            cpu_user_seconds: rounded(after.user_s - before.user_s),
            cpu_system_seconds: rounded(after.system_s - before.system_s),
            cores: Some(rounded(cpu_s / seconds)),
            cpu_us_per_entity_cycle: Some(rounded(cpu_s * 1e6 / entity_cycles)),
            cpu_us_per_frame: Some(rounded(cpu_s * 1e6 / frames as f64)),
            samples_per_second_per_core: Some((samples as f64 / cpu_s).round() as u64),
            voluntary_switches_per_frame: per_frame(
                after.voluntary_switches.saturating_sub(before.voluntary_switches),
            ),
            involuntary_switches_per_frame: per_frame(
                after.involuntary_switches.saturating_sub(before.involuntary_switches),
            ),
            peak_rss_bytes: after.peak_bytes,
            rss_bytes: after.resident_bytes,
            rss_of_file_bytes: after.file_bytes,
            rss_bytes_per_entity: after.resident_bytes / shape.entities().max(1),
            anonymous_bytes_per_entity: after.resident_bytes.saturating_sub(after.file_bytes)
                / shape.entities().max(1),
        }
    }
}
