//! Resumable uploads by tus 1.0 (tus.io/protocols/resumable-upload): creation
//! and termination. An upload is a job, under the job's id; its offset is what
//! is safe on all homes, so that it survives any node.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use reelraft_model::{Job, JobState, Problem, limits::SOURCE_BYTES_MAX};

use super::{
    faces::{Faces, JobId},
    refusal::{Answer, Refusal},
    request::{content_length, header_text, known, request_id},
    sources::{self, Source},
    spec,
    tails::Reached,
};
use crate::api::{Consistency, SubmitRequest};

const VERSION: &str = "1.0.0";
const EXTENSIONS: &str = "creation,termination";
const OFFSET_TYPE: &str = "application/offset+octet-stream";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");

/// `OPTIONS /uploads`: what this server can.
pub async fn describe() -> Response {
    let mut response = answer(StatusCode::NO_CONTENT);
    for (name, value) in [
        ("tus-version", VERSION.to_string()),
        ("tus-extension", EXTENSIONS.to_string()),
        ("tus-max-size", SOURCE_BYTES_MAX.to_string()),
    ] {
        insert(&mut response, HeaderName::from_static(name), &value);
    }
    response
}

/// `POST /uploads`: makes a job. `Upload-Metadata` has the file's name and, by
/// their names, the options of the job.
pub async fn create(State(faces): State<Faces>, headers: HeaderMap, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    check_version(&headers)?;
    let total = number(&headers, UPLOAD_LENGTH)?.ok_or_else(|| {
        Refusal::bad_request("no Upload-Length", "say how many bytes the source has")
    })?;
    let mut source_name = String::new();
    let mut options = Vec::new();
    for (name, value) in metadata(&headers)? {
        match name.as_str() {
            "filename" | "name" => source_name = value,
            // What upload libraries add by themselves.
            "filetype" | "type" | "relativePath" => {}
            _ => options.push((name, value)),
        }
    }
    let request = SubmitRequest {
        request_id: request_id(&headers)?,
        spec: spec::from_pairs(options)?,
        source_fingerprint: spec::fingerprint(total, &source_name),
        source_name,
        source_bytes: total,
        ..Default::default()
    };
    let id = faces.api.submit(request).await?.job.job.id;
    let mut response = answer(StatusCode::CREATED);
    insert(
        &mut response,
        header::LOCATION,
        &format!("/api/v1/uploads/{id}"),
    );
    Ok(response)
}

/// `HEAD /uploads/{id}`: how far it is.
pub async fn offset(State(faces): State<Faces>, JobId(id): JobId, headers: HeaderMap) -> Answer {
    check_version(&headers)?;
    let job = faces.api.job(&id, Consistency::Linearizable).await?.job;
    let reached = reached(&faces, &job).await?;
    let mut response = answer(StatusCode::OK);
    let offset = reached.bytes + reached.rest.len() as u64;
    insert(&mut response, UPLOAD_OFFSET, &offset.to_string());
    insert(&mut response, UPLOAD_LENGTH, &job.source_bytes.to_string());
    insert(&mut response, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// `PATCH /uploads/{id}`: goes on from an offset.
pub async fn append(
    State(faces): State<Faces>,
    JobId(id): JobId,
    headers: HeaderMap,
    body: Body,
) -> Answer {
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
    let job = faces.api.job(&id, Consistency::Linearizable).await?.job;
    let length = content_length(&headers)?.unwrap_or(0);
    if offset.saturating_add(length) > job.source_bytes {
        let cause = format!("the body would end beyond the {} bytes", job.source_bytes);
        let hint = "send what is missing and no more";
        return Err(Refusal(Problem::new("too-large", cause, hint)));
    }
    let reached = reached(&faces, &job).await?;
    let there = reached.bytes + reached.rest.len() as u64;
    if there != offset {
        let cause = format!("{there} bytes are there, and the body begins at {offset}");
        let hint = "ask for the offset with HEAD, and go on from there";
        return Err(Refusal(Problem::new("wrong-offset", cause, hint)));
    }
    let source = Source::after(reached, body, job.source_bytes);
    let reached = match there == job.source_bytes {
        true => Reached {
            bytes: there,
            rest: Bytes::new(),
        },
        false => sources::append(&faces.api, &id, source).await?,
    };
    let offset = reached.bytes + reached.rest.len() as u64;
    faces.tails.keep(&id, reached);
    let mut response = answer(StatusCode::NO_CONTENT);
    insert(&mut response, UPLOAD_OFFSET, &offset.to_string());
    Ok(response)
}

/// `DELETE /uploads/{id}`: gives an unfinished upload up.
pub async fn terminate(State(faces): State<Faces>, JobId(id): JobId, headers: HeaderMap) -> Answer {
    check_version(&headers)?;
    let job = faces.api.job(&id, Consistency::Linearizable).await?.job;
    if job.state() != JobState::Uploading {
        let cause = format!("job {id} is {}: its upload is whole", job.state().name());
        let hint = "delete the job itself, at /api/v1/jobs";
        return Err(Refusal(Problem::new("not-uploading", cause, hint)));
    }
    faces.api.delete(&id).await?;
    Ok(answer(StatusCode::NO_CONTENT))
}

async fn reached(faces: &Faces, job: &Job) -> Result<Reached, Refusal> {
    let total = job.source_bytes;
    let bytes = match job.state() {
        JobState::Uploading => sources::reached(&faces.api, &job.id, total).await?,
        _ => total,
    };
    let rest = faces.tails.after(&job.id, bytes);
    Ok(Reached { bytes, rest })
}

fn check_version(headers: &HeaderMap) -> Result<(), Refusal> {
    match header_text(headers, TUS_RESUMABLE.as_str())? {
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

fn answer(status: StatusCode) -> Response {
    let mut response = status.into_response();
    insert(&mut response, TUS_RESUMABLE, VERSION);
    response
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
