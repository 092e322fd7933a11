//! The documents of keys and tenants.

use serde::Serialize;
use utoipa::ToSchema;

use super::field::{above_zero, text};
use crate::v1;

/// One key, without its secret.
#[derive(Serialize, ToSchema)]
pub struct Key<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub tenant: &'a str,
    pub scope: &'a str,
    pub created_unix_ms: u64,
    pub expires_unix_ms: Option<u64>,
}

impl<'a> From<&'a v1::Key> for Key<'a> {
    fn from(key: &'a v1::Key) -> Self {
        Key {
            id: &key.id,
            name: &key.name,
            tenant: &key.tenant,
            scope: &key.scope,
            created_unix_ms: key.created_unix_ms,
            expires_unix_ms: above_zero(key.expires_unix_ms),
        }
    }
}

/// A key that was made, with its text: shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedKey<'a> {
    pub key: Key<'a>,
    pub text: &'a str,
}

impl<'a> CreatedKey<'a> {
    /// From the key and its text.
    pub fn new(key: &'a v1::Key, text: &'a str) -> Self {
        let key = Key::from(key);
        CreatedKey { key, text }
    }
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub struct KeyList<'a> {
    pub keys: Vec<Key<'a>>,
    pub next_page_token: Option<&'a str>,
}

impl<'a> KeyList<'a> {
    /// From rows and the token after them, empty at the end.
    pub fn new(keys: &'a [v1::Key], next_page_token: &'a str) -> Self {
        KeyList {
            keys: keys.iter().map(Key::from).collect(),
            next_page_token: text(next_page_token),
        }
    }
}

/// What a tenant has, and may have.
#[derive(Serialize, ToSchema)]
pub struct Tenant<'a> {
    pub tenant: &'a str,
    pub jobs: u64,
    pub jobs_max: Option<u64>,
    pub bytes: u64,
    pub bytes_max: Option<u64>,
    pub uploads: u64,
    pub uploads_max: Option<u64>,
    pub requests_per_second_max: Option<u32>,
}

impl<'a> From<&'a v1::Tenant> for Tenant<'a> {
    fn from(tenant: &'a v1::Tenant) -> Self {
        let used = tenant.used.unwrap_or_default();
        let quota = tenant.quota.unwrap_or_default();
        Tenant {
            tenant: &tenant.tenant,
            jobs: used.jobs,
            jobs_max: quota.jobs,
            bytes: used.bytes,
            bytes_max: quota.bytes,
            uploads: used.uploads,
            uploads_max: quota.uploads,
            requests_per_second_max: quota.requests_per_second,
        }
    }
}
