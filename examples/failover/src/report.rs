//! What every experiment prints of its event log at the end: what was
//! attempted, what died, what was begun again and whether it should have been.

use std::path::Path;

use crate::{
    event_log::EventLog,
    events::{Absence, Attempt, AttemptEnd},
    invariants::find_restarted_tasks,
    timeline_svg::Timeline,
};

/// Prints how much was attempted, lost and begun again. Returns what was begun
/// again though the node of the earlier attempt could be heard, in words.
pub fn print_attempts(attempts: &[Attempt], absences: &[Absence]) -> Vec<String> {
    let restarted = find_restarted_tasks(attempts, absences);
    let killed = attempts
        .iter()
        .filter(|attempt| attempt.end == AttemptEnd::Killed);
    println!(
        "{} attempts, {} died with their node, {} tasks begun again, {} of them though their node lived",
        attempts.len(),
        killed.count(),
        restarted.count,
        restarted.unexplained.len()
    );
    restarted.unexplained
}

/// A complaint if the log is not complete.
pub fn missing_lines(log: &EventLog) -> Option<String> {
    log.lines_dropped
        .then(|| "the supervisor dropped log lines: the record is not whole".to_string())
}

/// Writes the timeline to a file and prints where.
///
/// # Errors
/// If it can't be written.
pub fn write_timeline(timeline: &Timeline, file: &Path) -> Result<(), String> {
    std::fs::write(file, timeline.to_svg())
        .map_err(|error| format!("{}: {error}", file.display()))?;
    println!("picture: {}", file.display());
    Ok(())
}
