//! Answers as tables and cards for people. Columns are as wide as their widest
//! cell; numbers stand right.

use reelraft_proto::v1::{Job, JobState, NodeStatus, Spec, StatusResponse, Task};
use serde_json::Value;

use crate::{
    screen::printable,
    words::{self, job_state, milli, moment, percent, shell_quoted, size, task_state},
};

/// Lines with aligned columns; a heading that starts with `>` stands right.
fn grid(headings: &[&str], rows: &[Vec<String>]) -> String {
    let right: Vec<bool> = headings.iter().map(|text| text.starts_with('>')).collect();
    let head = headings
        .iter()
        .map(|text| text.trim_start_matches('>').to_string())
        .collect();
    let lines: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows.iter().cloned())
        .map(|line| line.iter().map(|cell| printable(cell)).collect())
        .collect();
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&widths).zip(&right);
        let padded: Vec<String> = cells
            .map(|((cell, &width), &right)| {
                if right {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one a line; empty values are left out.
fn card(rows: &[(&str, String)]) -> String {
    let shown: Vec<_> = rows.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown
        .iter()
        .map(|(name, value)| format!("{name:<width$}  {}\n", printable(value)))
        .collect()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_string()
}

fn short(hash: &str) -> String {
    or_dash(&hash.chars().take(12).collect::<String>())
}

fn done(job: &Job) -> String {
    match job.state() {
        JobState::Succeeded => "100%".into(),
        _ if job.frames_total == 0 => "-".into(),
        // Frames come before the file: only success is all of it.
        _ => format!("{}%", percent(job.frames_done, job.frames_total).min(99)),
    }
}

/// The rows of `job list`.
pub fn jobs(jobs: &[Job]) -> String {
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|job| {
            vec![
                job.id.clone(),
                job_state(job.state).into(),
                done(job),
                format!("{}/{}", job.shards_done, job.shards_total),
                job.tenant.clone(),
                moment(job.created_unix_ms),
                size(job.source_bytes),
                job.source_name.clone(),
            ]
        })
        .collect();
    grid(
        &[
            "ID",
            "STATE",
            ">DONE",
            ">SHARDS",
            "TENANT",
            "CREATED (UTC)",
            ">SIZE",
            "SOURCE",
        ],
        &rows,
    )
}

/// The card of `job show`.
pub fn job(job: &Job) -> String {
    let problem = job.problem.clone().unwrap_or_default();
    let homes: Vec<String> = job
        .homes
        .iter()
        .map(|home| {
            format!(
                "{}{}",
                home.node,
                if home.filled { "" } else { " (filling)" }
            )
        })
        .collect();
    let output = match job.output_hash.as_str() {
        "" => String::new(),
        hash => format!("{}, BLAKE3 {hash}", size(job.output_bytes)),
    };
    let frames = match job.frames_total {
        0 => String::new(),
        // Of a deleted job the table keeps no more than its row.
        _ if job.state() == JobState::Deleted => String::new(),
        total => format!("{} of {total} ({})", job.frames_done, done(job)),
    };
    let shards = match job.shards_total {
        0 => String::new(),
        _ if job.state() == JobState::Deleted => String::new(),
        total => format!(
            "{} of {total} done, {} running",
            job.shards_done, job.shards_running
        ),
    };
    let finished = match job.ended_unix_ms {
        0 => String::new(),
        at => format!("{} UTC", moment(at)),
    };
    card(&[
        ("job", job.id.clone()),
        ("state", job_state(job.state).into()),
        ("waits", job.waiting.clone()),
        ("cause", problem.cause),
        ("hint", problem.hint),
        ("tenant", job.tenant.clone()),
        ("request id", job.request_id.clone()),
        (
            "source",
            format!("{} ({})", job.source_name, size(job.source_bytes)),
        ),
        ("source root", job.source_root.clone()),
        ("spec", job.spec.as_ref().map(spec).unwrap_or_default()),
        ("plan", job.plan_note.clone()),
        ("frames", frames),
        ("shards", shards),
        ("homes", homes.join(", ")),
        ("output", output),
        ("proof", job.proof_hash.clone()),
        ("build", job.build.clone()),
        ("created", format!("{} UTC", moment(job.created_unix_ms))),
        ("finished", finished),
    ])
}

/// A spec as the flags that would ask for it.
fn spec(spec: &Spec) -> String {
    let number = |value: u32| {
        if value == 0 {
            String::new()
        } else {
            value.to_string()
        }
    };
    let fps = match spec.fps_num {
        0 => String::new(),
        num if spec.fps_den == 1 => num.to_string(),
        num => format!("{num}/{}", spec.fps_den),
    };
    let neutral = |value: Option<i32>, neutral: i32| {
        let changed = value.filter(|&value| value != neutral);
        changed.map(|value| milli(value.into())).unwrap_or_default()
    };
    let unless = |usual: &str, word: &str| match word {
        word if word == usual => String::new(),
        word => word.to_string(),
    };
    let shard_seconds = match spec.shard_ms {
        0 => String::new(),
        ms => milli(ms.into()),
    };
    let flags = [
        ("container", spec.container.clone()),
        ("codec", spec.codec.clone()),
        (
            "crf",
            spec.crf.map(|crf| crf.to_string()).unwrap_or_default(),
        ),
        ("preset", spec.preset.clone()),
        ("pix-fmt", spec.pix_fmt.clone()),
        ("width", number(spec.width)),
        ("height", number(spec.height)),
        ("fps", fps),
        ("brightness", neutral(spec.brightness_milli, 0)),
        ("contrast", neutral(spec.contrast_milli, 1000)),
        ("saturation", neutral(spec.saturation_milli, 1000)),
        ("deinterlace", unless("off", &spec.deinterlace)),
        ("crop", words::crop(spec).unwrap_or_default()),
        ("pad", words::pad(spec).unwrap_or_default()),
        ("denoise", unless("off", &spec.denoise)),
        ("audio", spec.audio.clone()),
        ("audio-bitrate", number(spec.audio_bitrate)),
        ("loudness", neutral(Some(spec.loudness_mlufs), 0)),
        ("audio-tracks", words::tracks(spec)),
        ("subtitles", unless("keep", &spec.subtitles)),
        ("shard-seconds", shard_seconds),
    ];
    let switches = [
        ("strip-metadata", spec.strip_metadata),
        ("keep-location", spec.keep_location),
        ("strict", spec.strict),
    ];
    let given = flags.iter().filter(|(_, value)| !value.is_empty());
    let given = given.map(|(name, value)| format!("--{name} {value}"));
    let on = switches.iter().filter(|(_, on)| *on);
    let said: Vec<String> = given
        .chain(on.map(|(name, _)| format!("--{name}")))
        .collect();
    said.join(" ")
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
                if task.node == 0 {
                    "-".into()
                } else {
                    task.node.to_string()
                },
                task.attempt.to_string(),
                task.frames.to_string(),
                moment(task.started_unix_ms),
                took,
                bytes(task.bytes_in),
                bytes(task.bytes_out),
                match task.ratio_milli {
                    0 => "-".into(),
                    ratio => milli(i64::try_from(ratio).unwrap_or(i64::MAX)),
                },
                short(&task.hash),
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

/// The answer of `cluster status`.
pub fn status(status: &StatusResponse) -> String {
    let leader = match status.leader_id {
        0 => "none".to_string(),
        id => format!("node {id}"),
    };
    let head = card(&[
        ("cluster", status.cluster_id.clone()),
        ("leader", leader),
        ("term", status.term.to_string()),
        ("committed", status.committed_index.to_string()),
    ]);
    let rows: Vec<Vec<String>> = status
        .nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.role.clone(),
                node.address.clone(),
                reachable(node).into(),
                format!("{}/{}", node.slots_busy, node.slots),
                node.trouble.clone(),
            ]
        })
        .collect();
    let table = grid(
        &[">ID", "ROLE", "ADDRESS", "REACHABLE", ">BUSY", "TROUBLE"],
        &rows,
    );
    format!("{head}\n{table}")
}

