//! `reelraft job deliveries`: what was or is to be sent for a job, attempt by
//! attempt.

use reelraft_proto::{documents::DeliveryList, v1::JobRef};

use crate::{client::Client, commands::document::print_document, error::CliError, render::Output};

/// Runs `job deliveries`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.deliveries(request).await
        })
        .await?;
    let list = DeliveryList::new(&answer.deliveries);
    print_document(&list, output)
}
