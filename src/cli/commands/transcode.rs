//! `reelraft transcode IN OUT`: submits, uploads, follows and fetches in one
//! command.

use std::path::PathBuf;

use clap::Args;
use reelraft_proto::v1::{Job, JobState, Spec};

use crate::{
    client::Client,
    commands::request_options::{ReplaceArgs, RequestArgs},
    error::CliError,
    job_end::outcome,
    render::{Output, json, progress::summary, screen::print},
    spec_options::SpecArgs,
    transfer::{
        fetch::fetch,
        follow::follow_with_bar,
        output_file::OutputFile,
        submit::{Submission, submit},
    },
};

/// Arguments of `transcode`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft transcode film.mov film.mp4
  reelraft transcode film.mov small.mp4 --width 640 --crf 28
  reelraft transcode film.mov film.webm --codec vp9 --audio opus --audio-bitrate 96k
  reelraft transcode film.mov archive.mkv --codec ffv1 --audio copy

Once the upload is complete, Ctrl-C leaves the job running; `reelraft job watch`
and `reelraft job fetch` return to it.")]
pub struct TranscodeArgs {
    /// The video to read
    #[arg(value_name = "IN")]
    pub source: PathBuf,
    /// The file to write; its extension selects the container
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    #[command(flatten)]
    pub replace: ReplaceArgs,
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Runs `transcode`.
///
/// # Errors
/// Any error of its four steps.
pub async fn run(client: &mut Client, args: TranscodeArgs, output: Output) -> Result<(), CliError> {
    let spec = args.spec.to_wire(Some(&args.out))?;
    let (overwrite, source) = (args.replace.overwrite, Some(args.source.as_path()));
    let file = OutputFile::check(&args.out, overwrite, source, client.screen())?;
    if args.request.request_id.is_none() {
        // A new job: what is there can't be its output.
        file.refuse_existing()?;
    }
    client.follow_job();
    let job = run_job(client, &args, spec, &file).await?;
    fetch(client, &job, file).await?;
    match output {
        Output::Json => print(&json::line(&json::Job::from(&job)))?,
        Output::Table => {
            client.screen().notice(&format!(
                "{} is done: {}, BLAKE3 {}",
                args.out.display(),
                summary(&job),
                job.output_hash,
            ));
        }
    }
    Ok(())
}

/// Submits the job and follows it until it has succeeded.
async fn run_job(
    client: &mut Client,
    args: &TranscodeArgs,
    spec: Spec,
    file: &OutputFile,
) -> Result<Job, CliError> {
    let screen = client.screen().clone();
    let submission = Submission {
        source: args.source.clone(),
        spec,
        tenant: args.request.tenant.clone(),
        request_id: args.request.id(),
    };
    let submitted = submit(client, submission, |job| {
        screen.notice(&format!("job {}", job.id));
        if job.state() == JobState::Succeeded {
            // OUT may be its very output: that is seen when it is fetched.
            return Ok(());
        }
        file.refuse_existing()
    })
    .await?;
    let id = submitted.job.id;
    screen.on_interrupt(format!(
        "the job continues; return to it with `reelraft job watch {id}` and {}",
        file.fetch_command(&id)
    ));
    let job = follow_with_bar(client, &id).await?;
    outcome(&job)?;
    Ok(job)
}
