//! What the api gives, as the documents that every face answers with.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

/// A document as an answer.
pub fn json(status: StatusCode, document: &impl Serialize) -> Response {
    let text = serde_json::to_string(document)
        .expect("documents have string keys and plain values, which always serialize");
    json_text(status, text)
}

/// One that may have a secret in it, which nobody is to store.
pub fn json_with_secret(status: StatusCode, document: &impl Serialize) -> Response {
    let mut response = json(status, document);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// JSON that is text already.
pub fn json_text(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
