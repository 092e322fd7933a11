//! `reelraft job delete`: removes jobs and their bytes.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{Job, JobRef, JobState, ListRequest},
};

use super::{by_id::print_job, pages::all_jobs};
use crate::{
    client::Client,
    commands::duration::duration,
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
  reelraft job delete --finished --older-than 7d
  reelraft job delete --finished --tenant anna --yes

Their outputs are deleted too, on all nodes. --older-than counts from this machine's
clock to the time that the cluster has noted.")]
pub struct DeleteArgs {
    /// The job's whole id
    #[arg(value_name = "ID", required_unless_present = "finished")]
    pub job: Option<String>,
    /// Delete all jobs that have ended, well or badly; with --older-than or --yes
    #[arg(long, conflicts_with = "job")]
    pub finished: bool,
    /// Only those that ended so long ago, such as 12h or 7d
    #[arg(long, value_name = "TIME", requires = "finished", value_parser = duration)]
    pub older_than: Option<Duration>,
    /// Only this tenant's jobs
    #[arg(long, value_name = "NAME", requires = "finished")]
    pub tenant: Option<String>,
    /// Delete them however lately they ended
    #[arg(long, requires = "finished", conflicts_with = "older_than")]
    pub yes: bool,
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
    if args.older_than.is_none() && !args.yes {
        let whose = match &args.tenant {
            Some(tenant) => format!("tenant {tenant}"),
            None => "all tenants".to_string(),
        };
        return Err(CliError::usage(
            format!("this would delete each ended job of {whose}, and its output"),
            "say --older-than TIME, such as 7d, or --yes for all of them",
        ));
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
    let found = ended_until(all_jobs(client, request).await?, until);
    client
        .screen()
        .notice(&format!("deleting {}", whose(&found)));
    let mut deleted = Vec::new();
    let end = delete_all(client, found, &mut deleted).await;
    // Of those that are gone the user must hear however it ended.
    let count = counted(deleted.len() as u64, "job");
    client.screen().notice(&format!("deleted {count}"));
    print(&match output {
        Output::Json => json::line(&documents::JobList::new(&deleted, "")),
        Output::Table => table::jobs(&deleted),
    })?;
    end
}

/// Deletes jobs one after the other; those that it has come to are in
/// `deleted`, even where it fails.
async fn delete_all(
    client: &mut Client,
    jobs: Vec<Job>,
    deleted: &mut Vec<Job>,
) -> Result<(), CliError> {
    for job in jobs {
        match delete(client, job.id).await {
            Ok(job) => deleted.push(job),
            // Another has deleted it meanwhile.
            Err(error) if error.kind() == "not-found" => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many jobs these are, and of which tenants.
fn whose(jobs: &[Job]) -> String {
    let mut tenants: BTreeMap<&str, u64> = BTreeMap::new();
    for job in jobs {
        *tenants.entry(&job.tenant).or_default() += 1;
    }
    let each = tenants
        .iter()
        .map(|(tenant, count)| format!("{count} of {tenant}"));
    let each = each.collect::<Vec<_>>().join(", ");
    let count = counted(jobs.len() as u64, "job");
    match each.is_empty() {
        true => count,
        false => format!("{count}: {each}"),
    }
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

    #[test]
    fn it_is_said_how_many_jobs_go_and_whose_they_are() {
        let job = |tenant: &str| Job {
            tenant: tenant.into(),
            ..Default::default()
        };
        let jobs = ["b", "a", "b"].map(job);
        assert_eq!(whose(&jobs), "3 jobs: 1 of a, 2 of b");
        assert_eq!(whose(&[]), "0 jobs");
    }
}
