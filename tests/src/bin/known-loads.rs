//! `known-loads`: whether the agent says of loads of a known size what the kernel says.

use std::{
    io::{self, Write as _},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, ensure};
use clap::Parser as _;
use tally_tests::known_loads::{
    agent::Agent,
    arguments::{Arguments, Load},
    checks::{self, Check},
    kernel::Kernel,
    moment, names,
};

/// Readings between the work and the one that is compared: the agent reads what changes seldom, such as
/// the count of OOM kills, only at every 15th.
const TICKS: u32 = 15;

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let checks = run(&arguments).with_context(|| arguments.environment.clone())?;
    for check in &checks {
        let (verdict, what) = (if check.passed { "ok" } else { "FAILED" }, &check.what);
        writeln!(io::stdout(), "{verdict} {}: {what}", arguments.environment)?;
    }
    let all_passed = checks.iter().all(|check| check.passed);
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run(arguments: &Arguments) -> anyhow::Result<Vec<Check>> {
    let loads: Vec<(Load, Kernel)> = arguments
        .loads()
        .into_iter()
        .map(|load| Ok((load, Kernel::of(load)?)))
        .collect::<anyhow::Result<_>>()?;
    let mut agent = Agent::open()?;
    // A new container's network is looked for in its first ticks.
    agent.read();
    let earlier = moment::read(&mut agent, &loads)?;
    work(&arguments.command)?;
    for _ in 0..TICKS {
        agent.wait_for_tick();
        agent.read();
    }
    let later = moment::read(&mut agent, &loads)?;

    let at_earlier = agent.entities(&earlier.frame, &earlier.frame);
    let at_later = agent.entities(&earlier.frame, &later.frame);
    let compared = checks::compare(&loads, &earlier, &later, [&at_earlier, &at_later])?;
    let mut checks = names::checks(&names::once(&arguments.agent)?, &arguments.entity);
    checks.extend(compared.iter().flat_map(|comparison| comparison.checks()));
    Ok(checks)
}

/// Makes the loads work.
fn work(command: &[String]) -> anyhow::Result<()> {
    let (program, arguments) = command.split_first().context("no command")?;
    let status = Command::new(program).args(arguments).status();
    let status = status.with_context(|| program.clone())?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}
