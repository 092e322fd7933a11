//! `check`: what must never be true of a table. The scenarios call it after every
//! command, and a node of the table that it starts with.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    job_entry::JobEntry,
    limits::RETIRING_HOMES_MAX,
    rows::{JobState, Task, TaskKind, TaskState},
    state::State,
};

/// What is wrong, with the row's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

/// The violations within single jobs, in one pass over their tasks, and among
/// keys.
pub fn check_jobs(state: &State) -> Vec<Violation> {
    let mut found = Vec::new();
    check_keys(state, &mut found);
    for entry in state.jobs() {
        check_job(&entry, &mut found);
    }
    for row in state.shelf.rows() {
        let entry = state.job(&row.job);
        let job = entry.as_ref().map(|entry| &entry.job);
        if job.is_none_or(|job| job.state() == JobState::Deleted) {
            found.push(Violation(format!(
                "parts of job {}, which is gone",
                row.job
            )));
        }
        if job.is_some_and(|job| job.summary.is_some() && !job.holds_parts()) {
            found.push(Violation(format!("parts of job {} are no more", row.job)));
        }
    }
    found
}

/// What is wrong with keys: each is its tenant's, by a name of its own.
fn check_keys(state: &State, found: &mut Vec<Violation>) {
    let mut names = BTreeSet::new();
    for key in state.keys() {
        let mut say = |text: &str| found.push(Violation(format!("key {}: {text}", key.id)));
        if key.tenant.is_empty() || key.digest.len() != blake3::OUT_LEN {
            say("it is nobody's, or opens nothing");
        }
        if !names.insert((&key.tenant, &key.name)) {
            say("another of its tenant has its name");
        }
    }
}

/// All violations in a table. Builds it again, so it takes as much memory.
pub fn check(state: &State) -> Vec<Violation> {
    let mut found = check_jobs(state);
    match State::from_rows(state.rows()) {
        Ok(rebuilt) if rebuilt == *state => {}
        Ok(_) => found.push(Violation(
            "the indexes or rows differ from those rebuilt from the rows".into(),
        )),
        Err(error) => found.push(Violation(format!(
            "the table can't be rebuilt from its rows: {error}"
        ))),
    }
    found
}

fn check_job(entry: &Arc<JobEntry>, found: &mut Vec<Violation>) {
    let job = &entry.job;
    let mut say = |text: String| found.push(Violation(format!("job {}: {text}", job.id)));

    let homes: BTreeSet<u64> = job.homes.iter().map(|home| home.node).collect();
    if homes.len() != job.homes.len() {
        say("a node is home twice (P2)".into());
    }
    if homes.is_empty() != (job.epoch == 0) {
        say("homes without an epoch, or an epoch without homes".into());
    }
    let retiring = job.retiring_homes().count();
    if retiring > RETIRING_HOMES_MAX {
        say("more homes retire than may".into());
    }
    if retiring > 0 && !job.is_filling() {
        say("a home retires though all others are filled".into());
    }
    if !homes.is_empty() && job.current_homes().next().is_none() {
        say("all homes retire, and none takes new bytes".into());
    }
    let past_upload = !matches!(job.state(), JobState::Uploading);
    if past_upload
        && job.state().keeps_bytes()
        && (job.manifest.is_empty() || job.source_root.is_empty())
    {
        say("beyond the upload without a seal".into());
    }
    let held = job.homes.iter().any(|home| home.filled);
    if job.keeps_source() && job.manifest.is_empty() {
        say("a source is kept that was never sealed".into());
    }
    check_measuring(entry, &mut say);
    let counted = job.state().keeps_bytes() || job.keeps_source();
    if past_upload && counted && !held {
        say("no home is known to hold what was acknowledged (P2)".into());
    }
    for task in entry.tasks.values() {
        let (kind, number) = (task.kind().name(), task.number);
        if task.state() == TaskState::Running && (task.node == 0 || task.attempt == 0) {
            say(format!("{kind} {number} runs without a node or an attempt"));
        }
        if task.state() == TaskState::Running && !job.runs(task.kind()) {
            say(format!("{kind} {number} runs though the job has ended"));
        }
        if task.state() == TaskState::Done && task.hash.is_empty() {
            say(format!("{kind} {number} is done without a result"));
        }
    }
    let settled = matches!(job.state(), JobState::Encoding | JobState::Uploading);
    if job.reuse.is_some() && settled {
        say("it makes its output by itself, and takes another's".into());
    }
    check_plan(entry, &mut say);
    check_fold(entry, &mut say);
    if job.state() == JobState::Succeeded {
        if job.output_hash.is_empty() || job.proof_hash.is_empty() {
            say("succeeded without an output or its proof (P3)".into());
        }
        if entry.shards().any(|task| task.state() != TaskState::Done) {
            say("succeeded with an unfinished shard (P3)".into());
        }
    }
}

