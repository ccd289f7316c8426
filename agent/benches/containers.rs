//! What sampling costs, on real cgroups of this host.
//!
//! `sudo cargo bench -p tally-agent --bench containers -- [--containers 250] [--busy 25] [--seconds 60]`
//!
//! Makes the containers (a cgroup in every hierarchy, a process in a network namespace of its own with
//! a pair of interfaces), reads the host once a second, and removes them. A fifth of the seconds is for
//! warming up. Needs root, `unshare` and `ip`.

use std::{
    error::Error,
    fs,
    io::stdout,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tally_agent::sampler::{Sampler, SamplerOptions};
use tally_proto::{
    columns::Builder,
    declaration::ColumnNumber,
    tick::{Resolution, Tick},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Parent of the cgroups that are made.
const PARENT: &str = "tally-bench";

/// A container that mostly sleeps: it wakes ten times a second, forks and computes a little.
const BUSY: &str = "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.1; done";

struct Arguments {
    containers: u32,
    busy: u32,
    seconds: u64,
}

impl Arguments {
    fn parse() -> Outcome<Self> {
        let mut found = Self { containers: 250, busy: 25, seconds: 60 };
        let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            match word.as_str() {
                "--containers" => found.containers = value.parse()?,
                "--busy" => found.busy = value.parse()?,
                "--seconds" => found.seconds = value.parse()?,
                _ => return Err(format!("unknown: {word}").into()),
            }
        }
        Ok(found)
    }
}

/// Containers that go when this is dropped.
struct Containers {
    directories: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl Containers {
    fn make(arguments: &Arguments) -> Outcome<Self> {
        let mut made = Self { directories: Vec::new(), processes: Vec::new() };
        let hierarchies = hierarchies()?;
        for hierarchy in &hierarchies {
            made.make_directory(hierarchy.join(PARENT))?;
        }
        for number in 0..arguments.containers {
            let program = if number < arguments.busy { BUSY } else { "exec sleep 100000" };
            let program =
                format!("ip link add eth0 type veth peer name peer0 2>/dev/null; {program}");
            let process = Command::new("unshare")
                .args(["--net", "sh", "-c", &program])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            let id = process.id().to_string();
            made.processes.push(process);
            for hierarchy in &hierarchies {
                let directory = hierarchy.join(PARENT).join(format!("{number:064x}"));
                made.make_directory(directory.clone())?;
                fs::write(directory.join("cgroup.procs"), &id)?;
            }
        }
        Ok(made)
    }

    fn make_directory(&mut self, directory: PathBuf) -> Outcome<()> {
        fs::create_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        self.directories.push(directory);
        Ok(())
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Those that ended by themselves cannot be killed.
            drop(process.kill());
        }
        for process in &mut self.processes {
            drop(process.wait());
        }
        // Children of the killed shells end by themselves; until then the cgroups are not empty.
        sleep(Duration::from_millis(500));
        for directory in self.directories.iter().rev() {
            drop(fs::remove_dir(directory));
        }
    }
}

/// Where cgroups can be made: v1's controllers that are sampled and a v2 tree.
fn hierarchies() -> Outcome<Vec<PathBuf>> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = Vec::new();
    for line in mountinfo.lines() {
        let (mount, filesystem) = line.split_once(" - ").unwrap_or_default();
        let (Some(point), Some(kind)) = (mount.split(' ').nth(4), filesystem.split(' ').next())
        else {
            continue;
        };
        let wanted = ["memory", "cpu", "cpuacct", "blkio", "pids"];
        let options = filesystem.rsplit(' ').next().unwrap_or_default();
        let is_sampled = options.split(',').any(|option| wanted.contains(&option));
        if kind == "cgroup2" || kind == "cgroup" && is_sampled {
            found.push(point.into());
        }
    }
    Ok(found)
}

/// User and system time of this process in seconds, and its memory in KiB.
struct Cost {
    user_s: f64,
    system_s: f64,
    resident_kib: u64,
}

impl Cost {
    fn now() -> Outcome<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
        let seconds = |place: usize| -> Outcome<f64> {
            Ok(fields.get(place).ok_or("a short stat")?.parse::<f64>()? / 100.0)
        };
        let status = fs::read_to_string("/proc/self/status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.ok_or("no VmRSS")?.trim_end_matches("kB").trim();
        Ok(Self { user_s: seconds(12)?, system_s: seconds(13)?, resident_kib: resident.parse()? })
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is where the clock is read")]
fn measure(arguments: &Arguments, out: &mut impl std::io::Write) -> Outcome<()> {
    let options = SamplerOptions::new("/", Resolution::from_seconds(1)?);
    let mut sampler = Sampler::open(options)?;
    let mut builder = Builder::new();
    let begun = Instant::now();
    let warm_up = arguments.seconds / 5;
    let mut before = (Cost::now()?, sampler.readings_and_opens());
    let (mut entities, mut cells) = (0, 0);
    for second in 0..arguments.seconds + warm_up {
        let due = begun + Duration::from_secs(second);
        sleep(due.saturating_duration_since(Instant::now()));
        let mut clock = || i64::try_from(due.elapsed().as_micros()).unwrap_or(i64::MAX);
        sampler.read(Tick(second), &mut clock, &mut builder);
        let frame = builder.finish();
        cells = frame.layout.cells();
        entities = frame
            .layout
            .index_of(ColumnNumber::READ_OFFSET)
            .map_or(0, |offsets| frame.layout.rows(offsets).len());
        if second + 1 == warm_up {
            before = (Cost::now()?, sampler.readings_and_opens());
            writeln!(out, "measuring process {}", std::process::id())?;
        }
    }
    let (cost, (readings, opens)) = (Cost::now()?, sampler.readings_and_opens());
    let (cost_before, (readings_before, opens_before)) = before;
    let seconds = u32::try_from(arguments.seconds)?;
    let percent = |now: f64, before: f64| (now - before) / f64::from(seconds) * 100.0;
    let user = percent(cost.user_s, cost_before.user_s);
    let system = percent(cost.system_s, cost_before.system_s);
    writeln!(
        out,
        "{} containers ({} busy), {entities} entities, {cells} values a tick",
        arguments.containers, arguments.busy
    )?;
    writeln!(out, "user {user:.3} %, system {system:.3} %, sum {:.3} % of a core", user + system)?;
    writeln!(
        out,
        "{} readings and {} opens a tick, {} descriptors, {} KiB resident",
        (readings - readings_before) / arguments.seconds,
        (opens - opens_before) / arguments.seconds,
        sampler.open_files(),
        cost.resident_kib
    )?;
    for fault in sampler.unreadable() {
        writeln!(out, "{fault}")?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse()?;
    let containers = Containers::make(&arguments)?;
    // Their interfaces take a moment.
    sleep(Duration::from_secs(3));
    let measured = measure(&arguments, &mut stdout().lock());
    drop(containers);
    measured
}
