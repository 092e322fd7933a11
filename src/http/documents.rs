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

/// JSON that is text already.
pub fn json_text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}
