//! Keys and tenants.

use axum::{
    body::Body,
    http::{StatusCode, Uri},
};
use reelraft_model::{Quota, Scope};
use reelraft_proto::documents::{CreatedKey, Key, KeyList, Tenant};
use serde::Deserialize;
use utoipa::{
    ToSchema,
    openapi::{Object, ObjectBuilder, Type},
};

use super::{
    documents::{json, json_with_secret},
    faces::{Faces, NamedInPath},
    openapi,
    refusal::Answer,
    request::{json_body, known, page_size},
};
use crate::{
    api::{self, KeyRequest, KeysRequest, Page, TenantView, scope_of},
    grpc::convert_access::{wire_key, wire_tenant},
};

/// A key as a client asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateKey)]
struct Create {
    #[schema(schema_with = openapi::plain_name)]
    name: String,
    #[schema(schema_with = scopes)]
    scope: String,
    #[serde(default)]
    #[schema(schema_with = openapi::name)]
    tenant: String,
    #[serde(default)]
    expires_in_s: u64,
}

fn scopes() -> Object {
    let words = Scope::ALL.map(Scope::name);
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words)).build()
}

/// Makes a key. The answer alone has its text.
#[utoipa::path(
    post, path = "/keys", operation_id = "create_key", tag = "keys",
    request_body = Create,
    responses((status = 201, description = "Made", body = CreatedKey)),
)]
pub async fn create(faces: Faces, body: Body) -> Answer {
    let asked: Create = json_body(body).await?;
    let request = KeyRequest {
        scope: scope_of(&asked.scope)?,
        name: asked.name,
        tenant: asked.tenant,
        expires_in_s: asked.expires_in_s,
        text: None,
    };
    let api::CreatedKey { key, text } = faces.api.create_key(request).await?;
    let (key, text) = (wire_key(&key), text.reveal());
    let created = CreatedKey::new(&key, &text);
    Ok(json_with_secret(StatusCode::CREATED, &created))
}

/// Lists keys.
#[utoipa::path(
    get, path = "/keys", operation_id = "list_keys", tag = "keys",
    params(
        ("tenant" = Option<String>, Query, description = "Of this tenant alone"),
        ("page_size" = Option<u32>, Query, description = "At most so many; the default is 50"),
        ("page_token" = Option<String>, Query, description = "From an earlier page"),
    ),
    responses((status = 200, description = "A page of them", body = KeyList)),
)]
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

/// Revokes a key.
#[utoipa::path(
    delete, path = "/keys/{id}", operation_id = "revoke_key", tag = "keys",
    responses((status = 200, description = "The key as it was", body = Key)),
)]
pub async fn revoke(faces: Faces, NamedInPath(id): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let key = wire_key(&*faces.api.revoke_key(&id).await?);
    Ok(json(StatusCode::OK, &Key::from(&key)))
}

/// What is to change of a quota.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeQuota)]
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

/// Shows what a tenant has, and may have.
#[utoipa::path(
    get, path = "/tenants/{name}", operation_id = "show_tenant", tag = "keys",
    responses((status = 200, description = "The tenant", body = Tenant)),
)]
pub async fn show_tenant(faces: Faces, NamedInPath(name): NamedInPath, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    tenant(&faces.api.show_tenant(&name).await?)
}

/// Changes the bounds of a tenant that are named.
#[utoipa::path(
    patch, path = "/tenants/{name}", operation_id = "set_quota", tag = "keys",
    security(("secret" = []), ()),
    request_body = Change,
    responses((status = 200, description = "The tenant", body = Tenant)),
)]
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
