//! Resumable uploads by tus 1.0 (tus.io/protocols/resumable-upload): creation,
//! termination and checksum. An upload is a job, under the job's id; its offset is what
//! is safe on all homes, so that it survives any node.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use reelraft_model::{JobState, Problem, limits::SOURCE_BYTES_MAX};
use utoipa::{
    PartialSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

use super::{
    checksum,
    faces::{Faces, JobId},
    openapi::Binary,
    refusal::{Answer, Refusal},
    request::{Turn, content_length, header_text, request_id, turn},
    sources::{self, Source},
    spec,
    spec_schema::SpecOptions,
};
use crate::{api::SubmitRequest, data::limits::CHUNK_BYTES};

const VERSION: &str = "1.0.0";

/// The protocol's version as a header's value.
struct Version;

impl PartialSchema for Version {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.enum_values(Some([VERSION])).into()
    }
}

const EXTENSIONS: &str = "creation,termination,checksum";
const OFFSET_TYPE: &str = "application/offset+octet-stream";

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// Says what this server can, in headers.
#[utoipa::path(
    options, path = "/uploads", operation_id = "describe_uploads", tag = "uploads",
    responses((status = 204, description = "The headers say it",
        headers(("Tus-Version" = String), ("Tus-Extension" = String), ("Tus-Max-Size" = u64),
            ("Tus-Checksum-Algorithm" = String)))),
)]
pub async fn describe() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Says on every answer what the protocol wants said.
pub async fn sign(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        ("tus-resumable", VERSION.to_string()),
        ("tus-version", VERSION.to_string()),
        ("tus-extension", EXTENSIONS.to_string()),
        ("tus-max-size", SOURCE_BYTES_MAX.to_string()),
        ("tus-checksum-algorithm", checksum::ALGORITHMS.to_string()),
    ] {
        insert(&mut response, HeaderName::from_static(name), &value);
    }
    response
}

/// Makes a job whose source is uploaded by tus. Of `Upload-Metadata` the file's
/// name is taken; libraries add much more.
#[utoipa::path(
    post, path = "/uploads", operation_id = "create_upload", tag = "uploads",
    params(
        ("Tus-Resumable" = inline(Version), Header),
        ("Upload-Length" = u64, Header, description = "Size of the source", minimum = 1),
        ("Upload-Metadata" = Option<String>, Header, description = "Pairs of a name and a value in base64, with commas between them"),
        ("Idempotency-Key" = Option<String>, Header, description = "The request's own id: sent again, it finds its job"),
        Turn,
        SpecOptions,
    ),
    responses(
        (status = 201, description = "Made", headers(("Location" = String), ("Tus-Resumable" = String))),
        (status = 412),
    ),
)]
pub async fn create(faces: Faces, headers: HeaderMap, uri: Uri) -> Answer {
    check_version(&headers)?;
    let (turn, options) = turn(&uri)?;
    let spec = spec::from_pairs(options)?;
    let total = number(&headers, UPLOAD_LENGTH)?.ok_or_else(|| {
        Refusal::bad_request("no Upload-Length", "say how many bytes the source has")
    })?;
    let metadata = metadata(&headers)?;
    let named = |wanted: &str| metadata.iter().find(|(name, _)| name == wanted);
    let source_name = named("filename").or_else(|| named("name"));
    let source_name = source_name.map_or_else(String::new, |(_, value)| value.clone());
    let request = SubmitRequest {
        request_id: request_id(&headers)?,
        spec,
        source_fingerprint: spec::fingerprint(total, &source_name),
        source_name,
        source_bytes: total,
        priority: turn.priority,
        max_retries: turn.max_retries,
        deadline_unix_ms: turn.deadline_unix_ms,
        ..Default::default()
    };
    let id = faces.api.submit(request).await?.job.job.id;
    let mut response = StatusCode::CREATED.into_response();
    let place = format!("/api/v1/uploads/{id}");
    insert(&mut response, header::LOCATION, &place);
    Ok(response)
}

