//! Keys and tenants as the wire has them.

use reelraft_model::Key;
use reelraft_proto::v1;

use crate::api::TenantView;

/// A key, without its digest.
pub fn wire_key(key: &Key) -> v1::Key {
    v1::Key {
        id: key.id.clone(),
        name: key.name.clone(),
        tenant: key.tenant.clone(),
        scope: key.scope().name().to_string(),
        created_unix_ms: key.created_unix_ms,
        expires_unix_ms: key.expires_unix_ms,
    }
}

/// A tenant.
pub fn wire_tenant(view: &TenantView) -> v1::Tenant {
    let TenantView { used, quota } = view;
    v1::Tenant {
        tenant: quota.tenant.clone(),
        used: Some(v1::Usage {
            jobs: used.jobs,
            bytes: used.bytes,
            uploads: used.uploading,
        }),
        quota: Some(v1::Quota {
            jobs: quota.jobs,
            bytes: quota.bytes,
            uploads: quota.uploads,
            requests_per_second: quota.requests_per_second,
        }),
    }
}
