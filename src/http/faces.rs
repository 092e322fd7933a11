//! What all handlers share, and the parts of a path that they take.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use reelraft_proto::auth::Gate;

use super::{refusal::Refusal, tails::Tails};
use crate::api::Api;

/// What the handlers share.
#[derive(Clone)]
pub struct Faces {
    pub api: Api,
    /// The check of the clients' secret.
    pub gate: Gate,
    pub tails: Arc<Tails>,
}

/// The job that a path names.
pub struct JobId(pub String);

impl FromRequestParts<Faces> for JobId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, faces: &Faces) -> Result<Self, Refusal> {
        let path = Path::<String>::from_request_parts(parts, faces).await;
        path.map(|Path(id)| JobId(id)).map_err(|_| {
            Refusal::bad_request(
                "the job's id in the path can't be read",
                "send it as it was given",
            )
        })
    }
}
