//! Where kernel and agent must agree.

use super::{
    agent::Entities,
    arguments::{Kind, Load},
    figure::{Figure, Figures},
    kernel::Kernel,
    moment::Moment,
};

/// What CPU time may differ by: the two are not read at the very same time.
const CPU_PERCENT: i64 = 1;

/// What a load that burns may use above its limit: the kernel hands the quota out in slices.
const ABOVE_LIMIT_PERCENT: i64 = 10;

/// What it uses at least: on a busy machine it does not get all that it may have.
const OF_LIMIT_PERCENT: i64 = 50;

/// Whether one thing is as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// It is.
    pub passed: bool,
    /// What, and with which numbers.
    pub what: String,
}

impl Check {
    /// A check, and what to say about it.
    pub fn new(passed: bool, what: String) -> Self {
        Self { passed, what }
    }
}

/// What was said of one load at the two moments.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The load.
    pub load: Load,
    /// The kernel's before and after the agent's first reading.
    pub kernel_earlier: [Figures; 2],
    /// The same for its second.
    pub kernel_later: [Figures; 2],
    /// The agent's.
    pub agent_earlier: Figures,
    /// The agent's, with rates.
    pub agent_later: Figures,
    /// Between the two moments.
    pub elapsed_us: i64,
}

/// Pairs what was read of each load.
pub fn compare(
    loads: &[(Load, Kernel)],
    earlier: &Moment,
    later: &Moment,
    [at_earlier, at_later]: [&Entities; 2],
) -> anyhow::Result<Vec<Comparison>> {
    let brackets = |moment: &Moment| {
        let both: Vec<[Figures; 2]> = moment
            .before
            .iter()
            .zip(&moment.after)
            .map(|(before, after)| [before.clone(), after.clone()])
            .collect();
        both
    };
    let kernel = brackets(earlier).into_iter().zip(brackets(later));
    let each = loads.iter().zip(kernel).map(|((load, kernel), (kernel_earlier, kernel_later))| {
        Ok(Comparison {
            load: *load,
            kernel_earlier,
            kernel_later,
            agent_earlier: at_earlier.figures(load.kind, &kernel.path)?,
            agent_later: at_later.figures(load.kind, &kernel.path)?,
            elapsed_us: later.at_us - earlier.at_us,
        })
    });
    each.collect()
}

impl Comparison {
    /// All checks of this load.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = self.agrees();
        checks.extend(match self.load.kind {
            Kind::Burn => self.burnt(),
            Kind::Fill => vec![self.holds("memory/usage"), self.holds("memory/rss")],
            Kind::Write => vec![self.grew("disk/io_write_bytes")],
            Kind::Receive => vec![self.grew("network/rx")],
            Kind::Oom => vec![self.grew("memory/oom_kills")],
        });
        checks
    }

    /// At both moments every figure of the agent lies within the kernel's, which at rest are equal.
    fn agrees(&self) -> Vec<Check> {
        let [_, last] = &self.kernel_later;
        let mut checks = Vec::new();
        for figure in last.keys() {
            let (earlier, first) =
                side(&self.kernel_earlier, self.agent_earlier.get(figure).copied(), figure);
            let (later, second) =
                side(&self.kernel_later, self.agent_later.get(figure).copied(), figure);
            let what = format!("{figure} as the kernel says: {earlier}, later {later}");
            checks.push(Check::new(first && second, what));
        }
        checks
    }

    /// The load holds what it should.
    fn holds(&self, metric: &str) -> Check {
        let (amount, found) = (i64::from(self.load.process.amount), sum(&self.agent_later, metric));
        Check::new(amount <= found, format!("{metric} is {found}, at least {amount}"))
    }

    /// The agent counted exactly what the kernel did, and at least what the load did.
    fn grew(&self, metric: &str) -> Check {
        let amount = i64::from(self.load.process.amount);
        let [_, earlier] = &self.kernel_earlier;
        let [_, later] = &self.kernel_later;
        let kernel = sum(later, metric) - sum(earlier, metric);
        let agent = sum(&self.agent_later, metric) - sum(&self.agent_earlier, metric);
        Check::new(
            agent == kernel && amount <= agent,
            format!("{metric} grew by {agent}, in the kernel by {kernel}, at least {amount}"),
        )
    }

    fn burnt(&self) -> Vec<Check> {
        let limit = i64::from(self.load.process.amount);
        let kernel_ns = middle(&self.kernel_later) - middle(&self.kernel_earlier);
        let metric = "cpu/usage";
        let agent_ns = sum(&self.agent_later, metric) - sum(&self.agent_earlier, metric);
        let rate = sum(&self.agent_later, "cpu/usage_rate");
        let kernel_rate = kernel_ns / self.elapsed_us.max(1);
        let growth = |metric| sum(&self.agent_later, metric) - sum(&self.agent_earlier, metric);
        let (periods, throttled) = (growth("cpu/periods"), growth("cpu/throttled_periods"));
        vec![
            Check::new(
                is_within(agent_ns, kernel_ns, CPU_PERCENT),
                format!(
                    "cpu/usage grew by {agent_ns} ns in {} ms, in the kernel by {kernel_ns}: {}",
                    self.elapsed_us / 1000,
                    apart(agent_ns, kernel_ns)
                ),
            ),
            Check::new(
                // Whole millicores may be one apart by rounding alone.
                is_within(rate, kernel_rate, CPU_PERCENT) || rate.abs_diff(kernel_rate) <= 1,
                format!("cpu/usage_rate is {rate} millicores, by the kernel {kernel_rate}"),
            ),
            Check::new(
                (limit * OF_LIMIT_PERCENT..=limit * (100 + ABOVE_LIMIT_PERCENT))
                    .contains(&(rate * 100)),
                format!("cpu/usage_rate of {rate} follows from the limit of {limit} millicores"),
            ),
            Check::new(
                0 < throttled && periods <= throttled * 2,
                format!("throttled in {throttled} of {periods} periods"),
            ),
        ]
    }
}

