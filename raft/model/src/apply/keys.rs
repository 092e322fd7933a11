//! Commands about keys and quotas.

use std::sync::Arc;

use super::writer::Writer;
use crate::{
    command::Reply,
    keys::{CreateKey, Key, RevokeKey, SetQuota},
    rows::Problem,
    table_rows::{cluster_key, key_key, quota_key},
};

impl Writer<'_> {
    pub(super) fn create_key(&mut self, c: &CreateKey) -> Reply {
        let key = &c.key;
        // A request that comes twice is no other one because time has passed.
        let same = |known: &Arc<Key>| {
            let times = (known.created_unix_ms, known.expires_unix_ms);
            let mut asked = key.clone();
            (asked.created_unix_ms, asked.expires_unix_ms) = times;
            **known == asked
        };
        if self.state.key(&key.id).is_some_and(same) {
            return Reply {
                existed: true,
                ..Default::default()
            };
        }
        if c.epoch != self.state.access_epoch() {
            return Reply::stale("");
        }
        if let Some(problem) = self.no_room_for_key(c) {
            return Reply::refused("", problem);
        }
        self.touched.insert(key_key(&key.id));
        self.state.put_key(key.clone());
        Reply::default()
    }

    fn no_room_for_key(&self, c: &CreateKey) -> Option<Problem> {
        let Key {
            id, name, tenant, ..
        } = &c.key;
        let of_tenant = || self.state.keys().filter(|key| key.tenant == *tenant);
        let like = of_tenant().find(|key| key.name == *name);
        if let Some(like) = like.or_else(|| self.state.key(id)) {
            return Some(Problem::new(
                "key-exists",
                format!("tenant '{tenant}' has a key '{name}' already, {}", like.id),
                "choose another name; if its secret is lost, revoke it first",
            ));
        }
        let hint = "revoke keys that nobody uses, see `reelraft key list`";
        let had = of_tenant().count() as u64;
        if had >= c.of_tenant_max {
            let cause = format!("tenant '{tenant}' has {had} keys");
            return Some(Problem::new("too-many-keys", cause, hint));
        }
        let all = self.state.keys().len() as u64;
        (all >= c.keys_max).then(|| {
            let cause = format!("the cluster has {all} keys of all tenants");
            Problem::new("too-many-keys", cause, hint)
        })
    }

    pub(super) fn revoke_key(&mut self, c: &RevokeKey) -> Reply {
        if self.state.key(&c.id).is_none() {
            return Reply::stale("");
        }
        self.touched.insert(key_key(&c.id));
        self.state.remove_key(&c.id);
        self.raise_access_epoch();
        Reply::default()
    }

    fn raise_access_epoch(&mut self) {
        self.touched.insert(cluster_key());
        self.state.cluster.access_epoch += 1;
    }

    pub(super) fn set_quota(&mut self, c: &SetQuota) -> Reply {
        let tenant = &c.quota.tenant;
        if c.epoch != self.state.access_epoch() {
            return Reply::stale("");
        }
        let had = self.state.quotas().len() as u64;
        if !self.state.has_quota(tenant) && had >= c.quotas_max {
            return Reply::refused(
                "",
                Problem::new(
                    "too-many-quotas",
                    format!("{had} tenants have quotas of their own"),
                    "give some tenants the default back, see `reelraft tenant set`",
                ),
            );
        }
        self.touched.insert(quota_key(tenant));
        self.state.put_quota(c.quota.clone());
        self.raise_access_epoch();
        Reply::default()
    }
}
