//! `reelraft job metadata`: what ffprobe says of a job's source and output.

use reelraft_proto::v1::JobRef;

use crate::{client::Client, commands::document::print_stored, error::CliError, render::Output};

/// Runs `job metadata`.
///
/// # Errors
/// The node's refusal, or metadata that is not JSON.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.metadata(request).await
        })
        .await?;
    print_stored("metadata", &answer.json, output)
}
