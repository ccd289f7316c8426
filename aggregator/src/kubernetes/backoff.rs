//! How long to wait before an API server that did not answer is asked again.

use std::time::Duration;

/// After the first time: it may only have been restarted.
const FIRST: Duration = Duration::from_secs(1);

/// After many: it is known again at most this much after it came back.
const MOST: Duration = Duration::from_secs(30);

/// Waits that double.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    /// Nothing failed yet.
    pub(super) fn new() -> Self {
        Self(FIRST)
    }

    /// How long to wait now. It begins anew where there was an answer since the last time.
    pub(super) fn wait(&mut self, was_answered: bool) -> Duration {
        let wait = if was_answered { FIRST } else { self.0 };
        self.0 = (wait * 2).min(MOST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_after_an_answer() {
        let mut backoff = Backoff::new();
        let waits = [false, false, false, false, false, false, false, true, false];
        let waits = waits.map(|was_answered| backoff.wait(was_answered).as_secs());
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 1, 2]);
    }
}
