//! Tally's store beside VictoriaMetrics and InfluxDB: the same samples, the same questions.

pub mod influx;
pub mod server;
pub mod tally;
pub mod text;
pub mod victoria;

/// Percentiles of one bucket: of 50, 95 and 99 percent.
pub type Percentiles = [f64; 3];

/// How often a question is asked; the median counts.
pub const TIMES: usize = 20;

/// What one store took.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Bytes on disk, indices included.
    pub bytes: u64,
    /// CPU time from the first sample to the last merge.
    pub cpu_ns: u64,
    /// The answer in one bucket, and how many milliseconds it took.
    pub whole: Option<(Vec<Percentiles>, f64)>,
    /// The answer by the hour.
    pub hourly: Option<(Vec<Percentiles>, f64)>,
}

/// What is asked of a database: a metric, the labels of one series, the first and the last second,
/// and the size of a bucket in seconds.
pub type Asked<'a> = (&'a str, &'a [(&'a str, String)], u64, u64, u64);

/// The answer, and the median of so many tries after one, in milliseconds of wall time.
#[expect(clippy::disallowed_methods, reason = "a comparison measures real time")]
pub fn timed(
    mut ask: impl FnMut() -> anyhow::Result<Vec<Percentiles>>,
) -> anyhow::Result<(Vec<Percentiles>, f64)> {
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
