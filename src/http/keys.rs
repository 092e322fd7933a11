//! Keys and tenants.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, Uri, header},
};
use reelraft_model::{Quota, Scope};
use reelraft_proto::documents::{CreatedKey, Key, KeyList, Tenant};
use serde::Deserialize;

use super::{
    documents::json,
    faces::{Faces, NamedInPath},
    refusal::{Answer, Refusal},
    request::{json_body, known, page_size},
};
use crate::{
    api::{self, KeyRequest, KeysRequest, Page, TenantView},
    grpc::convert_access::{wire_key, wire_tenant},
};

/// A key as a client asks for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    scope: String,
    #[serde(default)]
    tenant: String,
    #[serde(default)]
    expires_in_s: u64,
}

/// `POST /keys`. The answer alone has the key's text.
pub async fn create(faces: Faces, body: Body) -> Answer {
    let asked: Create = json_body(body).await?;
    let scope = Scope::parse(&asked.scope).ok_or_else(|| {
        let cause = format!("there is no scope '{}'", asked.scope);
        Refusal::bad_request(cause, "give read, submit or admin")
    })?;
    let request = KeyRequest {
        name: asked.name,
        tenant: asked.tenant,
        scope,
        expires_in_s: asked.expires_in_s,
    };
    let api::CreatedKey { key, text } = faces.api.create_key(request).await?;
    let (key, text) = (wire_key(&key), text.reveal());
    let mut response = json(StatusCode::CREATED, &CreatedKey::new(&key, &text));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `GET /keys`.
pub async fn list(faces: Faces, uri: Uri) -> Answer {
    let [tenant, size, page_token] = known(&uri, ["tenant", "page_size", "page_token"])?;
    let request = KeysRequest {
        tenant,
        page_size: page_size(&size)?,
        page_token,
    };
    let Page {
        items,
        next_page_token,
    } = faces.api.keys(request).await?;
    let keys: Vec<_> = items.iter().map(|key| wire_key(key)).collect();
    Ok(json(StatusCode::OK, &KeyList::new(&keys, &next_page_token)))
}

/// `DELETE /keys/{id}`.
pub async fn revoke(faces: Faces, NamedInPath(id): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let key = wire_key(&*faces.api.revoke_key(&id).await?);
    Ok(json(StatusCode::OK, &Key::from(&key)))
}

/// What is to change of a quota.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    jobs: Option<u64>,
    bytes: Option<u64>,
    uploads: Option<u64>,
    requests_per_second: Option<u32>,
    #[serde(default)]
    reset: bool,
}

fn tenant(view: &TenantView) -> Answer {
    let tenant = wire_tenant(view);
    Ok(json(StatusCode::OK, &Tenant::from(&tenant)))
}

/// `GET /tenants/{name}`.
pub async fn show_tenant(faces: Faces, NamedInPath(name): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    tenant(&faces.api.show_tenant(&name).await?)
}

/// `PATCH /tenants/{name}`.
pub async fn set_quota(faces: Faces, NamedInPath(name): NamedInPath, body: Body) -> Answer {
    let change: Change = json_body(body).await?;
    let quota = Quota {
        tenant: name,
        jobs: change.jobs,
        bytes: change.bytes,
        uploads: change.uploads,
        requests_per_second: change.requests_per_second,
    };
    tenant(&faces.api.set_quota(quota, change.reset).await?)
}
