//! What a job's row says of the outside: where its source is fetched from, and what
//! is sent when it has ended.

use crate::{
    limits::DELIVERIES_KEPT_MAX,
    outside::{Delivery, DeliveryKind, DeliveryState, Webhook, shown_url},
    rows::{Job, JobState},
};

impl Job {
    /// Where its source is fetched from, while it is to be fetched.
    pub fn fetches_from(&self) -> Option<&str> {
        let url = &self.outside.as_ref()?.source_url;
        let fetches = self.state() == JobState::Uploading && !url.is_empty();
        fetches.then_some(url)
    }

    /// What was or is to be sent.
    pub fn deliveries(&self) -> &[Delivery] {
        let outside = self.outside.as_ref();
        outside.map_or(&[], |outside| &outside.deliveries)
    }

    /// What is still to be sent.
    pub fn pending_deliveries(&self) -> impl Iterator<Item = &Delivery> {
        let deliveries = self.deliveries().iter();
        deliveries.filter(|delivery| delivery.state() == DeliveryState::Pending)
    }

    /// Cluster time from which on one of them is to be sent.
    pub(crate) fn delivery_due_ms(&self) -> Option<u64> {
        let due = self.pending_deliveries();
        due.map(|delivery| delivery.due_cluster_ms).min()
    }

    /// Adds what is to be sent, now that the job has ended.
    pub(crate) fn add_deliveries(&mut self, tenant: Option<&Webhook>) {
        let event = format!("job.{}", self.state().name());
        let (succeeded, unix_ms) = (self.state() == JobState::Succeeded, self.ended_unix_ms);
        let own = self.outside.as_ref();
        let kinds = [
            own.is_some_and(|own| succeeded && !own.output_url.is_empty())
                .then_some(DeliveryKind::Output),
            own.is_some_and(|own| !own.webhook_url.is_empty())
                .then_some(DeliveryKind::JobWebhook),
            tenant
                .is_some_and(Webhook::is_on)
                .then_some(DeliveryKind::TenantWebhook),
        ];
        for kind in kinds.into_iter().flatten() {
            let outside = self.outside.get_or_insert_default();
            let last = outside.deliveries.last();
            outside.deliveries.push(Delivery {
                number: last.map_or(0, |last| last.number) + 1,
                kind: kind.into(),
                event: event.clone(),
                unix_ms,
                ..Default::default()
            });
            let kept_from = outside.deliveries.len().saturating_sub(DELIVERIES_KEPT_MAX);
            outside.deliveries.drain(..kept_from);
        }
    }

    /// Gives up what of the job's former end was not told yet: it begins again, and
    /// a receiver that hears late would take it for the end.
    pub(crate) fn give_up_deliveries(&mut self) {
        let deliveries = self.outside.iter_mut().flat_map(|it| &mut it.deliveries);
        for delivery in deliveries.filter(|it| it.state() == DeliveryState::Pending) {
            delivery.end(DeliveryState::Failed);
        }
    }

    /// Forgets what of its source's URL opens it: the source is there, or not
    /// wanted any more.
    pub(crate) fn close_source_url(&mut self) {
        if let Some(outside) = &mut self.outside {
            outside.source_url = shown_url(&outside.source_url).to_string();
        }
    }
}
