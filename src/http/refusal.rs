//! A refusal as an answer: `application/problem+json` (RFC 9457) with our kind,
//! cause and hint.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use reelraft_model::Problem;
use reelraft_proto::problem::http_status_of;
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::RETRY_AFTER_S;

/// A [`Problem`] on its way to a client.
#[derive(Debug)]
pub struct Refusal(pub Problem);

/// The status of a job that failed by what is in its source: the request was
/// understood, and could not be done.
pub const UNPROCESSABLE: StatusCode = StatusCode::UNPROCESSABLE_ENTITY;

/// What a handler gives.
pub type Answer = Result<Response, Refusal>;

/// The members of RFC 9457, and ours.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub struct Document<'a> {
    r#type: &'a str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    kind: &'a str,
    cause: &'a str,
    hint: &'a str,
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal(problem)
    }
}

impl Refusal {
    /// A refusal of what the request says.
    pub fn bad_request(cause: impl Into<String>, hint: &str) -> Self {
        Refusal(Problem::new("bad-request", cause, hint))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(http_status_of(&self.0.kind));
        self.with_status(status.expect("the table has statuses of HTTP alone"))
    }
}

impl Refusal {
    /// The refusal under a status that its kind alone does not give.
    pub fn with_status(self, code: StatusCode) -> Response {
        let Problem { kind, cause, hint } = &self.0;
        let status = code.as_u16();
        let document = Document {
            r#type: "about:blank",
            // What the status means, as RFC 9457 asks of this type.
            title: code.canonical_reason().unwrap_or_default(),
            status,
            detail: cause,
            kind,
            cause,
            hint,
        };
        let body = serde_json::to_string(&document).expect("texts and a number serialize");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == 503 || status == 429 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_S));
        }
        response
    }
}
