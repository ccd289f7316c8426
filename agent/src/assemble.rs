//! Where v1 and v2 meet: whatever the host, a cgroup's figures become one [`Sample`], and each of its
//! fields is one metric of the catalogue.
//!
//! A figure means the same on both: with all groups below, times in nanoseconds, sizes in bytes.
//! The working set is what the kubelet takes for it: usage without the page cache that would be
//! dropped first, and never below 0.

use tally_proto::catalogue::{self as metric, MetricId};

use crate::{
    parse::number::Limit,
    reading::{Pressures, ReadingV1, ReadingV2},
};

/// What one entity used. Absent is not zero: `None` sends nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time.
    pub cpu_usage_ns: Option<u64>,
    /// Tasks that run or could run.
    pub cpu_load: Option<u64>,
    /// Periods in which the CPU limit was enforced.
    pub cpu_periods: Option<u64>,
    /// Periods in which it held the group back.
    pub cpu_throttled_periods: Option<u64>,
    /// How long it did.
    pub cpu_throttled_ns: Option<u64>,
    /// The CPU limit.
    pub cpu_limit_millicores: Option<u64>,
    /// Memory in use.
    pub memory_usage_bytes: Option<u64>,
    /// Memory that is not easily dropped.
    pub memory_working_set_bytes: Option<u64>,
    /// Anonymous memory.
    pub memory_rss_bytes: Option<u64>,
    /// Page cache.
    pub memory_cache_bytes: Option<u64>,
    /// Swap in use.
    pub memory_swap_bytes: Option<u64>,
    /// Kernel memory.
    pub memory_kernel_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_page_faults: Option<u64>,
    /// Processes killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// The memory limit.
    pub memory_limit_bytes: Option<u64>,
    /// The swap limit.
    pub swap_limit_bytes: Option<u64>,
    /// Processes.
    pub processes: Option<u64>,
    /// The limit of processes.
    pub processes_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// The limit of threads.
    pub threads_limit: Option<u64>,
    /// What tasks waited for.
    pub pressures: Pressures,
}

impl Sample {
    /// Calls `put` with each metric that has a value.
    pub fn each(&self, mut put: impl FnMut(MetricId, u64)) {
        let Pressures { cpu, memory, io } = self.pressures;
        for (metric, value) in [
            (metric::CPU_USAGE, self.cpu_usage_ns),
            (metric::CPU_LOAD, self.cpu_load),
            (metric::CPU_PERIODS, self.cpu_periods),
            (metric::CPU_THROTTLED_PERIODS, self.cpu_throttled_periods),
            (metric::CPU_THROTTLED_TIME, self.cpu_throttled_ns),
            (metric::CPU_CGROUP_LIMIT, self.cpu_limit_millicores),
            (metric::MEMORY_USAGE, self.memory_usage_bytes),
            (metric::MEMORY_WORKING_SET, self.memory_working_set_bytes),
            (metric::MEMORY_RSS, self.memory_rss_bytes),
            (metric::MEMORY_CACHE, self.memory_cache_bytes),
            (metric::MEMORY_SWAP, self.memory_swap_bytes),
            (metric::MEMORY_KERNEL, self.memory_kernel_bytes),
            (metric::MEMORY_PAGE_FAULTS, self.page_faults),
            (metric::MEMORY_MAJOR_PAGE_FAULTS, self.major_page_faults),
            (metric::MEMORY_OOM_KILLS, self.oom_kills),
            (metric::MEMORY_CGROUP_LIMIT, self.memory_limit_bytes),
            (metric::MEMORY_SWAP_LIMIT, self.swap_limit_bytes),
            (metric::PROCESSES_COUNT, self.processes),
            (metric::PROCESSES_LIMIT, self.processes_limit),
            (metric::THREADS_COUNT, self.threads),
            (metric::THREADS_LIMIT, self.threads_limit),
            (metric::PRESSURE_CPU_WAITING, cpu.waiting_ns),
            (metric::PRESSURE_CPU_STALLED, cpu.stalled_ns),
            (metric::PRESSURE_MEMORY_WAITING, memory.waiting_ns),
            (metric::PRESSURE_MEMORY_STALLED, memory.stalled_ns),
            (metric::PRESSURE_IO_WAITING, io.waiting_ns),
            (metric::PRESSURE_IO_STALLED, io.stalled_ns),
        ] {
            if let Some(value) = value {
                put(metric, value);
            }
        }
    }
}

