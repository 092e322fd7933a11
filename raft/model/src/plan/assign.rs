//! Assignments: which pending task goes to which free slot.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    builds::Builds,
    turns::Turns,
    usage::{Usage, is_beside},
};
use crate::{
    command::{Assign, AttemptKey, Command},
    job_entry::JobEntry,
    limits::COMMANDS_PER_ENTRY_MAX,
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
    let health = builds.health;
    let mut usage = Usage::of(state, health);
    let mut turns = Turns::new(state, &usage, builds, leaving);
    while commands.len() < COMMANDS_PER_ENTRY_MAX {
        let Some((turn, task)) = turns.next(&usage) else {
            return;
        };
        let entry = turn.entry;
        let queue = turn.queue();
        let Some(node) = pick_node(entry, task, queue.build, &usage, builds) else {
            continue;
        };
        if queue.build.is_empty() {
            queue.build = &health.nodes[&node].build;
        }
        usage.take(node, task.kind(), &entry.job);
        commands.push(Command::Assign(Assign {
            key: AttemptKey {
                attempt: task.attempt + 1,
                ..AttemptKey::of(&entry.job.id, task)
            },
            node,
            build: queue.build.to_string(),
            unix_ms: health.unix_ms,
        }));
    }
}

/// How well a node suits a task; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NodeRank {
    /// It is not a home, and the task reads or makes whole files.
    far_from_bytes: bool,
    /// Free slots, most first.
    free: Reverse<u32>,
    /// It is not a home.
    away: bool,
    /// Breaks ties, so that the order is total.
    node: u64,
}

/// The node for a task, if a suitable one has a free slot. A node that failed
/// at it waits until all others have too: one that fails at once must not use
/// up a task's tries while the good ones are busy.
fn pick_node(
    entry: &JobEntry,
    task: &Task,
    build: &str,
    usage: &Usage<'_>,
    builds: &Builds<'_>,
) -> Option<u64> {
    let whole = task.kind() != TaskKind::Shard;
    let beside = is_beside(&entry.job, task.kind());
    let failed_on = |node: u64| {
        let failures = task.failures.iter();
        failures.filter(|failure| failure.node == node).count()
    };
    let able: Vec<u64> = usage
        .health
        .nodes
        .keys()
        .copied()
        .filter(|&node| {
            let spec = &entry.job.spec;
            builds.suits(node, build, spec) && !builds.lacks_encoder(node, task, spec)
        })
        .filter(|&node| task.kind() == TaskKind::Assemble || !builds.shuns(node, &entry.job))
        .filter(|&node| task.kind() != TaskKind::Assemble || node == u64::from(task.number))
        .collect();
    let least = able.iter().map(|&node| failed_on(node)).min()?;
    able.into_iter()
        .filter(|&node| failed_on(node) == least && usage.free(node, task.kind()) > 0)
        .filter(|&node| !beside || usage.has_place_beside(node))
        .min_by_key(|&node| {
            let away = !entry.is_home(node);
            NodeRank {
                far_from_bytes: whole && away,
                free: Reverse(usage.free(node, task.kind())),
                away,
                node,
            }
        })
}
