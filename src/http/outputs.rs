//! Downloads: whole or in ranges, with what caches and players ask for.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reelraft_model::{Job, Problem};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    documents::json_with_secret,
    faces::{Faces, JobId, TaskId},
    openapi::Binary,
    ranges::{Wanted, wanted},
    refusal::{Answer, Refusal},
    request::{header_text, known},
    server::Cut,
};
use crate::api::Outgoing;

/// What may stand as it is in an extended header value (RFC 8187).
const NAME_LETTERS: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Gives a finished job's file, or a range of it.
#[utoipa::path(
    method(get, head), path = "/jobs/{id}/output", operation_id = "job_output", tag = "jobs",
    params(
        ("link" = Option<String>, Query, description = "From a link to it, in the place of a key"),
        ("Range" = Option<String>, Header, description = "`bytes=FROM-TO`, one range"),
        ("If-Range" = Option<String>, Header, description = "An entity tag: of another file, all is given"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags that the client has"),
    ),
    responses(
        (status = 200, description = "The whole file; its type is that of the container", body = Binary, content_type = "*/*",
         headers(("ETag" = String, description = "BLAKE3 of the whole file, in quotes"), ("Accept-Ranges" = String), ("Content-Disposition" = String))),
        (status = 206, description = "The range", body = Binary, content_type = "*/*",
         headers(("ETag" = String), ("Content-Range" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it"),
        (status = 409),
        (status = 410),
        (status = 416),
    ),
)]
pub async fn get(
    faces: Faces,
    JobId(id): JobId,
    cut: Cut,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    // Of a link nothing is left to look at: it has let the request in.
    let [_link] = known(&uri, ["link"])?;
    let job = faces.api.finished(&id).await?.job;
    answer(&faces, &job, cut, &method, &headers).await
}

/// A link to an output.
#[derive(Serialize, ToSchema)]
struct OutputLink {
    /// Relative to the node that gave it; any other takes it too.
    url: String,
    /// `null`: it needs no proof, and has no end.
    expires_unix_ms: Option<u64>,
}

/// Gives a link to a finished job's file, for those that can't send a key.
///
/// It holds for six hours, and no longer than the key that it was asked for with.
#[utoipa::path(
    get, path = "/jobs/{id}/output-link", operation_id = "job_output_link", tag = "jobs",
    responses((status = 200, description = "The link", body = OutputLink), (status = 409)),
)]
pub async fn link(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let link = faces.api.output_link(&id).await?;
    let path = format!("/api/v1/jobs/{id}/output");
    let link = match link {
        None => OutputLink {
            url: path,
            expires_unix_ms: None,
        },
        Some(link) => OutputLink {
            url: format!("{path}?link={}", link.text),
            expires_unix_ms: Some(link.until_unix_ms),
        },
    };
    Ok(json_with_secret(StatusCode::OK, &link))
}

