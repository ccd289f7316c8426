//! The catalogue: every metric that Tally knows, one row each.
//!
//! It drives the schema of `metric-export`, the documentation, the roll-up and the meaning of
//! wire columns. Adding a metric is one row here and one line in the agent's `assemble`. The
//! first 28 rows are Heapster's export schema, in its order and words.

use crate::metric::{Kind, Metric, Source, Sum, Unit, ValueType};

/// Index of a metric in [`CATALOGUE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricId(u16);

impl MetricId {
    /// The row.
    #[expect(clippy::indexing_slicing, reason = "ids are only made from indices of this table")]
    pub fn metric(self) -> &'static Metric {
        &CATALOGUE[usize::from(self.0)]
    }

    /// The index, for tables with a place for each metric.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The metric of that name, if the catalogue has it. A scan of the table: for declarations and
/// queries, not for samples.
pub fn find(name: &str) -> Option<MetricId> {
    all().find(|id| id.metric().name == name)
}

/// Every metric's id, in the catalogue's order.
pub fn all() -> impl Iterator<Item = MetricId> {
    (0..CATALOGUE_LEN).map(MetricId)
}

/// The metric whose growth `id` is the rate of.
pub fn rate_source(id: MetricId) -> Option<MetricId> {
    match id.metric().source {
        Source::RateOf(name) => find(name),
        Source::Agent | Source::Derived | Source::Inventory => None,
    }
}

/// The metric that is the rate of `id`.
pub fn rate_of(id: MetricId) -> Option<MetricId> {
    let name = id.metric().name;
    all().find(|rate| rate.metric().source == Source::RateOf(name))
}

macro_rules! exported {
    (exported) => {
        true
    };
    (internal) => {
        false
    };
}

macro_rules! catalogue {
    ($($id:ident: $name:literal, $unit:ident, $kind:ident, $value:ident, $sum:ident,
        $source:ident $(($of:literal))?, $exported:ident, $labels:tt, $description:literal;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "counts the rows only")]
        #[repr(u16)]
        enum Row { $($id,)* END }

        #[allow(clippy::as_conversions, reason = "an enum's own discriminant")]
        const CATALOGUE_LEN: u16 = Row::END as u16;

        /// Number of metrics in the catalogue.
        #[allow(clippy::as_conversions, reason = "u16 to usize in a constant")]
        pub const METRICS: usize = CATALOGUE_LEN as usize;

        $(
            #[doc = $description]
            #[allow(clippy::as_conversions, reason = "an enum's own discriminant")]
            pub const $id: MetricId = MetricId(Row::$id as u16);
        )*

        /// Every metric.
        pub const CATALOGUE: [Metric; METRICS] = [$(Metric {
            name: $name,
            unit: Unit::$unit,
            kind: Kind::$kind,
            value: ValueType::$value,
            labels: &$labels,
            sum: Sum::$sum,
            source: Source::$source $(($of))?,
            exported: exported!($exported),
            description: $description,
        }),*];
    };
}

