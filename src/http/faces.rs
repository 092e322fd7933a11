//! What all handlers share, and the parts of a path that they take.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use reelraft_model::Problem;

use super::{refusal::Refusal, tails::Tails};
use crate::api::{Access, Api};

/// What all requests share.
#[derive(Clone)]
pub struct Port {
    pub access: Access,
    pub tails: Arc<Tails>,
}

/// What one request may use. It says what the caller may ask, so that no handler
/// can do without.
pub struct Faces {
    pub api: Api,
    pub tails: Arc<Tails>,
}

impl FromRequestParts<Port> for Faces {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let api = parts.extensions.get::<Api>().cloned();
        let api = api.ok_or_else(|| {
            let cause = "nobody has let this request in";
            Problem::new("unauthenticated", cause, "ask another path")
        })?;
        let tails = port.tails.clone();
        Ok(Faces { api, tails })
    }
}

/// The key or the tenant that a path names.
pub struct NamedInPath(pub String);

impl FromRequestParts<Port> for NamedInPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, port).await;
        path.map(|Path(name)| NamedInPath(name)).map_err(|_| {
            Refusal::bad_request("the name in the path can't be read", "send it as UTF-8")
        })
    }
}

/// The job that a path names.
pub struct JobId(pub String);

impl FromRequestParts<Port> for JobId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, port).await;
        path.map(|Path(id)| JobId(id)).map_err(|_| {
            Refusal::bad_request(
                "the job's id in the path can't be read",
                "send it as it was given",
            )
        })
    }
}
