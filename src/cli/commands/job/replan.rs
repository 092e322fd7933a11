//! `reelraft job replan`: has a job made anew under another encoder build.

use reelraft_proto::v1::JobRef;

use super::by_id::print_job;
use crate::{client::Client, error::CliError, render::Output};

/// Runs `job replan`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let planned = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.replan(request).await
        })
        .await?;
    print_job(&planned, output)
}
