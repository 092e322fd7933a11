//! Webhooks of tenants, and what was sent for a job.

use axum::{
    body::Body,
    http::{StatusCode, Uri},
    response::IntoResponse,
};
use reelraft_model::Problem;
use reelraft_proto::documents::{DeliveryList, Webhook};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    documents::{json, json_with_secret},
    faces::{Faces, JobId},
    refusal::Answer,
    request::{json_body, known},
};
use crate::{
    api::WebhookView,
    grpc::convert_outside::{wire_delivery, wire_webhook},
};

/// A webhook as a client asks for it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetWebhook)]
struct Set {
    /// Left out: only a secret is made.
    #[serde(default)]
    url: String,
}

fn webhook(view: Result<WebhookView, Problem>) -> Answer {
    let webhook = wire_webhook(view?);
    Ok(json_with_secret(StatusCode::OK, &Webhook::from(&webhook)))
}

/// Shows a tenant's webhook.
#[utoipa::path(
    get, path = "/webhooks", operation_id = "show_webhook", tag = "webhooks",
    params(("tenant" = Option<String>, Query, description = "Of this tenant")),
    responses((status = 200, description = "The webhook", body = Webhook), (status = 404)),
)]
pub async fn show(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    webhook(faces.api.webhook(&tenant).await)
}

/// Sets a tenant's webhook. The first answer alone has its secret.
#[utoipa::path(
    put, path = "/webhooks", operation_id = "set_webhook", tag = "webhooks",
    params(("tenant" = Option<String>, Query, description = "Of this tenant")),
    request_body = Set,
    responses((status = 200, description = "The webhook", body = Webhook)),
)]
pub async fn set(faces: Faces, uri: Uri, body: Body) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    let Set { url } = json_body(body).await?;
    webhook(faces.api.set_webhook(&tenant, &url).await)
}

/// Makes another secret; the former signs for a day beside it.
#[utoipa::path(
    post, path = "/webhooks/rotate", operation_id = "rotate_webhook", tag = "webhooks",
    params(("tenant" = Option<String>, Query, description = "Of this tenant")),
    responses(
        (status = 200, description = "The webhook with its new secret", body = Webhook),
        (status = 404),
    ),
)]
pub async fn rotate(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    webhook(faces.api.rotate_webhook(&tenant).await)
}

/// Removes a tenant's webhook and its secret.
#[utoipa::path(
    delete, path = "/webhooks", operation_id = "remove_webhook", tag = "webhooks",
    params(("tenant" = Option<String>, Query, description = "Of this tenant")),
    responses((status = 204, description = "Removed")),
)]
pub async fn remove(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    faces.api.remove_webhook(&tenant).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Tells what was sent for a job, and what came of it.
#[utoipa::path(
    get, path = "/jobs/{id}/deliveries", operation_id = "job_deliveries", tag = "jobs",
    responses((status = 200, description = "What was sent", body = DeliveryList)),
)]
pub async fn deliveries(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let deliveries = faces.api.deliveries(&id).await?;
    let deliveries = deliveries.iter().map(|it| wire_delivery(it, usize::MAX));
    let deliveries: Vec<_> = deliveries.collect();
    Ok(json(StatusCode::OK, &DeliveryList::new(&deliveries)))
}
