//! `reelraft job proof`: the stored proof that every frame is in the output
//! exactly once.

use reelraft_proto::v1::JobRef;

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

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
    let proof: serde_json::Value =
        serde_json::from_str(&answer.json).map_err(|error| CliError::Nonsense {
            what: format!("a proof that is not JSON ({error})"),
        })?;
    print(&match output {
        Output::Json => json::line(&proof),
        Output::Table => table::document(&proof),
    })
}
