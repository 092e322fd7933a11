//! `reelraft job cancel`: stops a job for good.

use reelraft_proto::v1::JobRef;

use super::by_id::print_job;
use crate::{client::Client, error::CliError, render::Output};

/// Runs `job cancel`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let cancelled = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.cancel(request).await
        })
        .await?;
    print_job(&cancelled, output)
}
