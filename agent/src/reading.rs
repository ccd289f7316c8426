//! What the files of one cgroup said, v1 and v2 apart, before [`crate::assemble`] makes one sample
//! of it. Absent is a file, or a key, that the kernel lacks.

use crate::parse::{
    cpu_stat_v1::CpuStatV1, cpu_stat_v2::CpuStatV2, memory_stat_v1::MemoryStatV1,
    memory_stat_v2::MemoryStatV2, number::Limit, pressure::Pressure,
};

/// What the files of a v1 group said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingV1 {
    /// `cpuacct.usage`
    pub cpu_usage_ns: Option<u64>,
    /// `cpu.stat`
    pub cpu_stat: CpuStatV1,
    /// `cpu.cfs_quota_us` over `cpu.cfs_period_us`, in millicores.
    pub cpu_limit: Option<Limit>,
    /// `memory.usage_in_bytes`
    pub memory_usage: Option<u64>,
    /// `memory.stat`
    pub memory_stat: MemoryStatV1,
    /// `memory.kmem.usage_in_bytes`
    pub memory_kernel: Option<u64>,
    /// `memory.oom_control`
    pub oom_kills: Option<u64>,
    /// `memory.limit_in_bytes`
    pub memory_limit: Option<Limit>,
    /// `pids.current`
    pub threads: Option<u64>,
    /// `pids.max`
    pub threads_limit: Option<Limit>,
    /// Of the unified tree.
    pub pressures: Pressures,
}

/// What the files of a v2 group said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadingV2 {
    /// `cpu.stat`
    pub cpu_stat: CpuStatV2,
    /// `cpu.max`, in millicores.
    pub cpu_limit: Option<Limit>,
    /// `memory.current`
    pub memory_usage: Option<u64>,
    /// `memory.stat`
    pub memory_stat: MemoryStatV2,
    /// `memory.swap.current`
    pub swap: Option<u64>,
    /// `memory.swap.max`
    pub swap_limit: Option<Limit>,
    /// `memory.events`
    pub oom_kills: Option<u64>,
    /// `memory.max`
    pub memory_limit: Option<Limit>,
    /// `pids.current`
    pub threads: Option<u64>,
    /// `pids.max`
    pub threads_limit: Option<Limit>,
    /// The pressure files.
    pub pressures: Pressures,
}

/// What a group's tasks waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// CPU time.
    pub cpu: Pressure,
    /// Memory.
    pub memory: Pressure,
    /// Input and output.
    pub io: Pressure,
}
