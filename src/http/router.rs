//! All routes of the HTTP port, behind the check of who may ask.

use std::convert::Infallible;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, head, post, put},
};
use reelraft_model::Problem;

use super::{
    access, faces::Port, health, jobs, keys, metrics, outputs, refusal::Refusal, server::Crowded,
    sources, transcode, tus,
};

/// The routes. `/healthz` and `/readyz` need no secret and no key. `calls` are
/// those of the client that comes by this port.
pub fn router(port: Port, calls: Router) -> Router {
    let uploads = Router::new()
        .route("/uploads", on(post(tus::create).options(tus::describe)))
        .route(
            "/uploads/{id}",
            on(head(tus::offset).patch(tus::append).delete(tus::terminate)),
        )
        .layer(middleware::from_fn(tus::sign));
    let api = Router::new()
        .merge(uploads)
        .route("/jobs", on(get(jobs::list).post(jobs::create)))
        .route("/jobs/{id}", on(get(jobs::show).delete(jobs::delete)))
        .route("/jobs/{id}/cancel", on(post(jobs::cancel)))
        .route("/jobs/{id}/replan", on(post(jobs::replan)))
        .route("/jobs/{id}/tasks", on(get(jobs::tasks)))
        .route("/jobs/{id}/proof", on(get(jobs::proof)))
        .route("/jobs/{id}/reference", on(get(jobs::reference)))
        .route("/jobs/{id}/events", on(get(jobs::events)))
        .route("/jobs/{id}/source", on(put(sources::put)))
        .route("/jobs/{id}/output", on(get(outputs::get)))
        .route("/transcode", on(put(transcode::run).post(transcode::run)))
        .route("/keys", on(get(keys::list).post(keys::create)))
        .route("/keys/{id}", on(delete(keys::revoke)))
        .route(
            "/tenants/{name}",
            on(get(keys::show_tenant).patch(keys::set_quota)),
        )
        .route("/cluster", on(get(health::cluster)))
        .fallback(no_such_path)
        .layer(middleware::from_fn(allow))
        .layer(middleware::from_fn_with_state(port.clone(), admit));
    let calls = calls.layer(middleware::from_fn_with_state(port.clone(), admit));
    let metrics = Router::new()
        .route("/metrics", on(get(metrics::get)))
        .route_layer(middleware::from_fn_with_state(port.clone(), admit));
    Router::new()
        .nest("/api/v1", api)
        .merge(metrics)
        .route("/healthz", on(get(health::alive)))
        .route("/readyz", on(get(health::ready)))
        .fallback(no_such_path)
        .with_state(port)
        .merge(calls)
}

/// A path's methods, with our own refusal of all others.
fn on(methods: MethodRouter<Port, Infallible>) -> MethodRouter<Port, Infallible> {
    methods.fallback(no_such_method)
}

async fn admit(State(port): State<Port>, mut request: Request, next: Next) -> Response {
    let crowded = request.extensions().get::<Crowded>();
    if crowded.is_some_and(|crowded| crowded.0) {
        let cause = "this node serves as many connections as it can hold";
        let hint = "try again in a while, or ask another node";
        return Refusal(Problem::new("too-busy", cause, hint)).into_response();
    }
    match access::admit(&port.access, &request) {
        Ok(api) => {
            request.extensions_mut().insert(api);
            next.run(request).await
        }
        Err(problem) => Refusal(problem).into_response(),
    }
}

/// Refuses what the caller's scope does not allow by the method alone.
async fn allow(request: Request, next: Next) -> Response {
    match access::allow(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => Refusal(problem).into_response(),
    }
}

async fn no_such_path(request: Request) -> Refusal {
    let cause = format!("there is no {}", request.uri().path());
    Refusal(Problem::new(
        "not-found",
        cause,
        "see docs/http.md for the paths",
    ))
}

async fn no_such_method(request: Request) -> Refusal {
    let cause = format!("{} has no {}", request.uri().path(), request.method());
    let hint = "see docs/http.md for the methods";
    Refusal(Problem::new("method-not-allowed", cause, hint))
}
