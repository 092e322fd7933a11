//! Assignments: which pending task goes to which free slot.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    builds::Builds,
    rates::{class_of, rates_of},
    turns::{Turn, Turns},
    twins::assign_twins,
    usage::{Usage, is_beside},
};
use crate::{
    command::{Assign, AttemptKey, Command},
    engine_rows::is_engine,
    job_entry::JobEntry,
    limits::{COMMANDS_PER_ENTRY_MAX, JOBS_HELD_BACK_MAX},
    rows::{Task, TaskKind},
    state::State,
};

/// Hands pending tasks to free slots.
pub(super) fn assign_tasks(
    state: &State,
    builds: &Builds<'_>,
    leaving: &BTreeSet<&String>,
    commands: &mut Vec<Command>,
) {
    let mut usage = Usage::of(state, builds.health);
    let mut turns = Turns::new(state, &usage, builds, leaving);
    // Each job waits for the nodes that it ends on first.
    let mut held_back = Vec::new();
    while commands.len() < COMMANDS_PER_ENTRY_MAX && held_back.len() < JOBS_HELD_BACK_MAX {
        let Some(turn) = turns.next(&usage) else {
            break;
        };
        match choose(turn, &usage, builds) {
            Some((task, node)) => {
                commands.push(assign(turn, task, node, &mut usage));
                turns.again();
            }
            None => held_back.extend(turns.pass(&usage).filter(Turn::is_held_back)),
        }
    }
    // What is left of the nodes is too slow for what is last of each job. Where much
    // waits they help nevertheless.
    for mut turn in held_back {
        if !usage.any_free(turn.build, TaskKind::Shard) {
            continue;
        }
        turn.give_way(state.open().frames_waiting(turn.build));
        while commands.len() < COMMANDS_PER_ENTRY_MAX
            && let Some((task, node)) = turn.next_shard(&usage, builds)
        {
            commands.push(assign(&mut turn, task, node, &mut usage));
        }
    }
    assign_twins(state, builds, leaving, &mut usage, commands);
}

/// Gives a task to a node.
fn assign<'a>(turn: &mut Turn<'a>, task: &Task, node: u64, usage: &mut Usage<'a>) -> Command {
    let (entry, health) = (turn.entry, usage.health);
    if turn.build.is_empty() {
        turn.build = health.worker(node).map_or("", |worker| &worker.build);
    }
    usage.take(node, task.kind(), &entry.job);
    Command::Assign(Assign {
        key: AttemptKey {
            attempt: task.last_attempt() + 1,
            ..AttemptKey::of(&entry.job.id, task)
        },
        node,
        build: turn.build.to_string(),
        unix_ms: health.unix_ms,
        twin: false,
    })
}

/// The next task of a job that some node can take, and that node.
fn choose<'a>(
    turn: &mut Turn<'a>,
    usage: &Usage<'_>,
    builds: &Builds<'_>,
) -> Option<(&'a Task, u64)> {
    while let Some(task) = turn.next_special() {
        if let Some(node) = pick_node(turn.entry, task, turn.build, usage, builds) {
            return Some((task, node));
        }
    }
    turn.next_shard(usage, builds)
}

/// How well a node suits a task; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NodeRank {
    /// It is not a home, and the task reads or makes whole files.
    far_from_bytes: bool,
    /// How slow it is, or for a small task how fast.
    speed: u64,
    /// Free slots, most first.
    free: Reverse<u32>,
    /// It is not a home.
    away: bool,
    /// Breaks ties, so that the order is total.
    node: u64,
}

/// The node for a task other than a fresh shard, if a suitable one has a free slot. A
/// node that failed at it waits until all others have too: one that fails at once must
/// not use up a task's tries while the good ones are busy.
fn pick_node(
    entry: &JobEntry,
    task: &Task,
    build: &str,
    usage: &Usage<'_>,
    builds: &Builds<'_>,
) -> Option<u64> {
    let (kind, spec) = (task.kind(), &entry.job.spec);
    let beside = is_beside(&entry.job, kind);
    let failed_on = |node: u64| {
        let failures = task.failures.iter();
        failures.filter(|failure| failure.node == node).count()
    };
    let able = |node: u64| {
        builds.suits(node, build, spec)
            && !builds.lacks_encoder(node, task, spec)
            && (kind == TaskKind::Assemble || !builds.shuns(node, &entry.job))
            && (kind != TaskKind::Assemble || node == u64::from(task.number))
            // Both films are on its disk.
            && (kind != TaskKind::Measure || entry.job.compares_at(node))
            && (!is_engine(node) || task.takes_engines())
            && (!beside || usage.has_place_beside(node))
            && usage.has_memory(node, kind, &entry.job)
    };
    // Nobody has failed at most tasks, and those that are free are few.
    let least = match task.failures.is_empty() {
        true => 0,
        false => {
            let nodes = usage.health.nodes.keys().copied();
            nodes.filter(|&node| able(node)).map(failed_on).min()?
        }
    };
    let piece = matches!(kind, TaskKind::Shard | TaskKind::Probe | TaskKind::Measure);
    let whole = !piece;
    let small = kind == TaskKind::Extras || (whole && entry.job.is_small());
    let rates = rates_of(usage.health, &entry.job);
    let nodes = usage.free_of(build, kind);
    let free: Vec<(u64, u64)> = nodes
        .filter(|&node| usage.free(node, kind) > 0)
        .filter(|&node| failed_on(node) == least && able(node))
        .map(|node| (node, rates.rate(node)))
        .collect();
    let most = free.iter().map(|(_, rate)| *rate).max()?;
    let rank = |node: u64, rate: u64| {
        let (away, class) = (!entry.is_home(node), class_of(rate, most));
        NodeRank {
            far_from_bytes: whole && away,
            speed: if small { class } else { u64::MAX - class },
            free: Reverse(usage.free(node, kind)),
            away,
            node,
        }
    };
    let best = free
        .into_iter()
        .min_by_key(|(node, rate)| rank(*node, *rate));
    best.map(|(node, _)| node)
}
