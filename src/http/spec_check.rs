//! What would become of a spec, before anything is sent.

use axum::{body::Body, http::StatusCode};
use reelraft_proto::documents::Spec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    documents::json, faces::Faces, refusal::Answer, request::json_body, spec,
    spec_schema::SpecOptions,
};
use crate::grpc::convert_spec::wire_spec;

/// Options, as a job is made of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    #[schema(value_type = SpecOptions)]
    spec: Map<String, Value>,
}

/// What they come to.
#[derive(Serialize, ToSchema)]
struct Resolved<'a> {
    /// With every default filled in.
    spec: Spec<'a>,
    /// The same by the command line.
    command: String,
    /// How many nodes can make it.
    nodes: usize,
}

/// Says what a job of these options would be, or refuses them as making it would.
#[utoipa::path(
    post, path = "/spec", operation_id = "check_spec", tag = "jobs",
    request_body = Asked,
    responses((status = 200, description = "It can be made", body = Resolved)),
)]
pub async fn check(faces: Faces, body: Body) -> Answer {
    let Asked { spec } = json_body(body).await?;
    let arguments = spec::arguments(spec)?;
    let (resolved, nodes) = faces.api.check_spec(&spec::parsed(&arguments)?)?;
    let (container, wire) = (resolved.container().name(), wire_spec(&resolved));
    let resolved = Resolved {
        spec: Spec::from(&wire),
        command: format!(
            "reelraft transcode FILE OUT.{container}{}",
            spec::words(&arguments)
        ),
        nodes,
    };
    Ok(json(StatusCode::OK, &resolved))
}
