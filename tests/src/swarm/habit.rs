//! How one container's numbers move from tick to tick.
//!
//! Modelled on `tests/data/containers-1s.tsv.gz`: sizes and rates spread over orders of magnitude,
//! each container keeps near its own, memory moves in pages, and an idle one stands still. It is
//! busier than those recordings, so that about half of all values change at each tick.

use super::{
    meter::{Meter as M, Meters},
    random::Random,
};

const PAGE: i64 = 4096;

/// Length of the periods in which the kernel enforces a CPU limit: ten a second.
const PERIODS_PER_SECOND: i64 = 10;

/// How the kernel counts CPU time: cgroup v1 in odd nanoseconds, v2 in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuUnit {
    /// Version 1.
    Nanoseconds,
    /// Version 2.
    Microseconds,
}

/// When a container does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    /// Almost never.
    Idle,
    /// Always.
    Steady,
    /// For a while, and then not for a while.
    Bursty { on: bool },
    /// Always, and its memory only grows.
    Growing,
}

/// One container.
#[derive(Clone, Debug)]
pub struct Container {
    /// What the kernel would say now.
    pub meters: Meters,
    activity: Activity,
    unit: CpuUnit,
    /// Its share of a core: nanoseconds a second.
    cpu_rate: i64,
    faults_rate: i64,
    /// Bytes a second; 0 for one that no traffic reaches.
    network_rate: i64,
    has_cpu_limit: bool,
}

impl Container {
    /// A container that has run for a while.
    pub fn new(random: &mut Random, unit: CpuUnit) -> Self {
        let activity = match random.below(100) {
            0..25 => Activity::Idle,
            25..75 => Activity::Steady,
            75..95 => Activity::Bursty { on: random.percent(50) },
            _ => Activity::Growing,
        };
        let mut container = Self {
            meters: Meters::default(),
            activity,
            unit,
            cpu_rate: random.spread(1_000_000, 8),
            faults_rate: random.spread(20, 7),
            network_rate: if random.percent(60) { random.spread(2_000, 14) } else { 0 },
            has_cpu_limit: random.percent(60),
        };
        container.begin(random);
        container
    }

    fn begin(&mut self, random: &mut Random) {
        let lived_s = random.spread(60, 14);
        let meters = &mut self.meters;
        meters[M::Rss] = random.spread(256, 8) * PAGE;
        meters[M::Cache] = random.spread(16, 10) * PAGE;
        meters[M::Kernel] = random.spread(64, 4) * PAGE;
        meters[M::Threads] = random.spread(1, 6);
        meters[M::Processes] = 1 + meters[M::Threads] / 8;
        meters[M::PageFaults] = self.faults_rate * lived_s;
        meters[M::MajorPageFaults] = random.between(0, 200);
        meters[M::DiskRead] = random.spread(64, 12) * PAGE;
        meters[M::DiskWrite] = random.spread(16, 12) * PAGE;
        meters[M::CpuUsage] = self.unit.rounded(self.cpu_rate * lived_s);
        if self.network_rate != 0 {
            meters[M::NetworkRx] = self.network_rate * lived_s;
            meters[M::NetworkTx] = self.network_rate * lived_s / 3;
            meters[M::NetworkRxPackets] = meters[M::NetworkRx] / 1000;
            meters[M::NetworkTxPackets] = meters[M::NetworkTx] / 800;
        }
        self.settle();
    }

    /// Begins anew, with the same habits: its counters are 0 and its memory is another.
    pub fn restart(&mut self, random: &mut Random) {
        self.begin(random);
        self.meters.reset_counters();
    }

    /// Lets `seconds` pass.
    pub fn advance(&mut self, random: &mut Random, seconds: i64) {
        if let Activity::Bursty { on } = &mut self.activity
            && random.percent(10)
        {
            *on = !*on;
        }
        let active = match self.activity {
            Activity::Idle => random.percent(3),
            Activity::Steady | Activity::Growing => true,
            Activity::Bursty { on } => on,
        };
        if !active {
            return;
        }
        self.use_cpu(random, seconds);
        self.use_memory(random);
        self.use_disk(random);
        self.use_network(random, seconds);
        self.settle();
    }

