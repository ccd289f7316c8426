mod aggregator;
mod disk;
mod world;

use self::{
    disk::Fault,
    world::{End, World},
};
use super::*;

/// Any sequence of ticks, acknowledgements, outages, crashes, full and failing disks.
#[track_caller]
fn live_through(mut world: World, seed: u64) -> World {
    // In every third story acknowledgements are rare, so that several segments are in flight.
    world.acknowledgements = if seed.is_multiple_of(3) { 2 } else { 15 };
    for _ in 0..400 {
        world.random_step();
    }
    world.heal_and_check();
    world.check_that_nothing_was_damaged();
    world
}

#[test]
fn every_frame_is_acknowledged_or_still_to_be_sent_or_counted_as_dropped() {
    let mut dropped = 0;
    for seed in 1..=150 {
        dropped += live_through(World::new(seed), seed).lost();
    }
    assert!(300 < dropped, "there is little room, so the counting was tried: {dropped}");
}

#[test]
fn with_room_in_memory_nothing_is_dropped_whatever_the_disk_does() {
    for seed in 1..=60 {
        let world = live_through(World::new(seed).with_room(10_000, 1 << 30), seed);
        assert_eq!(world.lost(), 0, "seed {seed}");
    }
}

#[test]
fn with_room_on_disk_nothing_is_dropped_however_long_the_outage() {
    for seed in 1..=30 {
        let mut world = World::new(seed);
        world.limits.segment_bytes = 1500 + seed % 4 * 1500;
        world = world.with_room(24, 1 << 30);
        world.acknowledgements = if seed.is_multiple_of(3) { 2 } else { 15 };
        for round in 0..20 {
            let outage = if round % 3 == 0 { 200 } else { 20 };
            world.cut();
            for _ in 0..outage {
                world.tick();
                world.work();
            }
            if (seed + round).is_multiple_of(4) {
                world.die(if seed % 2 == 0 { End::Killed } else { End::PowerLoss });
            }
            for _ in 0..60 {
                world.random_step_without_faults();
            }
        }
        world.heal_and_check();
        world.check_that_nothing_was_damaged();
        assert_eq!(world.lost(), 0, "seed {seed}");
    }
}

#[test]
fn a_crash_at_every_single_write_loses_nothing_that_was_written() {
    for seed in 1..=5 {
        for end in [End::Killed, End::PowerLoss] {
            let mut crashed = true;
            let mut after = 0;
            while crashed {
                let mut world = World::new(seed);
                world.disk.fault = Some(Fault::CrashAfter(after));
                world.end_of_crash = end;
                for _ in 0..150 {
                    world.random_step_without_faults();
                }
                crashed = world.crashes() > 0;
                world.heal_and_check();
                after += 1;
            }
            assert!(10 < after, "the disk was used: {after}");
        }
    }
}

#[test]
fn what_the_aggregator_has_of_an_earlier_run_is_not_sent_again() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..40 {
        world.tick();
        world.work();
    }
    world.die(End::Killed);
    world.begin();
    for _ in 0..40 {
        world.work();
        world.deliver_all();
    }
    assert_eq!(world.received(), 40);
    // All of it was counted, but the acknowledgements are lost.
    world.cut();
    world.connect();
    world.work();
    assert!(world.backlog.is_stream_over() && !world.backlog.may_send());
    assert_eq!(world.disk.files(), 0);
}

#[test]
fn what_was_read_for_a_stream_that_is_no_more_is_not_sent_on_the_next() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..40 {
        world.tick();
        world.work();
    }
    world.die(End::Killed);
    world.begin();
    while !world.backlog.may_send() {
        world.work_once();
    }
    world.send_all();
    // The second segment is asked for, and the network fails with all of the first on the way.
    world.work_once();
    world.cut();
    world.connect();
    world.work();
    world.deliver_all();
    world.acknowledge();
    world.heal_and_check();
    assert_eq!(world.missing(), 0);
}

#[test]
fn in_the_steady_state_the_disk_is_not_touched() {
    let mut world = World::new(1);
    world.begin();
    let looked = world.disk.writes;
    for _ in 0..1000 {
        world.tick();
        world.deliver_all();
        if world.ticks().is_multiple_of(5) {
            world.acknowledge();
        }
        world.work();
    }
    assert_eq!((looked, world.disk.writes), (0, 0));
}

