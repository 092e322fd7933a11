//! `reelraft transcode IN OUT`: submit, upload, follow, fetch, in one command.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use clap::Args;
use reelraft_proto::v1::Job;

use crate::{
    client::Client,
    error::CliError,
    fetch::{Target, fetch},
    render::{Output, json},
    screen::print,
    spec::SpecArgs,
    submit::{RequestArgs, submit},
    watch,
    words::{counted, shell_quoted, size},
};

/// Arguments of `transcode`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft transcode film.mov film.mp4
  reelraft transcode film.mov small.mp4 --width 640 --crf 28
  reelraft transcode film.mov film.webm --codec vp9 --audio opus --audio-bitrate 96k
  reelraft transcode film.mov archive.mkv --codec ffv1 --audio copy

Ctrl-C leaves the job running, once its upload is complete; `reelraft job watch`
and `reelraft job fetch` come back to it.")]
pub struct TranscodeArgs {
    /// The video to read
    #[arg(value_name = "IN")]
    pub source: PathBuf,
    /// The file to write; its ending names the container
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    #[command(flatten)]
    /// What the output shall be.
    pub spec: SpecArgs,
    #[command(flatten)]
    /// Whose job it is.
    pub request: RequestArgs,
}

/// Runs `transcode`.
///
/// # Errors
/// Any that its four steps have.
pub async fn run(client: &mut Client, args: TranscodeArgs, output: Output) -> Result<(), CliError> {
    let spec = args.spec.to_wire(Some(&args.out))?;
    refuse_own_source(&args)?;
    let target = Target::open(&args.out)?;
    client.follow();
    let job = up_to_success(client, &args, spec).await?;
    fetch(client, &job, target).await?;
    match output {
        Output::Json => print(&json::line(&json::Job::from(&job)))?,
        Output::Table => {
            // Sound alone has none.
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

async fn up_to_success(
    client: &mut Client,
    args: &TranscodeArgs,
    spec: reelraft_proto::v1::Spec,
) -> Result<Job, CliError> {
    let screen = client.screen().clone();
    let told = screen.clone();
    let submitted = submit(client, args.source.clone(), spec, &args.request, |job| {
        told.notice(&format!("job {}", job.id));
        Ok(())
    })
    .await?;
    let id = submitted.job.id;
    screen.on_interrupt(format!(
        "the job goes on; come back with `reelraft job watch {id}` and \
         `reelraft job fetch {id} {}`",
        shell_quoted(&args.out.to_string_lossy())
    ));
    let job = watch::follow_with_bar(client, &id).await?;
    watch::outcome(&job)?;
    Ok(job)
}

/// Replacing the source by its own transcode is never what was meant.
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
