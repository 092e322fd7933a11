//! `reelraft job logs` and `job get-part`: one task of a job.

use std::path::PathBuf;

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{TaskDetails, TaskRef},
};

use crate::{
    client::Client,
    commands::request_options::ReplaceArgs,
    error::CliError,
    render::{Output, format::size, json, screen::print},
    transfer::{fetch::fetch_part, output_file::OutputFile},
};

/// A task of a job.
#[derive(Args, Clone, Debug)]
pub struct TaskArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// analyze, audio, shard, extras or assemble
    #[arg(value_name = "KIND")]
    pub kind: String,
    /// Its number, as `job tasks` prints it
    #[arg(value_name = "NUMBER")]
    pub number: u32,
}

/// Arguments of `job get-part`.
#[derive(Args, Clone, Debug)]
pub struct PartArgs {
    #[command(flatten)]
    pub task: TaskArgs,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    #[command(flatten)]
    pub replace: ReplaceArgs,
}

async fn show(client: &mut Client, args: TaskArgs) -> Result<TaskDetails, CliError> {
    let TaskArgs { job, kind, number } = args;
    client
        .call(TaskRef { job, kind, number }, async |mut jobs, request| {
            jobs.show_task(request).await
        })
        .await
}

/// Runs `job logs`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn logs(client: &mut Client, args: TaskArgs, output: Output) -> Result<(), CliError> {
    let details = show(client, args).await?;
    print(&match output {
        Output::Json => json::line(&documents::TaskDetails::from(&details)),
        Output::Table => details.log,
    })
}

/// Runs `job get-part`.
///
/// # Errors
/// The node's refusal, or a file that can't be written.
pub async fn get_part(client: &mut Client, args: PartArgs, output: Output) -> Result<(), CliError> {
    let file = OutputFile::check(&args.out, args.replace.overwrite, None, client.screen())?;
    let job = args.task.job.clone();
    let details = show(client, args.task).await?;
    let task = details.task.clone().unwrap_or_default();
    fetch_part(client, &job, &task, file).await?;
    match output {
        Output::Json => print(&json::line(&documents::TaskDetails::from(&details))),
        Output::Table => {
            client.screen().notice(&format!(
                "{} is fetched: {}, BLAKE3 {}",
                args.out.display(),
                size(task.bytes_out),
                task.hash
            ));
            Ok(())
        }
    }
}
