//! `reelraft job delete`: removes jobs and their bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use reelraft_proto::v1::{Job, JobRef, JobState, ListRequest};

use super::{by_id::print_job, duration::duration, pages::all_jobs};
use crate::{
    client::Client,
    error::CliError,
    job_end::has_ended,
    limits::PAGE_ROWS,
    render::{Output, format::counted, json, screen::print, table},
};

/// Arguments of `job delete`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft job delete ID
  reelraft job delete --finished --older-than 7d")]
pub struct DeleteArgs {
    /// The job's whole id
    #[arg(value_name = "ID", required_unless_present = "finished")]
    pub job: Option<String>,
    /// Delete all jobs that have ended, well or badly
    #[arg(long, conflicts_with = "job")]
    pub finished: bool,
    /// Only those that ended so long ago, such as 12h or 7d
    #[arg(long, value_name = "TIME", requires = "finished", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only this tenant's jobs
    #[arg(long, value_name = "NAME", requires = "finished")]
    pub tenant: Option<String>,
}

/// Runs `job delete`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, args: DeleteArgs, output: Output) -> Result<(), CliError> {
    if let Some(job) = args.job {
        let deleted = delete(client, job).await?;
        return print_job(&deleted, output);
    }
    let request = ListRequest {
        tenant: args.tenant.unwrap_or_default(),
        page_size: PAGE_ROWS,
        ..Default::default()
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let until = now
        .unwrap_or_default()
        .saturating_sub(args.older_than.unwrap_or_default());
    let mut deleted = Vec::new();
    for job in ended_until(all_jobs(client, request).await?, until) {
        match delete(client, job.id).await {
            Ok(job) => deleted.push(job),
            // Another has deleted it meanwhile.
            Err(error) if error.kind() == "not-found" => {}
            Err(error) => return Err(error),
        }
    }
    let count = counted(deleted.len() as u64, "job");
    client.screen().notice(&format!("deleted {count}"));
    print(&match output {
        Output::Json => json::line(&json::JobList::new(&deleted, "")),
        Output::Table => table::jobs(&deleted),
    })
}

async fn delete(client: &mut Client, job: String) -> Result<Job, CliError> {
    client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.delete(request).await
        })
        .await
}

/// Those that had ended by a time since 1970.
fn ended_until(jobs: Vec<Job>, until: Duration) -> Vec<Job> {
    let old = |job: &Job| u128::from(job.ended_unix_ms) <= until.as_millis();
    let ended = |job: &Job| has_ended(job.state()) && job.state() != JobState::Deleted;
    jobs.into_iter()
        .filter(|job| ended(job) && old(job))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_ended_long_enough_ago_is_deleted() {
        let job = |id: &str, state, ended_unix_ms| {
            let mut job = Job {
                id: id.into(),
                ended_unix_ms,
                ..Default::default()
            };
            job.set_state(state);
            job
        };
        let jobs = vec![
            job("old", JobState::Succeeded, 1_000),
            job("new", JobState::Succeeded, 9_000),
            job("running", JobState::Encoding, 0),
            job("failed", JobState::Failed, 2_000),
            job("gone", JobState::Deleted, 1_000),
        ];
        let found = ended_until(jobs, Duration::from_secs(5));
        let ids: Vec<&str> = found.iter().map(|job| job.id.as_str()).collect();
        assert_eq!(ids, ["old", "failed"]);
    }
}
