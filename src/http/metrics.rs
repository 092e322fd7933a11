//! What a node knows, in the text format of Prometheus. Jobs and tenants are no
//! labels: there is no end to them. Counters count from the process's start.

use axum::{
    http::{HeaderValue, header},
    response::IntoResponse,
};

use super::{counts::Counts, faces::Faces, refusal::Answer};
use crate::api::{
    Census, Consistency,
    metrics::{Page, of_census, seconds},
};

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Gives what the node knows, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "health",
    security(("secret" = []), ()),
    responses((status = 200, description = "In its text format", body = String)),
)]
pub async fn get(faces: Faces) -> Answer {
    let census = faces.api.census(Consistency::Linearizable)?;
    let mut response = text(&census, &faces.counts).into_response();
    let format = HeaderValue::from_static(FORMAT);
    response.headers_mut().insert(header::CONTENT_TYPE, format);
    Ok(response)
}

fn text(census: &Census, counts: &Counts) -> String {
    let mut page = Page(of_census(census));
    of_requests(&mut page, counts);
    page.0
}

fn of_requests(page: &mut Page, counts: &Counts) {
    let counts = counts.all();
    let name = "reelraft_http_requests_total";
    page.family(name, "counter", "Requests to this port that were answered.");
    for ((route, method, status), count) in &counts {
        let requests = count.requests;
        page.line(format_args!(
            "{name}{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {requests}"
        ));
    }
    let name = "reelraft_http_request_seconds_total";
    let help = "Time until their answers began, uploads included.";
    page.family(name, "counter", help);
    for ((route, method, status), count) in &counts {
        let time = seconds(count.time);
        page.line(format_args!(
            "{name}{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}} {time}"
        ));
    }
}