catalogue! {
    UPTIME: "uptime", Milliseconds, Cumulative, Integer, Never, Derived, exported, [],
        "Number of milliseconds since the container was started";
    CPU_USAGE: "cpu/usage", Nanoseconds, Cumulative, Integer, Never, Agent, exported, [],
        "Cumulative CPU usage on all cores";
    CPU_LOAD: "cpu/load", Count, Gauge, Integer, Never, Agent, exported, [],
        "CPU load";
    EPHEMERAL_STORAGE_USAGE: "ephemeral_storage/usage", Bytes, Gauge, Integer, Cluster, Agent, exported, [],
        "Ephemeral storage usage";
    MEMORY_USAGE: "memory/usage", Bytes, Gauge, Integer, Cluster, Agent, exported, [],
        "Total memory usage";
    MEMORY_RSS: "memory/rss", Bytes, Gauge, Integer, Cluster, Agent, exported, [],
        "RSS memory";
    MEMORY_CACHE: "memory/cache", Bytes, Gauge, Integer, Cluster, Agent, exported, [],
        "Cache memory";
    MEMORY_WORKING_SET: "memory/working_set", Bytes, Gauge, Integer, Cluster, Agent, exported, [],
        "Total working set usage. Working set is the memory being used and not easily dropped by the kernel";
    MEMORY_PAGE_FAULTS: "memory/page_faults", Count, Cumulative, Integer, Never, Agent, exported, [],
        "Number of page faults";
    MEMORY_MAJOR_PAGE_FAULTS: "memory/major_page_faults", Count, Cumulative, Integer, Never, Agent, exported, [],
        "Number of major page faults";
    NETWORK_RX: "network/rx", Bytes, Cumulative, Integer, Never, Agent, exported, [],
        "Cumulative number of bytes received over the network";
    NETWORK_RX_ERRORS: "network/rx_errors", Count, Cumulative, Integer, Never, Agent, exported, [],
        "Cumulative number of errors while receiving over the network";
    NETWORK_TX: "network/tx", Bytes, Cumulative, Integer, Never, Agent, exported, [],
        "Cumulative number of bytes sent over the network";
    NETWORK_TX_ERRORS: "network/tx_errors", Count, Cumulative, Integer, Never, Agent, exported, [],
        "Cumulative number of errors while sending over the network";
    CPU_LIMIT: "cpu/limit", Count, Gauge, Integer, Node, Inventory, exported, [],
        "CPU hard limit in millicores.";
    MEMORY_LIMIT: "memory/limit", Bytes, Gauge, Integer, Node, Inventory, exported, [],
        "Memory hard limit in bytes.";
    DISK_READ_BYTES: "disk/io_read_bytes", Bytes, Cumulative, Integer, Never, Agent, exported, ["resource_id"],
        "Cumulative number of bytes read over disk";
    DISK_READ_BYTES_RATE: "disk/io_read_bytes_rate", PerSecond, Gauge, Float, Never, RateOf("disk/io_read_bytes"), exported, ["resource_id"],
        "Rate of bytes read over disk in bytes per second";
    DISK_WRITE_BYTES: "disk/io_write_bytes", Bytes, Cumulative, Integer, Never, Agent, exported, ["resource_id"],
        "Cumulative number of bytes write over disk";
    DISK_WRITE_BYTES_RATE: "disk/io_write_bytes_rate", PerSecond, Gauge, Float, Never, RateOf("disk/io_write_bytes"), exported, ["resource_id"],
        "Rate of bytes written over disk in bytes per second";
    FILESYSTEM_USAGE: "filesystem/usage", Bytes, Gauge, Integer, Never, Agent, exported, ["resource_id"],
        "Total number of bytes consumed on a filesystem";
    FILESYSTEM_LIMIT: "filesystem/limit", Bytes, Gauge, Integer, Never, Agent, exported, ["resource_id"],
        "The total size of filesystem in bytes";
    FILESYSTEM_AVAILABLE: "filesystem/available", Bytes, Gauge, Integer, Never, Agent, exported, ["resource_id"],
        "The number of available bytes remaining in a the filesystem";
    FILESYSTEM_INODES: "filesystem/inodes", Count, Gauge, Integer, Never, Agent, exported, ["resource_id"],
        "Total number of inodes on a filesystem";
    FILESYSTEM_INODES_FREE: "filesystem/inodes_free", Count, Gauge, Integer, Never, Agent, exported, ["resource_id"],
        "Free number of inodes on a filesystem";
    ACCELERATOR_MEMORY_TOTAL: "accelerator/memory_total", Bytes, Gauge, Integer, Never, Agent, exported, ["make", "model", "accelerator_id"],
        "Total accelerator memory (in bytes)";
    ACCELERATOR_MEMORY_USED: "accelerator/memory_used", Bytes, Gauge, Integer, Never, Agent, exported, ["make", "model", "accelerator_id"],
        "Total accelerator memory allocated (in bytes)";
    ACCELERATOR_DUTY_CYCLE: "accelerator/duty_cycle", Count, Gauge, Integer, Never, Agent, exported, ["make", "model", "accelerator_id"],
        "Percent of time over the past sample period (10s) during which the accelerator was actively processing";
    CPU_USAGE_RATE: "cpu/usage_rate", Millicores, Gauge, Integer, Cluster, RateOf("cpu/usage"), internal, [],
        "CPU usage on all cores in millicores";
    CPU_PERIODS: "cpu/periods", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Periods in which the CPU limit was enforced (cpu.stat nr_periods)";
    CPU_THROTTLED_PERIODS: "cpu/throttled_periods", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Periods in which the CPU limit held the group back (cpu.stat nr_throttled)";
    CPU_THROTTLED_TIME: "cpu/throttled_time", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time that tasks of the group waited because of its CPU limit (cpu.stat throttled_usec or throttled_time)";
    CPU_THROTTLED_TIME_RATE: "cpu/throttled_time_rate", PerSecond, Gauge, Float, Cluster, RateOf("cpu/throttled_time"), internal, [],
        "Nanoseconds each second that tasks waited because of the CPU limit";
    CPU_CGROUP_LIMIT: "cpu/cgroup_limit", Millicores, Gauge, Integer, Never, Agent, internal, [],
        "The cgroup's own CPU limit (cpu.max, or cpu.cfs_quota_us over cpu.cfs_period_us); absent when unlimited";
    MEMORY_SWAP: "memory/swap", Bytes, Gauge, Integer, Cluster, Agent, internal, [],
        "Swap in use (memory.swap.current; total_swap on v1; SwapTotal - SwapFree on a node)";
    MEMORY_KERNEL: "memory/kernel", Bytes, Gauge, Integer, Cluster, Agent, internal, [],
        "Kernel memory charged to the group (memory.stat kernel; memory.kmem.usage_in_bytes on v1)";
    MEMORY_OOM_KILLS: "memory/oom_kills", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Processes killed because the group or the node ran out of memory (memory.events oom_kill; memory.oom_control; /proc/vmstat)";
    MEMORY_CGROUP_LIMIT: "memory/cgroup_limit", Bytes, Gauge, Integer, Never, Agent, internal, [],
        "The cgroup's own memory limit (memory.max, memory.limit_in_bytes); absent when unlimited";
    MEMORY_SWAP_LIMIT: "memory/swap_limit", Bytes, Gauge, Integer, Never, Agent, internal, [],
        "The cgroup's own swap limit (memory.swap.max); absent when unlimited";
    MEMORY_PAGE_FAULTS_RATE: "memory/page_faults_rate", PerSecond, Gauge, Float, Cluster, RateOf("memory/page_faults"), internal, [],
        "Page faults per second";
    MEMORY_MAJOR_PAGE_FAULTS_RATE: "memory/major_page_faults_rate", PerSecond, Gauge, Float, Cluster, RateOf("memory/major_page_faults"), internal, [],
        "Major page faults per second";
    NETWORK_RX_PACKETS: "network/rx_packets", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Packets received over the network";
    NETWORK_RX_DROPPED: "network/rx_dropped", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Packets dropped that should have been received";
    NETWORK_TX_PACKETS: "network/tx_packets", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Packets sent over the network";
    NETWORK_TX_DROPPED: "network/tx_dropped", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Packets dropped that should have been sent";
    NETWORK_RX_RATE: "network/rx_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/rx"), internal, [],
        "Bytes received over the network per second";
    NETWORK_RX_ERRORS_RATE: "network/rx_errors_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/rx_errors"), internal, [],
        "Errors per second while receiving";
    NETWORK_RX_PACKETS_RATE: "network/rx_packets_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/rx_packets"), internal, [],
        "Packets received per second";
    NETWORK_RX_DROPPED_RATE: "network/rx_dropped_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/rx_dropped"), internal, [],
        "Dropped packets per second that should have been received";
    NETWORK_TX_RATE: "network/tx_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/tx"), internal, [],
        "Bytes sent over the network per second";
    NETWORK_TX_ERRORS_RATE: "network/tx_errors_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/tx_errors"), internal, [],
        "Errors per second while sending";
    NETWORK_TX_PACKETS_RATE: "network/tx_packets_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/tx_packets"), internal, [],
        "Packets sent per second";
    NETWORK_TX_DROPPED_RATE: "network/tx_dropped_rate", PerSecond, Gauge, Float, Cluster, RateOf("network/tx_dropped"), internal, [],
        "Dropped packets per second that should have been sent";
    INTERFACE_RX: "network/interface/rx", Bytes, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/rx, for each interface of the network namespace (bytes)";
    INTERFACE_RX_PACKETS: "network/interface/rx_packets", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/rx_packets, for each interface of the network namespace (packets)";
    INTERFACE_RX_ERRORS: "network/interface/rx_errors", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/rx_errors, for each interface of the network namespace (errors)";
    INTERFACE_RX_DROPPED: "network/interface/rx_dropped", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/rx_dropped, for each interface of the network namespace (dropped packets)";
    INTERFACE_TX: "network/interface/tx", Bytes, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/tx, for each interface of the network namespace (bytes)";
    INTERFACE_TX_PACKETS: "network/interface/tx_packets", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/tx_packets, for each interface of the network namespace (packets)";
    INTERFACE_TX_ERRORS: "network/interface/tx_errors", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/tx_errors, for each interface of the network namespace (errors)";
    INTERFACE_TX_DROPPED: "network/interface/tx_dropped", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "As network/tx_dropped, for each interface of the network namespace (dropped packets)";
    INTERFACE_RX_RATE: "network/interface/rx_rate", PerSecond, Gauge, Float, Never, RateOf("network/interface/rx"), internal, ["resource_id"],
        "Bytes received per second, for each interface";
    INTERFACE_TX_RATE: "network/interface/tx_rate", PerSecond, Gauge, Float, Never, RateOf("network/interface/tx"), internal, ["resource_id"],
        "Bytes sent per second, for each interface";
    DISK_READ_OPERATIONS: "disk/io_read_operations", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "Operations read from disk (io.stat rios, wios; blkio.throttle.io_serviced; /proc/diskstats)";
    DISK_READ_OPERATIONS_RATE: "disk/io_read_operations_rate", PerSecond, Gauge, Float, Never, RateOf("disk/io_read_operations"), internal, ["resource_id"],
        "Operations read from disk per second";
    DISK_WRITE_OPERATIONS: "disk/io_write_operations", Count, Cumulative, Integer, Never, Agent, internal, ["resource_id"],
        "Operations written to disk (io.stat rios, wios; blkio.throttle.io_serviced; /proc/diskstats)";
    DISK_WRITE_OPERATIONS_RATE: "disk/io_write_operations_rate", PerSecond, Gauge, Float, Never, RateOf("disk/io_write_operations"), internal, ["resource_id"],
        "Operations written to disk per second";
    PROCESSES_COUNT: "processes/count", Count, Gauge, Integer, Cluster, Agent, internal, [],
        "Processes (cgroup.procs; /proc on a node)";
    PROCESSES_LIMIT: "processes/limit", Count, Gauge, Integer, Never, Agent, internal, [],
        "Most process ids a node can hand out (kernel.pid_max)";
    THREADS_COUNT: "threads/count", Count, Gauge, Integer, Cluster, Agent, internal, [],
        "Threads (pids.current; /proc/loadavg on a node)";
    THREADS_LIMIT: "threads/limit", Count, Gauge, Integer, Never, Agent, internal, [],
        "Most threads the cgroup may have (pids.max; kernel.threads-max on a node); absent when unlimited";
    PRESSURE_CPU_WAITING: "pressure/cpu_waiting", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which at least one task waited for CPU time (PSI some total)";
    PRESSURE_CPU_STALLED: "pressure/cpu_stalled", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which all tasks waited for CPU time at once (PSI full total)";
    PRESSURE_CPU_WAITING_RATE: "pressure/cpu_waiting_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/cpu_waiting"), internal, [],
        "Nanoseconds each second in which at least one task waited for CPU time";
    PRESSURE_CPU_STALLED_RATE: "pressure/cpu_stalled_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/cpu_stalled"), internal, [],
        "Nanoseconds each second in which all tasks waited for CPU time at once";
    PRESSURE_MEMORY_WAITING: "pressure/memory_waiting", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which at least one task waited for memory (PSI some total)";
    PRESSURE_MEMORY_STALLED: "pressure/memory_stalled", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which all tasks waited for memory at once (PSI full total)";
    PRESSURE_MEMORY_WAITING_RATE: "pressure/memory_waiting_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/memory_waiting"), internal, [],
        "Nanoseconds each second in which at least one task waited for memory";
    PRESSURE_MEMORY_STALLED_RATE: "pressure/memory_stalled_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/memory_stalled"), internal, [],
        "Nanoseconds each second in which all tasks waited for memory at once";
    PRESSURE_IO_WAITING: "pressure/io_waiting", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which at least one task waited for input and output (PSI some total)";
    PRESSURE_IO_STALLED: "pressure/io_stalled", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "Time in which all tasks waited for input and output at once (PSI full total)";
    PRESSURE_IO_WAITING_RATE: "pressure/io_waiting_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/io_waiting"), internal, [],
        "Nanoseconds each second in which at least one task waited for input and output";
    PRESSURE_IO_STALLED_RATE: "pressure/io_stalled_rate", PerSecond, Gauge, Float, Never, RateOf("pressure/io_stalled"), internal, [],
        "Nanoseconds each second in which all tasks waited for input and output at once";
    CPU_REQUEST: "cpu/request", Millicores, Gauge, Integer, Node, Inventory, internal, [],
        "CPU request, the guaranteed amount, in millicores; 0 when unset";
    MEMORY_REQUEST: "memory/request", Bytes, Gauge, Integer, Node, Inventory, internal, [],
        "Memory request, the guaranteed amount; 0 when unset";
    EPHEMERAL_STORAGE_REQUEST: "ephemeral_storage/request", Bytes, Gauge, Integer, Node, Inventory, internal, [],
        "Ephemeral storage request, the guaranteed amount; 0 when unset";
    EPHEMERAL_STORAGE_LIMIT: "ephemeral_storage/limit", Bytes, Gauge, Integer, Node, Inventory, internal, [],
        "Ephemeral storage hard limit; 0 when unset";
    RESTART_COUNT: "restart_count", Count, Gauge, Integer, Cluster, Inventory, internal, [],
        "Restarts of the container, as its pod's status counts them";
    CPU_NODE_CAPACITY: "cpu/node_capacity", Millicores, Gauge, Float, Never, Inventory, internal, [],
        "What the node has";
    CPU_NODE_ALLOCATABLE: "cpu/node_allocatable", Millicores, Gauge, Float, Never, Inventory, internal, [],
        "What the node can give to pods";
    CPU_NODE_USAGE: "cpu/node_usage", Millicores, Gauge, Integer, Never, Derived, internal, [],
        "What the nodes themselves use, summed over nodes; pods and system together";
    CPU_NODE_UTILIZATION: "cpu/node_utilization", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Usage over allocatable";
    CPU_NODE_RESERVATION: "cpu/node_reservation", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Requests over allocatable";
    MEMORY_NODE_CAPACITY: "memory/node_capacity", Bytes, Gauge, Float, Never, Inventory, internal, [],
        "What the node has";
    MEMORY_NODE_ALLOCATABLE: "memory/node_allocatable", Bytes, Gauge, Float, Never, Inventory, internal, [],
        "What the node can give to pods";
    MEMORY_NODE_USAGE: "memory/node_usage", Bytes, Gauge, Integer, Never, Derived, internal, [],
        "What the nodes themselves use, summed over nodes; pods and system together";
    MEMORY_NODE_UTILIZATION: "memory/node_utilization", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Usage over allocatable";
    MEMORY_NODE_RESERVATION: "memory/node_reservation", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Requests over allocatable";
    EPHEMERAL_STORAGE_NODE_CAPACITY: "ephemeral_storage/node_capacity", Bytes, Gauge, Float, Never, Inventory, internal, [],
        "What the node has";
    EPHEMERAL_STORAGE_NODE_ALLOCATABLE: "ephemeral_storage/node_allocatable", Bytes, Gauge, Float, Never, Inventory, internal, [],
        "What the node can give to pods";
    EPHEMERAL_STORAGE_NODE_USAGE: "ephemeral_storage/node_usage", Bytes, Gauge, Integer, Never, Derived, internal, [],
        "What the nodes themselves use, summed over nodes; pods and system together";
    EPHEMERAL_STORAGE_NODE_UTILIZATION: "ephemeral_storage/node_utilization", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Usage over allocatable";
    EPHEMERAL_STORAGE_NODE_RESERVATION: "ephemeral_storage/node_reservation", Ratio, Gauge, Float, Never, Derived, internal, [],
        "Requests over allocatable";
    AGENT_CPU_USAGE: "agent/cpu_usage", Nanoseconds, Cumulative, Integer, Never, Agent, internal, [],
        "CPU time of the agent itself";
    AGENT_CPU_USAGE_RATE: "agent/cpu_usage_rate", PerSecond, Gauge, Float, Never, RateOf("agent/cpu_usage"), internal, [],
        "Nanoseconds of CPU time each second of the agent itself";
    AGENT_MEMORY_RSS: "agent/memory_rss", Bytes, Gauge, Integer, Never, Agent, internal, [],
        "Resident memory of the agent itself";
    AGENT_READ_TIME: "agent/read_time", Nanoseconds, Gauge, Integer, Never, Agent, internal, [],
        "Time the agent took to read the tick before";
    AGENT_OPEN_FILES: "agent/open_files", Count, Gauge, Integer, Never, Agent, internal, [],
        "Descriptors that the agent holds open";
    AGENT_FRAMES_DROPPED: "agent/frames_dropped", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Frames that the agent's full outbox dropped, oldest first";
    AGENT_SAMPLES_DROPPED: "agent/samples_dropped", Count, Cumulative, Integer, Never, Agent, internal, [],
        "Values in the frames that the agent dropped";
    AGENT_SPOOL_SIZE: "agent/spool_size", Bytes, Gauge, Integer, Never, Agent, internal, [],
        "What the agent keeps on disk until the aggregator takes it";
    AGENT_SPOOL_FAULTS: "agent/spool_faults", Count, Cumulative, Integer, Never, Agent, internal, [],
        "How often the agent's spool could not be written or read, or was found damaged";
    IMAGES_USAGE: "images/usage", Bytes, Gauge, Integer, Never, Agent, internal, [],
        "What the images of containers take on a node (CRI ImageFsInfo)";
    AGENT_DISK_USAGE_GIVEN_UP: "agent/disk_usage_given_up", Count, Cumulative, Integer, Never, Agent, internal, [],
        "How often a volume, layer or log was not measured: too many files, no time, no right to read it, or a filesystem that does not answer";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for id in all() {
            assert_eq!(find(id.metric().name), Some(id));
        }
    }

    #[test]
    fn every_rate_has_its_cumulative_source_with_the_same_labels() {
        for id in all() {
            let Source::RateOf(name) = id.metric().source else { continue };
            let source = find(name).expect(name).metric();
            assert_eq!(source.kind, Kind::Cumulative, "{name}");
            assert_eq!(source.labels, id.metric().labels, "{name}");
        }
    }

    #[test]
    fn cumulative_and_labelled_metrics_and_ratios_are_never_summed() {
        for metric in &CATALOGUE {
            let summable = metric.kind == Kind::Gauge
                && metric.labels.is_empty()
                && metric.unit != Unit::Ratio;
            assert!(summable || metric.sum == Sum::Never, "{}", metric.name);
        }
    }
}
