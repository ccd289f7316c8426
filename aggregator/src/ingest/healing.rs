//! The property that everything else serves: cut the network, crash either side at any write,
//! fill the disk and the memory that stands in for it, set clocks, lose
//! acknowledgements, restart agents with what they had not delivered. Once all has healed, every row of history is that of the same run undisturbed, sums to the last digit.
//!
//! ```text
//! truth   who is on a node at a tick, and every value
//! agents  what they measured and have no acknowledgement for; their streams
//! world   the server, its disk, its agents, the time
//! ```
//! Sessions, model, journal and archive are the real ones; disk, network and time are simulated, and
//! a seed decides everything.

mod agents;
mod chance;
mod truth;
mod world;

use proptest::prelude::*;
use tally_proto::metric::Labels;

use self::{
    chance::Chance,
    truth::{noise, tick},
    world::{Rows, World},
};
use crate::{history::series::What, journal::WAITING_MOST};

const STEPS: u64 = 90;

fn undisturbed() -> Rows {
    let mut world = World::new(WAITING_MOST);
    for index in 0..STEPS {
        let elapsed = world.set_time(index);
        world.measure(index);
        world.deliver(index);
        assert!(world.server.commit(elapsed));
        world.acknowledge();
        assert!(world.server.upkeep());
    }
    world.heal(STEPS);
    world.rows()
}

/// A run in which everything breaks: its rows, and how many frames could not be recorded.
fn disturbed(seed: u64) -> (Rows, u64) {
    let mut chance = Chance::new(seed);
    let small = usize::try_from(4_000 + chance.below(20_000)).unwrap();
    let mut world = World::new(if chance.one_in(2) { small } else { WAITING_MOST });
    for index in 0..STEPS {
        let elapsed = world.set_time(index);
        world.measure(index);
        let node = usize::try_from(chance.below(3)).unwrap();
        match chance.below(24) {
            0 => world.agents[node].cut_until = index + 1 + chance.below(30),
            1 => world.agents[node].link = None,
            2 => world.agents[node].restart(),
            3 => world.server.disk.leave_room(Some(chance.below(20_000))),
            4 | 5 => world.server.disk.leave_room(None),
            6 => world.server.disk.crash_after(chance.below(12)),
            7 => world.crash(chance.below(1 << 40)),
            8 => world.set_clock(wrong_by_s(&mut chance)),
            9 | 10 => world.set_clock(0),
            11 => {
                let first = index.saturating_sub(chance.below(20));
                world.agents[node].measure_again(first, index);
            }
            _ => (),
        }
        if !chance.one_in(6) {
            world.deliver(index);
        }
        let mut lives = chance.one_in(4) || world.server.commit(elapsed);
        if !chance.one_in(5) {
            world.acknowledge();
        }
        lives = lives && (chance.one_in(3) || world.server.upkeep());
        if !lives {
            world.crash(chance.below(1 << 40));
        }
    }
    if world.server.disk.has_crashed() {
        world.crash(seed);
    }
    world.server.disk.never_crash();
    world.heal(STEPS);
    (world.rows(), world.agents.iter().map(|agent| agent.unrecorded).sum())
}

/// By how much a clock is wrong: minutes to hours either way, now and then years ahead.
fn wrong_by_s(chance: &mut Chance) -> i64 {
    let seconds = i64::try_from(60 + chance.below(4 * 3_600)).unwrap();
    match chance.below(5) {
        0 => seconds + 2 * 365 * 86_400,
        1 | 2 => seconds,
        _ => -seconds,
    }
}

