//! What kernel and agent say of all loads at the same moment.

use std::{thread::sleep, time::Duration};

use anyhow::bail;
use jiff::Timestamp;
use tally_agent::once::Frame;

use super::{
    agent::Agent,
    arguments::{Kind, Load},
    figure::{Figure, Figures},
    kernel::Kernel,
};

/// A wider gap between the kernel's two readings of what burns would be a good part of the 1 % that
/// is looked for: 10 s at a quarter of a core are 2.5 s.
const BURNT_MEANWHILE_MAX_NS: i64 = 5_000_000;

/// Readings until the loads at rest have come to rest, one a second.
const TRIES: u32 = 20;

/// Longer than the kernel's scheduler takes to count what burns.
const LOOK: Duration = Duration::from_millis(5);

/// What is throttled burns at the begin of each of its periods, which are 100 ms: two of them.
const LOOKS: u32 = 40;

/// One reading of the agent between two of the kernel's files.
#[derive(Debug)]
pub struct Moment {
    /// The agent's.
    pub frame: Frame,
    /// The kernel's before it, of each load.
    pub before: Vec<Figures>,
    /// The kernel's after it.
    pub after: Vec<Figures>,
    /// Microseconds since the epoch, in the middle.
    pub at_us: i64,
}

/// Reads until nothing moved meanwhile but what burns, and that only a little.
pub fn read(agent: &mut Agent, loads: &[(Load, Kernel)]) -> anyhow::Result<Moment> {
    let mut moved = String::new();
    for _ in 0..TRIES {
        agent.wait_for_tick();
        wait_for_throttled(loads)?;
        let before = kernel(loads)?;
        let begun_us = Timestamp::now().as_microsecond();
        let frame = agent.read();
        let ended_us = Timestamp::now().as_microsecond();
        let after = kernel(loads)?;
        let both = before.iter().zip(&after);
        let moving = loads.iter().zip(both).find(|((load, _), (before, after))| match load.kind {
            Kind::Burn => BURNT_MEANWHILE_MAX_NS < cpu_ns(after) - cpu_ns(before),
            _ => before != after,
        });
        let Some(((load, _), (before, after))) = moving else {
            return Ok(Moment { frame, before, after, at_us: begun_us.midpoint(ended_us) });
        };
        moved = format!("{:?} moved from {before:?} to {after:?}", load.kind);
    }
    bail!("in {TRIES} s the loads did not come to rest: {moved}")
}

/// Waits until what burns has just used up its quota, and stands still for the rest of its period.
/// A tick is a whole number of periods long: a tick's begin that meets one burning meets all burning.
fn wait_for_throttled(loads: &[(Load, Kernel)]) -> anyhow::Result<()> {
    let burning: Vec<_> = loads
        .iter()
        .filter(|(load, _)| load.kind == Kind::Burn)
        .map(|(_, kernel)| kernel)
        .collect();
    let burnt = || -> anyhow::Result<Vec<i64>> {
        burning.iter().map(|kernel| Ok(cpu_ns(&kernel.figures()?))).collect()
    };
    let first = burnt()?;
    let mut last = first.clone();
    for _ in 0..LOOKS {
        sleep(LOOK);
        let now = burnt()?;
        if now == last && now != first {
            break;
        }
        last = now;
    }
    Ok(())
}

fn cpu_ns(figures: &Figures) -> i64 {
    figures.get(&Figure::plain("cpu/usage")).copied().unwrap_or(0)
}

fn kernel(loads: &[(Load, Kernel)]) -> anyhow::Result<Vec<Figures>> {
    loads.iter().map(|(_, kernel)| kernel.figures()).collect()
}
