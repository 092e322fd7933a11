//! `reelraft job measure`: how an output compares with its source, as its shards were
//! compared while they were encoded.

use std::path::PathBuf;

use clap::Args;
use reelraft_proto::v1::JobRef;

use crate::{
    client::Client,
    commands::document::print_document,
    error::{CliError, os_reason},
    render::{Output, measured, measured::MeasuredFilm, screen::print},
};

#[derive(Args, Clone, Debug)]
pub struct MeasureArgs {
    /// The job's id
    #[arg(value_name = "ID")]
    pub job: String,
    /// Write a drawing over time too, with the joints between shards marked; an
    /// existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Runs `job measure`.
///
/// # Errors
/// The node's refusal, a job that was not measured, or a file that can't be written.
pub async fn run(client: &mut Client, args: MeasureArgs, output: Output) -> Result<(), CliError> {
    let job = JobRef {
        job: args.job.clone(),
    };
    let answer = client
        .call(job, async |mut jobs, request| jobs.proof(request).await)
        .await?;
    let film = MeasuredFilm::of_proof(&answer.json).map_err(|error| CliError::Nonsense {
        what: format!("a proof that can't be read ({error})"),
    })?;
    if film.shards.is_empty() {
        return Err(CliError::usage(
            format!("job {} was not measured, and its source is gone", args.job),
            "submit the file again with --measure: an output is compared while its source is there",
        ));
    }
    if let Some(path) = &args.svg {
        std::fs::write(path, measured::svg(&film)).map_err(|error| CliError::Local {
            what: format!("{} can't be written", path.display()),
            cause: os_reason(&error),
            hint: "choose another file for --svg".into(),
        })?;
    }
    match output {
        Output::Json => print_document(&film, output),
        Output::Table => print(&measured::table(&film)),
    }
}