/// How many frames could not be recorded.
#[track_caller]
fn check(seed: u64, expected: &Rows) -> u64 {
    let (found, unrecorded) = disturbed(seed);
    for (key, points) in expected {
        let mine = found.get(key).map_or(&[][..], Vec::as_slice);
        let first = points.iter().zip(mine).find(|(a, b)| a != b);
        assert!(
            mine == points.as_slice(),
            "seed {seed}: {key:?} has {} points of {}; first difference {first:?}",
            mine.len(),
            points.len(),
        );
    }
    let more: Vec<_> = found.keys().filter(|key| !expected.contains_key(key)).collect();
    assert!(more.is_empty(), "seed {seed}: {more:?}");
    unrecorded
}

#[test]
fn the_undisturbed_run_has_every_value() {
    let rows = undisturbed();
    let (_, points) = rows
        .iter()
        .find(|((life, what), _)| {
            matches!(life.who, crate::history::life::Who::Node(_))
                && matches!(&**what, What::Metric(quantity) if quantity.metric.as_str() == "memory/usage")
        })
        .unwrap();
    let expected = (0..STEPS).map(|index| (tick(index), noise(0, index, 1)));
    assert_eq!(*points, expected.collect::<Vec<_>>());
    let labels = Labels::new([("app", "web-0")]).unwrap();
    let labels = What::StoredLabels(labels);
    let labelled: Vec<_> = rows.iter().filter(|((_, what), _)| **what == labels).collect();
    // The pod and its container.
    assert_eq!(labelled.len(), 2);
    assert!(
        labelled
            .iter()
            .all(|(_, points)| points.iter().map(|(tick, _)| *tick).eq((0..STEPS).map(tick)))
    );
    let sums = rows.keys().filter(|(life, _)| life.who == crate::history::life::Who::Cluster);
    assert!(5 < sums.count());
}

#[test]
fn after_everything_healed_history_is_that_of_the_run_undisturbed() {
    let expected = undisturbed();
    // More in the night: TALLY_SEEDS=10000.
    let seeds = std::env::var("TALLY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let seeds = 1..=seeds.unwrap_or(60);
    let unrecorded: u64 = seeds.map(|seed| check(seed * 2_654_435_761, &expected)).sum();
    assert!(100 < unrecorded, "the journal was full too: {unrecorded}");
}

/// All clocks are an hour and a half ahead together for five ticks, and are then set right.
#[test]
fn clocks_that_were_ahead_together_leave_the_model_blind_for_no_tick() {
    const AHEAD: u64 = 5_400 / truth::STEP_S;
    let run = |ticks: &mut dyn Iterator<Item = u64>| {
        let mut world = World::new(WAITING_MOST);
        let mut set_back = 0;
        for index in ticks {
            let elapsed = world.set_time(index);
            world.measure(index);
            world.deliver(index);
            assert!(world.server.commit(elapsed));
            world.acknowledge();
            assert!(world.server.upkeep());
            if world.clock_was_set_back() {
                set_back += 1;
                world.crash(index);
                world.deliver(index);
            }
        }
        (world, set_back)
    };
    let (mut world, set_back) = run(&mut (0..20).chain(AHEAD..AHEAD + 5).chain(25..30));
    assert_eq!(set_back, 1);
    let live = world.live_ticks(0);
    let expected: Vec<_> = (18..20).chain(25..30).map(tick).collect();
    assert!(live.ends_with(&expected), "{live:?}");
    let (mut undisturbed, set_back) = run(&mut (0..20).chain(25..30).chain(AHEAD..AHEAD + 5));
    assert_eq!(set_back, 0);
    world.heal(AHEAD + 5);
    undisturbed.heal(AHEAD + 5);
    // Sums of rates are by what was measured before, which is another tick.
    let is_rate = |what: &What| {
        matches!(what, What::Metric(quantity) if quantity.metric.as_str().ends_with("_rate")
            || quantity.metric.as_str() == "cpu/node_usage")
    };
    let found = world.rows();
    for (key, expected) in undisturbed.rows().iter().filter(|((_, what), _)| !is_rate(what)) {
        assert_eq!(found.get(key), Some(expected), "{key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_seed(seed: u64) {
        check(seed, &undisturbed());
    }
}