/// What is compared, and the source that this takes.
fn check_measuring(entry: &JobEntry, say: &mut impl FnMut(String)) {
    let job = &entry.job;
    if job.holds_source() && job.manifest.is_empty() {
        say("a source is held that was never sealed".into());
    }
    let is_home = |node: &u64| job.homes.iter().any(|home| home.node == *node);
    if job.holds_source() && !job.source_at.iter().all(is_home) {
        say("a source is held by a node that is no home".into());
    }
    let measures = entry.tasks.contains_key(&(TaskKind::Measure, 0));
    if measures != job.is_measuring() {
        say("it is compared without tasks, or the other way round".into());
    }
}

/// What has left the table is known by its summary, and of a finished job by
/// its history.
fn check_fold(entry: &JobEntry, say: &mut impl FnMut(String)) {
    let job = &entry.job;
    let succeeded = job.state() == JobState::Succeeded;
    let Some(summary) = &job.summary else {
        if !job.history_hash.is_empty() || !job.failed_tasks.is_empty() {
            say("what is left of folded tasks, though they are not".into());
        }
        let holds = |node: u64| job.current_homes().any(|home| home.node == node);
        if !job.history_at.iter().all(|&node| succeeded && holds(node)) {
            say("a history where none is kept".into());
        }
        return;
    };
    if !job.state().ended() || job.state() == JobState::Deleted {
        say("folded in the midst of its life, or after it".into());
    }
    let left = entry.tasks.keys();
    let left = left.filter(|(kind, _)| *kind != TaskKind::Measure).count();
    if left > 0 || !job.history_at.is_empty() {
        say("folded, and not all of it".into());
    }
    if succeeded == job.history_hash.is_empty() {
        say("finished and folded without a history, or the other way round".into());
    }
    let shards = summary.of(TaskKind::Shard);
    if succeeded && shards.done != shards.total {
        say("succeeded with an unfinished shard (P3)".into());
    }
}

/// P3: shards are numbered from 0 without a gap, and their ranges abut.
fn check_plan(entry: &JobEntry, say: &mut impl FnMut(String)) {
    let deleted = entry.job.state() == JobState::Deleted;
    let shards = match &entry.job.summary {
        Some(summary) => summary.of(TaskKind::Shard).total as usize,
        None => entry.shards().count(),
    };
    if !deleted && shards != entry.job.shards_total as usize {
        say("the number of shards is not that of the plan".into());
    }
    let mut previous: Option<i64> = None;
    for (expected, task) in (0..).zip(entry.shards()) {
        if task.number != expected {
            say(format!("shard {expected} is missing"));
            return;
        }
        if task.from_pts >= task.to_pts || previous.is_some_and(|end| end != task.from_pts) {
            say(format!(
                "shard {expected} leaves a gap, overlaps or is empty"
            ));
        }
        previous = Some(task.to_pts);
    }
    let planning = entry
        .tasks
        .get(&(TaskKind::Analyze, 0))
        .is_some_and(|task| task.state() != TaskState::Done);
    let uploading = entry.job.state() == JobState::Uploading;
    let cut = entry
        .shards()
        .any(|task| task.state() != TaskState::Pending && task.early.is_none());
    let unread = |task: &Arc<Task>| {
        let read = task.early.as_ref().and_then(|early| early.read.as_ref());
        task.state() == TaskState::Done && read.is_none()
    };
    if uploading && entry.tasks.values().any(unread) {
        say("something is done before the seal that it can't confirm".into());
    }
    if planning && cut {
        say("a shard was begun before the plan was whole".into());
    }
}