fn reachable(node: &NodeStatus) -> &'static str {
    if node.reachable { "yes" } else { "no" }
}

/// The rows of `cluster nodes`.
pub fn nodes(nodes: &[NodeStatus]) -> String {
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|node| {
            vec![
                node.id.to_string(),
                node.role.clone(),
                node.address.clone(),
                if node.pid == 0 {
                    "-".into()
                } else {
                    node.pid.to_string()
                },
                reachable(node).into(),
                milli(node.load_milli.into()),
                format!("{}/{}", node.slots_busy, node.slots),
                format!(
                    "{} of {}",
                    size(node.disk_free_bytes),
                    size(node.disk_total_bytes)
                ),
                short(&node.build),
                node.applied_index.to_string(),
                or_dash(&node.version),
                node.trouble.clone(),
            ]
        })
        .collect();
    grid(
        &[
            ">ID",
            "ROLE",
            "ADDRESS",
            ">PID",
            "REACHABLE",
            ">LOAD",
            ">BUSY",
            ">DISK FREE",
            "BUILD",
            ">APPLIED",
            "VERSION",
            "TROUBLE",
        ],
        &rows,
    )
}

/// Any document (a proof): plain values as a card, lists of objects as tables.
pub fn document(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return format!("{}\n", plain(value));
    };
    let simple: Vec<(&str, String)> = fields
        .iter()
        .filter(|(_, value)| !is_rows(value))
        .map(|(name, value)| (name.as_str(), simple(name, value)))
        .collect();
    let mut text = card(&simple);
    for (name, value) in fields {
        if let Value::Array(items) = value
            && is_rows(value)
        {
            text.push_str(&format!("\n{} ({})\n", printable(name), items.len()));
            text.push_str(&table_of(items));
        }
    }
    text
}

fn is_rows(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}

fn table_of(items: &[Value]) -> String {
    // What names the row comes first; the rest as the document has it.
    let mut columns: Vec<&str> = ["number", "name"]
        .into_iter()
        .filter(|&name| items.iter().any(|item| item.get(name).is_some()))
        .collect();
    for name in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.keys())
    {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| columns.iter().map(|&name| plain(&item[name])).collect())
        .collect();
    grid(&columns, &rows)
}

/// A field of a document: a command line as a shell would be given it.
fn simple(name: &str, value: &Value) -> String {
    match value {
        Value::Array(words) if name == "reference" => {
            let words = words.iter().filter_map(Value::as_str).map(shell_quoted);
            words.collect::<Vec<_>>().join(" ")
        }
        _ => plain(value),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => or_dash(text),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{name} {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) if !items.iter().any(|item| item.is_object() || item.is_array()) => {
            or_dash(&items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
