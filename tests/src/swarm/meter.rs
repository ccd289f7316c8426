//! What is metered of one entity, and which metrics of the catalogue that becomes.

use std::ops::{Index, IndexMut};

use tally_proto::{
    catalogue::{self, MetricId},
    metric::Kind,
};

/// One number that a kernel keeps of a container, pod or node.
#[expect(missing_docs, reason = "each is the metric that `Meter::metric` names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    CpuUsage,
    MemoryUsage,
    WorkingSet,
    Rss,
    Cache,
    PageFaults,
    MajorPageFaults,
    DiskRead,
    DiskWrite,
    Threads,
    Periods,
    ThrottledPeriods,
    ThrottledTime,
    Swap,
    Kernel,
    NetworkRx,
    NetworkTx,
    NetworkRxPackets,
    NetworkTxPackets,
    NetworkRxErrors,
    CpuWaiting,
    MemoryWaiting,
    IoWaiting,
    IoStalled,
    DiskReads,
    DiskWrites,
    Processes,
    OomKills,
}

use Meter as M;

const METERS: usize = 28;

/// The meters of containers, the most usual first: an agent's first fifteen.
const OF_CONTAINERS: [Meter; 23] = [
    M::CpuUsage,
    M::MemoryUsage,
    M::WorkingSet,
    M::Rss,
    M::Cache,
    M::PageFaults,
    M::MajorPageFaults,
    M::DiskRead,
    M::DiskWrite,
    M::Threads,
    M::Periods,
    M::ThrottledPeriods,
    M::ThrottledTime,
    M::Swap,
    M::Kernel,
    M::Processes,
    M::CpuWaiting,
    M::MemoryWaiting,
    M::IoWaiting,
    M::IoStalled,
    M::DiskReads,
    M::DiskWrites,
    M::OomKills,
];

/// The meters of pods and nodes, which have a network.
const OF_NETWORKED: [Meter; 23] = [
    M::CpuUsage,
    M::MemoryUsage,
    M::WorkingSet,
    M::Rss,
    M::Cache,
    M::PageFaults,
    M::MajorPageFaults,
    M::DiskRead,
    M::DiskWrite,
    M::Threads,
    M::NetworkRx,
    M::NetworkTx,
    M::NetworkRxPackets,
    M::NetworkTxPackets,
    M::NetworkRxErrors,
    M::Swap,
    M::Kernel,
    M::CpuWaiting,
    M::MemoryWaiting,
    M::IoWaiting,
    M::IoStalled,
    M::DiskReads,
    M::DiskWrites,
];

/// Most metrics that an entity can have.
pub const METRICS_MOST: usize = OF_CONTAINERS.len();

/// The first `count` meters of a container.
pub fn of_containers(count: usize) -> &'static [Meter] {
    OF_CONTAINERS.get(..count).unwrap_or(&OF_CONTAINERS)
}

/// The first `count` meters of a pod or node.
pub fn of_networked(count: usize) -> &'static [Meter] {
    OF_NETWORKED.get(..count).unwrap_or(&OF_NETWORKED)
}

impl Meter {
    /// Its place, from 0.
    #[expect(clippy::as_conversions, reason = "an enum's own discriminant")]
    pub fn place(self) -> usize {
        self as usize
    }

