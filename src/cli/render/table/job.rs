//! `job list` as a grid, `job show` as a card.

use std::time::Duration;

use reelraft_proto::{
    documents::{job_state, milli, spec_options},
    v1::{Job, JobState},
};

use super::layout::{card, grid, or_dash};
use crate::render::format::{clock, percent, size, utc_time};

fn done(job: &Job) -> String {
    match job.state() {
        JobState::Succeeded => "100%".into(),
        _ if job.frames_total == 0 => "-".into(),
        // Frames come before the file: only success is all of it.
        _ => format!("{}%", percent(job.frames_done, job.frames_total).min(99)),
    }
}

/// From its creation to its end.
fn took(job: &Job) -> String {
    match job.ended_unix_ms.checked_sub(job.created_unix_ms) {
        Some(took_ms) => clock(Duration::from_millis(took_ms)),
        None => "-".into(),
    }
}

fn output_size(job: &Job) -> String {
    match job.output_bytes {
        0 => String::new(),
        bytes => size(bytes),
    }
}

/// How fast it is, how long it will take, and how large it will be; empty where
/// nothing is known.
fn expected(job: &Job) -> String {
    let speed = match job.speed_milli {
        0 => None,
        milli => Some(format!("{}.{} frames/s", milli / 1000, milli % 1000 / 100)),
    };
    let left = job
        .eta_s
        .map(|seconds| format!("{} to go", clock(Duration::from_secs(seconds))));
    let bytes = match job.estimated_output_bytes {
        0 => None,
        bytes => Some(format!("about {}", size(bytes))),
    };
    let known: Vec<String> = [speed, left, bytes].into_iter().flatten().collect();
    known.join(", ")
}

/// Its place in line; empty for one that does not wait.
fn place(job: &Job) -> String {
    match job.queue_position {
        0 => String::new(),
        place => format!("{place} in line"),
    }
}

/// Seconds until its end where it runs, and its place where it waits.
fn eta(job: &Job) -> String {
    match job.eta_s {
        Some(seconds) => clock(Duration::from_secs(seconds)),
        None => or_dash(&place(job)),
    }
}

/// Why it failed, or what it waits for.
fn note(job: &Job) -> String {
    match &job.problem {
        Some(problem) if !problem.kind.is_empty() => problem.kind.clone(),
        _ => job.waiting.clone(),
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
                utc_time(job.created_unix_ms),
                took(job),
                eta(job),
                size(job.source_bytes),
                or_dash(&output_size(job)),
                job.source_name.clone(),
                note(job),
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
            ">TOOK",
            ">ETA",
            ">SIZE",
            ">OUTPUT",
            "SOURCE",
            "NOTE",
        ],
        &rows,
    )
}

/// The card of `job show`.
pub fn job(job: &Job) -> String {
    let problem = job.problem.clone().unwrap_or_default();
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
        at => format!("{} UTC", utc_time(at)),
    };
    card(&[
        ("job", job.id.clone()),
        ("state", job_state(job.state).into()),
        ("waits", job.waiting.clone()),
        ("place", place(job)),
        ("makers", job.makers.clone()),
        ("cause", problem.cause),
        ("hint", problem.hint),
        ("tenant", job.tenant.clone()),
        ("request id", job.request_id.clone()),
        (
            "source",
            format!("{} ({})", job.source_name, size(job.source_bytes)),
        ),
        ("source root", job.source_root.clone()),
        (
            "spec",
            job.spec.as_ref().map(spec_options).unwrap_or_default(),
        ),
        ("crf", rate_factor(job)),
        ("reached", reached(job)),
        ("note", job.plan_note.clone()),
        ("turn", turn(job)),
        ("frames", frames),
        ("shards", shards),
        ("engines", engines(job)),
        ("expected", expected(job)),
        ("homes", homes(job)),
        ("output", output),
        ("proof", job.proof_hash.clone()),
        ("build", job.build.clone()),
        ("created", format!("{} UTC", utc_time(job.created_unix_ms))),
        ("finished", finished),
    ])
}

/// The rate factor that was found, and what finding it has cost; empty where it was
/// asked for.
fn rate_factor(job: &Job) -> String {
    let Some(rate) = &job.rate else {
        return String::new();
    };
    let found = match rate.film_centi {
        0 => "searched".to_string(),
        centi => milli(i64::from(centi) * 10),
    };
    let probes = format!("{} probes in {} rounds", rate.probes, rate.rounds);
    match rate.shards_again {
        0 => format!("{found} ({probes})"),
        again => format!("{found} ({probes}, {again} shards encoded again)"),
    }
}

/// What a film has come to that aims at something, beside what was asked; empty while
/// nothing is known.
fn reached(job: &Job) -> String {
    let amount = job.spec.as_ref().and_then(|spec| spec.amount.as_ref());
    let (Some(rate), Some(amount)) = (&job.rate, amount) else {
        return String::new();
    };
    let of = |reached: u64, asked: u64| {
        let percent = (u128::from(reached) * 100_000 / u128::from(asked.max(1))) as i64;
        format!("{reached} of {asked} ({} %)", milli(percent))
    };
    let metric = amount.target.split('=').next().unwrap_or_default();
    if amount.size_bytes != 0 && job.output_bytes != 0 {
        format!("{} bytes", of(job.output_bytes, amount.size_bytes))
    } else if amount.bitrate != 0 && rate.reached_bitrate != 0 {
        let bits = of(rate.reached_bitrate, u64::from(amount.bitrate));
        format!("{bits} bits a second")
    } else if !metric.is_empty() && rate.reached_micro != 0 {
        let reached = rate.reached_micro;
        let value = format!("{}.{:06}", reached / 1_000_000, reached % 1_000_000);
        let value = value.trim_end_matches('0').trim_end_matches('.');
        let percentile = match amount.target_percentile {
            0 => String::new(),
            percent => format!(" (percentile {percent})"),
        };
        format!("{metric}={value} of {}{percentile}", amount.target)
    } else {
        String::new()
    }
}

/// The nodes that keep its bytes.
fn homes(job: &Job) -> String {
    let homes = job.homes.iter().map(|home| {
        let note = match (home.retiring, home.filled) {
            (true, _) => " (retiring)",
            (false, false) => " (filling)",
            (false, true) => "",
        };
        format!("{}{note}", home.node)
    });
    let homes: Vec<String> = homes.collect();
    homes.join(", ")
}

/// What engines made of it.
fn engines(job: &Job) -> String {
    let shares = job.engines.iter().map(|share| {
        let name = match share.name.as_str() {
            "" => format!("engine {}", share.number),
            name => name.to_string(),
        };
        let checked = match share.checked {
            0 => String::new(),
            checked => format!(" ({checked} made by a node too)"),
        };
        format!("{name} made {}{checked}", share.shards)
    });
    let shares: Vec<String> = shares.collect();
    shares.join(", ")
}

/// What its owner says of its place in line and its retries; empty for nothing.
fn turn(job: &Job) -> String {
    let priority = Some(job.priority).filter(|priority| *priority != 0);
    let priority = priority.map(|priority| format!("priority {priority}"));
    let retries = job.max_retries.map(|max| format!("at most {max} retries"));
    let deadline = Some(job.deadline_unix_ms).filter(|at| *at != 0);
    let deadline = deadline.map(|at| format!("due {} UTC", utc_time(at)));
    let said = priority.into_iter().chain(deadline).chain(retries);
    let said: Vec<String> = said.collect();
    said.join(", ")
}
