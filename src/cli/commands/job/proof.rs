//! `reelraft job proof`: the stored proof that every frame is in the output
//! exactly once.

use reelraft_proto::v1::JobRef;

use crate::{client::Client, commands::document::print_stored, error::CliError, render::Output};

/// Runs `job proof`.
///
/// # Errors
/// The node's refusal, or a proof that is not JSON.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.proof(request).await
        })
        .await?;
    print_stored("a proof", &answer.json, output)
}