#[test]
fn in_an_outage_a_killed_agent_loses_nothing_and_a_power_loss_ten_seconds() {
    for (end, most) in [(End::Killed, 0), (End::PowerLoss, 11)] {
        let mut world = World::new(1);
        world.begin();
        world.tick();
        world.cut();
        for _ in 0..100 {
            world.tick();
            world.work();
        }
        let lost = world.die(end);
        assert!(lost <= most, "{end:?}: {lost}");
        world.heal_and_check();
    }
}

#[test]
fn a_cut_that_nobody_notices_costs_a_killed_agent_ten_seconds() {
    let mut world = World::new(1).with_room(100, 1 << 30);
    world.begin();
    for _ in 0..60 {
        // Sent, but never acknowledged.
        world.tick();
        world.work();
    }
    assert_eq!(world.die(End::Killed), 0);
    world.begin();
    for _ in 0..9 {
        world.tick();
        world.work();
    }
    assert_eq!(world.die(End::Killed), 9);
}

#[test]
fn a_memory_that_fills_up_sooner_is_written_sooner() {
    let mut world = World::new(1).with_room(6, 1 << 30);
    world.begin();
    for _ in 0..9 {
        world.tick();
        world.work();
    }
    assert_eq!(world.lost(), 0);
    world.heal_and_check();
}

#[test]
fn what_waits_when_the_agent_stops_is_sent_by_the_next() {
    let mut world = World::new(1);
    world.begin();
    for _ in 0..3 {
        world.tick();
    }
    world.backlog.stop();
    world.work();
    assert!(world.backlog.is_safe());
    assert_eq!(world.backlog.leftover(), Leftover { lost: 0, spooled: 3 });
    assert_eq!(world.die(End::PowerLoss), 0);
    world.heal_and_check();
    assert_eq!(world.received(), 3);
}

#[test]
fn a_full_disk_is_said_once_when_it_begins_and_once_when_it_ends() {
    let mut world = World::new(1);
    world.cut();
    world.work();
    for round in 0..90 {
        world.disk.fault = (20..60).contains(&round).then_some(Fault::Full);
        world.tick();
        world.work();
    }
    let news: Vec<String> = world.news.iter().map(|news| format!("{news:?}")).collect();
    let said = |word: &str| news.iter().filter(|news| news.starts_with(word)).count();
    assert_eq!((said("Fails"), said("Works")), (1, 1), "{news:?}");
    // Four tries in forty seconds.
    let (_, faults) = world.backlog.spool_state().unwrap();
    assert!((3..=5).contains(&faults), "{faults}");
    world.heal_and_check();
}

#[test]
fn the_oldest_goes_when_the_disk_holds_enough_and_is_counted() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..2000 {
        world.tick();
        world.work();
        let (bytes, _) = world.backlog.spool_state().unwrap();
        assert!(bytes <= world.limits.bytes + 2 * world.limits.segment_bytes, "{bytes}");
    }
    let lost = world.backlog.lost();
    assert!(100 < lost.frames && lost.frames < lost.samples, "{lost:?}");
    world.heal_and_check();
    assert_eq!(world.missing(), lost.frames);
}

#[test]
fn an_aggregator_that_refuses_one_segment_gets_all_others() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..60 {
        world.tick();
        world.work();
    }
    let run = world.run;
    world.die(End::Killed);
    world.aggregator.refuses = Some((run, 20));
    world.heal_and_check();
    assert!(world.news.iter().any(|news| matches!(news, News::Refused { .. })), "{:?}", world.news);
    assert!((1..20).contains(&world.missing()), "{}", world.missing());
}

/// The clock is two hours ahead for 60 ticks and then set right; frames from then are refused.
fn with_a_clock_that_was_ahead() -> World {
    let mut world = World::new(1).with_room(1_000, 1 << 30);
    world.begin();
    for _ in 0..5 {
        world.tick();
        world.deliver_all();
    }
    world.aggregator.now = Some(Tick(1_000));
    world.clock = 7_200;
    for _ in 0..60 {
        world.tick();
        world.deliver_all();
        world.work();
        world.connect();
    }
    assert_eq!((world.received(), world.lost()), (5, 0));
    world.clock = 0;
    world
}