    fn use_cpu(&mut self, random: &mut Random, seconds: i64) {
        let used = around(random, self.cpu_rate * seconds);
        let meters = &mut self.meters;
        meters[M::CpuUsage] += self.unit.rounded(used);
        meters[M::CpuWaiting] += self.unit.rounded(used / random.between(10, 40));
        if self.has_cpu_limit {
            let periods = PERIODS_PER_SECOND * seconds;
            meters[M::Periods] += periods;
            if random.percent(40) {
                let throttled = random.between(1, periods);
                meters[M::ThrottledPeriods] += throttled;
                let held_ns = throttled * random.between(5_000_000, 90_000_000);
                meters[M::ThrottledTime] += self.unit.rounded(held_ns);
            }
        }
    }

    fn use_memory(&mut self, random: &mut Random) {
        let meters = &mut self.meters;
        if random.percent(80) {
            meters[M::PageFaults] += around(random, self.faults_rate);
        }
        if random.percent(2) {
            meters[M::MajorPageFaults] += random.between(1, 8);
        }
        if random.percent(80) {
            let pages = random.spread(1, 7);
            let grows = self.activity == Activity::Growing || random.percent(50);
            let change = if grows { pages } else { -pages };
            meters[M::Rss] = (meters[M::Rss] + change * PAGE).max(PAGE);
        }
        if random.percent(35) {
            meters[M::Cache] = (meters[M::Cache] + random.between(-16, 32) * PAGE).max(0);
        }
        if random.percent(25) {
            meters[M::Kernel] = (meters[M::Kernel] + random.between(-4, 4) * PAGE).max(PAGE);
        }
        if random.percent(15) {
            meters[M::Threads] = (meters[M::Threads] + random.between(-2, 2)).max(1);
        }
    }

    fn use_disk(&mut self, random: &mut Random) {
        let meters = &mut self.meters;
        if random.percent(35) {
            meters[M::DiskWrite] += random.spread(1, 9) * PAGE;
            meters[M::DiskWrites] += random.between(1, 20);
            meters[M::IoWaiting] += self.unit.rounded(random.spread(50_000, 8));
        }
        if random.percent(5) {
            meters[M::DiskRead] += random.spread(1, 7) * PAGE;
            meters[M::DiskReads] += random.between(1, 10);
            meters[M::IoStalled] += self.unit.rounded(random.spread(20_000, 6));
        }
    }

    fn use_network(&mut self, random: &mut Random, seconds: i64) {
        if self.network_rate == 0 {
            return;
        }
        let received = around(random, self.network_rate * seconds);
        let sent = around(random, self.network_rate * seconds / 3);
        let meters = &mut self.meters;
        meters[M::NetworkRx] += received;
        meters[M::NetworkTx] += sent;
        meters[M::NetworkRxPackets] += 1 + received / 1000;
        meters[M::NetworkTxPackets] += 1 + sent / 800;
    }

    /// Usage is the sum of its parts, and the working set what of it is not easily dropped.
    fn settle(&mut self) {
        let meters = &mut self.meters;
        meters[M::MemoryUsage] = meters[M::Rss] + meters[M::Cache] + meters[M::Kernel];
        meters[M::WorkingSet] = meters[M::MemoryUsage] - meters[M::Cache] / PAGE / 2 * PAGE;
    }
}

impl CpuUnit {
    fn rounded(self, nanoseconds: i64) -> i64 {
        match self {
            Self::Nanoseconds => nanoseconds,
            Self::Microseconds => nanoseconds / 1000 * 1000,
        }
    }
}

/// A number within a quarter of `usual`.
fn around(random: &mut Random, usual: i64) -> i64 {
    usual + random.between(-usual / 4, usual / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(unit: CpuUnit, check: impl Fn(&Meters, &Meters)) {
        let mut random = Random::new(3, 3);
        for _ in 0..50 {
            let mut container = Container::new(&mut random, unit);
            for _ in 0..50 {
                let before = container.meters.clone();
                container.advance(&mut random, 1);
                check(&before, &container.meters);
            }
        }
    }

    #[test]
    fn counters_never_go_back() {
        let counters = [M::CpuUsage, M::PageFaults, M::DiskWrite, M::NetworkRx, M::ThrottledTime];
        of(CpuUnit::Nanoseconds, |before, after| {
            assert!(counters.iter().all(|meter| before[*meter] <= after[*meter]));
        });
    }

    #[test]
    fn memory_is_in_pages_and_version_2_counts_microseconds() {
        of(CpuUnit::Microseconds, |_, after| {
            assert_eq!(after[M::WorkingSet] % PAGE, 0);
            assert_eq!(after[M::CpuUsage] % 1000, 0);
            assert!(0 < after[M::WorkingSet] && after[M::WorkingSet] <= after[M::MemoryUsage]);
        });
    }
}
