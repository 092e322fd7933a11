//! What a job's state means for a command: whether anything will still change,
//! and with which error the command ends.

use reelraft_proto::v1::{Job, JobState};

use crate::error::CliError;

/// Whether a job in this state changes no more.
pub fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Deleted => true,
        JobState::Unspecified
        | JobState::Uploading
        | JobState::Analyzing
        | JobState::Encoding
        | JobState::Assembling => false,
    }
}

/// What an ended job means for the command that followed it.
///
/// # Errors
/// [`CliError::JobFailed`], [`CliError::JobCancelled`] or
/// [`CliError::JobDeleted`] for every end but success.
pub fn outcome(job: &Job) -> Result<(), CliError> {
    let id = job.id.clone();
    match job.state() {
        JobState::Failed => {
            let problem = job.problem.clone().unwrap_or_default();
            let cause = match problem.cause.as_str() {
                "" => "no cause is known".to_string(),
                cause => cause.to_string(),
            };
            Err(CliError::JobFailed {
                job: id,
                cause,
                hint: problem.hint,
            })
        }
        JobState::Cancelled => Err(CliError::JobCancelled { job: id }),
        JobState::Deleted => Err(CliError::JobDeleted { job: id }),
        _ => Ok(()),
    }
}
