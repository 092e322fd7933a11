//! From a local file, or a URL, to a job that has all its bytes: submits under a request
//! id, then uploads, or makes sure that a job which already exists was made
//! from this very file (P5).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use reelraft_proto::{
    bucket::is_bucket_url,
    v1::{Job, JobState, Spec, SubmitRequest, SubmitResponse},
};

use crate::{
    client::Client,
    error::CliError,
    limits::CHUNK_BYTES,
    render::format::shell_quoted,
    transfer::{compare::refuse_other, source::Source, upload::upload},
};

/// A job to be made.
#[derive(Clone)]
pub struct Submission {
    /// The local file, or a URL.
    pub source: PathBuf,
    pub spec: Spec,
    pub tenant: String,
    /// Repeating it finds the same job again.
    pub request_id: String,
    /// Where its end is told; empty: nowhere.
    pub webhook_url: String,
    /// Where its output is put; empty: nowhere.
    pub output_url: String,
    pub priority: i32,
    pub max_retries: Option<u32>,
    /// By the wall clock; 0 for none.
    pub deadline_unix_ms: u64,
}

/// A job, new or found, once the cluster has its whole source.
pub struct Submitted {
    pub job: Job,
    /// Whether an earlier request made it.
    pub existed: bool,
}

/// Submits a job and uploads its source. `on_job` is called with the job as
/// soon as it exists.
///
/// # Errors
/// The source's or the spec's refusal, or why the upload could not be completed.
pub async fn submit(
    client: &mut Client,
    submission: Submission,
    on_job: impl FnOnce(&Job) -> Result<(), CliError>,
) -> Result<Submitted, CliError> {
    let source = match as_url(&submission.source) {
        Some(_) => None,
        None => Some(Arc::new(Source::open(&submission.source)?)),
    };
    submit_opened(client, submission, source, on_job).await
}

/// As [`submit`], of a file that is open already; none for a URL.
///
/// # Errors
/// As [`submit`].
pub async fn submit_opened(
    client: &mut Client,
    submission: Submission,
    source: Option<Arc<Source>>,
    on_job: impl FnOnce(&Job) -> Result<(), CliError>,
) -> Result<Submitted, CliError> {
    let url = as_url(&submission.source).filter(|_| source.is_none());
    // Set before the first byte leaves: there may be a job even if its answer
    // never arrives.
    client.screen().on_interrupt(format!(
        "the same command with --request-id {} resumes where it stopped",
        shell_quoted(&submission.request_id)
    ));
    let message = SubmitRequest {
        tenant: submission.tenant,
        request_id: submission.request_id,
        spec: Some(submission.spec),
        priority: submission.priority,
        max_retries: submission.max_retries,
        deadline_unix_ms: submission.deadline_unix_ms,
        webhook_url: submission.webhook_url,
        output_url: submission.output_url,
        source_url: url.unwrap_or_default().to_string(),
        ..about(source.as_deref())
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
    on_job(&job)?;
    if existed {
        client
            .screen()
            .notice(&format!("this request already made job {}", job.id));
    }
    // One behind a URL is the cluster's business from here on.
    let Some(source) = source else {
        return Ok(Submitted { job, existed });
    };
    match job.state() {
        JobState::Uploading if job.source_root.is_empty() => {
            upload(client, &job.id, &source).await?;
        }
        // What became of these does not depend on this file.
        JobState::Failed | JobState::Cancelled => {}
        _ if job.source_root.is_empty() => {}
        _ => refuse_other(client, &source, &job.id, &job.source_root, CHUNK_BYTES).await?,
    }
    Ok(Submitted { job, existed })
}

/// A source that is no local file.
pub fn as_url(source: &Path) -> Option<&str> {
    let text = source.to_str()?;
    let is_http = ["http://", "https://"]
        .iter()
        .any(|it| text.starts_with(it));
    (is_http || is_bucket_url(text)).then_some(text)
}

/// What a request says of a local file.
fn about(source: Option<&Source>) -> SubmitRequest {
    match source {
        Some(source) => SubmitRequest {
            source_name: source.name.clone(),
            source_bytes: source.bytes,
            source_fingerprint: source.fingerprint.clone(),
            ..Default::default()
        },
        None => SubmitRequest::default(),
    }
}
