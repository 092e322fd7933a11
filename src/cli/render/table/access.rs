//! Keys as a grid, a tenant as a card.

use reelraft_proto::v1::{Key, Tenant};

use super::layout::{card, grid};
use crate::render::format::{size, utc_time};

/// The rows of `key list`.
pub fn keys(keys: &[Key]) -> String {
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.tenant.clone(),
                key.name.clone(),
                key.scope.clone(),
                utc_time(key.created_unix_ms),
                match key.expires_unix_ms {
                    0 => "never".into(),
                    at => utc_time(at),
                },
            ]
        })
        .collect();
    grid(
        &["ID", "TENANT", "NAME", "SCOPE", "CREATED", "EXPIRES"],
        &rows,
    )
}

/// The card of `tenant show`.
pub fn tenant(tenant: &Tenant) -> String {
    let used = tenant.used.unwrap_or_default();
    let quota = tenant.quota.unwrap_or_default();
    let of = |used: String, max: Option<String>| match max {
        Some(max) => format!("{used} of {max}"),
        None => format!("{used}, without a bound"),
    };
    let count = |used: u64, max: Option<u64>| of(used.to_string(), max.map(|max| max.to_string()));
    let rate = quota.requests_per_second;
    card(&[
        ("tenant", tenant.tenant.clone()),
        ("jobs", count(used.jobs, quota.jobs)),
        ("bytes", of(size(used.bytes), quota.bytes.map(size))),
        ("uploads", count(used.uploads, quota.uploads)),
        (
            "requests",
            rate.map_or("without a bound".into(), |rate| {
                format!("{rate} a second to each node")
            }),
        ),
    ])
}
