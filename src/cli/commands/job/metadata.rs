//! `reelraft job metadata`: what ffprobe says of a job's source and output.

use reelraft_proto::v1::JobRef;

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

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
    let metadata: serde_json::Value =
        serde_json::from_str(&answer.json).map_err(|error| CliError::Nonsense {
            what: format!("metadata that is not JSON ({error})"),
        })?;
    print(&match output {
        Output::Json => json::line(&metadata),
        Output::Table => table::document(&metadata),
    })
}