/// Says how far an upload is.
#[utoipa::path(
    head, path = "/uploads/{id}", operation_id = "upload_offset", tag = "uploads",
    params(("Tus-Resumable" = inline(Version), Header)),
    responses(
        (status = 200, description = "The headers say it",
         headers(("Upload-Offset" = u64), ("Upload-Length" = u64), ("Tus-Resumable" = String))),
        (status = 410),
        (status = 412),
    ),
)]
pub async fn offset(faces: Faces, JobId(id): JobId, headers: HeaderMap) -> Answer {
    check_version(&headers)?;
    let (job, at) = faces.api.uploaded(&id).await?;
    let total = job.source_bytes;
    let offset = at + faces.tails.after(&id, at).len() as u64;
    let mut response = StatusCode::OK.into_response();
    insert(&mut response, UPLOAD_OFFSET, &offset.to_string());
    insert(&mut response, UPLOAD_LENGTH, &total.to_string());
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// Goes on from an offset.
#[utoipa::path(
    patch, path = "/uploads/{id}", operation_id = "append_upload", tag = "uploads",
    params(
        ("Tus-Resumable" = inline(Version), Header),
        ("Upload-Offset" = u64, Header, description = "Where the body begins"),
        ("Upload-Checksum" = Option<String>, Header, description = "`sha1` or `sha256`, a space, and the body's sum in base64"),
    ),
    request_body(content = Binary, content_type = "application/offset+octet-stream"),
    responses(
        (status = 204, description = "Taken", headers(("Upload-Offset" = u64), ("Tus-Resumable" = String))),
        (status = 410),
        (status = 412),
        (status = 415),
        (status = 460),
    ),
)]
pub async fn append(faces: Faces, JobId(id): JobId, headers: HeaderMap, body: Body) -> Answer {
    check_version(&headers)?;
    if header_text(&headers, "content-type")? != Some(OFFSET_TYPE) {
        return Err(Refusal(Problem::new(
            "unsupported-type",
            format!("the body is not {OFFSET_TYPE}"),
            "send it with that Content-Type",
        )));
    }
    let offset = number(&headers, UPLOAD_OFFSET)?
        .ok_or_else(|| Refusal::bad_request("no Upload-Offset", "say where the body begins"))?;
    let wanted = checksum::wanted(&headers)?;
    let (job, at) = faces.api.uploaded(&id).await?;
    let total = job.source_bytes;
    let length = content_length(&headers)?;
    if offset.saturating_add(length.unwrap_or(0)) > total {
        let cause = format!("the body would end beyond the {total} bytes");
        let hint = "send what is missing and no more";
        return Err(Refusal(Problem::new("too-large", cause, hint)));
    }
    let rest = faces.tails.after(&id, at);
    let there = at + rest.len() as u64;
    if offset != there {
        let cause = format!("{there} bytes are there, and not {offset}");
        return Err(Refusal(sources::wrong_offset(cause)));
    }
    let body = match wanted {
        Some(wanted) => wanted.check(&faces.api, body, length).await?,
        None => body,
    };
    let mut source = Source::after(at / CHUNK_BYTES as u64, &rest, body, total);
    let sealed = match sources::append(&faces.api, &id, &mut source).await {
        Ok(sealed) => sealed,
        Err(problem) => {
            // On a line that always breaks before a chunk is through nothing would move.
            // A checksum can't be here: its body has come whole by now.
            if problem.kind == sources::BROKEN_OFF {
                faces.tails.keep_more(&id, source.at(), source.rest());
            }
            return Err(problem.into());
        }
    };
    let offset = match sealed {
        // All of it was there before.
        Some(_) if offset < total && source.at() < total => {
            let cause = format!("all {total} bytes are there, and the body begins at {offset}");
            return Err(Refusal(sources::wrong_offset(cause)));
        }
        Some(_) => total,
        None => source.at() + source.rest().len() as u64,
    };
    faces.tails.keep(&id, source.at(), source.rest());
    let mut response = StatusCode::NO_CONTENT.into_response();
    insert(&mut response, UPLOAD_OFFSET, &offset.to_string());
    Ok(response)
}

/// Gives an unfinished upload up.
#[utoipa::path(
    delete, path = "/uploads/{id}", operation_id = "terminate_upload", tag = "uploads",
    params(("Tus-Resumable" = inline(Version), Header)),
    responses(
        (status = 204, description = "It is gone", headers(("Tus-Resumable" = String))),
        (status = 410),
        (status = 412),
    ),
)]
pub async fn terminate(faces: Faces, JobId(id): JobId, headers: HeaderMap) -> Answer {
    check_version(&headers)?;
    let state = faces.api.upload_of(&id).await?.job.state();
    if state != JobState::Uploading {
        let cause = format!("job {id} is {}: its upload is whole", state.name());
        let hint = "delete the job itself, at /api/v1/jobs";
        return Err(Refusal(Problem::new("not-uploading", cause, hint)));
    }
    faces.api.delete(&id).await?;
    faces.tails.keep(&id, 0, b"");
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match header_text(headers, "tus-resumable")? {
        Some(VERSION) => Ok(()),
        _ => Err(Refusal(Problem::new(
            "unknown-version",
            "the request does not say Tus-Resumable: 1.0.0",
            "use tus 1.0.0",
        ))),
    }
}

fn number(headers: &HeaderMap, name: HeaderName) -> Result<Option<u64>, Refusal> {
    let text = header_text(headers, name.as_str())?;
    text.map(str::parse).transpose().map_err(|_| {
        let cause = format!("{name} is no number");
        Refusal::bad_request(cause, "send a count of bytes")
    })
}

/// Names and values of `Upload-Metadata`: pairs between commas, values in
/// base64, none for an option that has none.
fn metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
    let text = header_text(headers, "upload-metadata")?.unwrap_or_default();
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    let decoded = pairs.map(|pair| {
        let (name, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let bytes = BASE64_STANDARD.decode(value.trim()).ok()?;
        Some((name.to_string(), String::from_utf8(bytes).ok()?))
    });
    let decoded: Option<Vec<_>> = decoded.collect();
    decoded.ok_or_else(|| {
        Refusal::bad_request(
            "Upload-Metadata can't be read",
            "send pairs of a name and a value in base64, with commas between them",
        )
    })
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("it was made of plain ASCII");
    response.headers_mut().insert(name, value);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn metadata_is_read_as_the_protocol_says() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("upload-metadata", HeaderValue::from_static(text));
            metadata(&headers).map_err(|refused| refused.0.kind)
        };
        let found = read("filename ZmlsbS5tb3Y=,strict, width MTI4MA==").unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            found,
            [("filename", "film.mov"), ("strict", ""), ("width", "1280")]
        );
        assert_eq!(read("").unwrap(), []);
        for bad in ["filename %%%", "filename /w==", "a b c"] {
            assert_eq!(read(bad).unwrap_err(), "bad-request", "{bad}");
        }
    }
}
