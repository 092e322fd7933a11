//! `plan`: all of the leader's judgement, as a function of the table and of
//! what the nodes report. The loop around it proposes what comes back and
//! calls again; a plan made twice proposes the same thing twice, which the
//! commands' conditions make harmless.
//!
//! Rules, in order: end what can't be done; take work back from lost nodes;
//! give jobs their homes and replace lost ones; hand out pending tasks (fair
//! share over tenants, then age; assemblies, analysis and audio before shards,
//! longest shard first; to nodes of the job's build with a free slot, homes
//! first for what reads or makes whole files, then the least busy).

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    command::{Assign, AttemptKey, Command, FailJob, Release, SetHomes},
    limits::{ATTEMPTS_MAX, COMMANDS_PER_ENTRY_MAX, NODE_FAULTS_MAX, POISON_NODES},
    rows::{FailureClass, Job, JobState, Problem, Task, TaskKind, TaskState},
    state::{JobEntry, State, TaskKey},
};

/// What the leader knows of one node by its session. In memory only: a new
/// leader learns it from the hellos (P6).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Whether its session is open and was heard within the lease.
    pub alive: bool,
    /// Milliseconds since it was last heard; since the takeover if never.
    pub silent_ms: u64,
    /// Tasks it may run at once.
    pub slots: u32,
    /// Its encoder build.
    pub build: String,
    /// Why it takes no new work; empty if it does.
    pub trouble: String,
    /// Whether its disk has no room: it becomes nobody's home, and gives up
    /// its place in jobs that still grow.
    pub full: bool,
}

/// What the leader knows of all nodes, and how the cluster is sized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Liveness {
    /// Every member, heard or not.
    pub nodes: BTreeMap<u64, NodeView>,
    /// Voters of the membership.
    pub voters: u32,
    /// The leader's wall clock, for display only.
    pub unix_ms: u64,
}

/// How long a node may be silent before its attempts are given to others.
/// Beats come every 0.5 s; six lost ones are no hiccup.
pub const LEASE_MS: u64 = 3_000;

/// How long a home may be silent before another takes its place. Longer than
/// a restart takes, as replacing costs a copy of the job's bytes.
pub const HOME_LOST_MS: u64 = 8_000;

const _: () = assert!(LEASE_MS < HOME_LOST_MS);

impl Liveness {
    /// f: how many nodes may fail.
    fn faults(&self) -> usize {
        (self.voters.max(1) as usize - 1) / 2
    }

    fn alive(&self, node: u64) -> bool {
        self.nodes.get(&node).is_some_and(|view| view.alive)
    }

    fn silent_ms(&self, node: u64) -> u64 {
        self.nodes
            .get(&node)
            .map_or(u64::MAX, |view| if view.alive { 0 } else { view.silent_ms })
    }

    fn can_run(&self, node: u64, build: &str) -> bool {
        self.nodes.get(&node).is_some_and(|view| {
            view.alive
                && view.trouble.is_empty()
                && !view.build.is_empty()
                && (build.is_empty() || view.build == build)
        })
    }
}

/// The commands that the table and the nodes call for now; at most one
/// entry's worth, the most urgent first.
pub fn plan(state: &State, liveness: &Liveness) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut failing = BTreeSet::new();
    for entry in state.active() {
        if let Some(problem) = verdict(entry, liveness) {
            commands.push(Command::FailJob(FailJob {
                job: entry.job.id.clone(),
                problem,
                unix_ms: liveness.unix_ms,
            }));
            failing.insert(&entry.job.id);
        } else {
            releases(entry, liveness, &mut commands);
        }
    }
    let mut load = home_load(state);
    let lost_member = liveness
        .nodes
        .keys()
        .any(|&node| liveness.silent_ms(node) >= HOME_LOST_MS);
    for entry in state.active() {
        homes(&entry.job, liveness, &mut load, &mut commands);
    }
    // Finished outputs need looking after only while some node is lost.
    for entry in state
        .jobs()
        .filter(|entry| lost_member && entry.job.state().ended())
    {
        homes(&entry.job, liveness, &mut load, &mut commands);
    }
    commands.truncate(COMMANDS_PER_ENTRY_MAX);
    assignments(state, liveness, &failing, &mut commands);
    commands
}

