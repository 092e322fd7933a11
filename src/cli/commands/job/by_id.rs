//! One job, named by its id: the argument, the request and the printing that
//! several subcommands share.

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{GetRequest, Job, ListRequest},
};

use super::pages::all_jobs;
use crate::{
    client::Client,
    error::CliError,
    limits::{JOB_ID_BYTES, PAGE_ROWS},
    render::{Output, json, screen::print, table},
};

/// A job by its id.
#[derive(Args, Clone, Debug)]
pub struct JobIdArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
}

/// The one job whose id begins so, with or without the first letter. What no
/// job fits is left to the node, which may know more than the one asked here.
///
/// # Errors
/// [`CliError::Usage`] if several do, the node's refusal, or that none serves.
pub async fn full_id(client: &mut Client, given: String) -> Result<String, CliError> {
    if given.len() >= JOB_ID_BYTES || given.is_empty() {
        return Ok(given);
    }
    let request = ListRequest {
        page_size: PAGE_ROWS,
        // A finished output can be had without a quorum, too.
        local: true,
        ..Default::default()
    };
    let ids = all_jobs(client, request)
        .await?
        .into_iter()
        .map(|job| job.id);
    let fits = |id: &String| {
        id.starts_with(&given) || id.get(1..).is_some_and(|digits| digits.starts_with(&given))
    };
    let fitting: Vec<String> = ids.filter(fits).collect();
    if fitting.contains(&given) {
        return Ok(given);
    }
    match fitting.as_slice() {
        [] => Ok(given),
        [one] => Ok(one.clone()),
        [one, other, ..] => Err(CliError::usage(
            format!("{} jobs begin with {given}", fitting.len()),
            format!("give more of the id, such as {one} or {other}"),
        )),
    }
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
        Output::Json => json::line(&documents::Job::from(job)),
        Output::Table => table::job(job),
    })
}
