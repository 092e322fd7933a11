//! `reelraft job show`: one job in full, or its reference command.

use clap::Args;
use reelraft_proto::{documents, v1::JobRef};

use super::by_id::{get, print_job};
use crate::{
    client::Client,
    error::CliError,
    render::{Output, format::shell_quoted, json, screen::print},
};

/// Arguments of `job show`.
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// The single ffmpeg command whose frames and times the output must have
    #[arg(long)]
    pub reference: bool,
    /// As one node knows it, however old: needs no quorum
    #[arg(long)]
    pub local: bool,
}

/// Runs `job show`.
///
/// # Errors
/// The node's refusal, or that no node serves.
pub async fn run(client: &mut Client, args: ShowArgs, output: Output) -> Result<(), CliError> {
    if args.reference {
        return reference(client, args.job, output).await;
    }
    print_job(&get(client, &args.job, args.local).await?, output)
}

async fn reference(client: &mut Client, job: String, output: Output) -> Result<(), CliError> {
    let answer = client
        .call(JobRef { job }, async |mut jobs, request| {
            jobs.reference(request).await
        })
        .await?;
    print(&match output {
        Output::Json => json::line(&documents::Reference::from(&answer)),
        Output::Table => {
            let args: Vec<String> = answer.args.iter().map(|arg| shell_quoted(arg)).collect();
            format!("{}\n", args.join(" "))
        }
    })?;
    if output == Output::Table && !answer.note.is_empty() {
        client.screen().notice(&answer.note);
    }
    Ok(())
}
