//! Who belongs to the cluster, and what its nodes do for what they keep: what `reelraft
//! cluster` does, by the same documents and refusals. All of it takes the cluster's
//! secret, and no key.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use futures::TryStreamExt;
use reelraft_model::{
    Problem,
    limits::{VOTERS_DEFAULT, VOTERS_MAX},
};
use reelraft_proto::documents::{Changed, LeaderTransferred, ScrubBegun, Upgrade};
use serde::Deserialize;
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

use super::{
    documents::json,
    faces::{Faces, NamedInPath},
    openapi::Binary,
    refusal::{Answer, Refusal},
    request::{json_body, known},
    server::Cut,
};
use crate::{api, grpc::convert::wire_status};

fn changed(existed: bool) -> Answer {
    Ok(json(StatusCode::OK, &Changed { existed }))
}

/// The node of a path.
fn named(NamedInPath(id): &NamedInPath) -> Result<u64, Refusal> {
    id.parse().map_err(|_| {
        let cause = format!("there is no node {id}");
        let hint = "see `reelraft cluster nodes`";
        Refusal(Problem::new("not-found", cause, hint))
    })
}

/// The node of a parameter; 0 where it is left out.
fn chosen(text: &str) -> Result<u64, Refusal> {
    match text.parse() {
        _ if text.is_empty() => Ok(0),
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Refusal::bad_request(
            format!("'{text}' is no node's id"),
            "give one of those that /api/v1/nodes lists",
        )),
    }
}

/// Says how far an upgrade of the nodes is, and who holds it.
#[utoipa::path(
    get, path = "/cluster/upgrade", operation_id = "upgrade_status", tag = "cluster",
    security(("secret" = []), ()),
    responses((status = 200, description = "What each node can read", body = Upgrade)),
)]
pub async fn upgrade(faces: Faces, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let status = wire_status(faces.api.upgrade_status()?);
    Ok(json(StatusCode::OK, &Upgrade::from(&status)))
}

/// Has a node hand over what it has, and take nothing new.
#[utoipa::path(
    post, path = "/nodes/{id}/drain", operation_id = "drain_node", tag = "cluster",
    security(("secret" = []), ()),
    responses((status = 200, description = "It does; the nodes' `note` says how far it is", body = Changed)),
)]
pub async fn drain(faces: Faces, node: NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    changed(faces.api.drain_node(named(&node)?, false).await?)
}

/// Has a node that drains take part again.
#[utoipa::path(
    post, path = "/nodes/{id}/undrain", operation_id = "undrain_node", tag = "cluster",
    security(("secret" = []), ()),
    responses((status = 200, description = "It does", body = Changed)),
)]
pub async fn undrain(faces: Faces, node: NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    changed(faces.api.drain_node(named(&node)?, true).await?)
}

/// Removes a node for good: one that is drained, or one that is lost.
#[utoipa::path(
    delete, path = "/nodes/{id}", operation_id = "remove_node", tag = "cluster",
    security(("secret" = []), ()),
    params(("dead" = Option<bool>, Query, description = "It is lost, and can hand nothing over")),
    responses((status = 200, description = "It is removed", body = Changed)),
)]
pub async fn remove(faces: Faces, node: NamedInPath, uri: Uri) -> Answer {
    let [dead] = known(&uri, ["dead"])?;
    let dead = match dead.as_str() {
        "" | "false" => false,
        "true" => true,
        other => {
            let cause = format!("dead is '{other}'");
            return Err(Refusal::bad_request(cause, "give true or false"));
        }
    };
    changed(faces.api.remove_node(named(&node)?, dead).await?)
}

/// Has another node lead.
#[utoipa::path(
    post, path = "/cluster/transfer-leader", operation_id = "transfer_leader", tag = "cluster",
    security(("secret" = []), ()),
    params(("node" = Option<u64>, Query, description = "This one; else the voter that is furthest")),
    responses((status = 200, description = "Who leads now", body = LeaderTransferred)),
)]
pub async fn transfer_leader(faces: Faces, uri: Uri) -> Answer {
    let [node] = known(&uri, ["node"])?;
    let leader_id = faces.api.transfer_leader(chosen(&node)?).await?;
    Ok(json(StatusCode::OK, &LeaderTransferred { leader_id }))
}

/// How many nodes are to vote.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetVoters)]
struct Voters {
    #[schema(schema_with = voters)]
    voters: u32,
}

fn voters() -> Object {
    let odd = (1..=VOTERS_MAX).step_by(2);
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.default(Some(VOTERS_DEFAULT.into()));
    number.enum_values(Some(odd)).build()
}

/// Says how many nodes are to vote.
#[utoipa::path(
    put, path = "/cluster/voters", operation_id = "set_voters", tag = "cluster",
    security(("secret" = []), ()),
    request_body = Voters,
    responses((status = 200, description = "So many are wanted", body = Changed)),
)]
pub async fn set_voters(faces: Faces, uri: Uri, body: Body) -> Answer {
    let [] = known(&uri, [])?;
    let Voters { voters } = json_body(body).await?;
    changed(faces.api.set_voters(voters).await?)
}

/// Has nodes check all that they keep.
#[utoipa::path(
    post, path = "/cluster/scrub", operation_id = "scrub", tag = "cluster",
    security(("secret" = []), ()),
    params(("node" = Option<u64>, Query, description = "This one; else all")),
    responses((status = 200, description = "Who begins; the nodes' `scrub` says how far each is", body = ScrubBegun)),
)]
pub async fn scrub(faces: Faces, uri: Uri) -> Answer {
    let [node] = known(&uri, ["node"])?;
    let api::ScrubBegun { nodes, silent } = faces.api.begin_scrub(chosen(&node)?).await?;
    Ok(json(StatusCode::OK, &ScrubBegun { nodes, silent }))
}

/// Gives a backup of the cluster, as it is made.
///
/// It has no length, as nobody knows it before. One that ends without the end of a
/// chunked answer is not whole, or lacks the bytes of some jobs; `reelraft restore`
/// looks at all of a file before it takes any of it. It is asked for by POST: of an
/// open port a foreign page may have anything read that a GET gives.
#[utoipa::path(
    post, path = "/cluster/backup", operation_id = "backup", tag = "cluster",
    security(("secret" = []), ()),
    params(("media" = Option<String>, Query, description = "How much of the jobs' bytes: `none`, `outputs`, which is the default, or `all`")),
    responses((status = 200, description = "The file", body = Binary, content_type = "application/octet-stream",
        headers(("Content-Disposition" = String)))),
)]
pub async fn backup(faces: Faces, cut: Cut, uri: Uri) -> Answer {
    let [media] = known(&uri, ["media"])?;
    let media = match media.as_str() {
        "" => "outputs",
        named => named,
    };
    let parts = faces.api.backup(media)?;
    cut.bear_slow_reader();
    parts.on_stall(move || cut.cut());
    // An error ends the answer short of its end.
    let bytes = api::whole_backup(parts).map_err(|problem| problem.to_string());
    let mut response = Response::new(Body::from_stream(bytes));
    for (name, value) in [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"reelraft.backup\"",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
