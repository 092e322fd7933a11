//! Comparing outputs with their sources after the fact, in scripts.

use reelraft_model::{Command, EndMeasure, Job, MeasureJob, Problem, State};

use crate::words::{number, option};

/// `measure JOB shards=3`; `measure JOB lost=BLOB` where a part of what was found is lost.
pub fn command(state: &State, job: String, words: &[&str]) -> Command {
    let known = state
        .job(&job)
        .and_then(|entry| entry.job.measurement.clone());
    let seen_index = known.map_or(0, |known| known.begun_index);
    match option(words, "lost") {
        None => Command::MeasureJob(MeasureJob {
            job,
            shards: number(words, "shards"),
            seen_index,
        }),
        Some(lost) => Command::EndMeasure(EndMeasure {
            job,
            begun_index: seen_index,
            problem: Problem::new("lost-bytes", "it is lost", ""),
            lost: lost.into(),
        }),
    }
}

/// Whether its output was compared with its source, or may be.
pub fn show(job: &Job) -> String {
    let held = match job.holds_source() {
        true => format!(" source held {:?}", job.source_at),
        false => String::new(),
    };
    let measured = match &job.measurement {
        None => String::new(),
        Some(it) => match &it.problem {
            Some(problem) => format!(" not measured ({problem})"),
            None if it.is_open() => format!(" measuring {} shards", it.shards),
            None => format!(" measured {:?}", it.parts),
        },
    };
    format!("{held}{measured}")
}
