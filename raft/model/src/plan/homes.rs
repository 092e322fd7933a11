//! Homes: which f + 1 nodes keep a job's bytes, who replaces one that is lost,
//! full, or cannot assemble, and who stays to be read from until then.

use std::collections::{BTreeMap, BTreeSet};

use super::{builds::Builds, health::ClusterHealth};
use crate::{
    command::{Command, SetHomes},
    limits::{
        COMMANDS_PER_ENTRY_MAX, EARLY_LEVEL, EARLY_SOURCE_BYTES_MIN, KEPT_SOURCES_LEVEL,
        REHOMED_PER_ENTRY_MAX, RETIRING_HOMES_MAX,
    },
    rows::{Home, Job, JobState},
    state::State,
};

/// How many jobs each node is a home of.
type HomeLoad = BTreeMap<u64, usize>;

/// Gives unfinished jobs their homes.
pub(super) fn place_active(state: &State, builds: &Builds<'_>, commands: &mut Vec<Command>) {
    let open = state.open();
    let early = state.feature_level() >= EARLY_LEVEL;
    let mut load = open.load();
    let lost = open
        .places()
        .filter(|(node, build, _)| needs_care(*node, build, builds.health));
    let lost = lost.flat_map(|(_, _, jobs)| jobs);
    let miscounted = open.other_than(builds.health.faults() + 1);
    let ids: BTreeSet<&String> = open.unsettled().chain(miscounted).chain(lost).collect();
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    let changed = ids.into_iter().filter_map(|id| {
        let entry = state.current(id)?;
        let mut command = place_homes(&entry.job, builds, &mut load)?;
        if let Command::SetHomes(set) = &mut command {
            let made = || state.may_be_made(&entry.job);
            set.early = early && is_worked_on_early(&entry.job) && !made();
        }
        Some(command)
    });
    commands.extend(changed.take(room));
}

/// Whether a job that gets its first homes is worked on while it is uploaded.
fn is_worked_on_early(job: &Job) -> bool {
    let begins = job.epoch == 0 && job.state() == JobState::Uploading;
    begins && job.source_bytes >= EARLY_SOURCE_BYTES_MIN
}

/// Whether settled jobs of a build may have to leave a home.
fn needs_care(node: u64, build: &str, health: &ClusterHealth) -> bool {
    let patience_ms = health.home_patience_ms(false);
    let known = health.nodes.get(&node);
    let full = known.is_some_and(|node| node.full);
    let unable = !build.is_empty() && health.cant_run(node, build);
    let able_elsewhere = || {
        let mut nodes = health.nodes.iter();
        nodes.any(|(other, known)| !known.full && health.can_run(*other, build))
    };
    let leaves = health.draining(node) || health.silent_ms(node) >= patience_ms;
    leaves || full || (unable && able_elsewhere())
}

/// Gives finished outputs other homes where theirs are lost, in what room the
/// entry has left, the fewest copies first.
pub(super) fn place_outputs(state: &State, builds: &Builds<'_>, commands: &mut Vec<Command>) {
    let health = builds.health;
    let outputs = state.outputs();
    let lost = |home: &Home| {
        let leaves = health.draining(home.node) && !home.retiring;
        leaves || health.silent_ms(home.node) >= health.rehome_after_ms
    };
    let wanted = health.faults() + 1;
    let more = health.takers() >= wanted;
    let enough = |homes: &[Home]| {
        let current = homes.iter().filter(|home| !home.retiring);
        current.count() >= wanted || !more
    };
    let settled =
        |homes: &[Home]| enough(homes) && !homes.iter().any(|home| lost(home) || home.is_unsure());
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    let room = room.min(REHOMED_PER_ENTRY_MAX);
    let mut jobs: Vec<(usize, u64)> = Vec::new();
    for (homes, of_these) in outputs.groups().filter(|(homes, _)| !settled(homes)) {
        let copies = homes.iter().filter(|home| home.filled);
        let copies = copies.filter(|home| health.alive(home.node)).count();
        // With the same homes, all are moved or none.
        let first = of_these.iter().take(room);
        jobs.extend(first.map(|(age, _)| (copies, age)));
    }
    jobs.sort_unstable();
    let mut load = outputs.counts();
    let changed = jobs.into_iter().filter_map(|(_, age)| {
        let entry = state.job_at(age)?;
        place_homes(&entry.job, builds, &mut load)
    });
    commands.extend(changed.take(room));
}

