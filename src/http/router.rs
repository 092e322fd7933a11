//! All routes of the HTTP port, behind the check of who may ask.

use std::convert::Infallible;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, head, post, put},
};
use reelraft_model::Problem;

use super::{
    access, faces::Faces, health, jobs, metrics, outputs, refusal::Refusal, server::Crowded,
    sources, transcode, tus,
};

/// The routes. `/healthz` and `/readyz` need no secret. `calls` are those of
/// the client that comes by this port.
pub fn router(faces: Faces, calls: Router) -> Router {
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
        .route("/cluster", on(get(health::cluster)))
        .fallback(no_such_path)
        .layer(middleware::from_fn_with_state(faces.clone(), admit));
    let calls = calls.layer(middleware::from_fn_with_state(faces.clone(), admit));
    let metrics = Router::new()
        .route("/metrics", on(get(metrics::get)))
        .route_layer(middleware::from_fn_with_state(faces.clone(), admit));
    Router::new()
        .nest("/api/v1", api)
        .merge(metrics)
        .route("/healthz", on(get(health::alive)))
        .route("/readyz", on(get(health::ready)))
        .fallback(no_such_path)
        .with_state(faces)
        .merge(calls)
}

/// A path's methods, with our own refusal of all others.
fn on(methods: MethodRouter<Faces, Infallible>) -> MethodRouter<Faces, Infallible> {
    methods.fallback(no_such_method)
}

async fn admit(State(faces): State<Faces>, request: Request, next: Next) -> Response {
    let crowded = request.extensions().get::<Crowded>();
    if crowded.is_some_and(|crowded| crowded.0) {
        let cause = "this node serves as many connections as it can hold";
        let hint = "try again in a while, or ask another node";
        return Refusal(Problem::new("too-busy", cause, hint)).into_response();
    }
    match access::check(&faces.gate, request.uri(), request.headers()) {
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
