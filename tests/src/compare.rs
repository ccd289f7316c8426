//! Tally's store beside VictoriaMetrics and InfluxDB: the same samples, the same questions.

pub mod bench;
pub mod http;
pub mod influx;
pub mod server;
pub mod stop;
pub mod table;
pub mod tally;
pub mod text;
pub mod truth;
pub mod victoria;

use tally_aggregator::history::{life::InPod, series::Row};

/// Percentiles of one bucket: of 50, 95 and 99 percent.
pub type Percentiles = [f64; 3];

/// An answer, and how many milliseconds it took.
pub type Timed = (Vec<Percentiles>, f64);

/// Rows, span by span.
pub type Spans<'a> = Box<dyn Iterator<Item = anyhow::Result<Vec<Row>>> + 'a>;

/// How often a question is asked; the median counts.
pub const TIMES: usize = 20;

/// What one store took.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Bytes on disk, indices included.
    pub bytes: u64,
    /// Bytes of what is made beside the samples for coarser questions.
    pub tier_bytes: u64,
    /// CPU time from the first sample to the last merge.
    pub cpu_ns: u64,
    /// The answers, where there were questions.
    pub answers: Option<Answers>,
}

/// The answers of one store.
#[derive(Clone, Debug)]
pub struct Answers {
    /// All in one bucket.
    pub whole: Timed,
    /// By the hour.
    pub hourly: Timed,
}

/// What is asked: the percentiles of one series.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The metric.
    pub metric: &'static str,
    /// The container.
    pub whose: InPod,
    /// The first second.
    pub begin: u64,
    /// The second after the last.
    pub end: u64,
    /// Seconds from sample to sample.
    pub step: u64,
}

/// The answer, and the median of so many tries after one, in milliseconds of wall time.
#[expect(clippy::disallowed_methods, reason = "a comparison measures real time")]
pub fn timed(mut ask: impl FnMut() -> anyhow::Result<Vec<Percentiles>>) -> anyhow::Result<Timed> {
    let answer = ask()?;
    let mut took = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let before = std::time::Instant::now();
        ask()?;
        took.push(before.elapsed().as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    Ok((answer, took.get(TIMES / 2).copied().unwrap_or(f64::NAN)))
}
