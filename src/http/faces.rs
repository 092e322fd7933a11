//! What all handlers share, and the parts of a path that they take.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use reelraft_model::{Problem, TaskKind};
use utoipa::{
    IntoParams, PartialSchema,
    openapi::{
        ObjectBuilder, RefOr, Required, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn},
    },
};

use super::{counts::Counts, refusal::Refusal, tails::Tails};
use crate::api::{Access, Api, TaskRequest};

/// What all requests share.
#[derive(Clone)]
pub struct Port {
    pub access: Access,
    pub tails: Arc<Tails>,
    pub counts: Arc<Counts>,
}

impl Port {
    /// A port that has counted and kept nothing yet.
    pub fn new(access: Access) -> Self {
        Port {
            access,
            tails: Arc::default(),
            counts: Arc::default(),
        }
    }
}

/// What one request may use. It says what the caller may ask, so that no handler
/// can do without.
pub struct Faces {
    pub api: Api,
    pub tails: Arc<Tails>,
    pub counts: Arc<Counts>,
}

impl FromRequestParts<Port> for Faces {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let api = parts.extensions.get::<Api>().cloned();
        let api = api.ok_or_else(|| {
            let cause = "nobody has let this request in";
            Problem::new("unauthenticated", cause, "ask another path")
        })?;
        let (tails, counts) = (port.tails.clone(), port.counts.clone());
        Ok(Faces { api, tails, counts })
    }
}

/// The key, the tenant or the node that a path names.
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

/// The task that a path names.
pub struct TaskId(pub TaskRequest);

impl IntoParams for TaskId {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let kinds = TaskKind::ALL.map(TaskKind::name);
        let number = "Counts from 0; of audio it is the track, of assemble the node";
        let part = |name: &str, schema: RefOr<Schema>| {
            let part = ParameterBuilder::new().name(name).required(Required::True);
            part.parameter_in(ParameterIn::Path).schema(Some(schema))
        };
        vec![
            part("kind", text.enum_values(Some(kinds)).into()).build(),
            part("number", u32::schema())
                .description(Some(number))
                .build(),
        ]
    }
}

impl FromRequestParts<Port> for TaskId {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, port: &Port) -> Result<Self, Refusal> {
        let path = Path::<(String, String, u32)>::from_request_parts(parts, port).await;
        let path = path.map(|Path((job, kind, number))| TaskRequest { job, kind, number });
        path.map(TaskId).map_err(|_| {
            let cause = "the task in the path can't be read";
            Refusal::bad_request(cause, "name it by its kind and its number, as in shard/3")
        })
    }
}

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
