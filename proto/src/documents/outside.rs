//! What a job sends to the outside, and webhooks of tenants.

use serde::Serialize;
use utoipa::ToSchema;

use super::field::text;
use crate::v1;

/// Something that is sent because a job has ended.
#[derive(Serialize, ToSchema)]
pub struct Delivery<'a> {
    pub number: u32,
    pub kind: &'a str,
    pub event: &'a str,
    pub state: &'a str,
    pub attempts: u32,
    pub created_unix_ms: u64,
    /// The latest attempts; in a job's document the last one.
    pub log: Vec<DeliveryAttempt<'a>>,
}

/// One try at it.
#[derive(Serialize, ToSchema)]
pub struct DeliveryAttempt<'a> {
    pub ended_unix_ms: u64,
    pub took_ms: u64,
    /// Of HTTP; `null`: nothing answered.
    pub status: Option<u32>,
    pub cause: Option<&'a str>,
}

impl<'a> From<&'a v1::Delivery> for Delivery<'a> {
    fn from(delivery: &'a v1::Delivery) -> Self {
        let log = delivery.log.iter().map(|attempt| DeliveryAttempt {
            ended_unix_ms: attempt.unix_ms,
            took_ms: attempt.took_ms,
            status: Some(attempt.status).filter(|status| *status != 0),
            cause: text(&attempt.cause),
        });
        Delivery {
            number: delivery.number,
            kind: &delivery.kind,
            event: &delivery.event,
            state: &delivery.state,
            attempts: delivery.attempts,
            created_unix_ms: delivery.unix_ms,
            log: log.collect(),
        }
    }
}

/// All that is sent for a job.
#[derive(Serialize, ToSchema)]
pub struct DeliveryList<'a> {
    pub deliveries: Vec<Delivery<'a>>,
}

impl<'a> DeliveryList<'a> {
    /// From what the node answers.
    pub fn new(deliveries: &'a [v1::Delivery]) -> Self {
        DeliveryList {
            deliveries: deliveries.iter().map(Delivery::from).collect(),
        }
    }
}

/// A tenant's webhook.
#[derive(Serialize, ToSchema)]
pub struct Webhook<'a> {
    pub tenant: &'a str,
    /// Without its query; `null`: there is only a secret.
    pub url: Option<&'a str>,
    /// Why nothing is sent there any more.
    pub off_cause: Option<&'a str>,
    /// How many secrets sign.
    pub secrets: u32,
    pub changed_unix_ms: u64,
    /// The secret, in the answer that made it alone.
    pub secret: Option<&'a str>,
}

impl<'a> From<&'a v1::Webhook> for Webhook<'a> {
    fn from(webhook: &'a v1::Webhook) -> Self {
        Webhook {
            tenant: &webhook.tenant,
            url: text(&webhook.url),
            off_cause: text(&webhook.off_cause),
            secrets: webhook.secrets,
            changed_unix_ms: webhook.changed_unix_ms,
            secret: text(&webhook.secret),
        }
    }
}
