//! Second attempts at the last shards of a job, where nodes are free that would be
//! done long before those that work on them: a machine that became slow, or hangs,
//! does not hold up a film.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{builds::Builds, rates::rates_of, speeds::Rates, usage::Usage};
use crate::{
    command::{Assign, AttemptKey, Command},
    engine_rows::is_engine,
    job_entry::JobEntry,
    limits::{COMMANDS_PER_ENTRY_MAX, TWIN_GAIN_MS, TWIN_TIMES_FASTER, TWINS_LEVEL},
    rows::{JobState, Task, TaskKind},
    state::State,
};

/// Hands out twins to the slots that are left when all else is given out.
pub(super) fn assign_twins<'a>(
    state: &'a State,
    builds: &Builds<'_>,
    leaving: &BTreeSet<&String>,
    usage: &mut Usage<'a>,
    commands: &mut Vec<Command>,
) {
    if state.feature_level() < TWINS_LEVEL {
        return;
    }
    // Of another plan's shards nothing is left to wait for.
    let ends = |entry: &JobEntry| {
        entry.job.state() == JobState::Encoding
            && entry.counts.frames_waiting == 0
            && entry.counts.shards_running > 0
            && !leaving.contains(&entry.job.id)
    };
    for entry in state.eventful().filter(|entry| ends(entry)) {
        if usage.any_free(&entry.job.build, TaskKind::Shard) {
            twins_of(entry, builds, usage, commands);
        }
    }
}

/// Hands out twins of one job, of those first that take longest.
fn twins_of<'a>(
    entry: &'a JobEntry,
    builds: &Builds<'_>,
    usage: &mut Usage<'a>,
    commands: &mut Vec<Command>,
) {
    let (job, health) = (&entry.job, usage.health);
    let rates = rates_of(health, job);
    let nodes = usage.free_of(&job.build, TaskKind::Shard);
    // Of two attempts one is a member's, whose result is believed.
    let nodes = nodes.filter(|&node| !is_engine(node) && !builds.shuns(node, job));
    let mut nodes: Vec<(Reverse<u64>, u64)> = nodes
        .map(|node| (Reverse(rates.rate(node)), node))
        .collect();
    nodes.sort_unstable();
    let running = entry.shards_running().filter(|task| !task.has_twin());
    let mut running: Vec<(u64, &Task)> =
        running.map(|task| (left_ms(&rates, task), task)).collect();
    running.sort_unstable_by_key(|(left_ms, task)| (Reverse(*left_ms), task.number));
    for (left_ms, task) in running {
        let suits = |node: u64| {
            let failed = task.failures.iter().any(|failure| failure.node == node);
            let kind = TaskKind::Shard;
            let room = usage.free(node, kind) > 0 && usage.has_memory(node, kind, job);
            node != task.node && !failed && room
        };
        let fastest = nodes.iter().find(|(_, node)| suits(*node));
        let Some((Reverse(rate), node)) = fastest else {
            continue;
        };
        let anew_ms = Rates::ms(task.frames, *rate);
        let pays = left_ms >= anew_ms.saturating_mul(TWIN_TIMES_FASTER)
            && left_ms >= anew_ms.saturating_add(TWIN_GAIN_MS);
        if !pays || commands.len() >= COMMANDS_PER_ENTRY_MAX {
            return;
        }
        usage.take(*node, TaskKind::Shard, job);
        commands.push(Command::Assign(Assign {
            key: AttemptKey {
                attempt: task.last_attempt() + 1,
                ..AttemptKey::of(&job.id, task)
            },
            node: *node,
            build: job.build.clone(),
            unix_ms: health.unix_ms,
            twin: true,
        }));
    }
}

/// How long a shard takes that runs, by how it went lately if that was seen.
fn left_ms(rates: &Rates<'_>, task: &Task) -> u64 {
    let (key, attempt, node, frames) = (task.key(), task.attempt, task.node, task.frames);
    let lately = rates.left_lately_ms(key, attempt, node, frames);
    lately.unwrap_or_else(|| rates.left_ms(key, attempt, node, frames))
}
