//! `reelraft transcode IN OUT`: submits, uploads, follows and fetches in one
//! command. Of several sources one is done after the other: each has the whole
//! cluster.

use std::path::{Path, PathBuf};

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{Job, JobState, Spec},
};

use crate::{
    client::Client,
    commands::{
        out_folder::{Outputs, outputs},
        request_options::{ReplaceArgs, RequestArgs},
    },
    error::CliError,
    exit,
    job_end::outcome,
    render::{Output, format::counted, json, progress::summary, screen::print},
    spec_options::SpecArgs,
    transfer::{fetch::fetch, follow::follow_with_bar, output_file::OutputFile, submit::submit},
};

/// Arguments of `transcode`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  reelraft transcode film.mov film.mp4
  reelraft transcode film.mov small.mp4 --width 640 --crf 28
  reelraft transcode film.mov film.webm --codec vp9 --audio opus --audio-bitrate 96k
  reelraft transcode film.mov archive.mkv --codec ffv1 --audio copy
  reelraft transcode films/*.mov small --width 640   # small is a folder

Once the upload is complete, Ctrl-C leaves the job running; `reelraft job watch`
and `reelraft job fetch` return to it.")]
pub struct TranscodeArgs {
    /// The video to read, or a URL from which the cluster fetches it; several,
    /// or a folder of them, if OUT is a folder. Of a folder those are taken whose
    /// names end as films and sounds do
    #[arg(value_name = "IN", required = true, num_args = 1..)]
    pub sources: Vec<PathBuf>,
    /// The file to write; its extension selects the container. Or a folder
    #[arg(value_name = "OUT", required = true)]
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
/// Any error of its four steps; of several sources, the first one's.
pub async fn run(client: &mut Client, args: TranscodeArgs, output: Output) -> Result<(), CliError> {
    if let ([source], false) = (args.sources.as_slice(), args.out.is_dir()) {
        return one(client, &args, source, &args.out, output).await;
    }
    if args.request.request_id.is_some() {
        return Err(CliError::usage(
            "one --request-id for several outputs",
            "a request is one job: give it with one IN, and OUT as a file",
        ));
    }
    let container = args.spec.container.as_deref();
    let Outputs { pairs, passed_over } = outputs(&args.sources, &args.out, container)?;
    let screen = client.screen().clone();
    if passed_over > 0 {
        let files = counted(passed_over, "file");
        screen.notice(&format!("passed over {files} without a film's ending"));
    }
    let total = pairs.len();
    let (mut failed, mut first) = (0, None);
    for (number, (source, out)) in (1..).zip(pairs) {
        screen.notice(&format!("{number}/{total}: {}", source.display()));
        let end = match out {
            Ok(out) => one(client, &args, &source, &out, output).await,
            Err(clash) => Err(clash),
        };
        match end {
            Ok(()) => {}
            Err(error) if error.exit_code() == exit::UNREACHABLE => return Err(error),
            Err(error) => {
                screen.clear();
                failed += 1;
                screen.notice(&format!("{} failed: {error}", source.display()));
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => Ok(()),
        Some(error) => {
            let all = counted(total as u64, "source");
            screen.notice(&format!("{failed} of {all} failed; the first one:"));
            Err(error)
        }
    }
}

async fn one(
    client: &mut Client,
    args: &TranscodeArgs,
    source: &Path,
    out: &Path,
    output: Output,
) -> Result<(), CliError> {
    let spec = args.spec.to_wire(Some(out))?;
    let overwrite = args.replace.overwrite;
    let file = OutputFile::check(out, overwrite, Some(source), client.screen())?;
    if args.request.request_id.is_none() {
        // A new job: what is there can't be its output.
        file.refuse_existing()?;
    }
    client.follow_job();
    let job = run_job(client, args, source, spec, &file).await?;
    fetch(client, &job, file).await?;
    match output {
        Output::Json => print(&json::line(&documents::Job::from(&job)))?,
        Output::Table => {
            for line in ending(out, &job) {
                client.screen().notice(&line);
            }
        }
    }
    Ok(())
}

/// What is said of a finished job: what came of it, and what `job show` notes
/// of it, such as what is left out.
fn ending(out: &Path, job: &Job) -> Vec<String> {
    let (made, hash) = (summary(job), &job.output_hash);
    let mut lines = vec![format!("{} is done: {made}, BLAKE3 {hash}", out.display())];
    if !job.plan_note.is_empty() {
        lines.push(format!("note: {}", job.plan_note));
    }
    lines
}

/// Submits the job and follows it until it has succeeded.
async fn run_job(
    client: &mut Client,
    args: &TranscodeArgs,
    source: &Path,
    spec: Spec,
    file: &OutputFile,
) -> Result<Job, CliError> {
    let screen = client.screen().clone();
    let submission = args.request.submission(source.to_path_buf(), spec);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_job_notes_is_said_at_its_end() {
        let mut job = Job::default();
        assert_eq!(ending(Path::new("o.mp4"), &job).len(), 1);
        job.plan_note = "a data track (gpmd) is left out".into();
        let lines = ending(Path::new("o.mp4"), &job);
        assert!(lines[0].starts_with("o.mp4 is done: "), "{lines:?}");
        assert_eq!(lines[1..], ["note: a data track (gpmd) is left out"]);
    }
}
