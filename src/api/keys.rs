//! Keys: making, listing, revoking.

use std::sync::Arc;

use reelraft_model::{
    Command, CreateKey, Key, KeyText, Problem, RevokeKey, Scope, State,
    limits::{KEYS_LEVEL, KEYS_MAX, KEYS_OF_TENANT_MAX, NAME_BYTES_MAX},
};

use super::{
    Api, Consistency, Page, bad_request, jobs::all_know, limits::ACCESS_TRIES, submit::tenant_of,
};
use crate::clock::unix_ms;

/// A key as a client asks for it.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Of no other key of the tenant.
    pub name: String,
    /// Empty takes the caller's, or the default one.
    pub tenant: String,
    pub scope: Scope,
    /// 0: never.
    pub expires_in_s: u64,
    /// Drawn by a client that may send the request twice, so that both make one
    /// key; otherwise the node draws it.
    pub text: Option<KeyText>,
}

/// Which keys to list, by id.
#[derive(Clone, Debug, Default)]
pub struct KeysRequest {
    /// Empty: all that the caller sees.
    pub tenant: String,
    /// At most so many; 0 takes the default.
    pub page_size: u32,
    /// From an earlier page; empty starts at the first.
    pub page_token: String,
}

/// A key that was made.
#[derive(Clone, Debug)]
pub struct CreatedKey {
    pub key: Arc<Key>,
    /// What its holder sends. Nothing else has it.
    pub text: KeyText,
}

impl Api {
    /// Makes a key, or finds the one that the same request made before.
    ///
    /// # Errors
    /// `bad-request`, `forbidden`, `key-exists`, `too-many-keys`, those of
    /// [`Api::change_access`], and what keeps the cluster from writing.
    pub async fn create_key(&self, request: KeyRequest) -> Result<CreatedKey, Problem> {
        let named = self.tenant(Scope::Admin, &request.tenant)?;
        let tenant = tenant_of(named);
        check_name("tenant", tenant)?;
        check_name("name", &request.name)?;
        let now_unix_ms = unix_ms();
        let drawn = || KeyText::new(rand::random(), rand::random());
        let text = request.text.unwrap_or_else(drawn);
        let id = text.id.clone();
        let key = Key {
            id: id.clone(),
            name: request.name,
            tenant: tenant.to_string(),
            scope: request.scope.into(),
            created_unix_ms: now_unix_ms,
            expires_unix_ms: match request.expires_in_s {
                0 => 0,
                seconds => now_unix_ms.saturating_add(seconds.saturating_mul(1_000)),
            },
            digest: text.digest(),
        };
        let command = |state: &State| {
            Command::CreateKey(CreateKey {
                key: key.clone(),
                of_tenant_max: KEYS_OF_TENANT_MAX,
                keys_max: KEYS_MAX,
                epoch: state.access_epoch(),
            })
        };
        let state = self.change_access(tenant, command).await?;
        let key = state.key(&id).ok_or_else(|| no_key(&id))?.clone();
        Ok(CreatedKey { key, text })
    }

    /// Has a command applied that is made of the table, and before which no key is
    /// revoked and no quota set; gives a state that has it.
    ///
    /// # Errors
    /// `mixed-versions`, `too-early` while no node has said its version, `unconfirmed`
    /// where others change them all the time, the command's refusal, and what keeps
    /// the cluster from reading or writing.
    pub(super) async fn change_access(
        &self,
        tenant: &str,
        command: impl Fn(&State) -> Command,
    ) -> Result<Arc<State>, Problem> {
        for _ in 0..ACCESS_TRIES {
            let seen = self.seen(Scope::Admin, Consistency::Linearizable).await?;
            all_know(seen.whole(), KEYS_LEVEL, "have keys and quotas")?;
            let command = command(seen.whole());
            drop(seen);
            let (reply, state) = self.apply(Scope::Admin, tenant, command).await?;
            if !reply.stale {
                return Ok(state);
            }
        }
        Err(Problem::new(
            "unconfirmed",
            "keys and quotas are being changed by others",
            "look at them, and try again",
        ))
    }

    /// A page of keys.
    ///
    /// # Errors
    /// `forbidden`, and what keeps the cluster from reading.
    pub async fn keys(&self, request: KeysRequest) -> Result<Page<Arc<Key>>, Problem> {
        let tenant = self.tenant(Scope::Admin, &request.tenant)?;
        let seen = self.seen(Scope::Admin, Consistency::Linearizable).await?;
        let matching = seen
            .keys()
            .filter(|key| key.id > request.page_token)
            .filter(|key| tenant.is_empty() || key.tenant == tenant);
        let page = Page::of(matching.cloned(), request.page_size, |key| key.id.clone());
        Ok(page)
    }

    /// Ends a key for good.
    ///
    /// # Errors
    /// `not-found`, `forbidden`, and what keeps the cluster from writing.
    pub async fn revoke_key(&self, id: &str) -> Result<Arc<Key>, Problem> {
        let seen = self.seen(Scope::Admin, Consistency::Linearizable).await?;
        let key = seen.keys().find(|key| key.id == id).cloned();
        let key = key.ok_or_else(|| no_key(id))?;
        drop(seen);
        let command = Command::RevokeKey(RevokeKey { id: id.to_string() });
        self.apply(Scope::Admin, &key.tenant, command).await?;
        Ok(key)
    }
}

/// The scope that a word names.
///
/// # Errors
/// `bad-request` where it names none.
pub fn scope_of(word: &str) -> Result<Scope, Problem> {
    Scope::parse(word).ok_or_else(|| {
        let cause = format!("there is no scope '{word}'");
        bad_request(cause, "give read, submit or admin")
    })
}

fn no_key(id: &str) -> Problem {
    let cause = format!("there is no key {id}");
    Problem::new("not-found", cause, "see `reelraft key list`")
}

/// Refuses a name that can't be shown.
pub(super) fn check_name(what: &str, name: &str) -> Result<(), Problem> {
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if !fits || name.chars().any(char::is_control) {
        return Err(bad_request(
            format!("the {what} is empty, longer than {NAME_BYTES_MAX} bytes, or not plain text"),
            "give a short name",
        ));
    }
    Ok(())
}
