//! Webhooks of tenants, and what was sent for a job.

use axum::{
    body::Body,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use reelraft_model::Problem;
use reelraft_proto::documents::{DeliveryList, Webhook};
use serde::Deserialize;

use super::{
    documents::json,
    faces::{Faces, JobId},
    refusal::Answer,
    request::{json_body, known},
};
use crate::{
    api::WebhookView,
    grpc::convert_outside::{wire_delivery, wire_webhook},
};

/// A webhook as a client asks for it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    /// Left out: only a secret is made.
    #[serde(default)]
    url: String,
}

fn webhook(view: Result<WebhookView, Problem>) -> Answer {
    let webhook = wire_webhook(view?);
    let mut response: Response = json(StatusCode::OK, &Webhook::from(&webhook));
    // It may have the secret in it.
    let headers = response.headers_mut();
    let no_store = axum::http::HeaderValue::from_static("no-store");
    headers.insert(axum::http::header::CACHE_CONTROL, no_store);
    Ok(response)
}

/// `GET /webhooks`.
pub async fn show(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    webhook(faces.api.webhook(&tenant).await)
}

/// `PUT /webhooks`.
pub async fn set(faces: Faces, uri: Uri, body: Body) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    let Set { url } = json_body(body).await?;
    webhook(faces.api.set_webhook(&tenant, &url).await)
}

/// `POST /webhooks/rotate`.
pub async fn rotate(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    webhook(faces.api.rotate_webhook(&tenant).await)
}

/// `DELETE /webhooks`.
pub async fn remove(faces: Faces, uri: Uri) -> Answer {
    let [tenant] = known(&uri, ["tenant"])?;
    faces.api.remove_webhook(&tenant).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `GET /jobs/{id}/deliveries`.
pub async fn deliveries(faces: Faces, JobId(id): JobId, uri: Uri) -> Answer {
    let [] = known(&uri, [])?;
    let deliveries = faces.api.deliveries(&id).await?;
    let deliveries = deliveries.iter().map(|it| wire_delivery(it, usize::MAX));
    let deliveries: Vec<_> = deliveries.collect();
    Ok(json(StatusCode::OK, &DeliveryList::new(&deliveries)))
}