#[test]
fn what_was_read_while_the_clock_was_ahead_holds_up_nothing_once_it_is_right() {
    let mut world = with_a_clock_that_was_ahead();
    for _ in 0..20 {
        world.tick();
        world.work();
    }
    world.heal_and_check();
    assert_eq!((world.received(), world.lost(), world.missing()), (25, 60, 60));
    assert_eq!(world.disk.files(), 0);
}

#[test]
fn nor_does_what_an_earlier_run_read_then() {
    let mut world = with_a_clock_that_was_ahead();
    assert_eq!(world.die(End::Killed), 0);
    world.begin();
    for _ in 0..20 {
        world.tick();
        world.work();
    }
    world.heal_and_check();
    assert_eq!((world.received(), world.lost(), world.missing()), (25, 60, 60));
    assert_eq!(world.disk.files(), 0);
}

#[test]
fn while_the_aggregators_clock_is_behind_frames_wait() {
    let mut world = World::new(1).with_room(1_000, 1 << 30);
    world.begin();
    world.aggregator.now = Some(Tick(10));
    for _ in 0..60 {
        world.tick();
        world.deliver_all();
        world.work();
        world.connect();
    }
    assert_eq!(world.die(End::Killed), 0);
    world.begin();
    for _ in 0..60 {
        world.tick();
        world.deliver_all();
        world.work();
        world.connect();
    }
    assert_eq!((world.received(), world.lost()), (10, 0));
    world.aggregator.now = None;
    world.heal_and_check();
    assert_eq!((world.received(), world.lost()), (120, 0));
}

#[test]
fn a_clock_that_is_set_back_costs_a_stream_and_no_frame() {
    let mut world = World::new(1);
    world.clock = 500;
    world.begin();
    for _ in 0..5 {
        world.tick();
        world.deliver_all();
    }
    world.clock = 0;
    world.tick();
    assert!(world.backlog.is_stream_over() && !world.backlog.may_send());
    world.heal_and_check();
    assert_eq!((world.received(), world.lost()), (6, 0));
}

#[test]
fn frames_of_another_node_or_resolution_wait_until_they_are_too_old() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..30 {
        world.tick();
        world.work();
    }
    world.resolution = tally_proto::tick::Resolution::from_seconds(1).unwrap();
    world.die(End::Killed);
    world.work();
    assert!(world.news.iter().any(|news| matches!(news, News::NotAlike { .. })));
    world.connect();
    assert!(!world.backlog.is_replaying());
    for _ in 0..world.limits.age_s + 60 {
        world.tick();
        world.deliver_all();
        world.acknowledge();
        world.work();
    }
    assert_eq!((world.backlog.lost().frames, world.disk.files()), (30, 0));
}

#[test]
fn files_of_a_newer_version_are_left_alone() {
    let mut world = World::new(1);
    world.disk.put(7, b"tallyspl\x02\0\0\0whatever");
    world.die(End::Killed);
    world.work();
    let newer = |news: &News| matches!(news, News::Newer { segments: 1, version: 2 });
    assert!(world.news.iter().any(newer), "{:?}", world.news);
    world.cut();
    world.tick();
    world.work();
    world.heal_and_check();
    assert_eq!(world.disk.files(), 1);
}

#[test]
fn a_damaged_segment_costs_its_rest_and_is_said_once() {
    let mut world = World::new(1);
    world.cut();
    for _ in 0..60 {
        world.tick();
        world.work();
    }
    world.die(End::Killed);
    world.disk.damage_the_middle_of_the_second();
    world.work();
    let damaged = |news: &&News| matches!(news, News::Damaged { segments: 1, .. });
    assert_eq!(world.news.iter().filter(damaged).count(), 1, "{:?}", world.news);
    let lost = world.backlog.lost().frames;
    world.heal_and_check();
    assert!(0 < lost && lost < 20, "{lost}");
    assert_eq!(world.missing(), lost);
}
