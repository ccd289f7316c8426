//! When to read the host: on aligned ticks, each once, none late.
//!
//! Every wait is computed from the clock and the next tick, so delays do not add up. A reading
//! that took longer than a tick, or a host that slept, makes the next wake-up late: up to half a
//! resolution the tick is still read (each value carries its own read time), later it is skipped
//! and counted, because its values would belong to the tick after. No tick is read twice, also
//! not when the wall clock is set back: a small step back is waited out, after a large one the
//! new time is believed. Ticks that only a clock's step forward passed over were never due and
//! do not count as skipped; the monotonic clock tells the two apart.

use std::time::Duration;

use tally_proto::tick::{Resolution, Tick, UnixMs};

/// The longest step back that is waited out: a time daemon's correction, not a wrong clock.
const STEP_BACK_WAITED_OUT_MS: i64 = 60_000;

/// After so long the clocks are looked at again, in case one was set.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// One look at both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: UnixMs,
    /// The monotonic clock, from any beginning.
    pub running: Duration,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing for this long.
    Wait(Duration),
    /// Read the host.
    Read(Tick),
}

/// Which tick was read last, and what became of the others.
#[derive(Clone, Debug)]
pub struct Schedule {
    resolution: Resolution,
    /// The last tick that was read or skipped.
    last: Tick,
    /// When that tick began, by the monotonic clock, in milliseconds.
    began_ms: i64,
    skipped: u64,
}

impl Schedule {
    /// The first tick is the next one: the present one may have been read by the process before.
    pub fn new(resolution: Resolution, now: Moment) -> Self {
        let last = resolution.tick_at(now.wall);
        Self { resolution, last, began_ms: began_ms(last, now), skipped: 0 }
    }

    /// What to do now. After [`Step::Read`] the tick is done.
    pub fn step(&mut self, now: Moment) -> Step {
        let current = self.resolution.tick_at(now.wall);
        if current <= self.last {
            let ahead_ms = self.last.unix_ms().since(now.wall);
            if ahead_ms <= STEP_BACK_WAITED_OUT_MS.max(self.resolution_ms()) {
                return wait(now, self.resolution.after(self.last));
            }
            self.done(current, now);
            return wait(now, self.resolution.after(current));
        }
        let due = self.due(current, now);
        let late_ms = now.wall.since(current.unix_ms());
        self.done(current, now);
        if late_ms <= self.resolution_ms() / 2 {
            self.skipped += due.saturating_sub(1);
            return Step::Read(current);
        }
        self.skipped += due;
        wait(now, self.resolution.after(current))
    }

    /// Ticks that passed unread so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// How many ticks became due since the last one, by the clock that saw less time pass.
    fn due(&self, current: Tick, now: Moment) -> u64 {
        let by_wall = (current.0 - self.last.0) / u64::from(self.resolution.seconds());
        let ran_ms = began_ms(current, now).saturating_sub(self.began_ms);
        let by_running = ran_ms.saturating_add(self.resolution_ms() / 2) / self.resolution_ms();
        by_wall.min(u64::try_from(by_running).unwrap_or(0))
    }

    fn done(&mut self, tick: Tick, now: Moment) {
        self.last = tick;
        self.began_ms = began_ms(tick, now);
    }

    fn resolution_ms(&self) -> i64 {
        i64::from(self.resolution.seconds()) * 1000
    }
}

fn wait(now: Moment, until: Tick) -> Step {
    let ms = until.unix_ms().since(now.wall);
    Step::Wait(Duration::from_millis(u64::try_from(ms).unwrap_or(0)).min(LONGEST_WAIT))
}

