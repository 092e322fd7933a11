//! What supervisors, load balancers and dashboards ask.

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use reelraft_proto::documents::Status;

use super::{
    documents::json,
    faces::{Faces, Port},
    refusal::Answer,
    request::known,
};
use crate::{api::Consistency, grpc::convert::wire_status};

/// Says that the process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "alive", tag = "health", security(()),
    responses((status = 200, description = "It does", body = String)),
)]
pub async fn alive() -> &'static str {
    "ok\n"
}

/// Says whether this node can serve clients, a line a check.
#[utoipa::path(
    get, path = "/readyz", operation_id = "ready", tag = "health", security(()),
    responses(
        (status = 200, description = "It can", body = String),
        (status = 503, description = "It can't yet", body = String),
    ),
)]
pub async fn ready(State(port): State<Port>) -> Response {
    let status = port.access.operator().cluster_status(Consistency::Local);
    let own = status
        .nodes
        .iter()
        .find(|node| node.id == status.answered_by);
    let checks = [
        ("leader", status.leader.is_some(), "no leader is known"),
        (
            "encoders",
            own.is_some_and(|node| !node.build.is_empty()),
            "they are being tried, or can't be used",
        ),
    ];
    let mut text = String::new();
    for (name, good, why) in checks {
        text += &match good {
            true => format!("{name}: ok\n"),
            false => format!("{name}: {why}\n"),
        };
    }
    match checks.iter().all(|(_, good, _)| *good) {
        true => (StatusCode::OK, text).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
    }
}

/// Shows the nodes, and who leads.
#[utoipa::path(
    get, path = "/cluster", operation_id = "cluster_status", tag = "cluster",
    responses((status = 200, description = "The cluster as this node sees it", body = Status)),
)]
pub async fn cluster(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.cluster_status(Consistency::Linearizable));
    Ok(json(StatusCode::OK, &Status::from(&status)))
}
