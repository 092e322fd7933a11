//! `reelraft job fetch`: writes a finished job's output to a local file.

use std::path::PathBuf;

use clap::Args;
use reelraft_proto::{
    documents,
    v1::{GetRequest, Job, JobState},
};

use crate::{
    client::Client,
    commands::request_options::ReplaceArgs,
    error::{CliError, problem_of},
    render::{Output, format::size, json, screen::print},
    transfer::{fetch::fetch, output_file::OutputFile},
};

/// Arguments of `job fetch`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The bytes are written to .OUT.ID.part beside OUT and verified as a whole; only
then is it renamed to OUT. After an interruption the same command resumes where
it stopped. An existing OUT is refused unless it is that very output.")]
pub struct FetchArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    #[command(flatten)]
    pub replace: ReplaceArgs,
}

/// Runs `job fetch`.
///
/// # Errors
/// The node's refusal, the job's own failure, or a file that can't be written.
pub async fn run(client: &mut Client, args: FetchArgs, output: Output) -> Result<(), CliError> {
    let file = OutputFile::check(&args.out, args.replace.overwrite, None, client.screen())?;
    client
        .screen()
        .on_interrupt("the same command resumes where it stopped");
    let job = get_to_fetch(client, &args.job).await?;
    fetch(client, &job, file).await?;
    match output {
        Output::Json => print(&json::line(&documents::Job::from(&job))),
        Output::Table => {
            client.screen().notice(&format!(
                "{} is fetched: {}, BLAKE3 {}",
                args.out.display(),
                size(job.output_bytes),
                job.output_hash
            ));
            Ok(())
        }
    }
}

/// A job to fetch from. A finished output can be read from a living home
/// without a quorum, so where there is none a node's own copy of the table
/// will do.
async fn get_to_fetch(client: &mut Client, job: &str) -> Result<Job, CliError> {
    let request = GetRequest {
        job: job.to_string(),
        local: false,
    };
    client
        .call(request, async |mut jobs, request| {
            let refused = match jobs.get(request).await {
                Err(status) if problem_of(&status).kind == "no-leader" => status,
                answer => return answer,
            };
            let local = GetRequest {
                job: job.to_string(),
                local: true,
            };
            match jobs.get(local).await {
                Ok(job) if job.get_ref().state() == JobState::Succeeded => Ok(job),
                _ => Err(refused),
            }
        })
        .await
}
