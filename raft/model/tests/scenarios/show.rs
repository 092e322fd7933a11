//! How a script shows a job.

use std::fmt::Write;

use crate::{measuring, outside::show_outside};

use reelraft_model::{
    Command, Job, JobEntry, Task, TaskKind, TaskState,
    plan::{ClusterHealth, waiting},
};

/// What a job's row says of its tasks once they are folded.
fn show_fold(job: &Job) -> String {
    let Some(summary) = &job.summary else {
        return String::new();
    };
    let history = match job.history_hash.is_empty() {
        true => "no history",
        false => "a history",
    };
    let mut text = format!(" folded with {history}, {} nodes", summary.nodes);
    for kind in &summary.kinds {
        let name = TaskKind::try_from(kind.kind).unwrap().name();
        let (done, total, attempts) = (kind.done, kind.total, kind.attempts);
        write!(text, ", {name} {done}/{total} in {attempts} attempts").unwrap();
    }
    for share in &summary.engines {
        let (name, shards, checked) = (&share.name, share.shards, share.checked);
        write!(text, ", {name} {shards} shards ({checked} checked)").unwrap();
    }
    text
}

/// What a script says of a task's state.
fn state_of(task: &Task) -> String {
    match task.state() {
        TaskState::Pending => "pending".to_string(),
        TaskState::Running => {
            let attempts = task.attempts_running();
            let attempts = attempts.map(|(attempt, node)| format!("{node} as attempt {attempt}"));
            format!("running on {}", attempts.collect::<Vec<_>>().join(" and "))
        }
        TaskState::Done if !task.taken_from.is_empty() => {
            format!("done: {} (of {})", task.hash, task.taken_from)
        }
        TaskState::Done => format!("done: {}{}", task.hash, by_engine(task)),
    }
}

/// Which engine made a task, if one did.
fn by_engine(task: &Task) -> String {
    match task.made_by_engine() {
        Some(made) if made.checked > 0 => format!(" by {}, checked", made.name),
        Some(made) => format!(" by {}", made.name),
        None => String::new(),
    }
}

/// A job with its tasks, as the scripts show it.
pub fn show(entry: &JobEntry, health: &ClusterHealth) -> String {
    let job = &entry.job;
    let mut text = String::new();
    let homes: Vec<String> = job
        .homes
        .iter()
        .map(|home| {
            let filled = if home.filled { "" } else { "?" };
            let retiring = if home.retiring { "(retiring)" } else { "" };
            format!("{}{filled}{retiring}", home.node)
        })
        .collect();
    write!(
        text,
        "{} {} homes=[{}]",
        job.id,
        job.state().name(),
        homes.join(" ")
    )
    .unwrap();
    if let Some(problem) = &job.problem {
        write!(text, " problem=({problem})").unwrap();
    }
    if !job.plan_note.is_empty() {
        write!(text, " note=({})", job.plan_note).unwrap();
    }
    if !job.output_hash.is_empty() {
        write!(text, " output={} proof={}", job.output_hash, job.proof_hash).unwrap();
    }
    if job.single {
        write!(text, " single").unwrap();
    }
    text += &show_rate(job);
    text += &show_fold(job);
    text += &measuring::show(job);
    text += &show_outside(job);
    if let Some(waiting) = waiting(entry, health) {
        write!(text, " waits {waiting}").unwrap();
    }
    text.push('\n');
    for task in &job.failed_tasks {
        let (kind, number, attempt) = (task.kind().name(), task.number, task.attempt);
        writeln!(text, "  {kind} {number} failed, attempt {attempt}:").unwrap();
        for failure in &task.failures {
            let (attempt, node, problem) = (failure.attempt, failure.node, &failure.problem);
            writeln!(text, "    attempt {attempt} on {node}: {problem}").unwrap();
        }
    }
    text + &show_tasks(entry)
}

/// How far the search for a rate factor is.
fn show_rate(job: &Job) -> String {
    match &job.rate {
        Some(rate) => {
            let (rounds, again) = (rate.rounds, rate.shards_again);
            format!(" rate={} rounds={rounds} again={again}", rate.film_centi)
        }
        None => String::new(),
    }
}

fn show_tasks(entry: &JobEntry) -> String {
    let mut text = String::new();
    for task in entry.tasks.values() {
        let state = state_of(task);
        let range = match task.kind() {
            TaskKind::Shard => format!(" [{}, {})", task.from_pts, task.to_pts),
            TaskKind::Probe => format!(" of shard {}", task.shard),
            _ => String::new(),
        };
        let rate = match entry.rate_centi(task) {
            0 => String::new(),
            centi => format!(" at {centi}"),
        };
        writeln!(
            text,
            "  {} {}{range}{rate} {state}",
            task.kind().name(),
            task.number
        )
        .unwrap();
    }
    text
}

/// How a script shows a command of the plan.
pub fn command_text(command: &Command) -> String {
    match command {
        Command::SetHomes(c) => {
            let retiring = match c.retiring.is_empty() {
                true => String::new(),
                false => format!(", retiring {:?}", c.retiring),
            };
            format!(
                "homes {} {:?}{retiring} (seen epoch {})",
                c.job, c.homes, c.epoch
            )
        }
        Command::Assign(c) => format!("assign {} to {}", c.key, c.node),
        Command::Release(c) => format!("release {}: {}", c.key, c.problem),
        Command::FailJob(c) => format!("fail {}: {}", c.job, c.problem),
        Command::Replan(c) => format!("replan {} (seen build {}): {}", c.job, c.build, c.note),
        Command::Fold(c) => format!("fold {}", c.job),
        Command::TouchUpload(c) => format!("touch {}", c.job),
        Command::ExpireUpload(c) => format!("expire {}", c.job),
        Command::DeleteJob(c) => format!("delete {}", c.job),
        Command::DecideReuse(c) if c.taken => format!("{} takes the output of {}", c.job, c.of),
        Command::DecideReuse(c) => format!("{} takes no output of {}", c.job, c.of),
        Command::DropSource(c) => format!("drop the source of {}", c.job),
        Command::EndMeasure(c) => format!("end the measuring of {}: {}", c.job, c.problem),
        Command::DropParts(c) => format!("drop the parts of {}", c.job),
        Command::RegisterNode(c) if c.left_behind => {
            format!("leave node {} behind at level {}", c.node, c.feature_level)
        }
        Command::RemoveNode(c) => format!("remove node {}", c.node),
        other => format!("{other:?}"),
    }
}
