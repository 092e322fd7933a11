//! Commands about sources behind URLs, deliveries and webhooks.

use std::sync::Arc;

use super::writer::{Writer, clip, clipped};
use crate::{
    command::Reply,
    job_entry::JobEntry,
    limits::{PROBLEM_BYTES_MAX, WEBHOOK_SECRET_OVERLAP_MS, WEBHOOK_SECRETS_MAX},
    outside::{
        Delivery, DeliveryKind, DeliveryOutcome, DeliveryState, FailFetch, NoteUpload,
        RecordDelivery, RemoveWebhook, SetWebhook, Webhook, WebhookSecret, no_webhook, webhook_key,
    },
    rows::{Job, Problem},
    state::State,
    table_rows::cluster_key,
};

impl Writer<'_> {
    pub(super) fn fail_fetch(&mut self, c: &FailFetch) -> Reply {
        let fetched = |job: &Job| {
            let seen = c.epoch.is_none_or(|epoch| epoch == job.epoch);
            job.fetches_from().is_some() && seen
        };
        match self.job(&c.job).is_some_and(fetched) {
            true => self.fail(&c.job, c.unix_ms, clipped(&c.problem)),
            false => Reply::stale(&c.job),
        }
    }

    pub(super) fn record_delivery(&mut self, c: &RecordDelivery) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let Some(delivery) = pending(&mut job, c.number, c.attempts) else {
            return Reply::stale(&c.job);
        };
        // What waits must not be due by a clock that stood still.
        let now_ms = self.state.cluster.cluster_ms.max(c.cluster_ms);
        self.state.cluster.cluster_ms = now_ms;
        self.touched.insert(cluster_key());
        let mut attempt = c.attempt.clone();
        attempt.cause = clip(&attempt.cause, PROBLEM_BYTES_MAX);
        let of_tenant = delivery.kind() == DeliveryKind::TenantWebhook;
        delivery.note(c.outcome(), attempt, now_ms);
        let tenant = job.tenant.clone();
        self.put_job(job);
        if of_tenant && c.outcome() == DeliveryOutcome::Gone {
            self.turn_off(&tenant);
        }
        Reply::done(&c.job)
    }

    pub(super) fn note_upload(&mut self, c: &NoteUpload) -> Reply {
        let Some(mut job) = self.job(&c.job).cloned() else {
            return Reply::stale(&c.job);
        };
        let delivery = pending(&mut job, c.number, c.attempts);
        let is_output = |delivery: &&mut Delivery| delivery.kind() == DeliveryKind::Output;
        let Some(delivery) = delivery.filter(is_output) else {
            return Reply::stale(&c.job);
        };
        // It was noted, and the answer was lost.
        if delivery.upload.as_ref() == Some(&c.upload) {
            return Reply::done(&c.job);
        }
        let noted = delivery.upload.as_ref().map_or("", |upload| &upload.id);
        // Another leader may have begun one meanwhile.
        if noted != c.former {
            return Reply::stale(&c.job);
        }
        delivery.upload = Some(c.upload.clone());
        self.put_job(job);
        Reply::done(&c.job)
    }

    fn turn_off(&mut self, tenant: &str) {
        if let Some(mut webhook) = self.state.webhook(tenant).map(|it| Webhook::clone(it)) {
            webhook.off_cause = "its receiver answered 410: it wants nothing more".to_string();
            self.put_webhook(webhook);
        }
    }

    fn put_webhook(&mut self, webhook: Webhook) {
        self.touched.insert(webhook_key(&webhook.tenant));
        self.state.webhooks.put(webhook);
    }

    pub(super) fn set_webhook(&mut self, c: &SetWebhook) -> Reply {
        // It is the key of a row, and no disk takes such a one: the entry would stop
        // every node.
        if c.tenant.contains('\0') {
            let hint = "give a short name";
            let problem = Problem::new("bad-request", "the tenant is not plain text", hint);
            return Reply::refused("", problem);
        }
        let known = self.state.webhook(&c.tenant).map(|it| Webhook::clone(it));
        if known.is_none() && c.rotate {
            return Reply::refused("", no_webhook(&c.tenant));
        }
        let had = self.state.webhooks.count() as u64;
        if known.is_none() && had >= c.webhooks_max {
            return Reply::refused(
                "",
                Problem::new(
                    "too-many-webhooks",
                    format!("{had} tenants have webhooks"),
                    "remove those that nobody receives, with `reelraft webhook remove`",
                ),
            );
        }
        let existed = known.is_some();
        let mut webhook = known.unwrap_or_default();
        webhook.tenant = c.tenant.clone();
        webhook.changed_unix_ms = c.unix_ms;
        if !c.rotate {
            webhook.url = c.url.clone();
            webhook.off_cause.clear();
        }
        if !existed || c.rotate {
            self.add_secret(&mut webhook, &c.secret);
        }
        self.put_webhook(webhook);
        Reply {
            existed,
            ..Default::default()
        }
    }

    /// Puts a secret before the others, which are used for a while yet.
    fn add_secret(&self, webhook: &mut Webhook, text: &str) {
        let now_ms = self.state.cluster_ms();
        if webhook
            .secrets
            .first()
            .is_some_and(|first| first.text == text)
        {
            return;
        }
        webhook.secrets.retain(|secret| secret.signs_at(now_ms));
        for former in &mut webhook.secrets {
            if former.until_cluster_ms == 0 {
                former.until_cluster_ms = now_ms.max(1) + WEBHOOK_SECRET_OVERLAP_MS;
            }
        }
        let secret = WebhookSecret {
            text: text.to_string(),
            until_cluster_ms: 0,
        };
        webhook.secrets.insert(0, secret);
        webhook.secrets.truncate(WEBHOOK_SECRETS_MAX);
    }

    pub(super) fn remove_webhook(&mut self, c: &RemoveWebhook) -> Reply {
        if self.state.webhook(&c.tenant).is_none() {
            return Reply::stale("");
        }
        self.touched.insert(webhook_key(&c.tenant));
        self.state.webhooks.remove(&c.tenant);
        Reply::default()
    }
}

/// What is still to be sent, if it was sent so often.
fn pending(job: &mut Job, number: u32, attempts: u32) -> Option<&mut Delivery> {
    let mut deliveries = job.outside.as_mut()?.deliveries.iter_mut();
    deliveries.find(|delivery| {
        let pending = delivery.state() == DeliveryState::Pending;
        pending && delivery.number == number && delivery.attempts == attempts
    })
}

impl State {
    /// A tenant's webhook, if it has one.
    pub fn webhook(&self, tenant: &str) -> Option<&Arc<Webhook>> {
        self.webhooks.get(tenant)
    }

    /// All webhooks, by tenant.
    pub fn webhooks(&self) -> impl ExactSizeIterator<Item = &Arc<Webhook>> {
        self.webhooks.all()
    }

    /// Jobs with something to be sent, those that have waited longest first, with
    /// the cluster time from which on it is due.
    pub fn deliveries_due(&self) -> impl Iterator<Item = (u64, Arc<JobEntry>)> {
        let due = self.index.deliveries();
        due.filter_map(|(due_ms, age)| Some((due_ms, self.job_at(age)?)))
    }
}
