//! Pictures of a job's source, for the page.

use axum::{
    body::Body,
    http::{HeaderValue, Uri, header},
    response::Response,
};

use super::{
    faces::{Faces, JobId},
    limits::{PICTURE_WIDTH, PICTURE_WIDTH_MAX, PICTURE_WIDTH_MIN},
    openapi::Binary,
    refusal::{Answer, Refusal},
    request::known,
};

/// Gives a picture of a running job's source.
///
/// A node makes one at a time; another is refused, and other nodes may be asked.
#[utoipa::path(
    get, path = "/jobs/{id}/picture", operation_id = "job_picture", tag = "jobs",
    params(
        ("at_ms" = Option<u64>, Query, description = "From the film's start"),
        ("width" = Option<u32>, Query, description = "In pixels, from 16 to 1280; the default is 320"),
    ),
    responses(
        (status = 200, description = "A JPEG", body = Binary, content_type = "image/jpeg"),
        (status = 409),
        (status = 410),
        (status = 416),
    ),
)]
pub async fn picture(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [at_ms, width] = known(&uri, ["at_ms", "width"])?;
    let at_ms = number(&at_ms, 0)?;
    let width = number(&width, PICTURE_WIDTH)?;
    if !(PICTURE_WIDTH_MIN..=PICTURE_WIDTH_MAX).contains(&width) {
        let cause = format!("a picture {width} pixels wide");
        return Err(Refusal::bad_request(cause, "give a width from 16 to 1280"));
    }
    let picture = faces.api.picture(&id, at_ms, width as u32).await?;
    let mut response = Response::new(Body::from(picture));
    for (name, value) in [
        (header::CONTENT_TYPE, "image/jpeg"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

fn number(text: &str, default: u64) -> Result<u64, Refusal> {
    match text {
        "" => Ok(default),
        text => text.parse().map_err(|_| {
            let cause = format!("'{text}' is no whole number");
            Refusal::bad_request(cause, "give a number, or leave it out")
        }),
    }
}