/// Has the sources of jobs that may be tried again leave homes that drain, or that will
/// not come back, in what room the entry has left. Nobody takes the place of one that
/// may: they are kept for a day only.
pub(super) fn place_sources(state: &State, builds: &Builds<'_>, commands: &mut Vec<Command>) {
    if state.feature_level() < KEPT_SOURCES_LEVEL {
        return;
    }
    let health = builds.health;
    let gone = |node: u64| health.silent_ms(node) == u64::MAX;
    let leaves = |home: &Home| {
        let lost = || health.silent_ms(home.node) >= health.rehome_after_ms;
        let hands_over = health.draining(home.node) || gone(home.node);
        !home.retiring && (hands_over || (!home.filled && lost()))
    };
    let readable = |home: &Home| home.filled && health.alive(home.node);
    let moves = |homes: &[Home]| homes.iter().any(leaves) && homes.iter().any(readable);
    let room = COMMANDS_PER_ENTRY_MAX.saturating_sub(commands.len());
    let room = room.min(REHOMED_PER_ENTRY_MAX);
    let mut load = state.outputs().counts();
    let sources = state.outputs().sources();
    let sources = sources.filter(|(homes, _)| moves(homes));
    let ages = sources.flat_map(|(_, jobs)| jobs.iter().take(room));
    let changed = ages.filter_map(|age| {
        let entry = state.job_at(*age)?;
        place_homes(&entry.job, builds, &mut load)
    });
    commands.extend(changed.take(room));
}

/// How well a node suits as a new home; the least comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct HomeRank {
    /// It cannot run the job's tasks, so it could not assemble the output.
    unable: bool,
    /// It has no room for all of the job's bytes.
    cramped: bool,
    /// Another home would be lost with it.
    shares_zone: bool,
    /// It has none of the job's bytes yet.
    empty: bool,
    /// Jobs that it is a home of already.
    jobs: usize,
    /// Breaks ties, so that the order is total.
    node: u64,
}

/// A job's homes, sorted by what should become of them.
struct Sorted {
    /// Homes of the new set.
    keep: Vec<Home>,
    /// Homes whose places go to others, the first to stay where none is found.
    lost: Vec<Home>,
}

/// Gives a job its f + 1 homes, or replaces some. The bytes are never given
/// up: a filled home leaves the set only if another one, living and filled,
/// stays, and is read from until its replacement is filled too.
fn place_homes(job: &Job, builds: &Builds<'_>, load: &mut HomeLoad) -> Option<Command> {
    let health = builds.health;
    if !job.is_kept() {
        return None;
    }
    let wanted = health.faults() + 1;
    let candidates = candidates(job, builds, load);
    let able_candidate = candidates
        .first()
        .is_some_and(|rank| health.can_run(rank.node, &job.build));
    let (first, able) = (candidates.first(), able_candidate);
    let Sorted { keep, mut lost } = sort_homes(job, health, first.map(|_| able), wanted);
    let missing = wanted.saturating_sub(keep.len());
    let kept = keep.iter().map(|home| home.node).collect();
    let candidates = spread(candidates, kept, missing, health);
    if job.homes.is_empty() && candidates.len() < wanted {
        return None;
    }
    // A lost home that has no replacement yet stays in the set.
    lost.truncate(missing - candidates.len());
    let kept = keep.iter().map(|home| home.node);
    let still_lost = lost.iter().map(|home| home.node);
    let homes: Vec<u64> = kept
        .chain(candidates.iter().copied())
        .chain(still_lost)
        .collect();
    let before: BTreeSet<u64> = job.current_homes().map(|home| home.node).collect();
    if before == homes.iter().copied().collect() {
        return None;
    }
    for node in candidates {
        *load.entry(node).or_default() += 1;
    }
    Some(Command::SetHomes(SetHomes {
        job: job.id.clone(),
        epoch: job.epoch,
        retiring: leaving(job, health, &homes),
        homes,
        early: false,
    }))
}

/// Nodes that could become a home, the best first. One that retires with a
/// full copy is none: it takes its place again by itself.
fn candidates(job: &Job, builds: &Builds<'_>, load: &HomeLoad) -> Vec<HomeRank> {
    let taken = |node: u64| {
        let mut homes = job.homes.iter();
        homes.any(|home| home.node == node && (home.filled || !home.retiring))
    };
    let retires = |node: u64| job.retiring_homes().any(|home| home.node == node);
    let nodes = &builds.health.nodes;
    let fit = nodes
        .iter()
        .filter(|(node, health)| health.takes_bytes() && !taken(**node))
        .map(|(node, _)| *node);
    let bytes = match job.state() {
        JobState::Succeeded => job.output_bytes,
        _ => job.source_bytes,
    };
    let rank = |node: u64| HomeRank {
        unable: !builds.suits(node, &job.build, &job.spec),
        cramped: nodes[&node].room_bytes < bytes,
        shares_zone: false,
        empty: !retires(node),
        jobs: load.get(&node).copied().unwrap_or(0),
        node,
    };
    let mut candidates: Vec<HomeRank> = fit.map(rank).collect();
    candidates.sort_unstable();
    candidates
}

