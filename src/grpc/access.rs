//! The `Access` service: keys, and the quotas of tenants.

use reelraft_model::{KeyText, Problem, Quota};
use reelraft_proto::v1::{self, access_server::Access};
use tonic::{Request, Response, Status};

use super::{
    convert::status,
    convert_access::{wire_key, wire_tenant},
    places::api_of,
};
use crate::api::{CreatedKey, KeyRequest, KeysRequest, Page, scope_of};

/// The `Access` service of one node, over what each caller may ask.
#[derive(Clone)]
pub struct AccessService;

/// The key that a client drew, if it did.
fn drawn(text: &str) -> Result<Option<KeyText>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    KeyText::parse(text).map(Some).ok_or_else(|| {
        let hint = "send none, and take the one of the answer";
        Problem::new("bad-request", "the key's text is not that of a key", hint)
    })
}

#[tonic::async_trait]
impl Access for AccessService {
    async fn create_key(
        &self,
        request: Request<v1::CreateKeyRequest>,
    ) -> Result<Response<v1::CreatedKey>, Status> {
        let api = api_of(&request)?;
        let asked = request.into_inner();
        let request = KeyRequest {
            scope: scope_of(&asked.scope).map_err(status)?,
            name: asked.name,
            tenant: asked.tenant,
            expires_in_s: asked.expires_in_s,
            text: drawn(&asked.text).map_err(status)?,
        };
        let CreatedKey { key, text } = api.create_key(request).await.map_err(status)?;
        Ok(Response::new(v1::CreatedKey {
            key: Some(wire_key(&key)),
            text: text.reveal(),
        }))
    }

    async fn list_keys(
        &self,
        request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let api = api_of(&request)?;
        let asked = request.into_inner();
        let request = KeysRequest {
            tenant: asked.tenant,
            page_size: asked.page_size,
            page_token: asked.page_token,
        };
        let Page {
            items,
            next_page_token,
        } = api.keys(request).await.map_err(status)?;
        Ok(Response::new(v1::ListKeysResponse {
            keys: items.iter().map(|key| wire_key(key)).collect(),
            next_page_token,
        }))
    }

    async fn revoke_key(&self, request: Request<v1::KeyRef>) -> Result<Response<v1::Key>, Status> {
        let api = api_of(&request)?;
        let revoked = api.revoke_key(&request.into_inner().id).await;
        Ok(Response::new(wire_key(&*revoked.map_err(status)?)))
    }

    async fn show_tenant(
        &self,
        request: Request<v1::TenantRef>,
    ) -> Result<Response<v1::Tenant>, Status> {
        let api = api_of(&request)?;
        let shown = api.show_tenant(&request.into_inner().tenant).await;
        Ok(Response::new(wire_tenant(&shown.map_err(status)?)))
    }

    async fn set_quota(
        &self,
        request: Request<v1::SetQuotaRequest>,
    ) -> Result<Response<v1::Tenant>, Status> {
        let api = api_of(&request)?;
        let asked = request.into_inner();
        let quota = asked.quota.unwrap_or_default();
        let quota = Quota {
            tenant: asked.tenant,
            jobs: quota.jobs,
            bytes: quota.bytes,
            uploads: quota.uploads,
            requests_per_second: quota.requests_per_second,
        };
        let set = api.set_quota(quota, asked.reset).await;
        Ok(Response::new(wire_tenant(&set.map_err(status)?)))
    }
}
