//! Whether the server works, for probes and for people.

use tally_proto::tick::{Tick, UnixMs};

/// Heapster called itself unhealthy when its newest batch was older than this.
const STALE_MS: i64 = 3 * 60 * 1000;

/// What Heapster's probe said, word for word: scripts look for it.
pub(super) const UNHEALTHY: &str = "[-]healthz failed: reason withheld\nhealthz check failed\n";

/// What is told of an API server that does not answer.
pub(super) const AWAY: &str =
    "the API server can't be watched: what it said last of nodes, pods and namespaces stands";

/// What is missing for answers to be right; `None` when nothing is.
pub(super) fn missing(newest: Option<Tick>, now: UnixMs) -> Option<String> {
    let Some(newest) = newest else {
        return Some("no agent has delivered a frame yet\n".to_owned());
    };
    let age_ms = now.since(newest.unix_ms());
    (STALE_MS < age_ms).then(|| {
        let seconds = age_ms / 1000;
        format!("the newest frame is {seconds} s old: no agent delivers any more\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(newest: Option<u64>, now_ms: i64, expected: Option<&str>) {
        assert_eq!(missing(newest.map(Tick), UnixMs(now_ms)).as_deref(), expected);
    }

    #[test]
    fn three_minutes_without_a_frame_are_too_long() {
        check(None, 0, Some("no agent has delivered a frame yet\n"));
        check(Some(100), 280_000, None);
        check(
            Some(100),
            280_001,
            Some("the newest frame is 180 s old: no agent delivers any more\n"),
        );
    }

    #[test]
    fn a_frame_that_is_ahead_of_our_clock_is_fresh() {
        check(Some(100), 90_000, None);
    }
}
