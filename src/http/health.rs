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

/// `GET /healthz`: whether the process answers.
pub async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether this node can serve clients, a line a check.
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

/// `GET /cluster`.
pub async fn cluster(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.cluster_status(Consistency::Linearizable));
    Ok(json(StatusCode::OK, &Status::from(&status)))
}
