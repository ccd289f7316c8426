//! The comparison: recorded samples for their size, thirty generated days for size and answers.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tally_aggregator::history::{
    life::InPod,
    series::{Row, What},
};
use tally_proto::tick::Tick;

use super::{
    Answers, Asked, Spans, Taken, influx,
    stop::Stop,
    table::Line,
    tally, text,
    truth::{self, Rule},
    victoria,
};
use crate::{
    history::{recorded, swarm::Player},
    swarm::shape::{NAMESPACES, Shape},
};

/// The metric that is asked for.
const ASKED: &str = "memory/usage";

/// Seconds from sample to sample of what is generated.
const STEP: u32 = 15;

/// Samples of an hour.
const HOUR_TICKS: usize = 240;

/// The generated samples: one node for so many days, written by the hour.
#[derive(Clone, Copy, Debug)]
pub struct Generated {
    /// How long.
    pub days: u64,
    /// Pods on the node, with two containers each.
    pub pods: u32,
}

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// VictoriaMetrics.
    pub victoria: PathBuf,
    /// InfluxDB.
    pub influx: PathBuf,
    /// Tally's aggregator; without one, Tally is asked in this process alone.
    pub aggregator: Option<PathBuf>,
}

impl Generated {
    fn player(self) -> anyhow::Result<Player> {
        let shape = Shape {
            seed: 1,
            nodes: 2,
            pods: self.pods,
            containers: 2,
            free_containers: 1,
            namespaces: NAMESPACES,
            metrics: 3,
            churn_ppm: 0,
            resolution_s: STEP,
        };
        Player::new(shape, 0, Tick(recorded::BEGIN))
    }

    /// The samples, hour by hour; an error once somebody wants an end.
    fn spans(self, stop: &Stop) -> anyhow::Result<Spans<'_>> {
        let mut player = self.player()?;
        let hour = move |_| stop.check().and_then(|()| player.rows(HOUR_TICKS));
        Ok(Box::new((0..self.days * 24).map(hour)))
    }

    fn asked(self) -> anyhow::Result<Asked> {
        let rows = self.player()?.rows(1)?;
        let mut in_pods = rows.iter().filter_map(|row| row.life.who.in_pod());
        let whose = in_pods.find(|in_pod| in_pod.container.is_some()).cloned();
        Ok(Asked {
            metric: ASKED,
            whose: whose.context("there is no container: --pods")?,
            begin: recorded::BEGIN,
            end: recorded::BEGIN + self.days * 86_400,
            step: u64::from(STEP),
        })
    }

    /// Writes the samples in InfluxDB's line protocol, with times in seconds, which VictoriaMetrics
    /// takes too.
    pub fn write(self, to: &mut impl Write, stop: &Stop) -> anyhow::Result<()> {
        for rows in self.spans(stop)? {
            to.write_all(text::influx(&rows?).as_bytes()).context("cannot write the samples")?;
        }
        to.flush().context("cannot write the samples")
    }
}

/// Compares all in a folder; says what it is doing.
pub fn run(
    programs: &Programs,
    generated: Generated,
    folder: &Path,
    stop: &Stop,
    progress: fn(&str),
) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let series = recorded::series()?;
    for (step, data) in [(1, "recorded, 24 min at 1 s"), (15, "recorded, every 15th second")] {
        let rows = || -> Spans<'_> {
            Box::new(std::iter::once_with(|| {
                stop.check().map(|()| recorded::rows(&series, 0, 1440, step, false))
            }))
        };
        let folder = folder.join(format!("recorded-{step}"));
        progress(data);
        let (mut ours, samples) = tally::run(&folder.join("tally"), rows(), None)?;
        // One bucket of a tier for 24 minutes says nothing of its size.
        ours.tier_bytes = 0;
        let theirs =
            victoria::run(&programs.victoria, &folder.join("victoria"), rows(), None, stop)?;
        let others = influx::run(&programs.influx, &folder.join("influx"), rows(), None, stop)?;
        let taken = [("Tally", ours), ("VictoriaMetrics", theirs), ("InfluxDB", others)];
        let line = |(store, taken)| Line { data: data.to_owned(), samples, store, taken };
        lines.extend(taken.map(line));
    }
    lines.extend(generate(programs, generated, &folder.join("generated"), stop, progress)?);
    Ok(lines)
}