/// When `tick` began by the monotonic clock, as `now` tells.
fn began_ms(tick: Tick, now: Moment) -> i64 {
    let running = i64::try_from(now.running.as_millis()).unwrap_or(i64::MAX);
    running.saturating_sub(now.wall.since(tick.unix_ms()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resolution(seconds: u64) -> Resolution {
        Resolution::from_seconds(seconds).unwrap()
    }

    fn at(wall_ms: i64, running_ms: u64) -> Moment {
        Moment { wall: UnixMs(wall_ms), running: Duration::from_millis(running_ms) }
    }

    fn wait(ms: u64) -> Step {
        Step::Wait(Duration::from_millis(ms))
    }

    /// Steps of a schedule of 10 s that began at 100 s, and how many ticks were skipped.
    #[track_caller]
    fn check(steps: &[(Moment, Step)], skipped: u64) {
        let mut schedule = Schedule::new(resolution(10), at(100_000, 0));
        for (now, expected) in steps {
            assert_eq!(schedule.step(*now), *expected, "at {now:?}");
        }
        assert_eq!(schedule.skipped(), skipped);
    }

    #[test]
    fn the_first_tick_is_the_next_one() {
        check(&[(at(100_000, 0), wait(10_000)), (at(110_000, 10_000), Step::Read(Tick(110)))], 0);
    }

    #[test]
    fn waits_aim_at_the_tick_however_long_the_reading_took() {
        check(
            &[
                (at(110_003, 10_003), Step::Read(Tick(110))),
                (at(110_250, 10_250), wait(9_750)),
                (at(119_999, 19_999), wait(1)),
                (at(120_001, 20_001), Step::Read(Tick(120))),
            ],
            0,
        );
    }

    #[test]
    fn a_tick_is_read_once() {
        check(
            &[(at(110_000, 10_000), Step::Read(Tick(110))), (at(110_000, 10_000), wait(10_000))],
            0,
        );
    }

    #[test]
    fn up_to_half_a_resolution_late_is_still_read() {
        check(&[(at(115_000, 15_000), Step::Read(Tick(110)))], 0);
        check(&[(at(115_001, 15_001), wait(4_999))], 1);
    }

    #[test]
    fn a_reading_that_took_too_long_costs_the_ticks_it_covered() {
        check(
            &[
                (at(110_000, 10_000), Step::Read(Tick(110))),
                (at(147_000, 47_000), wait(3_000)),
                (at(150_000, 50_000), Step::Read(Tick(150))),
            ],
            3,
        );
    }

    #[test]
    fn ticks_are_counted_from_where_they_began_not_from_when_they_were_skipped() {
        check(
            &[
                (at(119_000, 19_000), wait(1_000)),
                (at(132_000, 32_000), Step::Read(Tick(130))),
                (at(149_000, 49_000), wait(1_000)),
            ],
            3,
        );
    }

    #[test]
    fn a_clock_set_forward_skips_nothing_that_was_due() {
        check(
            &[
                (at(110_000, 10_000), Step::Read(Tick(110))),
                (at(3_710_002, 20_002), Step::Read(Tick(3710))),
            ],
            0,
        );
    }

    #[test]
    fn the_clocks_are_looked_at_each_minute() {
        let mut schedule = Schedule::new(resolution(3600), at(0, 0));
        assert_eq!(schedule.step(at(0, 0)), wait(60_000));
    }

    #[test]
    fn a_small_step_back_is_waited_out() {
        check(
            &[
                (at(110_000, 10_000), Step::Read(Tick(110))),
                (at(95_000, 20_000), wait(25_000)),
                (at(120_000, 45_000), Step::Read(Tick(120))),
            ],
            0,
        );
    }

    #[test]
    fn after_a_large_step_back_the_new_time_is_believed() {
        check(
            &[
                (at(110_000, 10_000), Step::Read(Tick(110))),
                (at(32_000, 20_000), wait(8_000)),
                (at(40_001, 28_001), Step::Read(Tick(40))),
            ],
            0,
        );
    }

    proptest! {
        #[test]
        fn every_due_tick_is_read_once_or_counted(
            seconds in 1u64..20,
            delays_ms in prop::collection::vec(0u64..60_000, 1..60),
        ) {
            let (mut wall, mut running) = (1_000_000_000i64, 0u64);
            let resolution = resolution(seconds);
            let mut schedule = Schedule::new(resolution, at(wall, running));
            let first = resolution.tick_at(UnixMs(wall));
            let mut reads: Vec<Tick> = Vec::new();
            let mut delays_ms = delays_ms.into_iter();
            loop {
                let pause_ms = match schedule.step(at(wall, running)) {
                    Step::Wait(wait) => {
                        prop_assert!(Duration::ZERO < wait && wait <= Duration::from_secs(seconds));
                        u64::try_from(wait.as_millis()).unwrap()
                    }
                    Step::Read(tick) => {
                        prop_assert!(resolution.divides(tick));
                        prop_assert!(reads.last().is_none_or(|last| *last < tick));
                        reads.push(tick);
                        let Some(delay_ms) = delays_ms.next() else { break };
                        delay_ms
                    }
                };
                wall += i64::try_from(pause_ms).unwrap();
                running += pause_ms;
            }
            let passed = (schedule.last.0 - first.0) / seconds;
            prop_assert_eq!(u64::try_from(reads.len()).unwrap() + schedule.skipped(), passed);
        }

        #[test]
        fn no_leap_of_either_clock_stops_it(moments in prop::collection::vec((any::<i64>(), any::<u32>()), 1..40)) {
            let mut schedule = Schedule::new(resolution(1), at(0, 0));
            for (wall, running) in moments {
                schedule.step(at(wall, u64::from(running)));
            }
        }
    }
}
