//! How long to wait before the next attempt: exponential, with full jitter.
//!
//! Thousands of agents lose a restarted aggregator in the same moment. Full jitter spreads their
//! return over the whole window instead of only moving it, and the window doubles with each
//! failure in a row. The policy knows no clock: the caller brings a random number and says when
//! a connection has lasted.

use std::time::Duration;

/// The bounds of the waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No wait is shorter.
    pub floor: Duration,
    /// The longest wait after the first failure; it doubles with each one that follows.
    pub first: Duration,
    /// No wait is longer.
    pub ceiling: Duration,
}

/// The failures in a row so far.
#[derive(Clone, Debug)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy, failures: 0 }
    }

    /// Counts a failure and says how long to wait. `random` is any number, evenly distributed.
    pub fn failed(&mut self, random: u64) -> Duration {
        let longest = self.longest();
        self.failures = self.failures.saturating_add(1);
        let floor = self.policy.floor.min(longest);
        floor + fraction(longest - floor, random)
    }

    /// Forgets the failures, because a connection lasted.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    fn longest(&self) -> Duration {
        let doubled = 2u32.saturating_pow(self.failures);
        self.policy.first.saturating_mul(doubled).min(self.policy.ceiling)
    }
}

/// `random` / 2^64 of a duration.
fn fraction(whole: Duration, random: u64) -> Duration {
    let nanoseconds = u128::from(u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX));
    let part = (nanoseconds * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        floor: Duration::from_millis(200),
        first: Duration::from_secs(2),
        ceiling: Duration::from_secs(30),
    };

    fn policies() -> impl Strategy<Value = Policy> {
        (0u64..100_000, 0u64..100_000, 0u64..10_000_000).prop_map(|(floor, more, most)| Policy {
            floor: Duration::from_micros(floor),
            first: Duration::from_micros(floor + more),
            ceiling: Duration::from_micros(floor + most),
        })
    }

    proptest! {
        #[test]
        fn no_wait_is_below_the_floor_or_above_the_ceiling(
            policy in policies(),
            randoms in prop::collection::vec(any::<u64>(), 1..80),
        ) {
            let mut backoff = Backoff::new(policy);
            for random in randoms {
                let wait = backoff.failed(random);
                prop_assert!(policy.floor <= wait && wait <= policy.ceiling, "{wait:?}");
            }
        }

        #[test]
        fn with_the_same_luck_a_wait_is_never_shorter_than_the_one_before(
            policy in policies(),
            random: u64,
        ) {
            let mut backoff = Backoff::new(policy);
            let waits: Vec<Duration> = (0..40).map(|_| backoff.failed(random)).collect();
            prop_assert!(waits.is_sorted());
        }

        #[test]
        fn a_larger_random_number_never_waits_less(policy in policies(), mut pair: [u64; 2]) {
            pair.sort_unstable();
            let [less, more] = pair.map(|random| Backoff::new(policy).failed(random));
            prop_assert!(less <= more);
        }
    }

    #[test]
    fn the_window_doubles_up_to_the_ceiling() {
        let mut backoff = Backoff::new(POLICY);
        let waits: Vec<u128> = (0..6).map(|_| backoff.failed(u64::MAX).as_millis()).collect();
        assert_eq!(waits, [1999, 3999, 7999, 15_999, 29_999, 29_999]);
    }

    #[test]
    fn the_jitter_is_full() {
        assert_eq!(Backoff::new(POLICY).failed(0), POLICY.floor);
        assert_eq!(Backoff::new(POLICY).failed(1 << 63), Duration::from_millis(1100));
    }

    #[test]
    fn a_connection_that_lasted_begins_anew() {
        let mut backoff = Backoff::new(POLICY);
        let first = backoff.failed(1 << 40);
        backoff.failed(1 << 40);
        backoff.reset();
        assert_eq!(backoff.failed(1 << 40), first);
    }
}
