//! Who gets which task: free slots against what waits for one.

use std::collections::{BTreeMap, BTreeSet};

use super::{Liveness, attempt};
use crate::{
    command::{Assign, Command},
    limits::COMMANDS_PER_ENTRY_MAX,
    rows::{JobState, Task, TaskKind},
    state::{JobEntry, State, TaskKey},
};

/// Hands pending tasks to free slots.
pub(super) fn assignments(
    state: &State,
    liveness: &Liveness,
    failing: &BTreeSet<&String>,
    commands: &mut Vec<Command>,
) {
    let mut busy: BTreeMap<u64, u32> = BTreeMap::new();
    let mut share: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in state.active() {
        for key in &entry.running {
            if let Some(task) = entry.tasks.get(key) {
                *busy.entry(task.node).or_default() += 1;
                *share.entry(&entry.job.tenant).or_default() += 1;
            }
        }
    }
    // Without a living home there is nothing to read and nowhere to write.
    let workable = |entry: &&JobEntry| {
        !failing.contains(&entry.job.id)
            && entry.job.homes.iter().any(|home| liveness.alive(home.node))
    };
    let free = |busy: &BTreeMap<u64, u32>, node: u64| {
        let used = busy.get(&node).copied().unwrap_or(0);
        let slots = liveness.nodes.get(&node).map_or(0, |view| view.slots);
        slots.saturating_sub(used)
    };
    let any_free = |busy: &BTreeMap<u64, u32>, build: &str| {
        let mut nodes = liveness.nodes.keys().copied();
        nodes.any(|node| free(busy, node) > 0 && liveness.can_run(node, build))
    };
    // A job's tasks are put in order only when its turn comes: a cluster with
    // full slots must not pay for the length of its queue.
    let mut turns: Vec<Turn> = state
        .active()
        .map(AsRef::as_ref)
        .filter(|entry| !entry.pending.is_empty() && workable(entry))
        .map(|entry| Turn {
            entry,
            queue: None,
            lost: entry.lost().count(),
        })
        .collect();
    while commands.len() < COMMANDS_PER_ENTRY_MAX && any_free(&busy, "") {
        let share_of = |tenant: &str| share.get(tenant).copied().unwrap_or(0);
        let Some(at) = (0..turns.len()).min_by_key(|&at| {
            let job = &turns[at].entry.job;
            let fresh = turns[at].lost == 0;
            (fresh, share_of(&job.tenant), job.created_index)
        }) else {
            return;
        };
        let Turn { entry, queue, lost } = &mut turns[at];
        *lost = lost.saturating_sub(1);
        let queue = queue.get_or_insert_with(|| Queue::new(entry));
        let task = if any_free(&busy, queue.build) {
            queue.tasks.next()
        } else {
            None
        };
        let Some(task) = task else {
            turns.swap_remove(at);
            continue;
        };
        let Some(node) = pick(entry, task, queue.build, liveness, |node| free(&busy, node)) else {
            continue;
        };
        if queue.build.is_empty() {
            queue.build = &liveness.nodes[&node].build;
        }
        *busy.entry(node).or_default() += 1;
        *share.entry(&entry.job.tenant).or_default() += 1;
        commands.push(Command::Assign(Assign {
            key: attempt(&entry.job, task, task.attempt + 1),
            node,
            build: queue.build.to_string(),
            unix_ms: liveness.unix_ms,
        }));
    }
}

/// A job that has something to hand out.
struct Turn<'a> {
    entry: &'a JobEntry,
    queue: Option<Queue<'a>>,
    /// How many of its tasks were lost with their nodes and wait: they come
    /// before all else, at the head of its queue.
    lost: usize,
}

/// A job's tasks that may start now, in the order in which they should.
struct Queue<'a> {
    build: &'a str,
    tasks: std::vec::IntoIter<&'a Task>,
}

impl<'a> Queue<'a> {
    fn new(entry: &'a JobEntry) -> Self {
        let state = entry.job.state();
        let may_start = |key: &&TaskKey| match key.0 {
            TaskKind::Analyze => state == JobState::Analyzing,
            TaskKind::Audio | TaskKind::Shard | TaskKind::Extras => state == JobState::Encoding,
            TaskKind::Assemble => state == JobState::Assembling,
        };
        let mut tasks: Vec<&Task> = entry
            .pending
            .iter()
            .filter(may_start)
            .filter_map(|key| entry.tasks.get(key).map(AsRef::as_ref))
            .collect();
        tasks.sort_by_key(|task| {
            let length = if task.kind() == TaskKind::Shard {
                task.frames
            } else {
                u64::MAX
            };
            let length = std::cmp::Reverse(length);
            (!task.was_lost(), length, task.kind(), task.number)
        });
        Queue {
            build: &entry.job.build,
            tasks: tasks.into_iter(),
        }
    }
}

/// The node for a task, if one has a free slot. One that failed at it waits
/// until all others have: a node that fails at once must not use a task's
/// tries up while the good ones are busy.
fn pick(
    entry: &JobEntry,
    task: &Task,
    build: &str,
    liveness: &Liveness,
    free: impl Fn(u64) -> u32,
) -> Option<u64> {
    let whole = task.kind() != TaskKind::Shard;
    let failed_on = |node: u64| {
        let failures = task.failures.iter();
        failures.filter(|failure| failure.node == node).count()
    };
    let able: Vec<u64> = liveness
        .nodes
        .keys()
        .copied()
        .filter(|&node| liveness.can_run(node, build))
        .filter(|&node| task.kind() != TaskKind::Assemble || node == u64::from(task.number))
        .collect();
    let least = able.iter().map(|&node| failed_on(node)).min()?;
    able.into_iter()
        .filter(|&node| failed_on(node) == least && free(node) > 0)
        .min_by_key(|&node| {
            let away = !entry.is_home(node);
            (whole && away, std::cmp::Reverse(free(node)), away, node)
        })
}
