//! Simulated clusters: what the plan hands out runs as long as its node's true speed
//! says, which the plan only learns from a benchmark and from heartbeats. Time is
//! simulated, so that all figures but the plan's own cost are the same everywhere.
//!
//! `cargo test --release -p reelraft-model --test scheduler -- --ignored --nocapture`
//! measures a thousand nodes with a hundred thousand shards.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Cluster, Film, Machine};
use reelraft_model::limits::{FEATURE_LEVEL, TWINS_LEVEL};

/// Machines of one slot with these speeds, in frames a second.
fn machines(speeds: &[u64]) -> Vec<Machine> {
    let machine = |&fps: &u64| Machine {
        slots: 1,
        mfps: fps * 1000,
        known: true,
        slows: None,
    };
    speeds.iter().map(machine).collect()
}

/// A film of so many shards, whose lengths differ by up to so many percent.
fn film(tenant: &'static str, shards: u32, unlike_percent: u64) -> Film {
    Film {
        tenant,
        at_ms: 0,
        shards,
        frames: 150,
        unlike_percent,
    }
}

/// In thousandths: how much longer it took than any assignment does at least, and than
/// one by somebody who knows all beforehand.
fn ratios_milli(mut cluster: Cluster) -> (u64, u64) {
    let (bound_ms, foreseen_ms) = (cluster.bound_ms(), cluster.foreseen_ms());
    let ms = cluster.run();
    println!(
        "{} nodes, {} shards: {ms} ms, {foreseen_ms} foreseen, {bound_ms} at best; {} plans, {:?} a plan, {:?} at most",
        cluster.machines.len(),
        cluster.shards,
        cluster.plans,
        cluster.planned / cluster.plans.max(1),
        cluster.longest_plan,
    );
    (ms * 1000 / bound_ms, ms * 1000 / foreseen_ms)
}

#[test]
fn a_node_four_times_slower_than_the_rest_costs_no_more_than_it_must() {
    for shards in [20, 50, 100, 300] {
        for unlike_percent in [0, 40] {
            let films = vec![film("t", shards, unlike_percent)];
            let cluster =
                Cluster::new(7, machines(&[100, 100, 100, 25, 100, 100, 100, 100]), films);
            let (_, ratio) = ratios_milli(cluster);
            assert!(
                ratio <= 1100,
                "{shards} shards, {unlike_percent} %: {ratio}"
            );
        }
    }
}

#[test]
fn nodes_of_all_speeds_end_together() {
    let speeds: Vec<u64> = (0..60).map(|number| 20 + number * 37 % 140).collect();
    let films = vec![film("a", 1500, 40), film("b", 700, 40), film("a", 800, 40)];
    let (ratio, _) = ratios_milli(Cluster::new(3, machines(&speeds), films));
    assert!(ratio <= 1050, "{ratio}");
}

/// Whoever looks at a film while it is made begins at its beginning; only its last
/// shards go by their length.
#[test]
fn a_film_is_encoded_from_its_beginning_on() {
    for speeds in [&[100; 4][..], &[100, 100, 100, 100, 10]] {
        let mut cluster = Cluster::new(1, machines(speeds), vec![film("t", 40, 40)]);
        cluster.run();
        // A slow node may take a short one from a little further on.
        let first = &mut cluster.order[..25].to_vec();
        first.sort_unstable();
        assert!(first.iter().copied().eq(0..25), "{speeds:?}: {first:?}");
        assert!(cluster.order[25..].windows(2).any(|two| two[0] > two[1]));
    }
}

/// A machine that becomes ten times slower in the middle of a film holds it up no
/// longer than its last shard takes on another. Without twins all wait for it.
#[test]
fn a_node_that_becomes_slow_in_the_middle_of_a_film_does_not_hold_it_up() {
    for (seed, shards) in [(1, 24), (4, 40), (3, 100)] {
        let run = |level: u32, slows: Option<(u64, u64)>| {
            let mut machines = machines(&[100; 8]);
            machines[3].slows = slows;
            let film = Film {
                frames: 1_000,
                ..film("t", shards, 20)
            };
            let mut cluster = Cluster::of_level(level, seed, machines, vec![film]);
            (cluster.run(), cluster.twins)
        };
        // A shard takes nine seconds or so.
        let middle_ms = u64::from(shards) * 9_000 / 8 / 2;
        let (even_ms, _) = run(FEATURE_LEVEL, None);
        let (with_ms, twins) = run(FEATURE_LEVEL, Some((middle_ms, 10)));
        let (without_ms, none) = run(TWINS_LEVEL - 1, Some((middle_ms, 10)));
        println!(
            "{shards} shards: {even_ms} ms, slowed down {with_ms} with {twins} twins, {without_ms} with {none}"
        );
        // A slot in eight is missing from there on, and one shard is made twice.
        assert!(
            with_ms <= even_ms * 9 / 8 + 12_000,
            "{with_ms} of {even_ms}"
        );
        assert!(without_ms > with_ms + 12_000, "{without_ms}, {with_ms}");
        assert!((1..=3).contains(&twins) && none == 0, "{twins} and {none}");
    }
}

/// Without a benchmark the first shards show it.
#[test]
fn a_slow_node_that_nobody_knows_is_known_soon() {
    let mut machines = machines(&[100, 100, 100, 25, 100, 100, 100, 100]);
    for machine in &mut machines {
        machine.known = false;
    }
    let (ratio, _) = ratios_milli(Cluster::new(5, machines, vec![film("t", 100, 20)]));
    assert!(ratio <= 1150, "{ratio}");
}

/// Clips of somebody who also has a long film made are done while that goes on, and it
/// takes no longer for them than their own work.
#[test]
fn small_jobs_pass_a_long_one_and_do_not_hold_it_up() {
    let clip = |number: u64| Film {
        at_ms: 2_000 + number * 2_000,
        ..film("t", 2, 0)
    };
    let mut films = vec![film("t", 600, 20)];
    films.extend((0..40).map(clip));
    let mut cluster = Cluster::new(11, machines(&[100; 8]), films);
    let bound_ms = cluster.bound_ms();
    let ms = cluster.run();
    let mut waits: Vec<u64> = (1..=40).map(|film| cluster.took_ms(film)).collect();
    waits.sort_unstable();
    println!(
        "long: {ms} of {bound_ms} ms; clips: {} ms, {} at most",
        waits[20], waits[39]
    );
    assert!(ms * 100 <= bound_ms * 105, "{ms} of {bound_ms}");
    // Each takes 1.5 s on a free node.
    assert!(waits[39] <= 6_000, "{waits:?}");
}

/// What is done in a moment leaves the fast nodes to what takes long.
#[test]
fn small_work_goes_to_the_slow_nodes() {
    let clip = Film {
        frames: 20,
        ..film("small", 1, 0)
    };
    let mut cluster = Cluster::new(1, machines(&[30, 200, 30]), vec![clip]);
    cluster.run();
    assert_eq!(cluster.shards_on(2), 0);
}

#[test]
#[ignore = "long: a measurement"]
fn a_thousand_nodes_with_a_hundred_thousand_shards() {
    let machine = |number: u64| Machine {
        slots: 1 + (number % 3) as u32,
        mfps: (20 + number * 7919 % 180) * 1000,
        known: !number.is_multiple_of(10),
        slows: None,
    };
    let tenants = ["a", "b", "c", "d", "e"];
    let films = (0..20).map(|number| film(tenants[number % 5], 5_000, 40));
    let cluster = Cluster::new(13, (0..1000).map(machine).collect(), films.collect());
    let (ratio, _) = ratios_milli(cluster);
    assert!(ratio <= 1050, "{ratio}");
}