/// What to say of a figure at one moment, and whether it is right.
fn side([before, after]: &[Figures; 2], agent: Option<i64>, figure: &Figure) -> (String, bool) {
    match (before.get(figure), agent, after.get(figure)) {
        (Some(least), Some(agent), Some(most)) if least == most => (
            if agent == *least { agent.to_string() } else { format!("{agent} is not {least}") },
            agent == *least,
        ),
        (Some(least), Some(agent), Some(most)) => {
            (format!("{least} ≤ {agent} ≤ {most}"), (*least..=*most).contains(&agent))
        }
        // A disk that nothing was written to yet may be missing on both sides.
        (None, None | Some(0), None) => ("nothing".to_owned(), true),
        (kernel, agent, _) => (format!("agent {agent:?}, kernel {kernel:?}"), false),
    }
}

/// A metric, of all resources together.
fn sum(figures: &Figures, metric: &str) -> i64 {
    figures.iter().filter(|(figure, _)| figure.metric == metric).map(|(_, value)| value).sum()
}

fn middle([before, after]: &[Figures; 2]) -> i64 {
    sum(before, "cpu/usage").midpoint(sum(after, "cpu/usage"))
}

fn is_within(value: i64, expected: i64, percent: i64) -> bool {
    value.abs_diff(expected).saturating_mul(100)
        <= expected.unsigned_abs().saturating_mul(percent.unsigned_abs())
}

fn apart(value: i64, expected: i64) -> String {
    let thousandths =
        value.abs_diff(expected).saturating_mul(100_000) / expected.unsigned_abs().max(1);
    format!("{}.{:03} % apart", thousandths / 1000, thousandths % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known_loads::arguments::Process;

    fn figures(values: &[(&str, i64)]) -> Figures {
        values.iter().map(|(metric, value)| (Figure::plain(metric), *value)).collect()
    }

    fn grown(kind: Kind, metric: &str, kernel: i64, agent: i64) -> Vec<bool> {
        let at = |value| figures(&[(metric, value)]);
        let comparison = Comparison {
            load: Load { kind, process: Process { pid: 1, amount: 100 } },
            kernel_earlier: [at(7), at(7)],
            kernel_later: [at(7 + kernel), at(7 + kernel)],
            agent_earlier: at(7),
            agent_later: at(7 + agent),
            elapsed_us: 10_000_000,
        };
        comparison.checks().iter().map(|check| check.passed).collect()
    }

    #[test]
    fn at_rest_both_are_equal_to_the_digit() {
        for (metric, kind) in [
            ("disk/io_write_bytes", Kind::Write),
            ("network/rx", Kind::Receive),
            ("memory/oom_kills", Kind::Oom),
        ] {
            assert_eq!(grown(kind, metric, 100, 100), [true, true]);
            assert_eq!(grown(kind, metric, 100, 101), [false, false]);
            assert_eq!(grown(kind, metric, 101, 100), [false, false]);
        }
    }

    #[test]
    fn less_than_the_load_did_is_wrong_on_both_sides() {
        assert_eq!(grown(Kind::Write, "disk/io_write_bytes", 99, 99), [true, false]);
        assert_eq!(grown(Kind::Fill, "memory/usage", 92, 92), [true, false, false]);
    }

    /// Of ten seconds: the agent's growth and rate, and throttled periods of 100.
    fn burnt(agent_ms: i64, rate: i64, throttled: i64) -> Vec<bool> {
        let at = |ms: i64, rate: i64, throttled: i64| {
            figures(&[
                ("cpu/usage", ms * 1_000_000),
                ("cpu/usage_rate", rate),
                ("cpu/periods", 100),
                ("cpu/throttled_periods", throttled),
            ])
        };
        let nothing = figures(&[("cpu/usage", 0), ("cpu/periods", 0)]);
        let comparison = Comparison {
            load: Load { kind: Kind::Burn, process: Process { pid: 1, amount: 250 } },
            kernel_earlier: [nothing.clone(), nothing.clone()],
            kernel_later: [
                figures(&[("cpu/usage", 2_500_000_000)]),
                figures(&[("cpu/usage", 2_500_000_000)]),
            ],
            agent_earlier: nothing,
            agent_later: at(agent_ms, rate, throttled),
            elapsed_us: 10_000_000,
        };
        let checks = comparison.checks();
        checks.iter().skip(1).map(|check| check.passed).collect()
    }

    #[test]
    fn what_burns_is_within_one_percent() {
        assert_eq!(burnt(2_500, 250, 100), [true; 4]);
        assert_eq!(burnt(2_525, 252, 50), [true; 4]);
        assert_eq!(burnt(2_526, 250, 100), [false, true, true, true]);
        assert_eq!(burnt(2_500, 253, 100), [true, false, true, true]);
        assert_eq!(burnt(2_500, 276, 100), [true, false, false, true]);
        assert_eq!(burnt(2_500, 124, 100), [true, false, false, true]);
        assert_eq!(burnt(2_500, 250, 49), [true, true, true, false]);
    }
}
