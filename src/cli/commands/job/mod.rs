//! `reelraft job …`: which subcommand is which file.

mod by_id;
mod cancel;
mod delete;
mod deliveries;
mod fetch;
mod list;
mod measure;
mod metadata;
pub(super) mod pages;
mod preview;
mod proof;
mod replan;
mod retry;
mod show;
mod submit;
mod task;
mod tasks;
mod wait;
mod watch;

use clap::Subcommand;

use self::by_id::full_id;
use crate::{client::Client, error::CliError, render::Output};

/// The subcommands of `job`.
#[derive(Subcommand, Clone, Debug)]
pub enum JobCommand {
    /// Upload a video and make a job of it; prints the job's id
    Submit(Box<submit::SubmitArgs>),
    /// List jobs, newest first
    #[command(visible_alias = "ls")]
    List(list::ListArgs),
    /// Show one job, or the reference command its output is compared with
    Show(show::ShowArgs),
    /// Follow a job until it ends, with one line for each change
    Watch(by_id::JobIdArgs),
    /// Wait until a job ends
    Wait(wait::WaitArgs),
    /// Stop a job for good
    Cancel(by_id::JobIdArgs),
    /// Make an unfinished job anew, from its analysis on, where its encoder build is gone
    Replan(by_id::JobIdArgs),
    /// Try a job again that failed or was cancelled, without another upload
    Retry(by_id::JobIdArgs),
    /// Fetch a finished job's output; resumes a partial file
    Fetch(fetch::FetchArgs),
    /// Write what is encoded of a running job's beginning to a file, to look at it
    Preview(preview::PreviewArgs),
    /// Show the proof of a finished job: every frame exactly once, by count and hash
    Proof(by_id::JobIdArgs),
    /// Show how a finished job's output compares with its source, over time; of one that
    /// was submitted with --measure or --target, or with --hold-source within the hour
    Measure(measure::MeasureArgs),
    /// Show what ffprobe says of a job's source and output
    Metadata(by_id::JobIdArgs),
    /// Show what became of each attempt of one task, and what ffmpeg said in it
    Logs(task::TaskArgs),
    /// Fetch a part of an output, such as a shard, while its job runs
    GetPart(task::PartArgs),
    /// List a job's tasks, among them its shards: state, node, attempt, times, bytes, hash
    #[command(visible_alias = "shards")]
    Tasks(by_id::JobIdArgs),
    /// List what was or is to be sent for a job: webhooks, and its output to --output-url
    Deliveries(by_id::JobIdArgs),
    /// Delete a job and its bytes, stopping it first if it runs; or all finished ones
    #[command(visible_alias = "rm")]
    Delete(delete::DeleteArgs),
}

/// Runs one `job` subcommand.
///
/// # Errors
/// The node's refusal, the job's own failure, or a local one.
pub async fn run(client: &mut Client, command: JobCommand, output: Output) -> Result<(), CliError> {
    match command {
        JobCommand::Submit(args) => submit::run(client, *args, output).await,
        JobCommand::List(args) => list::run(client, args, output).await,
        JobCommand::Show(mut args) => {
            args.job = full_id(client, args.job).await?;
            show::run(client, args, output).await
        }
        JobCommand::Watch(args) => {
            let job = full_id(client, args.job).await?;
            watch::run(client, &job, output).await
        }
        JobCommand::Wait(mut args) => {
            args.job = full_id(client, args.job).await?;
            wait::run(client, args, output).await
        }
        JobCommand::Fetch(mut args) => {
            args.job = full_id(client, args.job).await?;
            fetch::run(client, args, output).await
        }
        JobCommand::Preview(mut args) => {
            args.job = full_id(client, args.job).await?;
            preview::run(client, args, output).await
        }
        JobCommand::Proof(args) => {
            let job = full_id(client, args.job).await?;
            proof::run(client, job, output).await
        }
        JobCommand::Measure(mut args) => {
            args.job = full_id(client, args.job).await?;
            measure::run(client, args, output).await
        }
        JobCommand::Metadata(args) => {
            let job = full_id(client, args.job).await?;
            metadata::run(client, job, output).await
        }
        JobCommand::Logs(mut args) => {
            args.job = full_id(client, args.job).await?;
            task::logs(client, args, output).await
        }
        JobCommand::GetPart(mut args) => {
            args.task.job = full_id(client, args.task.job).await?;
            task::get_part(client, args, output).await
        }
        JobCommand::Tasks(args) => {
            let job = full_id(client, args.job).await?;
            tasks::run(client, job, output).await
        }
        JobCommand::Deliveries(args) => {
            let job = full_id(client, args.job).await?;
            deliveries::run(client, job, output).await
        }
        // What can't be undone takes the whole id.
        JobCommand::Replan(args) => replan::run(client, args.job, output).await,
        JobCommand::Retry(args) => retry::run(client, args.job, output).await,
        JobCommand::Cancel(args) => cancel::run(client, args.job, output).await,
        JobCommand::Delete(args) => delete::run(client, args, output).await,
    }
}
