//! Upload, wait and download in one request: `curl -T film.mov …/transcode -o
//! film.mp4`. The job is an ordinary one, and goes on if the client goes away.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Uri},
};
use futures::StreamExt;
use reelraft_model::{Job, JobState, Problem};

use super::{
    faces::Faces,
    outputs,
    refusal::Answer,
    request::{content_length, query, request_id},
    server::Cut,
    sources, spec,
};
use crate::api::{Api, SubmitRequest};

/// Names the job in the answer.
const JOB_HEADER: &str = "reelraft-job";

/// What a source without a name is called.
const UNNAMED: &str = "upload";

/// `PUT` and `POST /transcode?OPTION=VALUE…`.
pub async fn run(
    State(faces): State<Faces>,
    cut: Cut,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Answer {
    let spec = spec::from_pairs(query(&uri)?)?;
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
        ..Default::default()
    };
    let id = faces.api.submit(request).await?.job.job.id;
    sources::whole(&faces.api, &id, body, source_bytes).await?;
    let job = ended(&faces.api, &id).await?;
    // Its own range or tag has no meaning before there is a file.
    let mut response = outputs::answer(&faces, &job, cut, &Method::GET, &HeaderMap::new()).await?;
    let name = HeaderValue::try_from(&id).expect("ids are hex digits");
    response.headers_mut().insert(JOB_HEADER, name);
    Ok(response)
}

/// Waits until a job has ended, whoever leads.
async fn ended(api: &Api, id: &str) -> Result<Job, Problem> {
    loop {
        let mut events = api.watch(id).await?;
        while let Some(event) = events.next().await {
            let job = event?.job.job;
            match job.state() {
                JobState::Succeeded => return Ok(job),
                state if state.ended() => {
                    let cause = format!("job {id} is {}", state.name());
                    let hint = "send the file again";
                    let problem = job.problem.clone();
                    return Err(problem.unwrap_or_else(|| Problem::new("cancelled", cause, hint)));
                }
                _ => {}
            }
        }
    }
}