/// Why a job must fail now, if it must.
fn verdict(entry: &JobEntry, liveness: &Liveness) -> Option<Problem> {
    entry
        .pending
        .iter()
        .filter_map(|key| entry.tasks.get(key))
        .find_map(|task| {
            let last = task.failures.last()?;
            let problem = |cause: String, hint: &str| Some(Problem::new("job-failed", cause, hint));
            let name = format!("{} {}", task.kind().name(), task.number);
            if last.class() == FailureClass::Final {
                return Some(last.problem.clone());
            }
            let blamed = |class: FailureClass| -> usize {
                let failures = task
                    .failures
                    .iter()
                    .filter(|failure| failure.class() == class);
                failures
                    .map(|failure| failure.node)
                    .collect::<BTreeSet<u64>>()
                    .len()
            };
            let capable = liveness
                .nodes
                .keys()
                .filter(|&&node| liveness.can_run(node, &entry.job.build))
                .count();
            let failed_on = blamed(FailureClass::Work);
            let died_with = blamed(FailureClass::NodeLost);
            // Even where one node is all there is, a failure is tried again once.
            let failed = task.work_failures > 1 && failed_on >= POISON_NODES.min(capable.max(1));
            if failed || died_with >= POISON_NODES {
                return problem(
                    format!(
                        "{name} failed on {failed_on} nodes and died with {died_with}: {}",
                        last.problem.cause
                    ),
                    "see `reelraft job shards` for each attempt; the source may be damaged there",
                );
            }
            if task.work_failures >= ATTEMPTS_MAX {
                return problem(
                    format!(
                        "{name} failed {} times: {}",
                        task.work_failures, last.problem.cause
                    ),
                    "see `reelraft job shards` for each attempt",
                );
            }
            if task.node_faults >= NODE_FAULTS_MAX {
                return problem(
                    format!("no node could run {name}: {}", last.problem.cause),
                    "run `reelraft doctor` on the nodes and submit again",
                );
            }
            None
        })
}

/// Takes attempts back from nodes that have been silent for a lease.
fn releases(entry: &JobEntry, liveness: &Liveness, commands: &mut Vec<Command>) {
    for key in &entry.running {
        let Some(task) = entry.tasks.get(key) else {
            continue;
        };
        let silent_ms = liveness.silent_ms(task.node);
        if silent_ms < LEASE_MS {
            continue;
        }
        commands.push(Command::Release(Release {
            key: attempt(&entry.job, task, task.attempt),
            class: FailureClass::NodeLost.into(),
            problem: Problem::new(
                "node-lost",
                format!(
                    "node {} has been silent for {} ms",
                    task.node,
                    silent_ms.min(u64::from(u32::MAX))
                ),
                "the work goes on elsewhere by itself",
            ),
        }));
    }
}

/// How many unfinished jobs each node is home of.
fn home_load(state: &State) -> BTreeMap<u64, usize> {
    let mut load = BTreeMap::new();
    for entry in state.active() {
        for home in &entry.job.homes {
            *load.entry(home.node).or_default() += 1;
        }
    }
    load
}

/// Gives a job its f + 1 homes, or replaces one that is lost.
fn homes(
    job: &Job,
    liveness: &Liveness,
    load: &mut BTreeMap<u64, usize>,
    commands: &mut Vec<Command>,
) {
    if matches!(
        job.state(),
        JobState::Failed | JobState::Cancelled | JobState::Deleted
    ) {
        return;
    }
    let wanted = liveness.faults() + 1;
    let mut keep: Vec<u64> = Vec::new();
    let mut lost: Vec<u64> = Vec::new();
    for home in &job.homes {
        // A full disk can take no more of a job that still grows.
        let full =
            !job.state().ended() && liveness.nodes.get(&home.node).is_some_and(|view| view.full);
        if liveness.silent_ms(home.node) < HOME_LOST_MS && !full {
            keep.push(home.node);
        } else {
            lost.push(home.node);
        }
    }
    // Some living home must be able to fill the new one: never give up the
    // last place that holds the bytes.
    let source_lives = job.homes.iter().any(|home| {
        liveness.alive(home.node) && (home.filled || job.state() == JobState::Uploading)
    });
    if keep.len() >= wanted || (!job.homes.is_empty() && !source_lives) {
        return;
    }
    let mut candidates: Vec<u64> = liveness
        .nodes
        .iter()
        .filter(|(node, view)| view.alive && !view.full && !keep.contains(node))
        .map(|(node, _)| *node)
        .collect();
    candidates.sort_by_key(|node| (load.get(node).copied().unwrap_or(0), *node));
    candidates.truncate(wanted - keep.len());
    if job.homes.is_empty() && candidates.len() < wanted || candidates.is_empty() {
        return;
    }
    for node in &candidates {
        *load.entry(*node).or_default() += 1;
    }
    // A lost home for which there is no replacement yet stays in the set.
    lost.truncate(wanted - keep.len() - candidates.len());
    let homes = keep.into_iter().chain(candidates).chain(lost).collect();
    commands.push(Command::SetHomes(SetHomes {
        job: job.id.clone(),
        epoch: job.epoch,
        homes,
    }));
}

