//! `reelraft job delete`: removes a job and its bytes.

use reelraft_proto::v1::JobRef;

use super::by_id::print_job;
use crate::{client::Client, error::CliError, render::Output};

/// Runs `job delete`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let deleted = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.delete(request).await
        })
        .await?;
    print_job(&deleted, output)
}
