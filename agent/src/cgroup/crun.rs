//! What crun has below a container's scope.
//!
//! Where systemd makes the cgroups, crun puts a container's processes into a cgroup of its own below the
//! container's scope, `SCOPE/container`, and sets most limits there, not on the scope. So the scope has
//! all usage, and knows neither those limits nor when they held its processes back.

use crate::{
    host::{
        descriptors::Pace,
        files::{Files, HeldFile, Location},
    },
    parse::{
        cpu_limit,
        cpu_stat_v2::{self, CpuStatV2},
        number::{Limit, parse_limit},
    },
    reading::ReadingV2,
};

/// Its name below the scope.
const NAME: &str = "/container";

/// Its files, where there are any.
#[derive(Debug, Default)]
pub(super) struct CrunFiles {
    /// Its path; empty before the first reading, and for what is no scope.
    directory: String,
    cpu_stat: HeldFile,
    cpu_max: HeldFile,
    memory_max: HeldFile,
    swap_max: HeldFile,
    threads_limit: HeldFile,
    cpu_limit: Option<Limit>,
}

impl CrunFiles {
    /// Reads how often the limit held the group's processes back, where crun's part has one.
    pub(super) fn read(
        &mut self,
        files: &mut Files,
        mount: &str,
        scope: &str,
        reading: &mut ReadingV2,
    ) {
        if !scope.ends_with(".scope") {
            return;
        }
        if self.directory.is_empty() {
            self.directory = format!("{scope}{NAME}");
        }
        let at = Location { mount, directory: &self.directory, name: "cpu.stat" };
        // Whether the container is gone is told by its scope.
        let inner = files.read(&mut self.cpu_stat, Pace::Hot, at, cpu_stat_v2::parse);
        if let (Ok(Some(inner)), Some(Limit::At(_))) = (inner, self.cpu_limit) {
            let CpuStatV2 { periods, throttled_periods, throttled_ns, .. } = inner;
            let usage_ns = reading.cpu_stat.usage_ns;
            reading.cpu_stat = CpuStatV2 { usage_ns, periods, throttled_periods, throttled_ns };
        }
    }

    /// Reads its limits: of two the tighter one holds.
    pub(super) fn read_limits(
        &mut self,
        files: &mut Files,
        mount: &str,
        pace: Pace,
        reading: &mut ReadingV2,
    ) {
        if self.directory.is_empty() {
            return;
        }
        let at = |name| Location { mount, directory: &self.directory, name };
        let of = |limit: Result<Option<Limit>, _>| limit.ok().flatten();
        self.cpu_limit =
            of(files.read(&mut self.cpu_max, pace, at("cpu.max"), cpu_limit::parse_v2));
        tighten(&mut reading.cpu_limit, self.cpu_limit);
        for (file, name, limit) in [
            (&mut self.memory_max, "memory.max", &mut reading.memory_limit),
            (&mut self.swap_max, "memory.swap.max", &mut reading.swap_limit),
            (&mut self.threads_limit, "pids.max", &mut reading.threads_limit),
        ] {
            tighten(limit, of(files.read(file, pace, at(name), parse_limit)));
        }
    }

    /// Looks again for files that were not there.
    pub(super) fn try_again(&mut self) {
        let files = [
            &mut self.cpu_stat,
            &mut self.cpu_max,
            &mut self.memory_max,
            &mut self.swap_max,
            &mut self.threads_limit,
        ];
        files.into_iter().for_each(HeldFile::try_again);
    }
}

fn tighten(limit: &mut Option<Limit>, inner: Option<Limit>) {
    let tighter = match (*limit, inner) {
        (Some(Limit::At(outer)), Some(Limit::At(inner))) => Some(Limit::At(outer.min(inner))),
        (outer, None | Some(Limit::Unlimited)) => outer.or(inner),
        (_, inner) => inner,
    };
    *limit = tighter;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cgroup::{Extent, v2::CgroupV2},
        host::descriptors::Budget,
    };

    #[track_caller]
    fn check(outer: Option<Limit>, inner: Option<Limit>, expected: Option<Limit>) {
        let mut limit = outer;
        tighten(&mut limit, inner);
        assert_eq!(limit, expected);
    }

    #[test]
    fn of_two_limits_the_tighter_one_holds() {
        let at = |limit| Some(Limit::At(limit));
        check(at(2362), at(2048), at(2048));
        check(at(100), at(2048), at(100));
        check(at(100), None, at(100));
        check(at(100), Some(Limit::Unlimited), at(100));
        check(Some(Limit::Unlimited), at(7), at(7));
        check(Some(Limit::Unlimited), None, Some(Limit::Unlimited));
        check(None, at(7), at(7));
        check(None, None, None);
    }

    /// What is read of a scope with these files, and of crun's part below it with those.
    fn read(scope: &[(&str, &str)], inner: &[(&str, &str)]) -> ReadingV2 {
        let mount = tempfile::tempdir().unwrap();
        let directory = mount.path().join("libpod-1.scope");
        let below = directory.join("container");
        std::fs::create_dir_all(if inner.is_empty() { &directory } else { &below }).unwrap();
        for (directory, files) in [(&directory, scope), (&below, inner)] {
            files
                .iter()
                .for_each(|(name, text)| std::fs::write(directory.join(name), text).unwrap());
        }
        let mut files = Files::new(Budget::new(100));
        let mut cgroup = CgroupV2::default();
        let mount = mount.path().to_str().unwrap();
        for _ in 0..2 {
            cgroup.read(&mut files, mount, "/libpod-1.scope", Extent::Everything).unwrap();
        }
        cgroup.reading
    }

    const SCOPE: [(&str, &str); 3] = [
        ("cpu.stat", "usage_usec 7\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n"),
        ("cpu.max", "max 100000\n"),
        ("pids.max", "2362\n"),
    ];

    #[test]
    fn limits_and_throttling_are_those_of_cruns_part_and_usage_is_the_scopes() {
        let inner = [
            ("cpu.stat", "usage_usec 6\nnr_periods 57\nnr_throttled 54\nthrottled_usec 3\n"),
            ("cpu.max", "25000 100000\n"),
            ("memory.max", "67108864\n"),
            ("pids.max", "2048\n"),
        ];
        let reading = read(&SCOPE, &inner);
        let stat = CpuStatV2 {
            usage_ns: Some(7_000),
            periods: Some(57),
            throttled_periods: Some(54),
            throttled_ns: Some(3_000),
        };
        assert_eq!((reading.cpu_stat, reading.cpu_limit), (stat, Some(Limit::At(250))));
        let limits = (reading.memory_limit, reading.threads_limit);
        assert_eq!(limits, (Some(Limit::At(67_108_864)), Some(Limit::At(2048))));
    }

    #[test]
    fn without_it_all_is_the_scopes() {
        let reading = read(&SCOPE, &[]);
        assert_eq!(
            (reading.cpu_stat.periods, reading.cpu_limit),
            (Some(0), Some(Limit::Unlimited))
        );
        assert_eq!(reading.threads_limit, Some(Limit::At(2362)));
    }
}
