//! What the process itself uses, read from /proc when somebody asks.
//!
//! The names are those that every Prometheus client library gives a process, so that common
//! dashboards and alerts find them.

use std::fmt;

use procfs::{ProcResult, process::Process};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Reads /proc/self at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector;

/// One reading.
#[derive(Clone, Copy, Debug)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: u64,
    open_files: u64,
    start_unix_seconds: f64,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A host that hides /proc/self from us gives no numbers, not wrong ones.
        let Ok(usage) = Usage::read() else { return Ok(()) };
        let mut put = |name: &str, help: &str, unit: Option<&Unit>, metric: &dyn EncodeMetric| {
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let (seconds, bytes) = (Some(&Unit::Seconds), Some(&Unit::Bytes));
        let cpu = ConstCounter::new(usage.cpu_seconds);
        put("process_cpu", "CPU time used, user and system", seconds, &cpu)?;
        let resident = ConstGauge::new(usage.resident_bytes);
        put("process_resident_memory", "Resident memory", bytes, &resident)?;
        let open = ConstGauge::new(usage.open_files);
        put("process_open_fds", "Open file descriptors", None, &open)?;
        let start = ConstGauge::new(usage.start_unix_seconds);
        put("process_start_time", "Start of the process since the Unix epoch", seconds, &start)
    }
}

impl Usage {
    fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let seconds = |ticks: u64| as_f64(ticks) / as_f64(procfs::ticks_per_second());
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
            open_files: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
            start_unix_seconds: as_f64(procfs::boot_time_secs()?) + seconds(stat.starttime),
        })
    }
}

#[expect(clippy::as_conversions, reason = "far below 2^53, where doubles are exact")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_has_files_open() {
        let usage = Usage::read().unwrap();
        assert!(0 < usage.resident_bytes && 0 < usage.open_files, "{usage:?}");
        assert!(1.5e9 < usage.start_unix_seconds, "{usage:?}");
    }
}
