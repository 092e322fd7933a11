//! `plan`: all of the leader's judgement, as a function of the table and of
//! what the nodes report. The loop around it proposes what comes back and
//! calls again; a plan made twice proposes the same thing twice, which the
//! commands' conditions make harmless.
//!
//! Rules, in order: end what can't be done; take work back from lost nodes;
//! give jobs their homes and replace lost ones; hand out pending tasks (what
//! was lost with its node, as it had its turn already; then by fair share over
//! tenants, then age; assemblies, analysis and audio before shards, longest
//! shard first; to nodes of the job's build with a free slot, homes first for
//! what reads or makes whole files, then the least busy).

mod assign;

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    command::{AttemptKey, Command, FailJob, Release, SetHomes},
    limits::{ATTEMPTS_MAX, COMMANDS_PER_ENTRY_MAX, NODE_FAULTS_MAX, POISON_NODES},
    rows::{FailureClass, Home, Job, JobState, Problem, Task, TaskState},
    state::{JobEntry, State},
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
    assign::assignments(state, liveness, &failing, &mut commands);
    commands
}

/// Why a job must fail now, if it must.
fn verdict(entry: &JobEntry, liveness: &Liveness) -> Option<Problem> {
    entry
        .failed
        .iter()
        .filter_map(|key| entry.tasks.get(key))
        .find_map(|task| {
            let last = task.failures.last()?;
            let problem = |cause: String, hint: &str| Some(Problem::new("job-failed", cause, hint));
            let name = format!("{} {}", task.kind().name(), task.number);
            if last.class() == FailureClass::Final {
                return Some(last.problem.clone());
            }
            let failed_on = task
                .failures
                .iter()
                .filter(|failure| failure.class() == FailureClass::Work)
                .map(|failure| failure.node)
                .collect::<BTreeSet<u64>>()
                .len();
            let capable = liveness
                .nodes
                .keys()
                .filter(|&&node| liveness.can_run(node, &entry.job.build))
                .count();
            // Even where one node is all there is, a failure is tried again once.
            let failed = task.work_failures > 1 && failed_on >= POISON_NODES.min(capable.max(1));
            if failed {
                return problem(
                    format!("{name} failed on {failed_on} nodes: {}", last.problem.cause),
                    "see `reelraft job tasks` for each attempt; the source may be damaged there",
                );
            }
            if task.work_failures >= ATTEMPTS_MAX {
                return problem(
                    format!(
                        "{name} failed {} times: {}",
                        task.work_failures, last.problem.cause
                    ),
                    "see `reelraft job tasks` for each attempt",
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

/// Gives a job its f + 1 homes, or replaces one that is lost, full, or can't
/// assemble. The bytes are never given up: a filled home leaves only when
/// another living and filled one stays.
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
    let is_home = |node: &u64| job.homes.iter().any(|home| home.node == *node);
    let mut candidates: Vec<u64> = liveness
        .nodes
        .iter()
        .filter(|(node, view)| view.alive && !view.full && !is_home(node))
        .map(|(node, _)| *node)
        .collect();
    let unable = |node: &u64| !liveness.can_run(*node, &job.build);
    candidates.sort_by_key(|node| (unable(node), load.get(node).copied().unwrap_or(0), *node));
    let able_candidate = candidates.first().is_some_and(|node| !unable(node));
    let (mut keep, mut lost): (Vec<Home>, Vec<Home>) = job.homes.iter().partition(|home| {
        let view = liveness.nodes.get(&home.node);
        // A full disk can take no more of a job that still grows, and a home
        // with another build can't make its output.
        let full = view.is_some_and(|view| view.full);
        let idle = !job.build.is_empty() && unable(&home.node) && liveness.alive(home.node);
        let unfit = !job.state().ended() && (full || (idle && able_candidate));
        liveness.silent_ms(home.node) < HOME_LOST_MS && !unfit
    });
    let holds = |home: &Home| home.filled && liveness.alive(home.node);
    if !keep.iter().any(holds) {
        match lost.iter().position(holds) {
            Some(at) => keep.push(lost.remove(at)),
            None => {
                let (filled, rest) = lost.into_iter().partition(|home| home.filled);
                keep.extend::<Vec<Home>>(filled);
                lost = rest;
            }
        }
    }
    let missing = wanted.saturating_sub(keep.len());
    candidates.truncate(missing);
    if candidates.is_empty() || (job.homes.is_empty() && candidates.len() < wanted) {
        return;
    }
    for node in &candidates {
        *load.entry(*node).or_default() += 1;
    }
    // A lost home for which there is no replacement yet stays in the set.
    lost.truncate(missing - candidates.len());
    let kept = keep.iter().map(|home| home.node);
    let still_lost = lost.iter().map(|home| home.node);
    commands.push(Command::SetHomes(SetHomes {
        job: job.id.clone(),
        epoch: job.epoch,
        homes: kept.chain(candidates).chain(still_lost).collect(),
    }));
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
    let unable = job
        .homes
        .iter()
        .filter(|home| !liveness.can_run(home.node, &job.build));
    let unable: Vec<String> = unable.map(|home| home.node.to_string()).collect();
    if job.state() == JobState::Assembling && lost.is_empty() && !unable.is_empty() {
        return format!("for home {} to be able to assemble", unable.join(", "));
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
