//! What supervisors, load balancers and dashboards ask.

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use reelraft_proto::documents::{Node, Nodes, Status};

use super::{
    documents::json,
    faces::{Faces, NamedInPath, Port},
    refusal::Answer,
    request::known,
};
use crate::{
    api::{Check, Consistency},
    grpc::convert::{wire_node, wire_status},
};

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
    let checks = port.access.operator().checks();
    let mut text = String::new();
    for Check { name, trouble } in &checks {
        let found = trouble.unwrap_or("ok");
        text += &format!("{name}: {found}\n");
    }
    match checks.iter().all(|check| check.trouble.is_none()) {
        true => (StatusCode::OK, text).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, text).into_response(),
    }
}

/// Lists the nodes.
#[utoipa::path(
    get, path = "/nodes", operation_id = "list_nodes", tag = "cluster",
    responses((status = 200, description = "All of them", body = Nodes)),
)]
pub async fn nodes(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.cluster_status(Consistency::Linearizable));
    Ok(json(StatusCode::OK, &Nodes::from(&status)))
}

/// Shows a node.
#[utoipa::path(
    get, path = "/nodes/{id}", operation_id = "show_node", tag = "cluster",
    responses((status = 200, description = "The node", body = Node)),
)]
pub async fn node(faces: Faces, NamedInPath(id): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let node = wire_node(faces.api.node(&id)?);
    Ok(json(StatusCode::OK, &Node::from(&node)))
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