fn generate(
    programs: &Programs,
    generated: Generated,
    folder: &Path,
    stop: &Stop,
    progress: fn(&str),
) -> anyhow::Result<Vec<Line>> {
    let asked = generated.asked()?;
    let data = format!("generated, {} days at {STEP} s", generated.days);
    let hours = hours(generated.spans(stop)?, &asked)?;
    let mut lines = Vec::new();
    let mut keep = |store, samples, taken: Taken, rule| {
        let answers = taken.answers.as_ref().context("there was a question")?;
        agree(answers, &hours, rule).with_context(|| format!("{store} answers wrongly"))?;
        lines.push(Line { data: data.clone(), samples, store, taken });
        anyhow::Ok(())
    };
    progress(&format!("{data}: Tally"));
    let folder_of_tally = folder.join("tally");
    let (taken, samples) = tally::run(&folder_of_tally, generated.spans(stop)?, Some(&asked))?;
    let sketched = Rule::NearestWithinOnePercent;
    keep("Tally, in process", samples, taken, sketched)?;
    if let Some(aggregator) = &programs.aggregator {
        let answers = Some(tally::over_http(aggregator, &folder_of_tally, &asked, stop)?);
        keep("Tally, HTTP", samples, Taken { answers, ..Taken::default() }, sketched)?;
    }
    progress(&format!("{data}: VictoriaMetrics"));
    let (program, at) = (&programs.victoria, folder.join("victoria"));
    let taken = victoria::run(program, &at, generated.spans(stop)?, Some(&asked), stop)?;
    keep("VictoriaMetrics, HTTP", samples, taken, Rule::Between)?;
    progress(&format!("{data}: InfluxDB"));
    let (program, at) = (&programs.influx, folder.join("influx"));
    let taken = influx::run(program, &at, generated.spans(stop)?, Some(&asked), stop)?;
    keep("InfluxDB, HTTP", samples, taken, Rule::Nearest)?;
    Ok(lines)
}

/// The values that are asked for, by the hour, sorted.
fn hours(spans: Spans<'_>, asked: &Asked) -> anyhow::Result<Vec<Vec<i64>>> {
    let hour = |rows: anyhow::Result<Vec<Row>>| {
        let mut values = values(&rows?, &asked.whose, asked.metric);
        values.sort_unstable();
        Ok(values)
    };
    spans.map(hour).collect()
}

fn values(rows: &[Row], whose: &InPod, metric: &str) -> Vec<i64> {
    let its = rows.iter().filter(|row| row.life.who.in_pod() == Some(whose));
    let series = its.flat_map(|row| &row.series).filter(|series| match &*series.what {
        What::Metric(quantity) => quantity.metric.as_str() == metric,
        What::ReadOffset | What::StoredLabels(_) => false,
    });
    series.flat_map(|series| series.values.iter().copied()).collect()
}

fn agree(answers: &Answers, hours: &[Vec<i64>], rule: Rule) -> anyhow::Result<()> {
    let mut whole = hours.concat();
    whole.sort_unstable();
    truth::check(&answers.whole.0, &[whole], rule).context("in one bucket")?;
    truth::check(&answers.hourly.0, hours, rule).context("by the hour")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Generated = Generated { days: 1, pods: 1 };

    #[test]
    fn the_truth_has_every_value_of_the_series_that_is_asked_for() {
        let asked = SMALL.asked().unwrap();
        let stop = Stop::default();
        let hours = hours(SMALL.spans(&stop).unwrap(), &asked).unwrap();
        assert_eq!(hours.len(), 24);
        assert!(hours.iter().all(|hour| hour.len() == HOUR_TICKS && hour.is_sorted()));
    }

    #[test]
    fn tally_answers_the_truth() {
        let folder = tempfile::tempdir().unwrap();
        let (asked, stop) = (SMALL.asked().unwrap(), Stop::default());
        let spans = || SMALL.spans(&stop).unwrap();
        let (taken, samples) = tally::run(&folder.path().join("t"), spans(), Some(&asked)).unwrap();
        let hours = hours(spans(), &asked).unwrap();
        agree(&taken.answers.unwrap(), &hours, Rule::Nearest).unwrap();
        assert!(0 < samples && samples < taken.bytes * 10, "{samples} {}", taken.bytes);
    }

    #[test]
    fn a_dataset_is_a_line_a_sample_until_somebody_wants_an_end() {
        let stop = Stop::default();
        let mut text = Vec::new();
        SMALL.write(&mut text, &stop).unwrap();
        let text = String::from_utf8(text).unwrap();
        let its = format!("memory_usage,node={}", SMALL.asked().unwrap().whose.node);
        assert!(text.lines().any(|line| line.starts_with(&its)), "{:?}", text.lines().next());
        stop.now();
        assert!(SMALL.write(&mut Vec::new(), &stop).is_err());
    }
}