/// Gives a part's bytes while its job runs, or a range of them.
#[utoipa::path(
    method(get, head), path = "/jobs/{id}/tasks/{kind}/{number}/output", operation_id = "task_output",
    tag = "jobs",
    params(
        TaskId,
        ("Range" = Option<String>, Header, description = "`bytes=FROM-TO`, one range"),
        ("If-Range" = Option<String>, Header, description = "An entity tag: of another part, all is given"),
        ("If-None-Match" = Option<String>, Header, description = "Entity tags that the client has"),
    ),
    responses(
        (status = 200, description = "The whole part", body = Binary, content_type = "application/octet-stream",
         headers(("ETag" = String, description = "Hash of the whole part, in quotes"), ("Accept-Ranges" = String), ("Content-Disposition" = String))),
        (status = 206, description = "The range", body = Binary, content_type = "application/octet-stream",
         headers(("ETag" = String), ("Content-Range" = String), ("Content-Disposition" = String))),
        (status = 304, description = "The client has it"),
        (status = 409),
        (status = 410),
        (status = 416),
    ),
)]
pub async fn part(
    faces: Faces,
    TaskId(request): TaskId,
    cut: Cut,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Answer {
    let [] = known(&uri, [])?;
    let task = faces.api.finished_part(&request).await?;
    let name = format!("{}-{}-{}", request.job, request.kind, request.number);
    let file = Stored {
        total: task.bytes_out,
        tag: format!("\"{}\"", task.hash),
        kind: "application/octet-stream",
        disposition: format!("attachment; filename=\"{name}\""),
    };
    let parts = async |from| Ok(faces.api.part(&request, from).await?.parts);
    give(file, parts, cut, &method, &headers).await
}

/// A finished job's file, or the part of it that the headers ask for.
pub async fn answer(
    faces: &Faces,
    job: &Job,
    cut: Cut,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let parts = async |from| Ok(faces.api.fetch(&job.id, from).await?.parts);
    give(Stored::output(job), parts, cut, method, headers).await
}

/// A file that is kept, as it is told of.
struct Stored {
    total: u64,
    /// Its hash as an entity tag.
    tag: String,
    kind: &'static str,
    disposition: String,
}

/// A file, or the part of it that the headers ask for; `parts` gives its bytes
/// from an offset on.
async fn give(
    file: Stored,
    parts: impl AsyncFnOnce(u64) -> Result<Outgoing<Bytes>, Problem>,
    cut: Cut,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    let Stored { total, ref tag, .. } = file;
    let mut response = Response::new(Body::empty());
    file.describe(response.headers_mut());
    if header_text(headers, "if-none-match")?.is_some_and(|known| names(known, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Ok(response);
    }
    // A range of another file than the client has begun with is of no use.
    let same = header_text(headers, "if-range")?.is_none_or(|known| known.trim() == *tag);
    let range = header_text(headers, "range")?.filter(|_| same && method == Method::GET);
    let (from, to) = match wanted(range, total) {
        Wanted::Whole => (0, total),
        Wanted::Part { from, to } => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let last = to - 1;
            let place = format!("bytes {from}-{last}/{total}");
            insert(response.headers_mut(), header::CONTENT_RANGE, &place);
            (from, to)
        }
        Wanted::Nothing => {
            let cause = format!("the file has {total} bytes, and none of them was asked for");
            let problem = Problem::new("past-the-end", cause, "ask for a range within it");
            let mut response = Refusal(problem).into_response();
            let place = format!("bytes */{total}");
            insert(response.headers_mut(), header::CONTENT_RANGE, &place);
            return Ok(response);
        }
    };
    let length = (to - from).to_string();
    insert(response.headers_mut(), header::CONTENT_LENGTH, &length);
    if method == Method::GET {
        let parts = parts(from).await?;
        cut.bear_slow_reader();
        parts.on_stall(move || cut.cut());
        *response.body_mut() = Body::from_stream(first_bytes(parts, to - from));
    }
    Ok(response)
}

/// Whether a list of entity tags has this one. A weak one is as good here.
fn names(list: &str, tag: &str) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}

/// The media type of a container, by its name.
pub fn media_type(container: &str) -> &'static str {
    match container {
        "mp4" => "video/mp4",
        "mkv" => "video/matroska",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        "m4a" => "audio/mp4",
        "opus" => "audio/ogg",
        "flac" => "audio/flac",
        _ => "application/octet-stream",
    }
}

impl Stored {
    fn output(job: &Job) -> Self {
        let container = job.spec.container().name();
        let stem = job.source_name.rsplit_once('.');
        let stem = stem.map_or(job.source_name.as_str(), |(stem, _)| stem);
        let stem = match stem {
            "" => "output".to_string(),
            // No part of a path.
            stem => stem.replace(['/', '\\'], "_"),
        };
        let name = utf8_percent_encode(&stem, &NAME_LETTERS);
        let disposition = format!(
            "attachment; filename=\"output.{container}\"; filename*=UTF-8''{name}.{container}"
        );
        Stored {
            total: job.output_bytes,
            tag: format!("\"{}\"", job.output_hash),
            kind: media_type(container),
            disposition,
        }
    }

    fn describe(&self, headers: &mut HeaderMap) {
        for (header, value) in [
            (header::CONTENT_TYPE, self.kind),
            (header::CONTENT_DISPOSITION, &self.disposition),
            (header::ETAG, &self.tag),
            (header::ACCEPT_RANGES, "bytes"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            insert(headers, header, value);
        }
    }
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("it was made of plain ASCII");
    headers.insert(name, value);
}

/// The first `left` bytes of a stream. An error ends the answer short of its
/// length, by which a client knows that it is not whole.
fn first_bytes(
    parts: impl Stream<Item = Result<Bytes, Problem>> + Send,
    left: u64,
) -> impl Stream<Item = Result<Bytes, String>> + Send {
    let parts = Box::pin(parts);
    futures::stream::unfold((parts, left), |(mut parts, left)| async move {
        if left == 0 {
            return None;
        }
        match parts.next().await? {
            Ok(mut part) => {
                part.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - part.len() as u64;
                Some((Ok(part), (parts, left)))
            }
            Err(problem) => Some((Err(problem.to_string()), (parts, 0))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_lists() {
        for list in ["\"ab\"", "W/\"ab\"", "\"x\", \"ab\"", "*"] {
            assert!(names(list, "\"ab\""), "{list}");
        }
        assert!(!names("\"abc\", ab", "\"ab\""));
    }
}
