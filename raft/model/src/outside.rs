//! What jobs take from the outside and send there: a source behind a URL, an
//! output that is put to one, and webhooks. The rows of it, and the commands that
//! write them.
//!
//! ```text
//! a job ends -> its deliveries are decided (apply) -> the leader sends what is
//! due -> DELIVERED, or due again later, or FAILED
//! ```
//! A URL's query may be a signature that opens what it names: it is shown to nobody,
//! see [`shown_url`].

use std::sync::Arc;

use prost::Message;
use rpds::RedBlackTreeMapSync as Map;

use crate::{
    limits::{DELIVERY_LOG_MAX, DELIVERY_PAUSES_MS},
    problem::Problem,
};

/// What a job has to do with the outside.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Outside {
    /// Where its source is fetched from; empty: a client uploads it. Without its
    /// query once the source is there.
    #[prost(string, tag = "1")]
    pub source_url: String,
    /// The source's entity tag, or the time of its last change, as its server
    /// said it when the job was made: tells whether it changed since.
    #[prost(string, tag = "2")]
    pub source_validator: String,
    /// Where its own webhooks go; empty: it has none.
    #[prost(string, tag = "3")]
    pub webhook_url: String,
    /// Where its output is put; empty: it is only kept.
    #[prost(string, tag = "4")]
    pub output_url: String,
    /// What was or is to be sent, the oldest first.
    #[prost(message, repeated, tag = "5")]
    pub deliveries: Vec<Delivery>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DeliveryKind {
    /// A message to the job's own webhook.
    JobWebhook = 0,
    /// A message to its tenant's webhook.
    TenantWebhook = 1,
    /// The output itself.
    Output = 2,
}

impl DeliveryKind {
    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryKind::JobWebhook => "job-webhook",
            DeliveryKind::TenantWebhook => "tenant-webhook",
            DeliveryKind::Output => "output",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DeliveryState {
    /// It is sent when it is due.
    Pending = 0,
    Delivered = 1,
    /// It was given up; its last attempt says why, or its job was tried again
    /// before it was told.
    Failed = 2,
}

impl DeliveryState {
    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Failed => "failed",
        }
    }
}

/// Something that is sent because a job has ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Delivery {
    /// Counts a job's deliveries from 1.
    #[prost(uint32, tag = "1")]
    pub number: u32,
    #[prost(enumeration = "DeliveryKind", tag = "2")]
    pub kind: i32,
    #[prost(enumeration = "DeliveryState", tag = "3")]
    pub state: i32,
    /// What it is about, such as `job.succeeded`.
    #[prost(string, tag = "4")]
    pub event: String,
    /// How often it was sent.
    #[prost(uint32, tag = "5")]
    pub attempts: u32,
    /// Cluster time from which on it is to be sent.
    #[prost(uint64, tag = "6")]
    pub due_cluster_ms: u64,
    /// Wall clock of the event, for display only.
    #[prost(uint64, tag = "7")]
    pub unix_ms: u64,
    /// The latest attempts.
    #[prost(message, repeated, tag = "8")]
    pub log: Vec<DeliveryAttempt>,
    /// Of an output that is being put into a bucket in parts: what was begun.
    #[prost(message, optional, tag = "85")]
    pub upload: Option<BucketUpload>,
}

/// A file that goes into a bucket in parts, as its server knows it: all that another
/// leader needs to go on with it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BucketUpload {
    /// What the server calls it.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What each part has but the last.
    #[prost(uint64, tag = "2")]
    pub part_bytes: u64,
    /// What the server called the file that had the name before; empty if none was seen.
    #[prost(string, tag = "3")]
    pub replaces: String,
}

/// One try at a delivery.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeliveryAttempt {
    /// Wall clock of its end, for display only.
    #[prost(uint64, tag = "1")]
    pub unix_ms: u64,
    /// How long it took.
    #[prost(uint64, tag = "2")]
    pub took_ms: u64,
    /// The status of HTTP that answered; 0: nothing did.
    #[prost(uint32, tag = "3")]
    pub status: u32,
    /// Why it did not succeed; empty if it did.
    #[prost(string, tag = "4")]
    pub cause: String,
}

/// A tenant's webhook. Its secrets sign the webhooks of its jobs, too.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Webhook {
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// Where every job's end is told; empty: there are only secrets.
    #[prost(string, tag = "2")]
    pub url: String,
    /// What messages are signed with: the latest first, and those before it while
    /// receivers still know no other.
    #[prost(message, repeated, tag = "3")]
    pub secrets: Vec<WebhookSecret>,
    /// Why nothing is sent there any more; empty if it is.
    #[prost(string, tag = "4")]
    pub off_cause: String,
    /// Wall clock of its last change, for display only.
    #[prost(uint64, tag = "5")]
    pub changed_unix_ms: u64,
}

/// What the text of a secret begins with, by the rules of Standard Webhooks.
pub const WEBHOOK_SECRET_PREFIX: &str = "whsec_";

/// What a message is signed with.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct WebhookSecret {
    /// [`WEBHOOK_SECRET_PREFIX`] and the key in base64.
    #[prost(string, tag = "1")]
    pub text: String,
    /// Cluster time at which it is no longer used; 0: none.
    #[prost(uint64, tag = "2")]
    pub until_cluster_ms: u64,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (tenant, url) = (&self.tenant, shown_url(&self.url));
        write!(f, "Webhook({tenant} {url}, {} secrets)", self.secrets.len())
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookSecret(…)")
    }
}

impl WebhookSecret {
    /// Whether it signs at a time.
    pub fn signs_at(&self, cluster_ms: u64) -> bool {
        self.until_cluster_ms == 0 || cluster_ms < self.until_cluster_ms
    }
}