/// The best of these, so that they and the homes that stay are in different zones as
/// far as there are any.
fn spread(
    mut candidates: Vec<HomeRank>,
    mut homes: Vec<u64>,
    missing: usize,
    health: &ClusterHealth,
) -> Vec<u64> {
    let mut chosen = Vec::new();
    while chosen.len() < missing {
        for rank in &mut candidates {
            rank.shares_zone = health.shares_zone(rank.node, &homes);
        }
        let Some(best) = candidates.iter().min().copied() else {
            break;
        };
        candidates.retain(|rank| rank.node != best.node);
        homes.push(best.node);
        chosen.push(best.node);
    }
    chosen
}

/// `candidate` is whether the best one can run the job's tasks, if there is one.
fn sort_homes(job: &Job, health: &ClusterHealth, candidate: Option<bool>, wanted: usize) -> Sorted {
    let grows = !job.state().ended();
    // A full disk can take no more of a job that still grows, and a home with
    // another build can't make its output.
    let full = |node: u64| health.nodes.get(&node).is_some_and(|node| node.full);
    let idle = |node: u64| !job.build.is_empty() && health.cant_run(node, &job.build);
    let patience_ms = health.home_patience_ms(!grows);
    let (mut keep, mut lost): (Vec<Home>, Vec<Home>) = job.current_homes().partition(|home| {
        // One that is still to be filled never will be on a full disk.
        let no_room = full(home.node) && (grows || !home.filled);
        let unable = grows && idle(home.node) && candidate == Some(true);
        let unfit = no_room || unable || health.draining(home.node);
        health.silent_ms(home.node) < patience_ms && !unfit
    });
    let whole = |home: &Home| home.filled && health.alive(home.node);
    let uploading = job.state() == JobState::Uploading;
    // A home that is back before its replacement was filled takes its place
    // again, which spares the rest of the copy.
    let alone = !keep.iter().any(|home| health.alive(home.node));
    let unfit =
        |node: u64| health.draining(node) || (grows && (full(node) || (idle(node) && !alone)));
    let back = job.retiring_homes().filter(|home| whole(home));
    for home in back.filter(|home| !unfit(home.node)) {
        if keep.len() >= wanted {
            // It lacks the chunks that came meanwhile.
            if uploading && !keep.iter().any(whole) {
                break;
            }
            let unfilled = |home: &&Home| !home.filled;
            let worst = keep
                .iter()
                .filter(unfilled)
                .min_by_key(|home| health.alive(home.node));
            let Some(worst) = worst.map(|home| home.node) else {
                break;
            };
            keep.retain(|home| home.node != worst);
        }
        keep.push(*home);
    }
    // What an upload lacks on its new homes is read from those that retire, or
    // asked of the client.
    let safe = |home: &Home| whole(home) || (uploading && health.alive(home.node));
    // One that drains gives its place up, and is read from meanwhile.
    let hands_over = |home: &Home| health.draining(home.node) && whole(home);
    let read_from = candidate.is_some() && lost.iter().any(hands_over);
    if !keep.iter().any(safe) && !read_from {
        match lost.iter().position(safe) {
            Some(at) => keep.push(lost.remove(at)),
            // One that can't take its place again keeps the bytes meanwhile.
            None if job.retiring_homes().any(whole) => {}
            None => {
                let (filled, rest) = lost.into_iter().partition(|home| home.filled);
                keep.extend::<Vec<Home>>(filled);
                lost = rest;
            }
        }
    }
    lost.sort_by_key(|home| !home.filled);
    Sorted { keep, lost }
}

/// The homes that leave when these become the homes, the most worth keeping
/// first: all may still be read from.
fn leaving(job: &Job, health: &ClusterHealth, homes: &[u64]) -> Vec<u64> {
    let mut former: Vec<&Home> = job
        .homes
        .iter()
        .filter(|home| !homes.contains(&home.node))
        .collect();
    former.sort_by_key(|home| (!home.filled, !health.alive(home.node)));
    former.truncate(RETIRING_HOMES_MAX);
    former.into_iter().map(|home| home.node).collect()
}
