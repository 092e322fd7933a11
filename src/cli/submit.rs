//! From a local file to a job that has all its bytes: submit under a request
//! id, upload, or make sure that a job found is for this very file (P5).

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use reelraft_proto::v1::{Job, JobState, Spec, SubmitRequest, SubmitResponse};

use crate::{
    client::Client, error::CliError, limits::CHUNK_BYTES, source::Source, upload::upload,
    words::shell_quoted,
};

/// Whose job it is, and how a retry is told from a new one.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Request")]
pub struct RequestArgs {
    /// Name of the request: the same one finds the same job again, also after
    /// an interruption [default: a random one]
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Whose job it is
    #[arg(long, value_name = "NAME", default_value = "default",
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub tenant: String,
}

/// A job as made or found, once the cluster has its whole source.
pub struct Submitted {
    /// The job.
    pub job: Job,
    /// Whether an earlier request had made it.
    pub existed: bool,
}

/// Submits `source` and gives the cluster all of it. `made` is told the job as
/// soon as there is one.
///
/// # Errors
/// The source's or the spec's refusal, or why the upload could not end.
pub async fn submit(
    client: &mut Client,
    source: PathBuf,
    spec: Spec,
    request: &RequestArgs,
    made: impl FnOnce(&Job) -> Result<(), CliError>,
) -> Result<Submitted, CliError> {
    let source = Arc::new(Source::open(&source)?);
    let request_id = match &request.request_id {
        Some(id) => id.clone(),
        None => random_id(),
    };
    // Said before the first byte leaves: the answer may never come, and yet
    // there may be a job.
    client.screen().on_interrupt(format!(
        "the same command with --request-id {} goes on where it stopped",
        shell_quoted(&request_id)
    ));
    let message = SubmitRequest {
        tenant: request.tenant.clone(),
        request_id,
        spec: Some(spec),
        source_name: source.name.clone(),
        source_bytes: source.bytes,
        source_fingerprint: source.fingerprint.clone(),
    };
    let SubmitResponse { job, existed } = client
        .call(message, async |mut jobs, request| {
            jobs.submit(request).await
        })
        .await?;
    let job = job.ok_or(CliError::Nonsense {
        what: "a submit without a job".into(),
    })?;
    if job.state() == JobState::Deleted {
        // Its request id is remembered longer than the job (P5).
        return Err(CliError::JobDeleted { job: job.id });
    }
    made(&job)?;
    if existed {
        client
            .screen()
            .notice(&format!("job {} was made by this request before", job.id));
    }
    match job.state() {
        JobState::Uploading if job.source_root.is_empty() => {
            upload(client, &job.id, &source).await?;
        }
        _ => same_source(&job, &source).await?,
    }
    Ok(Submitted { job, existed })
}

/// Refuses a job whose sealed source is not this file.
async fn same_source(job: &Job, source: &Arc<Source>) -> Result<(), CliError> {
    if job.source_root.is_empty() {
        return Ok(());
    }
    let file = source.clone();
    let root = tokio::task::spawn_blocking(move || file.root(CHUNK_BYTES)).await;
    match root {
        Ok(Ok(root)) if root == job.source_root => Ok(()),
        Ok(Ok(_)) => Err(CliError::SourceDiffers {
            path: source.path.clone(),
            job: job.id.clone(),
        }),
        Ok(Err(change)) => Err(CliError::SourceUnfit {
            path: source.path.clone(),
            cause: format!("it {} while it was read", change.0),
            hint: "try again when nothing writes to it any more".into(),
        }),
        Err(error) => Err(CliError::Local {
            what: "reading the source failed".into(),
            cause: error.to_string(),
            hint: "try again".into(),
        }),
    }
}

/// 128 random bits: two requests never meet by accident.
fn random_id() -> String {
    format!("r{:032x}", rand::random::<u128>())
}
