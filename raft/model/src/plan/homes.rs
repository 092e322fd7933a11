//! Homes: which f + 1 nodes keep a job's bytes, and who replaces one that is
//! lost, full, or cannot assemble.

use std::collections::BTreeMap;

use super::health::{ClusterHealth, HOME_LOST_MS};
use crate::{
    command::{Command, SetHomes},
    rows::{Home, Job},
    state::State,
};

/// How many unfinished jobs each node is a home of.
pub(super) type HomeLoad = BTreeMap<u64, usize>;

pub(super) fn home_load(state: &State) -> HomeLoad {
    let mut load = HomeLoad::new();
    for entry in state.active() {
        for home in &entry.job.homes {
            *load.entry(home.node).or_default() += 1;
        }
    }
    load
}

/// How well a node suits as a new home; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct HomeRank {
    /// It cannot run the job's tasks, so it could not assemble the output.
    unable: bool,
    /// Unfinished jobs that it is a home of already.
    jobs: usize,
    /// Breaks ties, so that the order is total.
    node: u64,
}

/// A job's homes, sorted by what should become of them.
struct Sorted {
    keep: Vec<Home>,
    lost: Vec<Home>,
}

/// Gives a job its f + 1 homes, or replaces some. The bytes are never given
/// up: a filled home leaves only if another one, living and filled, stays.
pub(super) fn place_homes(
    job: &Job,
    health: &ClusterHealth,
    load: &mut HomeLoad,
    commands: &mut Vec<Command>,
) {
    if !job.state().keeps_bytes() {
        return;
    }
    let wanted = health.faults() + 1;
    let mut candidates = candidates(job, health, load);
    let able_candidate = candidates
        .first()
        .is_some_and(|&node| health.can_run(node, &job.build));
    let Sorted { keep, mut lost } = sort_homes(job, health, able_candidate);
    let missing = wanted.saturating_sub(keep.len());
    candidates.truncate(missing);
    if candidates.is_empty() || (job.homes.is_empty() && candidates.len() < wanted) {
        return;
    }
    for node in &candidates {
        *load.entry(*node).or_default() += 1;
    }
    // A lost home that has no replacement yet stays in the set.
    lost.truncate(missing - candidates.len());
    let kept = keep.iter().map(|home| home.node);
    let still_lost = lost.iter().map(|home| home.node);
    commands.push(Command::SetHomes(SetHomes {
        job: job.id.clone(),
        epoch: job.epoch,
        homes: kept.chain(candidates).chain(still_lost).collect(),
    }));
}

/// Nodes that could become a home, the best first.
fn candidates(job: &Job, health: &ClusterHealth, load: &HomeLoad) -> Vec<u64> {
    let is_home = |node: u64| job.homes.iter().any(|home| home.node == node);
    let mut candidates: Vec<u64> = health
        .nodes
        .iter()
        .filter(|(node, health)| health.alive && !health.full && !is_home(**node))
        .map(|(node, _)| *node)
        .collect();
    candidates.sort_by_key(|&node| HomeRank {
        unable: !health.can_run(node, &job.build),
        jobs: load.get(&node).copied().unwrap_or(0),
        node,
    });
    candidates
}

fn sort_homes(job: &Job, health: &ClusterHealth, able_candidate: bool) -> Sorted {
    let (mut keep, mut lost): (Vec<Home>, Vec<Home>) = job.homes.iter().partition(|home| {
        // A full disk can take no more of a job that still grows, and a home
        // with another build can't make its output.
        let full = health.nodes.get(&home.node).is_some_and(|node| node.full);
        let idle = !job.build.is_empty()
            && !health.can_run(home.node, &job.build)
            && health.alive(home.node);
        let unfit = !job.state().ended() && (full || (idle && able_candidate));
        health.silent_ms(home.node) < HOME_LOST_MS && !unfit
    });
    let safe = |home: &Home| home.filled && health.alive(home.node);
    if !keep.iter().any(safe) {
        match lost.iter().position(safe) {
            Some(at) => keep.push(lost.remove(at)),
            None => {
                let (filled, rest) = lost.into_iter().partition(|home| home.filled);
                keep.extend::<Vec<Home>>(filled);
                lost = rest;
            }
        }
    }
    Sorted { keep, lost }
}
