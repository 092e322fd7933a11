//! `reelraft job wait`: returns when a job has ended, or its time is up.

use std::time::Duration;

use clap::Args;

use reelraft_proto::documents;

use crate::{
    client::Client,
    commands::duration::duration,
    error::CliError,
    job_end::outcome,
    render::{Output, json, screen::print},
    transfer::follow::follow_with_bar,
};

/// Arguments of `job wait`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes: 0 the job succeeded, 5 it failed or was cancelled, 6 the time is up.

Example:
  reelraft job wait ID --timeout 5m && reelraft job fetch ID out.mp4")]
pub struct WaitArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Longest wait, such as 90s, 5m or 2h [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

/// Runs `job wait`.
///
/// # Errors
/// [`CliError::TimedOut`], the node's refusal, or the job's own failure.
pub async fn run(client: &mut Client, args: WaitArgs, output: Output) -> Result<(), CliError> {
    client
        .screen()
        .on_interrupt("the job continues; the same command returns to it");
    let screen = client.screen().clone();
    let following = follow_with_bar(client, &args.job);
    let job = match args.timeout {
        None => following.await?,
        Some(limit) => match tokio::time::timeout(limit, following).await {
            Ok(job) => job?,
            Err(_) => {
                screen.clear();
                return Err(CliError::TimedOut {
                    job: args.job,
                    after: format!("{limit:?}"),
                });
            }
        },
    };
    if output == Output::Json {
        print(&json::line(&documents::Job::from(&job)))?;
    }
    outcome(&job)
}
