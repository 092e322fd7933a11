//! `job tasks` as a grid.

use reelraft_proto::{
    documents::{milli, task_state},
    v1::Task,
};

use super::layout::{grid, short_hash};
use crate::render::format::{size, utc_time};

/// Where the ids of engines begin; nodes count from 1.
const ENGINE_ID_MIN: u64 = 1 << 52;

/// The node or engine of the latest attempt.
fn worker(task: &Task) -> String {
    match (&task.engine, task.node) {
        (_, 0) => "-".into(),
        (Some(engine), ENGINE_ID_MIN..) if !engine.name.is_empty() => engine.name.clone(),
        (_, ENGINE_ID_MIN..) => format!("engine {}", task.node - ENGINE_ID_MIN),
        (_, node) => node.to_string(),
    }
}

/// The rows of `job tasks`.
pub fn tasks(tasks: &[Task]) -> String {
    let rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let took = match (task.started_unix_ms, task.ended_unix_ms) {
                (0, _) | (_, 0) => "-".to_string(),
                (from, to) => format!("{} s", milli(to.saturating_sub(from) as i64)),
            };
            let bytes = |bytes| if bytes == 0 { "-".into() } else { size(bytes) };
            vec![
                task.number.to_string(),
                task.kind.clone(),
                task_state(task.state).into(),
                worker(task),
                task.attempt.to_string(),
                task.frames.to_string(),
                utc_time(task.started_unix_ms),
                took,
                bytes(task.bytes_in),
                bytes(task.bytes_out),
                match task.ratio_milli {
                    0 => "-".into(),
                    ratio => milli(i64::try_from(ratio).unwrap_or(i64::MAX)),
                },
                short_hash(&task.hash),
                task.failures.last().cloned().unwrap_or_default(),
            ]
        })
        .collect();
    grid(
        &[
            ">NO",
            "KIND",
            "STATE",
            ">NODE",
            ">ATTEMPT",
            ">FRAMES",
            "STARTED (UTC)",
            ">TOOK",
            ">IN",
            ">OUT",
            ">RATIO",
            "HASH",
            "LAST FAILURE",
        ],
        &rows,
    )
}
