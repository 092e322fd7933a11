//! All routes of the HTTP port, behind the check of who may ask.

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode, Uri},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use reelraft_model::Problem;
use serde_json::Value;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use super::{
    access, counts,
    documents::json_text,
    engine_tasks, engines, events,
    faces::Port,
    fellows, health, jobs, keys, measures, members, metrics, openapi, outputs, page, pictures,
    previews,
    refusal::{Answer, Refusal},
    request::known,
    server::{Crowded, Stopping},
    sources, spec_check, transcode, tus, webhooks,
};

/// The routes below `/api/v1`. A path and its methods stand in the attribute of
/// the handler, and nowhere else: router and document are made of it.
fn api() -> OpenApiRouter<Port> {
    let uploads = OpenApiRouter::new()
        .routes(on(routes!(tus::create, tus::describe)))
        .routes(on(routes!(tus::offset, tus::append, tus::terminate)))
        .layer(middleware::from_fn(tus::sign));
    OpenApiRouter::new()
        .merge(uploads)
        .routes(on(routes!(jobs::list, jobs::create)))
        .routes(on(routes!(jobs::show, jobs::delete)))
        .routes(on(routes!(jobs::cancel)))
        .routes(on(routes!(jobs::replan)))
        .routes(on(routes!(jobs::retry)))
        .routes(on(routes!(jobs::tasks)))
        .routes(on(routes!(jobs::task)))
        .routes(on(routes!(jobs::log)))
        .routes(on(routes!(outputs::part)))
        .routes(on(routes!(jobs::metadata)))
        .routes(on(routes!(jobs::proof)))
        .routes(on(routes!(measures::show, measures::begin)))
        .routes(on(routes!(jobs::reference)))
        .routes(on(routes!(jobs::command)))
        .routes(on(routes!(jobs::follow)))
        .routes(on(routes!(sources::put)))
        .routes(on(routes!(outputs::get)))
        .routes(on(routes!(outputs::link)))
        .routes(on(routes!(pictures::picture)))
        .routes(on(routes!(previews::preview)))
        .routes(on(routes!(webhooks::deliveries)))
        .routes(on(routes!(webhooks::show, webhooks::set, webhooks::remove)))
        .routes(on(routes!(webhooks::rotate)))
        .routes(on(routes!(transcode::run)))
        .routes(on(routes!(spec_check::check)))
        .routes(on(routes!(keys::list, keys::create)))
        .routes(on(routes!(keys::revoke)))
        .routes(on(routes!(keys::show_tenant, keys::set_quota)))
        .routes(on(routes!(health::cluster)))
        .routes(on(routes!(health::nodes)))
        .routes(on(routes!(health::node, members::remove)))
        .routes(on(routes!(members::drain)))
        .routes(on(routes!(members::undrain)))
        .routes(on(routes!(members::upgrade)))
        .routes(on(routes!(members::transfer_leader)))
        .routes(on(routes!(members::set_voters)))
        .routes(on(routes!(members::scrub)))
        .routes(on(routes!(members::backup)))
        .routes(on(routes!(engines::list, engines::create)))
        .routes(on(routes!(engines::revoke)))
        .routes(on(routes!(events::follow)))
        .routes(on(routes!(described)))
}

/// What engines ask, by tokens of their own.
fn engine_routes() -> OpenApiRouter<Port> {
    OpenApiRouter::new()
        .routes(on(routes!(engines::register)))
        .routes(on(routes!(engines::beat)))
        .routes(on(routes!(engines::leave)))
        .routes(on(routes!(engine_tasks::show)))
        .routes(on(routes!(engine_tasks::input)))
        .routes(on(routes!(engine_tasks::output)))
        .routes(on(routes!(engine_tasks::log)))
        .routes(on(routes!(engine_tasks::complete)))
        .routes(on(routes!(engine_tasks::fail)))
        .routes(on(routes!(engine_tasks::abort)))
}

