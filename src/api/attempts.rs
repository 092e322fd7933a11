//! One task of a job: its attempts, what ffmpeg said in them, and a part's bytes
//! while they are kept.

use std::{fmt::Write, sync::Arc};

use bytes::Bytes;
use reelraft_model::{JobEntry, JobState, Problem, Scope, Task, TaskKind, TaskState, worker_words};
use serde_json::Value;

use super::{Api, Consistency, Output, bad_request, not_yet};
use crate::node::tally::{DONE, failed_by};

/// Which task, by the words that users see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskRequest {
    pub job: String,
    /// analyze, audio, probe, shard, extras, assemble or measure.
    pub kind: String,
    /// Audio is numbered by track, assemble by node.
    pub number: u32,
}

/// A task and its attempts.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    pub task: Task,
    /// In their order: the latest of those that gave no result, and the one that
    /// runs or did.
    pub attempts: Vec<Attempt>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub attempt: u32,
    pub node: u64,
    /// running, done, or what it failed by.
    pub outcome: &'static str,
    /// Why it gave no result.
    pub problem: Option<Problem>,
    /// Wall clock, for display only; 0 where that is not kept, and while it runs.
    pub started_unix_ms: u64,
    pub ended_unix_ms: u64,
}

impl TaskView {
    fn new(task: Task) -> Self {
        let attempts = attempts(&task);
        TaskView { task, attempts }
    }
}

impl Api {
    /// One task with its attempts.
    ///
    /// # Errors
    /// `not-found`, `bad-request`, and what keeps the cluster from reading or the
    /// homes from giving it.
    pub async fn task(&self, request: &TaskRequest) -> Result<TaskView, Problem> {
        Ok(TaskView::new(self.entry_and_task(request).await?.1))
    }

    /// The same with all that is known of the attempts as text, a line for each
    /// fact. What ffmpeg complained of in a part is in its report while the job
    /// lives, and in the proof afterwards.
    ///
    /// # Errors
    /// As [`Api::task`].
    pub async fn task_with_log(
        &self,
        request: &TaskRequest,
    ) -> Result<(TaskView, String), Problem> {
        let (entry, task) = self.entry_and_task(request).await?;
        let (total, first) = self.complaints(&entry, &task).await?;
        let view = TaskView::new(task);
        let mut log = String::new();
        for attempt in &view.attempts {
            describe(attempt, &mut log);
        }
        for complaint in &first {
            line(&mut log, format_args!("  {complaint}"));
        }
        if total > first.len() as u64 {
            let more = total - first.len() as u64;
            line(
                &mut log,
                format_args!("  and {more} more of ffmpeg's complaints"),
            );
        }
        Ok((view, log))
    }

    async fn entry_and_task(
        &self,
        request: &TaskRequest,
    ) -> Result<(Arc<JobEntry>, Task), Problem> {
        let entry = self
            .entry(Scope::Read, &request.job, Consistency::Linearizable)
            .await?;
        let task = self.task_of(&entry, request).await?;
        Ok((entry, task))
    }

    async fn task_of(&self, entry: &JobEntry, request: &TaskRequest) -> Result<Task, Problem> {
        let kind = TaskKind::parse(&request.kind).ok_or_else(|| {
            let known = TaskKind::ALL.map(TaskKind::name).join(", ");
            bad_request(
                format!("there is no task of kind '{}'", request.kind),
                &format!("these are known: {known}"),
            )
        })?;
        let key = (kind, request.number);
        let wanted = |task: &&Task| task.key() == key;
        let found = match &entry.job.summary {
            None => entry.tasks.get(&key).map(|task| Task::clone(task)),
            Some(_) if entry.tasks.contains_key(&key) => {
                entry.tasks.get(&key).map(|task| Task::clone(task))
            }
            Some(_) if entry.job.history_hash.is_empty() => {
                entry.job.failed_tasks.iter().find(wanted).cloned()
            }
            Some(_) => {
                let history = self.context().history(entry).await?;
                history.tasks.iter().find(wanted).cloned()
            }
        };
        found.ok_or_else(|| {
            let (id, kind, number) = (&entry.job.id, kind.name(), request.number);
            let cause = match entry.job.state().keeps_bytes() {
                true => format!("job {id} has no {kind} task {number}"),
                false => format!("of job {id} no {kind} task {number} is kept"),
            };
            Problem::new("not-found", cause, "see `reelraft job tasks`")
        })
    }

