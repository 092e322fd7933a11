//! What all handlers share, and the parts of a path that they take.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use reelraft_proto::auth::Gate;

use super::{counts::Counts, refusal::Refusal, tails::Tails};
use crate::api::{Api, TaskRequest};

/// What the handlers share.
#[derive(Clone)]
pub struct Faces {
    pub api: Api,
    /// The check of the clients' secret.
    pub gate: Gate,
    pub tails: Arc<Tails>,
    pub counts: Arc<Counts>,
}

/// The job that a path names.
pub struct JobId(pub String);

/// The task that a path names.
pub struct TaskId(pub TaskRequest);

impl FromRequestParts<Faces> for TaskId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, faces: &Faces) -> Result<Self, Refusal> {
        let path = Path::<(String, String, u32)>::from_request_parts(parts, faces).await;
        let path = path.map(|Path((job, kind, number))| TaskRequest { job, kind, number });
        path.map(TaskId).map_err(|_| {
            let cause = "the task in the path can't be read";
            Refusal::bad_request(cause, "name it by its kind and its number, as in shard/3")
        })
    }
}

/// The node that a path names.
pub struct NodeId(pub String);

impl FromRequestParts<Faces> for JobId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, faces: &Faces) -> Result<Self, Refusal> {
        id(parts, faces).await.map(JobId)
    }
}

impl FromRequestParts<Faces> for NodeId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, faces: &Faces) -> Result<Self, Refusal> {
        id(parts, faces).await.map(NodeId)
    }
}

async fn id(parts: &mut Parts, faces: &Faces) -> Result<String, Refusal> {
    let path = Path::<String>::from_request_parts(parts, faces).await;
    path.map(|Path(id)| id).map_err(|_| {
        Refusal::bad_request(
            "the id in the path can't be read",
            "send it as it was given",
        )
    })
}