/// Routes of the port itself, for those who watch over it.
fn metrics() -> OpenApiRouter<Port> {
    OpenApiRouter::new().routes(on(routes!(metrics::get)))
}

/// Routes that need no secret and no key.
fn health() -> OpenApiRouter<Port> {
    OpenApiRouter::new()
        .routes(on(routes!(health::alive)))
        .routes(on(routes!(health::ready)))
}

/// Where the routes of [`api`] are.
const PREFIX: &str = "/api/v1";

/// The routes, behind the check of who may ask. `calls` are those of the client
/// that comes by this port.
pub fn router(port: Port, calls: Router) -> Router {
    let admitted = middleware::from_fn_with_state(port.clone(), admit);
    let api = Router::from(api()).fallback(no_such_path);
    let api = api.layer(middleware::from_fn(allow));
    let fellows = middleware::from_fn_with_state(port.clone(), fellows::let_in);
    let calls = calls.layer(middleware::from_fn(end_watch));
    let calls = calls.layer(admitted.clone());
    Router::new()
        .nest(PREFIX, api.layer(admitted.clone()).layer(fellows.clone()))
        .merge(Router::new().nest(PREFIX, Router::from(engine_routes())))
        .merge(
            Router::from(metrics())
                .route_layer(admitted)
                .route_layer(fellows),
        )
        .merge(Router::from(health()))
        .fallback(page)
        .layer(middleware::from_fn_with_state(
            port.counts.clone(),
            counts::count,
        ))
        .with_state(port)
        .merge(calls)
}

/// The OpenAPI document of the routes.
pub fn document() -> Value {
    let routes = OpenApiRouter::with_openapi(openapi::begin())
        .nest(PREFIX, api().merge(engine_routes()))
        .merge(metrics())
        .merge(health());
    openapi::complete(routes.into_openapi())
}

/// Gives this document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "cluster",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)),
)]
async fn described(uri: Uri) -> Answer {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    let [] = known(&uri, [])?;
    Ok(json_text(StatusCode::OK, TEXT.as_str()))
}

/// A path's methods, with our own refusal of all others.
fn on((schemas, paths, methods): UtoipaMethodRouter<Port>) -> UtoipaMethodRouter<Port> {
    (schemas, paths, methods.fallback(no_such_method))
}

/// Refuses what came by a connection that is kept for checks of health.
fn check_crowd(request: &Request) -> Result<(), Refusal> {
    let crowded = request.extensions().get::<Crowded>();
    if crowded.is_none_or(|crowded| !crowded.0) {
        return Ok(());
    }
    let cause = "this node serves as many connections as it can hold";
    let hint = "try again in a while, or ask another node";
    Err(Refusal(Problem::new("too-busy", cause, hint)))
}

/// Gives a file of the page, and refuses every other path.
async fn page(State(port): State<Port>, request: Request) -> Answer {
    check_crowd(&request)?;
    let file = page::file(request.uri(), request.headers(), &fellows::origins(&port));
    match file {
        Some(file) if matches!(*request.method(), Method::GET | Method::HEAD) => Ok(file),
        Some(_) => Err(no_such_method(request).await),
        None => Err(no_such_path(request).await),
    }
}

async fn admit(State(port): State<Port>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = check_crowd(&request) {
        return refusal.into_response();
    }
    match access::admit(&port, &request) {
        Ok(api) => {
            request.extensions_mut().insert(api);
            next.run(request).await
        }
        Err(problem) => Refusal(problem).into_response(),
    }
}

/// Ends the client's watch of a job when the node stops, so that it goes on at
/// another. Its other calls have an end.
async fn end_watch(stopping: Stopping, request: Request, next: Next) -> Response {
    let watches = request.uri().path().ends_with("/Watch");
    let response = next.run(request).await;
    match watches {
        true => response.map(|body| {
            let body = body.into_data_stream().take_until(stopping.wait());
            Body::from_stream(body)
        }),
        false => response,
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