/// A reading of a v1 group.
pub fn from_v1(reading: &ReadingV1) -> Sample {
    let stat = &reading.memory_stat;
    Sample {
        cpu_usage_ns: reading.cpu_usage_ns,
        cpu_periods: reading.cpu_stat.periods,
        cpu_throttled_periods: reading.cpu_stat.throttled_periods,
        cpu_throttled_ns: reading.cpu_stat.throttled_ns,
        cpu_limit_millicores: reading.cpu_limit.and_then(Limit::at),
        memory_usage_bytes: reading.memory_usage,
        memory_working_set_bytes: working_set(reading.memory_usage, stat.inactive_file),
        memory_rss_bytes: stat.rss,
        memory_cache_bytes: stat.cache,
        memory_swap_bytes: stat.swap,
        memory_kernel_bytes: reading.memory_kernel,
        page_faults: stat.page_faults,
        major_page_faults: stat.major_page_faults,
        oom_kills: reading.oom_kills,
        memory_limit_bytes: reading.memory_limit.and_then(Limit::at),
        threads: reading.threads,
        threads_limit: reading.threads_limit.and_then(Limit::at),
        pressures: reading.pressures,
        ..Sample::default()
    }
}

/// A reading of a v2 group.
pub fn from_v2(reading: &ReadingV2) -> Sample {
    let (cpu, stat) = (&reading.cpu_stat, &reading.memory_stat);
    Sample {
        cpu_usage_ns: cpu.usage_ns,
        cpu_periods: cpu.periods,
        cpu_throttled_periods: cpu.throttled_periods,
        cpu_throttled_ns: cpu.throttled_ns,
        cpu_limit_millicores: reading.cpu_limit.and_then(Limit::at),
        memory_usage_bytes: reading.memory_usage,
        memory_working_set_bytes: working_set(reading.memory_usage, stat.inactive_file),
        memory_rss_bytes: stat.anon,
        memory_cache_bytes: stat.file,
        memory_swap_bytes: reading.swap,
        memory_kernel_bytes: stat.kernel,
        page_faults: stat.page_faults,
        major_page_faults: stat.major_page_faults,
        oom_kills: reading.oom_kills,
        memory_limit_bytes: reading.memory_limit.and_then(Limit::at),
        swap_limit_bytes: reading.swap_limit.and_then(Limit::at),
        threads: reading.threads,
        threads_limit: reading.threads_limit.and_then(Limit::at),
        pressures: reading.pressures,
        ..Sample::default()
    }
}

/// Usage without the page cache that would be dropped first. The two are read one after the other,
/// so the difference can be below 0, which means 0.
pub fn working_set(usage: Option<u64>, inactive_file: Option<u64>) -> Option<u64> {
    Some(usage?.saturating_sub(inactive_file?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{cpu_stat_v2::CpuStatV2, memory_stat_v1::MemoryStatV1};

    fn named(sample: &Sample) -> Vec<(&'static str, u64)> {
        let mut found = Vec::new();
        sample.each(|id, value| found.push((id.metric().name, value)));
        found
    }

    #[test]
    fn nothing_read_is_nothing_sent() {
        assert_eq!(named(&from_v1(&ReadingV1::default())), []);
        assert_eq!(named(&from_v2(&ReadingV2::default())), []);
    }

    #[test]
    fn the_working_set_is_never_negative_and_never_guessed() {
        for (usage, inactive_file, expected) in [
            (Some(10), Some(3), Some(7)),
            (Some(3), Some(10), Some(0)),
            (Some(10), None, None),
            (None, Some(3), None),
        ] {
            assert_eq!(working_set(usage, inactive_file), expected);
        }
    }

    #[test]
    fn v1_and_v2_have_the_same_names() {
        let v1 = ReadingV1 {
            cpu_usage_ns: Some(1000),
            memory_usage: Some(5),
            memory_stat: MemoryStatV1 { inactive_file: Some(1), ..MemoryStatV1::default() },
            cpu_limit: Some(Limit::At(250)),
            memory_limit: Some(Limit::Unlimited),
            ..ReadingV1::default()
        };
        let v2 = ReadingV2 {
            cpu_stat: CpuStatV2 { usage_ns: Some(1000), ..CpuStatV2::default() },
            cpu_limit: Some(Limit::At(250)),
            ..ReadingV2::default()
        };
        let cpu = [("cpu/usage", 1000), ("cpu/cgroup_limit", 250)];
        assert_eq!(named(&from_v2(&v2)), cpu);
        let memory = [("memory/usage", 5), ("memory/working_set", 4)];
        assert_eq!(named(&from_v1(&v1)), [cpu, memory].concat());
    }
}