    /// The metric it is sent as.
    pub fn metric(self) -> MetricId {
        match self {
            M::CpuUsage => catalogue::CPU_USAGE,
            M::MemoryUsage => catalogue::MEMORY_USAGE,
            M::WorkingSet => catalogue::MEMORY_WORKING_SET,
            M::Rss => catalogue::MEMORY_RSS,
            M::Cache => catalogue::MEMORY_CACHE,
            M::PageFaults => catalogue::MEMORY_PAGE_FAULTS,
            M::MajorPageFaults => catalogue::MEMORY_MAJOR_PAGE_FAULTS,
            M::DiskRead => catalogue::DISK_READ_BYTES,
            M::DiskWrite => catalogue::DISK_WRITE_BYTES,
            M::Threads => catalogue::THREADS_COUNT,
            M::Periods => catalogue::CPU_PERIODS,
            M::ThrottledPeriods => catalogue::CPU_THROTTLED_PERIODS,
            M::ThrottledTime => catalogue::CPU_THROTTLED_TIME,
            M::Swap => catalogue::MEMORY_SWAP,
            M::Kernel => catalogue::MEMORY_KERNEL,
            M::NetworkRx => catalogue::NETWORK_RX,
            M::NetworkTx => catalogue::NETWORK_TX,
            M::NetworkRxPackets => catalogue::NETWORK_RX_PACKETS,
            M::NetworkTxPackets => catalogue::NETWORK_TX_PACKETS,
            M::NetworkRxErrors => catalogue::NETWORK_RX_ERRORS,
            M::CpuWaiting => catalogue::PRESSURE_CPU_WAITING,
            M::MemoryWaiting => catalogue::PRESSURE_MEMORY_WAITING,
            M::IoWaiting => catalogue::PRESSURE_IO_WAITING,
            M::IoStalled => catalogue::PRESSURE_IO_STALLED,
            M::DiskReads => catalogue::DISK_READ_OPERATIONS,
            M::DiskWrites => catalogue::DISK_WRITE_OPERATIONS,
            M::Processes => catalogue::PROCESSES_COUNT,
            M::OomKills => catalogue::MEMORY_OOM_KILLS,
        }
    }
}

/// Every meter that counts up, once.
fn counters() -> impl Iterator<Item = Meter> {
    let others = OF_NETWORKED.iter().filter(|meter| !OF_CONTAINERS.contains(meter));
    let all = OF_CONTAINERS.iter().chain(others).copied();
    all.filter(|meter| meter.metric().metric().kind == Kind::Cumulative)
}

/// The numbers of one entity.
#[derive(Clone, Debug)]
pub struct Meters([i64; METERS]);

impl Default for Meters {
    fn default() -> Self {
        Self([0; METERS])
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "a place is below the number of meters, as a test shows"
)]
impl Index<Meter> for Meters {
    type Output = i64;

    fn index(&self, meter: Meter) -> &i64 {
        &self.0[meter.place()]
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "a place is below the number of meters, as a test shows"
)]
impl IndexMut<Meter> for Meters {
    fn index_mut(&mut self, meter: Meter) -> &mut i64 {
        &mut self.0[meter.place()]
    }
}

impl Meters {
    /// Adds all of another's, as a pod's cgroup does with its containers'.
    pub fn add(&mut self, other: &Meters) {
        for (sum, number) in self.0.iter_mut().zip(&other.0) {
            *sum = sum.saturating_add(*number);
        }
    }

    /// Adds another's counters only, as a cgroup keeps what those below it counted that are gone.
    pub fn add_counters(&mut self, other: &Meters) {
        for meter in counters() {
            self[meter] = self[meter].saturating_add(other[meter]);
        }
    }

    /// Begins a new life: counters are 0, everything else stays.
    pub fn reset_counters(&mut self) {
        for meter in counters() {
            self[meter] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meter_has_a_place_and_no_list_names_one_twice() {
        for list in [of_containers(METRICS_MOST), of_networked(METRICS_MOST)] {
            let mut places: Vec<usize> = list.iter().map(|meter| meter.place()).collect();
            assert!(places.iter().all(|place| *place < METERS));
            places.sort_unstable();
            places.dedup();
            assert_eq!(places.len(), METRICS_MOST);
        }
        assert_eq!(M::OomKills.place() + 1, METERS);
    }

    #[test]
    fn a_new_life_begins_at_zero_and_what_was_counted_is_kept_above() {
        let mut meters = Meters::default();
        (meters[M::CpuUsage], meters[M::Rss]) = (5, 7);
        let mut kept = Meters::default();
        kept.add_counters(&meters);
        meters.reset_counters();
        assert_eq!((kept[M::CpuUsage], kept[M::Rss]), (5, 0));
        assert_eq!((meters[M::CpuUsage], meters[M::Rss]), (0, 7));
    }
}
