//! Follows a job to its end, across broken streams and new leaders. What that
//! end means for the exit code is in [`crate::job_end`].

use std::time::Instant;

use reelraft_proto::v1::{Job, WatchEvent, WatchRequest};
use tonic::Status;

use crate::{
    client::{Client, RetryBudget, next_message, open_stream},
    error::CliError,
    job_end::has_ended,
    limits::WATCH_SILENCE_MS,
    render::progress::{Meter, job_line},
};

/// Follows a job until it has ended, and returns its last state. `on_event`
/// is called with every event.
///
/// # Errors
/// The node's refusal, `on_event`'s own error, or that no node serves.
pub async fn follow(
    client: &mut Client,
    job: &str,
    mut on_event: impl FnMut(&WatchEvent) -> Result<(), CliError>,
) -> Result<Job, CliError> {
    client.follow_job();
    let mut retries = RetryBudget::default();
    let mut leader = 0;
    loop {
        let status = match open(client, job).await {
            Err(status) => status,
            Ok(mut events) => loop {
                match next_message(&mut events, WATCH_SILENCE_MS).await {
                    Ok(Some(event)) => {
                        client.record_progress(&mut retries);
                        if event.leader != 0 {
                            if leader != 0 && leader != event.leader {
                                client.screen().notice(&format!(
                                    "node {} leads now (term {})",
                                    event.leader, event.term
                                ));
                            }
                            leader = event.leader;
                        }
                        on_event(&event)?;
                        if let Some(job) = event.job.filter(|job| has_ended(job.state())) {
                            client.screen().clear();
                            return Ok(job);
                        }
                    }
                    Ok(None) => break Status::unavailable("the node broke the watch off"),
                    Err(status) => break status,
                }
            },
        };
        client.retry_or_fail(&mut retries, &status).await?;
    }
}

async fn open(client: &mut Client, job: &str) -> Result<tonic::Streaming<WatchEvent>, Status> {
    let mut jobs = client.jobs().await?;
    let request = WatchRequest {
        job: job.to_string(),
    };
    open_stream(jobs.watch(request)).await
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
        meter.record(Instant::now(), job.frames_done);
        if job.state != state || screen.due() {
            state = job.state;
            let rate = meter.milli_per_second();
            screen.progress(&job_line(job, rate, screen.columns()));
        }
        Ok(())
    })
    .await
}
