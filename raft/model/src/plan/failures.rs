//! Failures: jobs that cannot be done, and attempts lost with their node.

use std::collections::BTreeSet;

use super::{builds::Builds, health::ClusterHealth};
use crate::{
    command::{AttemptKey, Command, FailJob, Release},
    engine_rows::{engine_number, is_engine},
    job_entry::JobEntry,
    limits::{ATTEMPTS_MAX, NODE_FAULTS_MAX, POISON_NODES},
    measuring::EndMeasure,
    rows::{Failure, FailureClass, Job, JobState, Problem, Task, TaskKind, TaskState},
    state::State,
};

/// Why a job must fail now, if it must.
pub(super) fn terminal_failure(entry: &JobEntry, builds: &Builds<'_>) -> Option<Problem> {
    if entry.failed.is_empty() {
        return None;
    }
    let health = builds.health;
    let capable = health
        .nodes
        .keys()
        .filter(|&&node| health.can_run(node, &entry.job.build))
        .filter(|&&node| !entry.job.is_measuring() || entry.job.compares_at(node))
        .count();
    entry
        .failed
        .iter()
        .filter_map(|key| entry.tasks.get(key))
        .filter(|task| is_final(entry.job.state(), task))
        .find_map(|task| {
            let max_retries = entry.job.max_retries;
            encoder_missing(entry, task, builds)
                .or_else(|| task_failure(task, capable, max_retries))
        })
}

/// Ends a job by what is wrong; one that has its output goes without a comparison.
pub(super) fn end(job: &Job, problem: Problem, unix_ms: u64) -> Command {
    match &job.measurement {
        Some(measurement) if job.is_measuring() => {
            Command::EndMeasure(EndMeasure::of(job, measurement, problem))
        }
        _ => Command::FailJob(FailJob {
            job: job.id.clone(),
            problem,
            unix_ms,
        }),
    }
}

/// Whether a failure of a task counts: what was tried before the source was sealed,
/// or before the plan was whole, is tried again.
fn is_final(state: JobState, task: &Task) -> bool {
    let planning = state == JobState::Analyzing && task.early.is_some();
    state != JobState::Uploading && !planning
}

/// The want of an encoder, or of a decoder of the source, where neither another
/// node of the build nor another build may have it. A plan that was made is bound to its build.
fn encoder_missing(entry: &JobEntry, task: &Task, builds: &Builds<'_>) -> Option<Problem> {
    // What an engine says that it lacks, a member may well have.
    let by_members = |failure: &&Failure| !is_engine(failure.node);
    let last = task.failures.iter().rfind(by_members)?;
    // An analysis that is made again may have failed in a build that was left.
    let build = builds.health.nodes.get(&last.node).map(|node| &node.build);
    let bound = task.kind() != TaskKind::Analyze || build == Some(&entry.job.build);
    // Where none of the build lives, it is waited for, and not given up.
    let bound = bound && builds.has_living(&entry.job.build);
    let ends = last.problem.is_of_build()
        && task.state() == TaskState::Pending
        && !builds.can_go_elsewhere(&entry.job)
        && ((bound && !builds.may_find_encoder(&entry.job, task))
            || (entry.job.build.is_empty() && builds.all_lack_encoder(task, &entry.job.spec)));
    ends.then(|| last.problem.clone())
}

