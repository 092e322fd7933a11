//! `reelraft job retry`: has a job tried again that ended without an output.

use reelraft_proto::v1::JobRef;

use super::by_id::print_job;
use crate::{client::Client, error::CliError, render::Output};

/// Runs `job retry`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let retried = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.retry(request).await
        })
        .await?;
    print_job(&retried, output)
}
