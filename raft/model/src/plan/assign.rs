//! Assignments: which pending task goes to which free slot.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{builds::Builds, health::ClusterHealth};
use crate::{
    command::{Assign, AttemptKey, Command},
    home_rules::holders,
    limits::COMMANDS_PER_ENTRY_MAX,
    rows::{JobState, Task, TaskKey, TaskKind},
    state::{JobEntry, State},
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
    let mut turns = turns(state, health, leaving);
    while commands.len() < COMMANDS_PER_ENTRY_MAX && usage.any_free("") {
        let next = (0..turns.len()).min_by_key(|&at| turns[at].rank(&usage));
        let Some(at) = next else {
            return;
        };
        let Turn { entry, queue, lost } = &mut turns[at];
        *lost = lost.saturating_sub(1);
        let queue = queue.get_or_insert_with(|| Queue::new(entry));
        let task = match usage.any_free(queue.build) {
            true => queue.tasks.next(),
            false => None,
        };
        let Some(task) = task else {
            turns.swap_remove(at);
            continue;
        };
        let Some(node) = pick_node(entry, task, queue.build, &usage, builds) else {
            continue;
        };
        if queue.build.is_empty() {
            queue.build = &health.nodes[&node].build;
        }
        usage.take(node, &entry.job.tenant);
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

/// The slots in use, by the table and by what this plan has handed out so far.
struct Usage<'a> {
    health: &'a ClusterHealth,
    by_node: BTreeMap<u64, u32>,
    by_tenant: BTreeMap<&'a str, u32>,
}

impl<'a> Usage<'a> {
    fn of(state: &'a State, health: &'a ClusterHealth) -> Self {
        let mut usage = Usage {
            health,
            by_node: BTreeMap::new(),
            by_tenant: BTreeMap::new(),
        };
        for entry in state.active() {
            for task in entry.running.iter().filter_map(|key| entry.tasks.get(key)) {
                usage.take(task.node, &entry.job.tenant);
            }
        }
        usage
    }

    fn take(&mut self, node: u64, tenant: &'a str) {
        *self.by_node.entry(node).or_default() += 1;
        *self.by_tenant.entry(tenant).or_default() += 1;
    }

    fn free(&self, node: u64) -> u32 {
        let used = self.by_node.get(&node).copied().unwrap_or(0);
        let slots = self.health.nodes.get(&node).map_or(0, |node| node.slots);
        slots.saturating_sub(used)
    }

    fn any_free(&self, build: &str) -> bool {
        let mut nodes = self.health.nodes.keys().copied();
        nodes.any(|node| self.free(node) > 0 && self.health.can_run(node, build))
    }

    fn running_of(&self, tenant: &str) -> u32 {
        self.by_tenant.get(tenant).copied().unwrap_or(0)
    }
}

/// A job that has something to hand out.
struct Turn<'a> {
    entry: &'a JobEntry,
    /// Its tasks, put in order only when its turn comes: a cluster with full
    /// slots must not pay for the length of its queue.
    queue: Option<Queue<'a>>,
    /// How many of its pending tasks were lost with their node. They stand at
    /// the head of its queue.
    lost: usize,
}

/// Which job is next; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TurnRank {
    /// It has no lost task: those had their turn already and go first.
    nothing_lost: bool,
    /// Running tasks of its tenant: fair share.
    tenant_running: u32,
    /// Its age.
    created_index: u64,
}

impl Turn<'_> {
    fn rank(&self, usage: &Usage<'_>) -> TurnRank {
        let job = &self.entry.job;
        TurnRank {
            nothing_lost: self.lost == 0,
            tenant_running: usage.running_of(&job.tenant),
            created_index: job.created_index,
        }
    }
}

fn turns<'a>(
    state: &'a State,
    health: &ClusterHealth,
    leaving: &BTreeSet<&String>,
) -> Vec<Turn<'a>> {
    // Without a living node that holds the bytes there is nothing to read, and
    // without a living home of the epoch nowhere to write.
    let workable = |entry: &&JobEntry| {
        let job = &entry.job;
        !leaving.contains(&job.id)
            && holders(job).any(|node| health.alive(node))
            && job.current_homes().any(|home| health.alive(home.node))
    };
    state
        .active()
        .map(AsRef::as_ref)
        .filter(|entry| !entry.pending.is_empty() && workable(entry))
        .map(|entry| Turn {
            entry,
            queue: None,
            lost: entry.lost().count(),
        })
        .collect()
}

/// A job's tasks that may start now, in order.
struct Queue<'a> {
    /// The job's encoder build; empty until its first task is assigned.
    build: &'a str,
    tasks: std::vec::IntoIter<&'a Task>,
}

/// Which task of a job is next; the least comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TaskRank {
    /// It was not lost with its node.
    not_lost: bool,
    /// Frames of a shard, the longest first; all other kinds come before.
    length: Reverse<u64>,
    /// Breaks ties between kinds.
    kind: TaskKind,
    /// Breaks ties within a kind.
    number: u32,
}

impl TaskRank {
    fn of(task: &Task) -> Self {
        TaskRank {
            not_lost: !task.was_lost(),
            length: Reverse(match task.kind() {
                TaskKind::Shard => task.frames,
                _ => u64::MAX,
            }),
            kind: task.kind(),
            number: task.number,
        }
    }
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
        tasks.sort_by_key(|task| TaskRank::of(task));
        Queue {
            build: &entry.job.build,
            tasks: tasks.into_iter(),
        }
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
    let failed_on = |node: u64| {
        let failures = task.failures.iter();
        failures.filter(|failure| failure.node == node).count()
    };
    let able: Vec<u64> = usage
        .health
        .nodes
        .keys()
        .copied()
        .filter(|&node| builds.suits(node, build))
        .filter(|&node| task.kind() != TaskKind::Assemble || node == u64::from(task.number))
        .collect();
    let least = able.iter().map(|&node| failed_on(node)).min()?;
    able.into_iter()
        .filter(|&node| failed_on(node) == least && usage.free(node) > 0)
        .min_by_key(|&node| {
            let away = !entry.is_home(node);
            NodeRank {
                far_from_bytes: whole && away,
                free: Reverse(usage.free(node)),
                away,
                node,
            }
        })
}
