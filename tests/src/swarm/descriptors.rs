//! How many files may be open: each node is a connection, here and in a started aggregator, which
//! inherits the limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is open beside the connections: logs, timers, questions.
const OTHERS: u64 = 100;

/// More connections than files may be open.
#[derive(Debug, thiserror::Error)]
#[error(
    "{nodes} nodes need {needed} open files and the limit is {limit}, which cannot be raised: \
     play fewer nodes, or begin with a higher hard limit (ulimit -Hn)"
)]
pub struct TooFewDescriptors {
    nodes: u32,
    needed: u64,
    limit: u64,
}

/// Makes room for `nodes` connections: raises the limit where it is too low.
pub fn make_room(nodes: u32) -> Result<(), TooFewDescriptors> {
    let needed = u64::from(nodes) + OTHERS;
    let before = getrlimit(Resource::Nofile);
    let Some(wanted) = raised(before, needed) else { return Ok(()) };
    setrlimit(Resource::Nofile, wanted).map_err(|_| TooFewDescriptors {
        nodes,
        needed,
        limit: before.maximum.or(before.current).unwrap_or(0),
    })
}

/// The limits to set; `None` when there is room already. Only root may raise the upper one.
fn raised(before: Rlimit, needed: u64) -> Option<Rlimit> {
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| needed <= limit);
    if enough(before.current) {
        return None;
    }
    let maximum = if enough(before.maximum) { before.maximum } else { Some(needed) };
    Some(Rlimit { current: Some(needed), maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: (u64, Option<u64>), needed: u64, expected: Option<(u64, Option<u64>)>) {
        let limit = |(current, maximum)| Rlimit { current: Some(current), maximum };
        assert_eq!(raised(limit(before), needed), expected.map(limit));
    }

    #[test]
    fn the_limit_is_raised_as_far_as_needed_and_never_lowered() {
        check((1024, Some(20_000)), 600, None);
        check((1024, Some(20_000)), 5_100, Some((5_100, Some(20_000))));
        check((1024, None), 5_100, Some((5_100, None)));
        check((1024, Some(4096)), 5_100, Some((5_100, Some(5_100))));
    }
}
