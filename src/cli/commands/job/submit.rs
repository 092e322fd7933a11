//! `reelraft job submit`: makes a job of a local file, and follows it unless
//! told to detach.

use std::path::PathBuf;

use clap::Args;

use reelraft_proto::documents;

use super::by_id::get;
use crate::{
    client::Client,
    commands::request_options::RequestArgs,
    error::CliError,
    job_end::outcome,
    render::{
        Output,
        format::size,
        json,
        screen::{print, printable},
    },
    spec_options::SpecArgs,
    transfer::{
        follow::follow_with_bar,
        submit::{Submitted, submit},
    },
};

/// Arguments of `job submit`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft job submit film.mov --width 1280
  id=$(reelraft job submit film.mov --container mkv --detach)
  reelraft job submit film.mov --request-id film-v1      # safe to repeat")]
pub struct SubmitArgs {
    /// The video to read, or a URL from which the cluster fetches it
    #[arg(value_name = "IN")]
    pub source: PathBuf,
    /// Return as soon as the cluster has the whole file, or knows its URL
    #[arg(long)]
    pub detach: bool,
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Runs `job submit`.
///
/// # Errors
/// The source's or the spec's refusal, or the job's own failure.
pub async fn run(client: &mut Client, args: SubmitArgs, output: Output) -> Result<(), CliError> {
    let submission = args
        .request
        .submission(args.source, args.spec.to_wire(None)?);
    let Submitted { job, existed } = submit(client, submission, |job| match output {
        Output::Table => print(&format!("{}\n", printable(&job.id))),
        Output::Json => Ok(()),
    })
    .await?;
    let id = job.id;
    client.screen().on_interrupt(format!(
        "the job continues; return to it with `reelraft job watch {id}`"
    ));
    let job = if args.detach {
        get(client, &id, false).await?
    } else {
        follow_with_bar(client, &id).await?
    };
    if output == Output::Json {
        print(&json::line(&documents::Submitted::new(&job, existed)))?;
    }
    if args.detach {
        return Ok(());
    }
    outcome(&job)?;
    client.screen().notice(&format!(
        "job {id} succeeded: {}; get it with `reelraft job fetch {id} OUT`",
        size(job.output_bytes)
    ));
    Ok(())
}
