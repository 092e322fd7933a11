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

/// `GET /healthz`: whether the process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether this node can serve clients, a line a check.
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

/// `GET /nodes`.
pub async fn nodes(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.cluster_status(Consistency::Linearizable));
    Ok(json(StatusCode::OK, &Nodes::from(&status)))
}

/// `GET /nodes/{id}`.
pub async fn node(faces: Faces, NamedInPath(id): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let node = wire_node(faces.api.node(&id)?);
    Ok(json(StatusCode::OK, &Node::from(&node)))
}

/// `GET /cluster`.
pub async fn cluster(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.cluster_status(Consistency::Linearizable));
    Ok(json(StatusCode::OK, &Status::from(&status)))
}