/// Hands pending tasks to free slots.
fn assignments(
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
    let mut queues: Vec<Queue> = state
        .active()
        .map(AsRef::as_ref)
        .filter(workable)
        .map(Queue::new)
        .collect();
    queues.retain(|queue| queue.peek().is_some());
    queues.sort_by_key(|queue| queue.entry.job.created_index);
    while commands.len() < COMMANDS_PER_ENTRY_MAX {
        let share_of = |queue: &Queue| {
            share
                .get(queue.entry.job.tenant.as_str())
                .copied()
                .unwrap_or(0)
        };
        let Some(at) = (0..queues.len())
            .filter(|&at| queues[at].peek().is_some())
            .min_by_key(|&at| (share_of(&queues[at]), queues[at].entry.job.created_index))
        else {
            return;
        };
        let queue = &mut queues[at];
        let Some(task) = queue.next() else { return };
        let Some(node) = pick(queue.entry, task, queue.build, liveness, &busy) else {
            // What no node can take of this job's shards now, no later shard
            // of it will find a node for either.
            if task.kind() == TaskKind::Shard {
                queue.tasks = Vec::new().into_iter();
            }
            continue;
        };
        if queue.build.is_empty() {
            queue.build = &liveness.nodes[&node].build;
        }
        *busy.entry(node).or_default() += 1;
        *share.entry(&queue.entry.job.tenant).or_default() += 1;
        commands.push(Command::Assign(Assign {
            key: attempt(&queue.entry.job, task, task.attempt + 1),
            node,
            build: queue.build.to_string(),
            unix_ms: liveness.unix_ms,
        }));
    }
}

/// A job's tasks that may start now, in the order in which they should.
struct Queue<'a> {
    entry: &'a JobEntry,
    build: &'a str,
    tasks: std::vec::IntoIter<&'a Task>,
}

impl<'a> Queue<'a> {
    fn new(entry: &'a JobEntry) -> Self {
        let state = entry.job.state();
        let may_start = |key: &&TaskKey| match key.0 {
            TaskKind::Analyze => state == JobState::Analyzing,
            TaskKind::Audio | TaskKind::Shard => state == JobState::Encoding,
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
            (std::cmp::Reverse(length), task.kind(), task.number)
        });
        Queue {
            entry,
            build: &entry.job.build,
            tasks: tasks.into_iter(),
        }
    }

    fn peek(&self) -> Option<&'a Task> {
        self.tasks.as_slice().first().copied()
    }

    fn next(&mut self) -> Option<&'a Task> {
        self.tasks.next()
    }
}

/// The node for a task, if one has a free slot.
fn pick(
    entry: &JobEntry,
    task: &Task,
    build: &str,
    liveness: &Liveness,
    busy: &BTreeMap<u64, u32>,
) -> Option<u64> {
    let whole = task.kind() != TaskKind::Shard;
    let failed_on = |node: u64| {
        task.failures
            .iter()
            .filter(|failure| failure.node == node)
            .count()
    };
    let free = |node: u64| {
        let used = busy.get(&node).copied().unwrap_or(0);
        liveness
            .nodes
            .get(&node)
            .map_or(0, |view| view.slots.saturating_sub(used))
    };
    liveness
        .nodes
        .keys()
        .copied()
        .filter(|&node| liveness.can_run(node, build) && free(node) > 0)
        .filter(|&node| task.kind() != TaskKind::Assemble || node == u64::from(task.number))
        .min_by_key(|&node| {
            let away = !entry.is_home(node);
            (
                failed_on(node),
                whole && away,
                std::cmp::Reverse(free(node)),
                away,
                node,
            )
        })
}

fn attempt(job: &Job, task: &Task, attempt: u32) -> AttemptKey {
    AttemptKey {
        job: job.id.clone(),
        kind: task.kind,
        number: task.number,
        attempt,
    }
}

/// Why a job makes no progress, for its owner; empty if it does.
pub fn waiting(entry: &JobEntry, liveness: &Liveness) -> String {
    let job = &entry.job;
    if job.state().ended() {
        return String::new();
    }
    if job.homes.is_empty() {
        return format!(
            "for {} living nodes to keep its bytes",
            liveness.faults() + 1
        );
    }
    let lost: Vec<String> = job
        .homes
        .iter()
        .filter(|home| !liveness.alive(home.node))
        .map(|home| home.node.to_string())
        .collect();
    if lost.len() == job.homes.len() {
        return format!("for one of its homes to return: node {}", lost.join(", "));
    }
    let capable = liveness
        .nodes
        .keys()
        .any(|&node| liveness.can_run(node, &job.build));
    if !capable && job.state() != JobState::Uploading {
        return format!(
            "for a node with encoder build {}",
            job.build.get(..12).unwrap_or("of any kind")
        );
    }
    if job.state() == JobState::Assembling && !lost.is_empty() {
        return format!("for home {} to return or be replaced", lost.join(", "));
    }
    let idle = entry.running.is_empty() && !entry.pending.is_empty();
    if idle && job.state() != JobState::Uploading {
        "for a free slot".into()
    } else {
        String::new()
    }
}

/// Whether a task of the table is held by this attempt: workers stop when it
/// no longer is.
pub fn holds(state: &State, key: &AttemptKey, node: u64) -> bool {
    state.job(&key.job).is_some_and(|entry| {
        !entry.job.state().ended()
            && entry.tasks.get(&key.task()).is_some_and(|task| {
                task.state() == TaskState::Running
                    && task.attempt == key.attempt
                    && task.node == node
            })
    })
}
