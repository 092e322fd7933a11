//! Storms over the pure model: an abstract cluster around the real `apply`,
//! `plan` and rules of homes, with reboots, lost disks, late and repeated
//! messages, all of it from a seed. After every step the oracles of `truth`
//! must find nothing; in the calm afterwards all must end.
//!
//! ```text
//! run -> faults, engines, leader, worker, home, uploads, requests -> world -> truth -> aims, engine, story, log
//! ```
//! `STORM_SEED=7 cargo test -p reelraft-model --test storm` tells one seed, and
//! `make storm` runs 100,000.
#![allow(clippy::unwrap_used)]

mod aims;
mod bugs;
mod calm_rates;
mod client;
mod early;
mod engine;
mod engines;
mod faults;
mod home;
mod leader;
mod log;
mod measuring;
mod node;
mod requests;
mod rng;
mod run;
mod story;
mod truth;
mod twins;
mod uploads;
mod worker;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use bugs::Bug;
use run::run;

/// Seeds of `make test`, within half a minute on two cores.
const SEEDS: u64 = 2_000;
/// Seeds of `make storm`.
const SEEDS_LONG: u64 = 100_000;
/// A planted bug must be seen within so many seeds.
const SEEDS_A_BUG: u64 = 3_000;
const THREADS: u64 = 2;

/// What came of some seeds.
struct Weathered {
    /// The first that breaks a promise.
    broken: Option<u64>,
    /// In how many an output was compared with its source.
    measured: u64,
}

/// Runs seeds, until one breaks a promise.
fn weather(first: u64, seeds: u64, bug: Option<Bug>) -> Weathered {
    let (found, measured) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (found, measured) = (&found, &measured);
            scope.spawn(move || {
                let mut seed = first + thread;
                while seed < (first + seeds).min(found.load(Ordering::Relaxed)) {
                    let outcome = run(seed, bug, false);
                    if outcome.broken.is_some() {
                        found.fetch_min(seed, Ordering::Relaxed);
                    }
                    measured.fetch_add(outcome.measured.into(), Ordering::Relaxed);
                    seed += THREADS;
                }
            });
        }
    });
    let found = found.into_inner();
    Weathered {
        broken: (found != u64::MAX).then_some(found),
        measured: measured.into_inner(),
    }
}

/// Plays a seed again and tells its story.
fn tell(seed: u64) -> Option<String> {
    let outcome = run(seed, None, true);
    let broken = outcome.broken?;
    let story = outcome.story.join("\n");
    Some(format!(
        "# The steps of seed {seed}, for tests/scenarios/.\n{story}\n\n\
         {broken}\nagain: STORM_SEED={seed} cargo test -p reelraft-model --test storm\n"
    ))
}

#[track_caller]
fn storms_are_weathered(first: u64, seeds: u64) {
    let weathered = weather(first, seeds, None);
    if let Some(text) = weathered.broken.and_then(tell) {
        panic!("{text}");
    }
    let few = seeds < SEEDS;
    assert!(few || weathered.measured > 0, "nothing is ever compared");
}

#[test]
fn every_storm_is_weathered() {
    match std::env::var("STORM_SEED") {
        Ok(seed) => storms_are_weathered(seed.parse().unwrap(), 1),
        Err(_) => storms_are_weathered(0, SEEDS),
    }
}

#[test]
#[ignore = "long: make storm"]
fn every_storm_of_many_is_weathered() {
    storms_are_weathered(1_000_000, SEEDS_LONG);
}

#[test]
fn every_planted_bug_is_seen() {
    let mut table = String::new();
    let mut unseen = Vec::new();
    for bug in Bug::ALL {
        let found = weather(0, SEEDS_A_BUG, Some(bug)).broken;
        let how = found.and_then(|seed| run(seed, Some(bug), false).broken);
        let (found, how) = (found.map(|seed| seed + 1), how.unwrap_or_default());
        table += &format!("{:24} {found:?} {how}\n", format!("{bug:?}"));
        if found.is_none() {
            unseen.push(bug);
        }
    }
    println!("{table}");
    assert!(unseen.is_empty(), "not seen: {unseen:?}\n{table}");
}
