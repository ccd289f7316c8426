//! What the kernel's files say, one module for each kind of file.
//!
//! Every parser takes the bytes of a whole file and gives numbers. None of them opens a file,
//! allocates, or panics on any input; v1 and v2 stay apart, for the same key means different
//! things in them. A key that is not there is `None`, never 0; an unknown key is skipped, because
//! newer kernels add some; a line that is not in the documented form is an error that names it.

pub mod blkio_v1;
pub mod cpu_limit;
pub mod cpu_stat_v1;
pub mod cpu_stat_v2;
pub mod device;
pub mod diskstats;
pub mod io_stat_v2;
pub mod line;
pub mod loadavg;
pub mod meminfo;
pub mod memory_stat_v1;
pub mod memory_stat_v2;
pub mod mountinfo;
pub mod net_dev;
pub mod net_route;
pub mod number;
pub mod oom_kills;
pub mod pressure;
pub mod proc_stat;
pub mod process_cgroup;
pub mod process_stat;
pub mod processes;
pub mod vmstat;

#[cfg(test)]
mod tests;
