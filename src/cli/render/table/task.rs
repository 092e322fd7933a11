//! `job tasks` as a grid.

use reelraft_proto::{
    documents::{milli, task_state},
    v1::Task,
};

use super::layout::{grid, short_hash};
use crate::render::format::{size, utc_time};

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
                if task.node == 0 {
                    "-".into()
                } else {
                    task.node.to_string()
                },
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
