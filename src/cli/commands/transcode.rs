//! `reelraft transcode IN OUT`: submits, uploads, follows and fetches in one
//! command. Several sources, or a folder of them, are done by [`super::many`].

use std::path::{Path, PathBuf};

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{Job, JobState, Spec},
};

use crate::{
    client::Client,
    commands::{
        library_options::{InPlaceArgs, LibraryArgs, existing, folder},
        many,
        request_options::{ReplaceArgs, RequestArgs},
    },
    error::CliError,
    job_end::outcome,
    library::{
        ends::{Redo, Target},
        one_file::Plan,
        walk::Walk,
    },
    render::{Output, json, progress::summary, screen::print},
    spec_options::SpecArgs,
    transfer::{fetch::fetch, follow::follow_with_bar, output_file::OutputFile, submit::submit},
};

/// Arguments of `transcode`.
#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "reelraft transcode [OPTIONS] IN OUT\n       \
                      reelraft transcode [OPTIONS] IN… --to DIR\n       \
                      reelraft transcode [OPTIONS] IN… --replace",
    after_help = "\
Examples:
  reelraft transcode film.mov film.mp4
  reelraft transcode film.mov small.mp4 --width 640 --crf 28
  reelraft transcode film.mov film.webm --codec vp9 --audio opus --audio-bitrate 96k
  reelraft transcode film.mov archive.mkv --codec ffv1 --audio copy
  reelraft transcode films/*.mov --to small --width 640
  reelraft transcode films --recursive --to small
  reelraft transcode /media --recursive --replace --codec hevc --skip-codec hevc,av1 \\
      --only-if-smaller=10 --keep-original 7d

Once the upload is complete, Ctrl-C leaves the job running; `reelraft job watch`
and `reelraft job fetch` return to it. Of many files, the same command goes on
where it stopped."
)]
pub struct TranscodeArgs {
    /// The video to read, or a URL from which the cluster fetches it; then the file
    /// to write, whose extension selects the container, or a folder. With --to or
    /// --replace: videos and folders of them, of which those are taken whose names
    /// end as films and sounds do
    #[arg(value_name = "IN|OUT", required = true, num_args = 1..)]
    pub paths: Vec<PathBuf>,
    /// The folder for the outputs, which keep their sources' names
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Take films in the folders of folders, too; outputs keep the structure
    #[arg(short = 'r', long)]
    pub recursive: bool,
    /// Leave sources whose output is there
    #[arg(long, conflicts_with = "overwrite")]
    pub skip_existing: bool,
    #[command(flatten)]
    pub overwrite: ReplaceArgs,
    #[command(flatten)]
    pub library: LibraryArgs,
    #[command(flatten)]
    pub in_place: InPlaceArgs,
    #[command(flatten)]
    pub spec: SpecArgs,
    #[command(flatten)]
    pub request: RequestArgs,
}

/// Runs `transcode`.
///
/// # Errors
/// Any error of its four steps; of several sources, that some failed.
pub async fn run(client: &mut Client, args: TranscodeArgs, output: Output) -> Result<(), CliError> {
    let (sources, target) = match (&args.to, args.in_place.replace, args.paths.as_slice()) {
        (Some(to), ..) => (args.paths.clone(), Target::Folder(folder(to)?)),
        (None, true, _) => (args.paths.clone(), Target::Source(args.in_place.keep())),
        (None, false, [source, out]) if !out.is_dir() && !source.is_dir() => {
            args.library.refuse_rules()?;
            return one(client, &args, source, out, output).await;
        }
        (None, false, [sources @ .., out]) if !sources.is_empty() => {
            (sources.to_vec(), Target::Folder(folder(out)?))
        }
        _ => {
            let hint = "give the file to write, as in `reelraft transcode IN OUT`, or a folder \
                        with --to";
            return Err(CliError::usage("there is no OUT", hint));
        }
    };
    if args.request.request_id.is_some() || args.request.output_url.is_some() {
        return Err(CliError::usage(
            "one --request-id or --output-url for several outputs",
            "a request is one job: give it with one IN, and OUT as a file",
        ));
    }
    let plan = Plan {
        request: args.request.submission(PathBuf::new(), Spec::default()),
        due_in: None,
        rules: args.library.rules(),
        care: args.in_place.care(&args.library),
        walk: Walk {
            takes: args.in_place.takes(&args.spec),
            ..args.library.walk(args.recursive)
        },
        existing: existing(args.overwrite.overwrite, args.skip_existing),
        retry_failed: args.library.retry_failed,
        redo: Redo::OutputGone,
        delete_jobs: args.library.delete_jobs,
        spec: args.spec,
        target,
    };
    many::run(client, plan, &sources, args.library.at_once, output).await
}

async fn one(
    client: &mut Client,
    args: &TranscodeArgs,
    source: &Path,
    out: &Path,
    output: Output,
) -> Result<(), CliError> {
    let spec = args.spec.to_wire(Some(out))?;
    let overwrite = args.overwrite.overwrite;
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
