//! Upload, wait and download in one request: `curl -T film.mov …/transcode -o
//! film.mp4`. The job is an ordinary one, and goes on if the client goes away
//! once its film is there.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, Uri},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use reelraft_model::{Job, JobState, Problem};
use reelraft_proto::problem::http_status_of;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{
    faces::Faces,
    limits::{LEADER_PATIENCE, WATCH_AGAIN},
    openapi::Binary,
    outputs,
    refusal::{Answer, Refusal, UNPROCESSABLE},
    request::{IDEMPOTENCY_KEY, Turn, content_length, request_id, turn},
    server::Cut,
    sources, spec,
    spec_schema::SpecOptions,
};
use crate::api::{Api, SubmitRequest};

/// Names the job in the answer, a refusal too.
const JOB_HEADER: &str = "reelraft-job";

/// What a source without a name is called.
const UNNAMED: &str = "upload";

/// Takes a film, waits, and gives it back transcoded.
#[utoipa::path(
    method(put, post), path = "/transcode", operation_id = "transcode", tag = "transcode",
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own id: sent again, it finds its job"),
        Turn,
        SpecOptions,
    ),
    request_body(content = Binary, content_type = "application/octet-stream"),
    responses(
        (status = 200, description = "The film; its type is that of the container", body = Binary, content_type = "*/*",
         headers(("Reelraft-Job" = String, description = "The job's id, of a refusal too"), ("ETag" = String), ("Content-Disposition" = String))),
        (status = 404),
        (status = 410),
        (status = 411),
        (status = 422),
    ),
)]
pub async fn run(faces: Faces, cut: Cut, headers: HeaderMap, uri: Uri, body: Body) -> Answer {
    let (turn, options) = turn(&uri)?;
    let spec = spec::from_pairs(options)?;
    let source_bytes = content_length(&headers)?.ok_or_else(|| {
        Problem::new(
            "length-required",
            "the request does not say how long its body is",
            "send a Content-Length, as `curl -T FILE` does; a pipe has none",
        )
    })?;
    let request = SubmitRequest {
        request_id: request_id(&headers)?,
        spec,
        source_name: UNNAMED.to_string(),
        source_bytes,
        source_fingerprint: spec::fingerprint(source_bytes, UNNAMED),
        priority: turn.priority,
        max_retries: turn.max_retries,
        deadline_unix_ms: turn.deadline_unix_ms,
        ..Default::default()
    };
    let job = faces.api.submit(request).await?.job.job;
    let without_key = !headers.contains_key(IDEMPOTENCY_KEY);
    let response = film(&faces, &job, without_key, cut, body).await;
    let mut response = response.unwrap_or_else(IntoResponse::into_response);
    let name = HeaderValue::try_from(&job.id).expect("ids are letters and digits");
    response.headers_mut().insert(JOB_HEADER, name);
    Ok(response)
}

/// The film of a job whose source is the body.
async fn film(faces: &Faces, job: &Job, without_key: bool, cut: Cut, body: Body) -> Answer {
    if job.state().ended() && job.state() != JobState::Succeeded {
        return Ok(refusal_of(job));
    }
    let mut orphan = Orphan {
        api: faces.api.clone(),
        job: without_key.then(|| job.id.clone()),
    };
    sources::whole(&faces.api, &job.id, body, job.source_bytes).await?;
    orphan.job = None;
    let job = ended(&faces.api, &job.id).await?;
    match job.state() {
        // Its own range or tag has no meaning before there is a file.
        JobState::Succeeded => {
            outputs::answer(faces, &job, cut, &Method::GET, &HeaderMap::new()).await
        }
        _ => Ok(refusal_of(&job)),
    }
}

/// Why there is no film.
fn refusal_of(job: &Job) -> Response {
    let cause = format!("job {} is {}", job.id, job.state().name());
    let hint = "send the file again, under another Idempotency-Key";
    let problem = job.problem.clone();
    Refusal(problem.unwrap_or_else(|| Problem::new("cancelled", cause, hint)))
        .with_status(UNPROCESSABLE)
}

/// A job that nobody could find again, as its request had no key. Dropped before
/// its film is there it is deleted, also where the client has gone.
struct Orphan {
    api: Api,
    /// None once it need not be deleted.
    job: Option<String>,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            let api = self.api.clone();
            tokio::spawn(async move {
                if let Err(problem) = api.delete(&job).await {
                    debug!(job, %problem, "a broken upload is left to expire");
                }
            });
        }
    }
}

/// Waits until a job has ended, through elections too.
async fn ended(api: &Api, id: &str) -> Result<Job, Problem> {
    let mut heard = Instant::now();
    loop {
        match last_state(api, id, &mut heard).await {
            Ok(Some(job)) => return Ok(job),
            Ok(None) => {}
            Err(problem) => {
                let passes = http_status_of(&problem.kind) == 503;
                if !passes || heard.elapsed() > LEADER_PATIENCE {
                    return Err(problem);
                }
            }
        }
        sleep(WATCH_AGAIN).await;
    }
}

/// Follows a job until it has ended; none where the stream breaks off.
async fn last_state(api: &Api, id: &str, heard: &mut Instant) -> Result<Option<Job>, Problem> {
    let mut events = api.watch(id).await?;
    while let Some(event) = events.next().await {
        let job = event?.job.job;
        *heard = Instant::now();
        if job.state().ended() {
            return Ok(Some(job));
        }
    }
    Ok(None)
}
