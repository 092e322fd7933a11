//! A tenant's webhook: where the end of each of its jobs is told, and the secrets
//! that sign what is sent.

use base64::{Engine, engine::general_purpose::STANDARD};
use reelraft_model::{
    Command, Problem, RemoveWebhook, Scope, SetWebhook, WEBHOOK_SECRET_PREFIX, Webhook,
    limits::WEBHOOKS_MAX, no_webhook,
};

use super::{Api, Consistency, keys::check_name, submit::tenant_of};
use crate::clock::unix_ms;

/// Bytes of a secret, as the standard recommends.
const SECRET_BYTES: usize = 32;

/// A tenant's webhook as clients see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookView {
    pub tenant: String,
    /// Empty: nothing is sent for the tenant as a whole.
    pub url: String,
    /// Why nothing is sent there any more; empty if it is.
    pub off_cause: String,
    /// How many secrets sign: more than one after a rotation.
    pub secrets: u32,
    pub changed_unix_ms: u64,
    /// The secret, only when it was made just now; empty otherwise.
    pub secret: String,
}

impl Api {
    /// A tenant's webhook.
    ///
    /// # Errors
    /// `not-found`, `forbidden`, and what keeps the cluster from reading.
    pub async fn webhook(&self, tenant: &str) -> Result<WebhookView, Problem> {
        let tenant = tenant_of(self.tenant(Scope::Read, tenant)?);
        let seen = self.seen(Scope::Read, Consistency::Linearizable).await?;
        let state = seen.whole();
        let webhook = state.webhook(tenant).ok_or_else(|| no_webhook(tenant))?;
        Ok(view(webhook, state.cluster_ms(), String::new()))
    }

    /// Sets where a tenant's webhooks go, or only makes the secret that signs those
    /// of its jobs. One that was turned off is on again.
    ///
    /// # Errors
    /// `bad-url`, `refused-address`, `bad-request`, `too-many-webhooks`,
    /// `mixed-versions`, and what keeps the cluster from writing.
    pub async fn set_webhook(&self, tenant: &str, url: &str) -> Result<WebhookView, Problem> {
        self.check_url("url", url, None)?;
        self.change_webhook(tenant, url, false).await
    }

    /// Makes a new secret; the former one signs beside it for a day.
    ///
    /// # Errors
    /// `not-found`, and as [`Api::set_webhook`].
    pub async fn rotate_webhook(&self, tenant: &str) -> Result<WebhookView, Problem> {
        self.change_webhook(tenant, "", true).await
    }

    async fn change_webhook(
        &self,
        tenant: &str,
        url: &str,
        rotate: bool,
    ) -> Result<WebhookView, Problem> {
        let tenant = tenant_of(self.tenant(Scope::Admin, tenant)?);
        check_name("tenant", tenant)?;
        self.check_outside_level()?;
        let key: [u8; SECRET_BYTES] = rand::random();
        let secret = format!("{WEBHOOK_SECRET_PREFIX}{}", STANDARD.encode(key));
        let command = Command::SetWebhook(SetWebhook {
            tenant: tenant.to_string(),
            url: url.to_string(),
            secret: secret.clone(),
            rotate,
            unix_ms: unix_ms(),
            webhooks_max: WEBHOOKS_MAX,
        });
        let (reply, state) = self.apply(Scope::Admin, tenant, command).await?;
        let webhook = state.webhook(tenant).ok_or_else(|| no_webhook(tenant))?;
        let made = rotate || !reply.existed;
        let secret = if made { secret } else { String::new() };
        Ok(view(webhook, state.cluster_ms(), secret))
    }

    /// Forgets a tenant's webhook and its secrets. One that there is none of is not
    /// an error: the answer to the first request may have been lost on its way.
    ///
    /// # Errors
    /// What keeps the cluster from writing.
    pub async fn remove_webhook(&self, tenant: &str) -> Result<(), Problem> {
        let tenant = tenant_of(self.tenant(Scope::Admin, tenant)?);
        let command = Command::RemoveWebhook(RemoveWebhook {
            tenant: tenant.to_string(),
        });
        self.apply(Scope::Admin, tenant, command).await.map(drop)
    }
}

fn view(webhook: &Webhook, cluster_ms: u64, secret: String) -> WebhookView {
    WebhookView {
        tenant: webhook.tenant.clone(),
        url: webhook.url.clone(),
        off_cause: webhook.off_cause.clone(),
        secrets: webhook.secrets_at(cluster_ms).count() as u32,
        changed_unix_ms: webhook.changed_unix_ms,
        secret,
    }
}