    /// How often ffmpeg complained in a part, and the first of it.
    async fn complaints(
        &self,
        entry: &JobEntry,
        task: &Task,
    ) -> Result<(u64, Vec<String>), Problem> {
        let job = &entry.job;
        if task.state() != TaskState::Done || !task.kind().is_part() {
            return Ok((0, Vec::new()));
        }
        if job.state() == JobState::Succeeded {
            let proof = self.context().blob(entry, &job.proof_hash).await?;
            return Ok(complaints_in(&proof, task));
        }
        match job.state().keeps_bytes() && !task.report.is_empty() {
            true => self.context().complaints(entry, task).await,
            false => Ok((0, Vec::new())),
        }
    }

    /// The picture of a job's source at a time, as a JPEG of a width.
    ///
    /// # Errors
    /// `not-found`, `not-analysed`, `not-kept` once the job has ended, `past-the-end`,
    /// `too-busy` while the node makes another, and what keeps it from making this one.
    pub async fn picture(&self, id: &str, at_ms: u64, width: u32) -> Result<Bytes, Problem> {
        let entry = self.analysed(id).await?;
        if entry.job.state().ended() {
            let lacks = ", and its source is not kept";
            return Err(not_yet("not-kept", &entry, lacks, "look at the output"));
        }
        self.context().picture(&entry, at_ms, width).await
    }

    /// A part's bytes from `offset` on.
    ///
    /// # Errors
    /// `not-found`, `not-finished`, `not-kept` once the job has ended, and those of
    /// [`Api::fetch`].
    pub async fn part(&self, request: &TaskRequest, offset: u64) -> Result<Output, Problem> {
        let (entry, task) = self.kept_part(request).await?;
        if offset > task.bytes_out {
            let cause = format!(
                "offset {offset} lies beyond the part's {} bytes",
                task.bytes_out
            );
            return Err(bad_request(cause, "fetch it again from its beginning"));
        }
        self.give(entry, (task.hash, task.bytes_out), offset)
    }

    /// A part that the homes keep.
    ///
    /// # Errors
    /// As [`Api::part`].
    pub async fn finished_part(&self, request: &TaskRequest) -> Result<Task, Problem> {
        Ok(self.kept_part(request).await?.1)
    }

    async fn kept_part(&self, request: &TaskRequest) -> Result<(Arc<JobEntry>, Task), Problem> {
        let (entry, task) = self.entry_and_task(request).await?;
        if !task.kind().is_part() {
            return Err(bad_request(
                format!("a task of kind {} makes no part", task.kind().name()),
                "ask for a shard, for audio or for extras",
            ));
        }
        if entry.job.state().ended() {
            let lacks = ", and its parts are not kept";
            let hint = "fetch the output, or ask while the job runs";
            return Err(not_yet("not-kept", &entry, lacks, hint));
        }
        if task.state() != TaskState::Done {
            let lacks = ", and this part of it is not made yet";
            let hint = "see `reelraft job tasks`";
            return Err(not_yet("not-finished", &entry, lacks, hint));
        }
        Ok((entry, task))
    }

    /// What ffprobe says of the source and of the output, in its own words:
    /// `{"source": …, "output": …}`, each null until it is known.
    ///
    /// # Errors
    /// Those of [`Api::reference`].
    pub async fn metadata(&self, id: &str) -> Result<String, Problem> {
        let entry = self.analysed(id).await?;
        let index = self.context().index(&entry).await?;
        let output = match entry.job.state() {
            JobState::Succeeded => {
                let proof = self.context().blob(&entry, &entry.job.proof_hash).await?;
                let mut proof: Value = serde_json::from_slice(&proof).unwrap_or_default();
                proof.get_mut("description").map(Value::take)
            }
            _ => None,
        };
        let both = serde_json::json!({"source": index.description(), "output": output});
        Ok(both.to_string())
    }
}

