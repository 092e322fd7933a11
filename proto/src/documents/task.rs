//! The document of a job's tasks.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    field::{above_zero, text},
    job::{EngineShare, Problem},
    words::{task_state, task_states},
};
use crate::v1;

/// A job's tasks.
#[derive(Serialize, ToSchema)]
pub struct TaskList<'a> {
    pub tasks: Vec<Task<'a>>,
    pub next_page_token: Option<&'a str>,
}

/// One task; `kind` is analyze, audio, probe, shard, extras, assemble or measure.
#[derive(Serialize, ToSchema)]
pub struct Task<'a> {
    pub number: u32,
    pub kind: &'a str,
    #[schema(schema_with = task_states)]
    pub state: &'static str,
    pub node: Option<u64>,
    pub attempt: u32,
    pub from_pts: i64,
    pub to_pts: i64,
    pub frames: u64,
    pub bytes_in: Option<u64>,
    pub bytes_out: Option<u64>,
    pub ratio_milli: Option<u64>,
    pub hash: Option<&'a str>,
    pub started_unix_ms: Option<u64>,
    pub ended_unix_ms: Option<u64>,
    pub failures: &'a [String],
    /// Of a shard or probe, in hundredths, where it was found and not asked for.
    pub crf_centi: Option<u32>,
    /// Of a probe: the shard that it encodes.
    pub probed_shard: Option<u32>,
    /// The engine that made it, if one did.
    pub engine: Option<EngineShare<'a>>,
}

/// One task with its attempts, the latest last.
#[derive(Serialize, ToSchema)]
pub struct TaskDetails<'a> {
    pub task: Option<Task<'a>>,
    pub attempts: Vec<Attempt<'a>>,
}

/// One attempt; `outcome` is running, done, or what it failed by.
#[derive(Serialize, ToSchema)]
pub struct Attempt<'a> {
    pub attempt: u32,
    pub node: u64,
    pub outcome: &'a str,
    pub problem: Option<Problem<'a>>,
    pub started_unix_ms: Option<u64>,
    pub ended_unix_ms: Option<u64>,
}

impl<'a> From<&'a v1::TaskDetails> for TaskDetails<'a> {
    fn from(details: &'a v1::TaskDetails) -> Self {
        let attempts = details.attempts.iter().map(|attempt| Attempt {
            attempt: attempt.attempt,
            node: attempt.node,
            outcome: &attempt.outcome,
            problem: attempt.problem.as_ref().map(Problem::from),
            started_unix_ms: above_zero(attempt.started_unix_ms),
            ended_unix_ms: above_zero(attempt.ended_unix_ms),
        });
        TaskDetails {
            task: details.task.as_ref().map(Task::from),
            attempts: attempts.collect(),
        }
    }
}

impl<'a> From<&'a v1::Task> for Task<'a> {
    fn from(task: &'a v1::Task) -> Self {
        Task {
            number: task.number,
            kind: &task.kind,
            state: task_state(task.state),
            node: above_zero(task.node),
            attempt: task.attempt,
            from_pts: task.from_pts,
            to_pts: task.to_pts,
            frames: task.frames,
            bytes_in: above_zero(task.bytes_in),
            bytes_out: above_zero(task.bytes_out),
            ratio_milli: above_zero(task.ratio_milli),
            hash: text(&task.hash),
            started_unix_ms: above_zero(task.started_unix_ms),
            ended_unix_ms: above_zero(task.ended_unix_ms),
            failures: &task.failures,
            crf_centi: above_zero(task.rate_centi),
            probed_shard: Some(task.probed_shard).filter(|_| task.kind == "probe"),
            engine: task.engine.as_ref().map(EngineShare::from),
        }
    }
}

impl<'a> TaskList<'a> {
    /// From rows and the token after them, empty at the end.
    pub fn new(tasks: &'a [v1::Task], next_page_token: &'a str) -> Self {
        TaskList {
            tasks: tasks.iter().map(Task::from).collect(),
            next_page_token: text(next_page_token),
        }
    }
}
