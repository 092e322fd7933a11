//! The OpenAPI document. Paths, parameters and bodies come from the attributes
//! of the handlers and from the documents themselves; here is added what holds
//! for many routes, so that a handler says only what is its own:
//!
//! - a status from 400 on that a handler names becomes a problem document;
//! - so do those that any route, any change, or any route of a thing may give;
//! - names in a path without a description of their own are plain texts.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use reelraft_model::limits::NAME_BYTES_MAX;
use reelraft_proto::documents::{ClusterNews, JobProgress, JobTurn};
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Info, Object, ObjectBuilder, OpenApi, OpenApiBuilder, RefOr, Schema, Type},
};

use super::refusal::Document;

/// What any request behind the check of who may ask may be refused with.
const ALWAYS: [u16; 7] = [400, 401, 403, 429, 500, 503, 504];

/// What else a request that changes something may be.
const OF_CHANGES: [u16; 4] = [408, 409, 413, 507];

/// What else a request for a thing by its name may be.
const OF_THINGS: [u16; 1] = [404];

/// Parameters that are names, whose length has a bound.
const NAMES: [&str; 3] = ["Idempotency-Key", "tenant", "name"];

/// A name as a schema.
pub fn name() -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.max_length(Some(NAME_BYTES_MAX)).build()
}

/// The same of a name that is needed, and shown as it is.
pub fn plain_name() -> Object {
    let mut name = name();
    name.min_length = Some(1);
    name.pattern = Some(r"^[^\u0000-\u001f\u007f-\u009f]+$".to_string());
    name
}

/// Bytes as a body.
pub struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let bytes = ObjectBuilder::new().schema_type(Type::String);
        let format = utoipa::openapi::SchemaFormat::Custom("binary".into());
        bytes.format(Some(format)).into()
    }
}

impl ToSchema for Binary {}

/// The document before any route.
pub fn begin() -> OpenApi {
    let mut info = Info::new("reelraft", env!("CARGO_PKG_VERSION"));
    info.description = Some(
        "A transcoding cluster. Any node answers anything; where one fails, ask another.".into(),
    );
    OpenApiBuilder::new().info(info).build()
}

/// The whole document, from one that has all routes.
pub fn complete(routes: OpenApi) -> Value {
    let mut document = serde_json::to_value(routes).expect("documents always serialize");
    let (mut names, mut statuses) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in members(&mut document["paths"]) {
        for (method, operation) in members(item) {
            let name = operation["operationId"].as_str().unwrap_or_default();
            // One handler of several methods has one name.
            if !names.insert(name.to_string()) {
                operation["operationId"] = format!("{name}_{method}").into();
            }
            complete_operation(path, method, operation);
            for (status, response) in members(&mut operation["responses"]) {
                let Some(status) = status.parse::<u16>().ok().filter(|status| *status >= 400)
                else {
                    continue;
                };
                if response.get("content").is_none() {
                    *response = json!({ "$ref": format!("#/components/responses/{status}") });
                    statuses.insert(status);
                }
            }
        }
    }
    let components = &mut document["components"];
    components["schemas"][Document::name().as_ref()] =
        serde_json::to_value(Document::schema()).expect("schemas always serialize");
    add_schema::<JobTurn<'_>>(components);
    add_schema::<JobProgress<'_>>(components);
    add_schema::<ClusterNews<'_>>(components);
    for status in statuses {
        components["responses"][status.to_string()] = refusal(status);
    }
    components["securitySchemes"] = json!({
        "bearer": { "type": "http", "scheme": "bearer" },
        "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
        "secret": {
            "type": "http", "scheme": "bearer",
            "description": "The cluster's secret; no key will do",
        },
    });
    // On loopback a cluster may ask for nothing.
    document["security"] = json!([{ "bearer": [] }, { "key": [] }, {}]);
    document
}

/// Adds what no body has, with all that it has in it.
fn add_schema<T: ToSchema>(components: &mut Value) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    for (name, schema) in schemas {
        components["schemas"][name] =
            serde_json::to_value(schema).expect("schemas always serialize");
    }
}

fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    name_parameters(path, operation);
    bound_names(operation);
    let open = operation["security"] == json!([{}]);
    let changes = !matches!(method, "get" | "head" | "options");
    let every = ALWAYS.iter().filter(|_| !open);
    let of_changes = OF_CHANGES.iter().filter(|_| changes);
    let of_things = OF_THINGS.iter().filter(|_| path.contains('{'));
    for status in every.chain(of_changes).chain(of_things) {
        let responses = operation["responses"].as_object_mut();
        let responses = responses.expect("each operation has a map of them");
        responses.entry(status.to_string()).or_insert(json!({}));
    }
}

/// Describes the names in a path that the handler has not described.
fn name_parameters(path: &str, operation: &mut Value) {
    let names = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    for name in names {
        let parameters = &mut operation["parameters"];
        if parameters.is_null() {
            *parameters = json!([]);
        }
        let parameters = parameters.as_array_mut().expect("it is a list");
        let known = parameters
            .iter()
            .any(|parameter| parameter["in"] == "path" && parameter["name"] == name);
        if !known {
            parameters.push(json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "minLength": 1 },
            }));
        }
    }
}

/// Says how long a name may be.
fn bound_names(operation: &mut Value) {
    let parameters = operation.get_mut("parameters");
    let parameters = parameters.and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let named = |name: &&str| parameter["name"] == **name;
        if NAMES.iter().any(named) {
            parameter["schema"]["maxLength"] = NAME_BYTES_MAX.into();
        }
    }
}

/// A refusal under a status.
fn refusal(status: u16) -> Value {
    let reason = StatusCode::from_u16(status).ok();
    let reason = reason.and_then(|status| status.canonical_reason());
    let header = |name: &str, kind: &str| json!({ name: { "schema": { "type": kind } } });
    let headers = match status {
        401 => header("WWW-Authenticate", "string"),
        429 | 503 => header("Retry-After", "integer"),
        _ => Value::Object(Map::new()),
    };
    let schema = format!("#/components/schemas/{}", Document::name());
    json!({
        "description": reason.unwrap_or("Refused"),
        "headers": headers,
        "content": { "application/problem+json": { "schema": { "$ref": schema } } },
    })
}
