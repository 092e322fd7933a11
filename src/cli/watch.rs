//! Following a job to its end, across broken streams and new leaders, and what
//! its end means for the exit code.

use std::time::Instant;

use reelraft_proto::v1::{Job, JobState, WatchEvent, WatchRequest};
use tonic::Status;

use crate::{
    client::{Client, Outage, opened},
    error::CliError,
    progress::{Meter, job_line},
};

/// Follows a job until it has ended and returns it as it then is. `see` gets
/// every event.
///
/// # Errors
/// The node's refusal, `see`'s own error, or that no node serves.
pub async fn follow(
    client: &mut Client,
    job: &str,
    mut see: impl FnMut(&WatchEvent) -> Result<(), CliError>,
) -> Result<Job, CliError> {
    client.follow();
    let mut outage = Outage::default();
    let mut leader = 0;
    loop {
        let status = match open(client, job).await {
            Err(status) => status,
            Ok(mut events) => loop {
                match events.message().await {
                    Ok(Some(event)) => {
                        client.works(&mut outage);
                        if event.leader != 0 {
                            if leader != 0 && leader != event.leader {
                                client.screen().notice(&format!(
                                    "node {} leads now (term {})",
                                    event.leader, event.term
                                ));
                            }
                            leader = event.leader;
                        }
                        see(&event)?;
                        if let Some(job) = event.job.filter(|job| ended(job.state())) {
                            client.screen().clear();
                            return Ok(job);
                        }
                    }
                    Ok(None) => break Status::unavailable("the watch was broken off by the node"),
                    Err(status) => break status,
                }
            },
        };
        client.survive(&mut outage, &status).await?;
    }
}

async fn open(client: &mut Client, job: &str) -> Result<tonic::Streaming<WatchEvent>, Status> {
    let mut jobs = client.jobs().await?;
    let request = WatchRequest {
        job: job.to_string(),
    };
    opened(jobs.watch(request)).await
}

/// Follows a job with a progress bar on standard error.
///
/// # Errors
/// As [`follow`].
pub async fn follow_with_bar(client: &mut Client, job: &str) -> Result<Job, CliError> {
    let screen = client.screen().clone();
    let mut meter = Meter::default();
    let mut state = -1;
    follow(client, job, |event| {
        let Some(job) = &event.job else { return Ok(()) };
        meter.take(Instant::now(), job.frames_done);
        if job.state != state || screen.due() {
            state = job.state;
            let rate = meter.milli_per_second();
            screen.progress(&job_line(job, rate, screen.columns()));
        }
        Ok(())
    })
    .await
}

/// Whether a job in this state changes no more.
pub fn ended(state: JobState) -> bool {
    match state {
        JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Deleted => true,
        JobState::Unspecified
        | JobState::Uploading
        | JobState::Analyzing
        | JobState::Encoding
        | JobState::Assembling => false,
    }
}

/// What an ended job's end means.
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