fn attempts(task: &Task) -> Vec<Attempt> {
    let failed = task.failures.iter().map(|failure| Attempt {
        attempt: failure.attempt,
        node: failure.node,
        outcome: failed_by(failure.class()),
        problem: Some(failure.problem.clone()),
        started_unix_ms: 0,
        ended_unix_ms: 0,
    });
    let latest = |outcome| Attempt {
        attempt: task.attempt,
        node: task.node,
        outcome,
        problem: None,
        started_unix_ms: task.started_unix_ms,
        ended_unix_ms: match task.state() {
            TaskState::Done => task.ended_unix_ms,
            _ => 0,
        },
    };
    let last = match task.state() {
        TaskState::Pending => None,
        TaskState::Running => Some(latest("running")),
        // It was made before, for another job or a former plan.
        TaskState::Done if task.node == 0 => None,
        TaskState::Done => Some(latest(DONE)),
    };
    let twin = task
        .twin
        .as_ref()
        .filter(|twin| task.is_running(twin.attempt));
    let twin = twin.map(|twin| Attempt {
        attempt: twin.attempt,
        node: twin.node,
        started_unix_ms: twin.started_unix_ms,
        ..latest("running")
    });
    failed.chain(last).chain(twin).collect()
}

fn describe(attempt: &Attempt, log: &mut String) {
    let Attempt {
        attempt,
        node,
        outcome,
        problem,
        ..
    } = attempt;
    let node = worker_words(*node);
    match problem {
        None => line(log, format_args!("attempt {attempt} on {node}: {outcome}")),
        Some(problem) => line(
            log,
            format_args!("attempt {attempt} on {node}: {outcome}: {problem}"),
        ),
    }
}

fn line(log: &mut String, written: std::fmt::Arguments<'_>) {
    writeln!(log, "{written}").expect("a text takes all that is written");
}

/// What a proof says that ffmpeg complained of in a part.
fn complaints_in(proof: &[u8], task: &Task) -> (u64, Vec<String>) {
    let proof: Value = serde_json::from_slice(proof).unwrap_or_default();
    let number = task.number as usize;
    let (part, first) = match task.kind() {
        TaskKind::Extras => (&Value::Null, &proof["extras_complaints"]),
        TaskKind::Audio => (
            &proof["audio"][number],
            &proof["audio"][number]["complaints"],
        ),
        _ => (
            &proof["shards"][number],
            &proof["shards"][number]["complaints"],
        ),
    };
    let texts = first.as_array().into_iter().flatten();
    let first: Vec<String> = texts
        .filter_map(|text| text.as_str().map(str::to_string))
        .collect();
    let total = part["complaints_total"].as_u64();
    (total.unwrap_or(first.len() as u64), first)
}

#[cfg(test)]
mod tests {
    use reelraft_model::{Failure, FailureClass};

    use super::*;

    #[test]
    fn attempts_are_told_in_their_order() {
        let failure = Failure {
            node: 2,
            attempt: 1,
            class: FailureClass::NodeLost.into(),
            problem: Problem::new("node-lost", "it went silent", ""),
        };
        let task = Task {
            kind: TaskKind::Shard.into(),
            state: TaskState::Done.into(),
            attempt: 3,
            node: 1,
            failures: vec![failure],
            ..Default::default()
        };
        let mut log = String::new();
        for attempt in attempts(&task) {
            describe(&attempt, &mut log);
        }
        assert_eq!(
            log,
            "attempt 1 on node 2: node-lost: node-lost: it went silent\nattempt 3 on node 1: done\n"
        );
    }

    #[test]
    fn complaints_are_found_in_a_proof() {
        let proof =
            br#"{"shards":[{"complaints_total":0},{"complaints_total":3,"complaints":["a"]}],
            "extras_complaints":["b","c"]}"#;
        let of = |kind: TaskKind, number| {
            let task = Task {
                kind: kind.into(),
                number,
                ..Default::default()
            };
            let (total, first) = complaints_in(proof, &task);
            (total, first.join(" "))
        };
        assert_eq!(of(TaskKind::Shard, 0), (0, String::new()));
        assert_eq!(of(TaskKind::Shard, 1), (3, "a".into()));
        assert_eq!(of(TaskKind::Extras, 0), (2, "b c".into()));
        assert_eq!(of(TaskKind::Audio, 0), (0, String::new()));
    }
}