impl Webhook {
    /// Whether messages are sent to its own URL.
    pub fn is_on(&self) -> bool {
        !self.url.is_empty() && self.off_cause.is_empty()
    }

    /// The secrets that sign at a time.
    pub fn secrets_at(&self, cluster_ms: u64) -> impl Iterator<Item = &str> {
        let secrets = self.secrets.iter();
        let signing = secrets.filter(move |secret| secret.signs_at(cluster_ms));
        signing.map(|secret| secret.text.as_str())
    }
}

/// Sets where a tenant's webhooks go, and turns them on again.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct SetWebhook {
    #[prost(string, tag = "1")]
    pub tenant: String,
    #[prost(string, tag = "2")]
    pub url: String,
    /// Taken if the tenant has none, or if `rotate` is set.
    #[prost(string, tag = "3")]
    pub secret: String,
    /// Whether the secret takes the place of the former one, which is used beside
    /// it for a while; the URL then stays.
    #[prost(bool, tag = "4")]
    pub rotate: bool,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "5")]
    pub unix_ms: u64,
    /// How many tenants may have one.
    #[prost(uint64, tag = "6")]
    pub webhooks_max: u64,
}

impl std::fmt::Debug for SetWebhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SetWebhook({} {})", self.tenant, shown_url(&self.url))
    }
}

/// Forgets a tenant's webhook and its secrets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RemoveWebhook {
    #[prost(string, tag = "1")]
    pub tenant: String,
}

/// What an attempt at a delivery came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum DeliveryOutcome {
    Delivered = 0,
    /// It may succeed later.
    Again = 1,
    /// It never will.
    Never = 2,
    /// The receiver wants nothing more: its tenant's webhook is turned off.
    Gone = 3,
}

/// Records an attempt at a delivery.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RecordDelivery {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    /// How often it had been sent before, as the proposer saw it.
    #[prost(uint32, tag = "3")]
    pub attempts: u32,
    #[prost(enumeration = "DeliveryOutcome", tag = "4")]
    pub outcome: i32,
    #[prost(message, required, tag = "5")]
    pub attempt: DeliveryAttempt,
    /// The leader's base plus its own monotonic time: from here on it waits.
    #[prost(uint64, tag = "6")]
    pub cluster_ms: u64,
}

/// Notes that an output is put in parts, before the first of them is: so that no bytes
/// lie in a bucket of which no leader knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NoteUpload {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(uint32, tag = "2")]
    pub number: u32,
    /// How often it had been sent before, as the proposer saw it.
    #[prost(uint32, tag = "3")]
    pub attempts: u32,
    /// The upload that the proposer saw noted, and found gone; empty if none was.
    #[prost(string, tag = "4")]
    pub former: String,
    #[prost(message, required, tag = "5")]
    pub upload: BucketUpload,
}

/// Ends a job whose source can't be fetched.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FailFetch {
    #[prost(string, tag = "1")]
    pub job: String,
    #[prost(message, required, tag = "2")]
    pub problem: Problem,
    /// The proposer's wall clock, for display only.
    #[prost(uint64, tag = "3")]
    pub unix_ms: u64,
    /// The epoch of the homes of which the proposer was the first: its successor may
    /// fetch what it could not. Entries of earlier versions do not say.
    #[prost(uint64, optional, tag = "4")]
    pub epoch: Option<u64>,
}

impl Delivery {
    /// Notes an attempt, and what follows from it.
    pub(crate) fn note(&mut self, outcome: DeliveryOutcome, attempt: DeliveryAttempt, now_ms: u64) {
        let pause_ms = DELIVERY_PAUSES_MS.get(self.attempts as usize);
        self.attempts += 1;
        self.log.push(attempt);
        let kept_from = self.log.len().saturating_sub(DELIVERY_LOG_MAX);
        self.log.drain(..kept_from);
        let state = match (outcome, pause_ms) {
            (DeliveryOutcome::Delivered, _) => DeliveryState::Delivered,
            (DeliveryOutcome::Again, Some(pause_ms)) => {
                self.due_cluster_ms = now_ms.saturating_add(*pause_ms);
                DeliveryState::Pending
            }
            _ => DeliveryState::Failed,
        };
        self.end(state);
    }

    /// Leaves it in a state; what goes on no longer is not gone on with.
    pub(crate) fn end(&mut self, state: DeliveryState) {
        self.state = state.into();
        if state != DeliveryState::Pending {
            self.upload = None;
        }
    }
}

/// All webhooks, by tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Webhooks(Map<String, Arc<Webhook>>);

impl Webhooks {
    pub fn get(&self, tenant: &str) -> Option<&Arc<Webhook>> {
        self.0.get(tenant)
    }

    pub fn count(&self) -> usize {
        self.0.size()
    }

    pub fn put(&mut self, webhook: Webhook) {
        let tenant = webhook.tenant.clone();
        self.0.insert_mut(tenant, Arc::new(webhook));
    }

    pub fn remove(&mut self, tenant: &str) {
        self.0.remove_mut(tenant);
    }

    /// All of them, by tenant.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Webhook>> {
        self.0.values()
    }

    /// Their rows, by key.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let webhooks = self.0.values();
        webhooks.map(|it| (webhook_key(&it.tenant), it.encode_to_vec()))
    }
}

/// The key of its row.
pub(crate) fn webhook_key(tenant: &str) -> Vec<u8> {
    format!("w/{tenant}").into_bytes()
}

/// The refusal of what needs a tenant's webhook, where it has none.
pub fn no_webhook(tenant: &str) -> Problem {
    let cause = format!("tenant '{tenant}' has no webhook");
    Problem::new("not-found", cause, "make one with `reelraft webhook set`")
}

/// A URL without its query: what may be shown.
pub fn shown_url(url: &str) -> &str {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    &url[..end]
}
