//! Deliveries and webhooks on the wire. Of a URL, all but its query is shown.

use reelraft_model::{Delivery, DeliveryAttempt, Outside, shown_url};
use reelraft_proto::v1;

use crate::api::WebhookView;

/// A delivery on the wire, with so many of its latest attempts.
pub fn wire_delivery(delivery: &Delivery, attempts: usize) -> v1::Delivery {
    let skipped = delivery.log.len().saturating_sub(attempts);
    let log = delivery.log[skipped..].iter().map(|attempt| {
        let DeliveryAttempt {
            unix_ms,
            took_ms,
            status,
            cause,
        } = attempt.clone();
        v1::DeliveryAttempt {
            unix_ms,
            took_ms,
            status,
            cause,
        }
    });
    v1::Delivery {
        number: delivery.number,
        kind: delivery.kind().name().to_string(),
        state: delivery.state().name().to_string(),
        event: delivery.event.clone(),
        attempts: delivery.attempts,
        unix_ms: delivery.unix_ms,
        log: log.collect(),
    }
}

/// A webhook on the wire.
pub fn wire_webhook(view: WebhookView) -> v1::Webhook {
    let WebhookView {
        tenant,
        url,
        off_cause,
        secrets,
        changed_unix_ms,
        secret,
    } = view;
    v1::Webhook {
        tenant,
        url: shown_url(&url).to_string(),
        off_cause,
        secrets,
        changed_unix_ms,
        secret,
    }
}

/// A job with what it has to do with the outside: of each delivery the last attempt.
pub fn with_outside(job: v1::Job, outside: Outside) -> v1::Job {
    let shown = |url: &str| shown_url(url).to_string();
    let deliveries = outside.deliveries.iter();
    v1::Job {
        source_url: shown(&outside.source_url),
        webhook_url: shown(&outside.webhook_url),
        output_url: shown(&outside.output_url),
        deliveries: deliveries.map(|it| wire_delivery(it, 1)).collect(),
        ..job
    }
}
