//! One of the two programs, in its namespace, in whatever process it is at present.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does its work.
    Runs,
    /// It is there and does nothing.
    Stopped,
    /// There is no process.
    Dead,
}

/// A program and how it is started.
#[derive(Debug)]
pub struct Daemon {
    launcher: Vec<String>,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    lives: u32,
    child: Option<Child>,
    state: State,
}

impl Daemon {
    /// One that does not run yet. `launcher` is a command that becomes the program, in surroundings of
    /// its own. Each of its lives has a log of its own.
    pub fn new(
        launcher: Vec<String>,
        program: &Path,
        arguments: Vec<String>,
        log: PathBuf,
    ) -> anyhow::Result<Self> {
        let program = program.to_owned();
        if !program.exists() {
            bail!("there is no {}; cargo build makes it", program.display());
        }
        Ok(Self { launcher, program, arguments, log, lives: 0, child: None, state: State::Dead })
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Logs of its lives, the first one first.
    pub fn logs(&self) -> Vec<PathBuf> {
        (1..=self.lives).map(|life| self.log_of(life)).collect()
    }

    /// Starts it.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.lives += 1;
        let log = self.log_of(self.lives);
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let (launcher, its_own) = self.launcher.split_first().context("nothing launches it")?;
        let child = Command::new(launcher)
            .args(its_own)
            .arg(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {launcher}"))?;
        self.child = Some(child);
        self.state = State::Runs;
        Ok(())
    }

    /// Ends it on the spot: SIGKILL.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        self.state = State::Dead;
        Ok(())
    }

    /// Lets it stand still: SIGSTOP.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        self.state = State::Stopped;
        Ok(())
    }

    /// Lets it go on: SIGCONT.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)?;
        self.state = State::Runs;
        Ok(())
    }

    /// Fails if it ended though nobody killed it.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            bail!("{} ended by itself: {status}", self.program.display());
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let id = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let id = Pid::from_raw(i32::try_from(id)?).context("no process has this number")?;
        Ok(kill_process(id, signal)?)
    }

    fn log_of(&self, life: u32) -> PathBuf {
        self.log.with_extension(format!("{life}.log"))
    }
}
