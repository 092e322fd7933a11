//! The beginning of a film while the rest of it is encoded.

use axum::{
    body::Body,
    http::{HeaderValue, Uri, header},
    response::Response,
};
use futures::TryStreamExt;

use super::{
    faces::{Faces, JobId},
    limits::{PREVIEW_SECONDS, PREVIEW_SECONDS_MAX},
    openapi::Binary,
    outputs::media_type,
    refusal::{Answer, Refusal},
    request::known,
    server::Cut,
};

/// Gives what is encoded of a running job's beginning, as a film of its own.
///
/// It has the sound as far as that is done, and neither subtitles nor chapters. A
/// node makes four at once; another is refused, and other nodes may be asked.
#[utoipa::path(
    get, path = "/jobs/{id}/preview", operation_id = "job_preview", tag = "jobs",
    params(
        ("seconds" = Option<u64>, Query, description = "How much of the film at most, from 1 to 600; the default is 60. The shard in which that lies is given whole"),
    ),
    responses(
        (status = 200, description = "The film; its type is that of the container", body = Binary, content_type = "*/*"),
        (status = 409),
        (status = 410),
    ),
)]
pub async fn preview(faces: Faces, JobId(id): JobId, cut: Cut, uri: Uri) -> Answer {
    let [seconds] = known(&uri, ["seconds"])?;
    let seconds = match seconds.as_str() {
        "" => PREVIEW_SECONDS,
        text => text
            .parse()
            .ok()
            .filter(|seconds| (1..=PREVIEW_SECONDS_MAX).contains(seconds))
            .ok_or_else(|| {
                let cause = format!("a preview of '{text}' seconds");
                Refusal::bad_request(cause, &format!("give 1 to {PREVIEW_SECONDS_MAX}"))
            })?,
    };
    let (made, container) = faces.api.preview(&id, seconds * 1000).await?;
    cut.bear_slow_reader();
    made.parts.on_stall(move || cut.cut());
    let ended = |problem: reelraft_model::Problem| problem.to_string();
    let mut response = Response::new(Body::from_stream(made.parts.map_err(ended)));
    let length = made.total_bytes.to_string();
    for (name, value) in [
        (header::CONTENT_TYPE, media_type(container.name())),
        (header::CONTENT_LENGTH, length.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let value = HeaderValue::from_str(value).expect("it was made of plain ASCII");
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
