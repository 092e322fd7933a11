//! One job, named by its id: the argument, the request and the printing that
//! several subcommands share.

use clap::Args;
use reelraft_proto::v1::{GetRequest, Job};

use crate::{
    client::Client,
    error::CliError,
    render::{Output, json, screen::print, table},
};

/// A job by its id.
#[derive(Args, Clone, Debug)]
pub struct JobIdArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
}

/// Gets a job; `local` takes it as one node knows it.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn get(client: &mut Client, job: &str, local: bool) -> Result<Job, CliError> {
    let request = GetRequest {
        job: job.to_string(),
        local,
    };
    client
        .call(request, async |mut jobs, request| jobs.get(request).await)
        .await
}

/// Prints a job as a document or a card.
///
/// # Errors
/// That standard output can't be written.
pub fn print_job(job: &Job, output: Output) -> Result<(), CliError> {
    print(&match output {
        Output::Json => json::line(&json::Job::from(job)),
        Output::Table => table::job(job),
    })
}
