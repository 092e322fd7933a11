//! `reelraft transcode IN OUT`: submits, uploads, follows and fetches in one
//! command.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use clap::Args;
use reelraft_proto::v1::{Job, Spec};

use crate::{
    client::Client,
    commands::request_options::RequestArgs,
    error::CliError,
    job_end::outcome,
    render::{
        Output,
        format::{counted, shell_quoted, size},
        json,
        screen::print,
    },
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
    refuse_own_source(&args)?;
    let file = OutputFile::open(&args.out)?;
    client.follow_job();
    let job = run_job(client, &args, spec).await?;
    fetch(client, &job, file).await?;
    match output {
        Output::Json => print(&json::line(&json::Job::from(&job)))?,
        Output::Table => {
            // An audio-only job has none.
            let frames = match job.frames_total {
                0 => String::new(),
                total => format!("{}, ", counted(total, "frame")),
            };
            client.screen().notice(&format!(
                "{} is done: {}, {frames}BLAKE3 {}",
                args.out.display(),
                size(job.output_bytes),
                job.output_hash,
            ));
        }
    }
    Ok(())
}

/// Submits the job and follows it until it has succeeded.
async fn run_job(client: &mut Client, args: &TranscodeArgs, spec: Spec) -> Result<Job, CliError> {
    let screen = client.screen().clone();
    let submission = Submission {
        source: args.source.clone(),
        spec,
        tenant: args.request.tenant.clone(),
        request_id: args.request.id(),
    };
    let submitted = submit(client, submission, |job| {
        screen.notice(&format!("job {}", job.id));
        Ok(())
    })
    .await?;
    let id = submitted.job.id;
    screen.on_interrupt(format!(
        "the job continues; return to it with `reelraft job watch {id}` and \
         `reelraft job fetch {id} {}`",
        shell_quoted(&args.out.to_string_lossy())
    ));
    let job = follow_with_bar(client, &id).await?;
    outcome(&job)?;
    Ok(job)
}

/// Overwriting the source with its own transcode is never what the user meant.
fn refuse_own_source(args: &TranscodeArgs) -> Result<(), CliError> {
    let (Ok(source), Ok(out)) = (
        std::fs::metadata(&args.source),
        std::fs::metadata(&args.out),
    ) else {
        return Ok(());
    };
    if (source.dev(), source.ino()) == (out.dev(), out.ino()) {
        return Err(CliError::usage(
            "IN and OUT are the same file",
            "give OUT another name",
        ));
    }
    Ok(())
}