/// Why one task ends its job, if it does; `capable` is the number of nodes
/// that could run it, `max_retries` what the job's owner allows.
fn task_failure(task: &Task, capable: usize, max_retries: Option<u32>) -> Option<Problem> {
    let last = task.failures.last()?;
    let problem = |cause: String, hint: String| Some(Problem::new("job-failed", cause, hint));
    // What helps depends on what failed, and not on where in the job.
    let see_attempts = || {
        let attempts = "see `reelraft job tasks` for each attempt";
        match last.problem.hint.as_str() {
            "" => attempts.to_string(),
            hint => format!("{hint}; {attempts}"),
        }
    };
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
    // Even with a single capable node, a failure is tried again once.
    let poisoned = task.work_failures > 1 && failed_on >= POISON_NODES.min(capable.max(1));
    if poisoned && max_retries.is_none() {
        return problem(
            format!("{name} failed on {failed_on} nodes: {}", last.problem.cause),
            see_attempts(),
        );
    }
    let attempts_max = max_retries.map_or(ATTEMPTS_MAX, |retries| retries.saturating_add(1));
    if task.work_failures >= attempts_max {
        return problem(
            format!(
                "{name} failed {} times: {}",
                task.work_failures, last.problem.cause
            ),
            see_attempts(),
        );
    }
    if task.node_faults >= NODE_FAULTS_MAX {
        return problem(
            format!("no node could run {name}: {}", last.problem.cause),
            "run `reelraft doctor` on the nodes and submit again".to_string(),
        );
    }
    None
}

/// Takes attempts back from nodes that have been silent for a lease.
pub(super) fn release_lost(entry: &JobEntry, health: &ClusterHealth, commands: &mut Vec<Command>) {
    for (key, node) in entry.attempts_running() {
        let silent_ms = health.silent_ms(node);
        if silent_ms < ClusterHealth::lease_ms(node) {
            continue;
        }
        commands.push(Command::Release(Release {
            key,
            class: FailureClass::NodeLost.into(),
            problem: Problem::new(
                "node-lost",
                match (silent_ms, is_engine(node)) {
                    (u64::MAX, true) => {
                        let number = engine_number(node);
                        format!("engine {number} is gone, or gets no work any more")
                    }
                    (u64::MAX, false) => format!("node {node} is no member any more"),
                    (_, true) => {
                        let number = engine_number(node);
                        format!("engine {number} has been silent for {silent_ms} ms")
                    }
                    (_, false) => format!("node {node} has been silent for {silent_ms} ms"),
                },
                "the work goes on elsewhere by itself",
            ),
        }));
    }
}

/// Takes attempts back that read along with an upload which stands still: others want
/// their places. They are made again once the source is whole.
pub(super) fn release_abandoned(state: &State, entry: &JobEntry, commands: &mut Vec<Command>) {
    let job = &entry.job;
    if job.state() != JobState::Uploading || !state.stands_still(job) {
        return;
    }
    let running = entry.running.iter().filter_map(|key| entry.tasks.get(key));
    commands.extend(running.map(|task| {
        let cause = "its upload makes no progress";
        let hint = "it is made again by itself once the source is whole";
        Command::Release(Release {
            key: AttemptKey::of(&job.id, task),
            class: FailureClass::Stopped.into(),
            problem: Problem::new("upload-stands-still", cause, hint),
        })
    }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_hint_is_that_of_the_failure() {
        let failure = |node| Failure {
            node,
            class: FailureClass::Work.into(),
            problem: Problem::new("ffmpeg-crashed", "it crashed", "install another build"),
            ..Default::default()
        };
        let task = Task {
            work_failures: 2,
            failures: vec![failure(1), failure(2)],
            ..Default::default()
        };
        let problem = task_failure(&task, 2, None).unwrap();
        assert!(problem.hint.starts_with("install another build; see"));
        assert!(!problem.hint.contains("damaged"));
    }

    #[test]
    fn what_the_owner_allows_takes_the_place_of_our_own_judgement() {
        let failed = |work_failures, max_retries| {
            let failure = |node| Failure {
                node,
                class: FailureClass::Work.into(),
                ..Default::default()
            };
            let task = Task {
                work_failures,
                failures: vec![failure(1), failure(2)],
                ..Default::default()
            };
            task_failure(&task, 2, max_retries).is_some()
        };
        assert!(failed(2, None) && !failed(1, None));
        assert!(failed(1, Some(0)));
        assert!(failed(11, Some(10)) && !failed(10, Some(10)));
    }
}
