//! The OpenAPI document is of this router, and of nothing else.

use std::collections::BTreeSet;

use reelraft::http::{self, Port};
use reelraft_model::limits::{NAME_BYTES_MAX, PRIORITY_MAX, RETRIES_MAX};
use serde_json::Value;

use crate::{http::Client, node::start, routes::paths_of};

/// A path with some name for each that it takes.
fn filled_in(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.starts_with('{') {
        true => "jnone",
        false => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_is_described_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (access, stopper) = start(folder.path()).await;
    let port = Port::new(access.clone());
    // The client's calls are gRPC's, and described in its own way.
    let router = http::router(port, axum::Router::new());
    let (client, _stop) = Client::serve(access).await;
    let document = client.get("/api/v1/openapi.json").await;
    assert_eq!(document.header("content-type"), Some("application/json"));
    let document = document.json();
    assert_eq!(document, http::document());
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described = document["paths"].as_object().unwrap();
    let described_paths: BTreeSet<String> = described.keys().cloned().collect();
    assert_eq!(described_paths, paths_of(&router));
    for (path, item) in described {
        for method in ["get", "put", "post", "delete", "patch", "options", "head"] {
            // Where there is a GET there is a HEAD.
            let there =
                item.get(method).is_some() || (method == "head" && item["get"] != Value::Null);
            // No stream begins with a parameter that it does not know.
            let path = format!("{}?unknown=1", filled_in(path));
            let answer = client.ask(&method.to_uppercase(), &path, "", b"").await;
            assert_eq!(
                answer.status != 405,
                there,
                "{method} {path}: {}",
                answer.head
            );
        }
    }
    stopper.send(true).unwrap();
}

/// Operations have names of their own, all references lead somewhere, and each
/// refusal is a problem.
#[test]
fn the_document_is_whole() {
    let document = http::document();
    let mut names = BTreeSet::new();
    let operations = document["paths"].as_object().unwrap().iter();
    let operations = operations.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    for (what, operation) in operations {
        let name = operation["operationId"].as_str().unwrap().to_string();
        assert!(names.insert(name.clone()), "{what} is another {name}");
        assert!(operation["summary"].is_string(), "{what} says what it does");
        let responses = operation["responses"].as_object().unwrap();
        assert!(
            responses.keys().any(|status| status.starts_with('2')),
            "{what}"
        );
        for (status, response) in responses {
            let problem = format!("#/components/responses/{status}");
            let described = response["content"].is_object() || response["$ref"] == problem;
            assert!(described || status.as_str() < "400", "{what}: {status}");
        }
    }
    let of_job = &document["components"]["schemas"]["Create"]["properties"];
    assert_eq!(of_job["priority"]["minimum"], -PRIORITY_MAX);
    assert_eq!(of_job["priority"]["maximum"], PRIORITY_MAX);
    assert_eq!(of_job["max_retries"]["maximum"], RETRIES_MAX);
    what_is_bounded_is_said(&document);
    let mut references = Vec::new();
    find_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

fn what_is_bounded_is_said(document: &Value) {
    let schemas = &document["components"]["schemas"];
    for (schema, field) in [
        ("Create", "tenant"),
        ("Create", "source_name"),
        ("CreateKey", "name"),
        ("CreateKey", "tenant"),
    ] {
        let bound = &schemas[schema]["properties"][field]["maxLength"];
        assert_eq!(*bound, NAME_BYTES_MAX, "{field} of {schema}");
        let needed = schemas[schema]["required"].as_array();
        let needed = needed.is_some_and(|needed| needed.contains(&field.into()));
        assert_eq!(needed, field == "name", "{field} of {schema}");
    }
    assert!(schemas["Create"]["properties"]["source_fingerprint"]["pattern"].is_string());
    for schema in ["JobTurn", "JobProgress", "ClusterNews", "NodeNews"] {
        assert!(schemas[schema].is_object(), "{schema}");
    }
    let paths = &document["paths"];
    let mut keys = 0;
    for operation in paths
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
    {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            if ["Idempotency-Key", "tenant"]
                .iter()
                .any(|name| parameter["name"] == *name)
            {
                assert_eq!(parameter["schema"]["maxLength"], NAME_BYTES_MAX);
                keys += 1;
            }
        }
    }
    assert!(keys > 4, "{keys}");
    for (path, method) in [("/events", "get"), ("/transcode", "post")] {
        let operation = &paths[format!("/api/v1{path}")][method];
        assert!(operation["responses"]["404"].is_object(), "{path}");
    }
    for (path, method) in [("/metrics", "get"), ("/api/v1/tenants/{name}", "patch")] {
        let operation = &paths[path][method];
        assert_eq!(operation["security"][0]["secret"], Value::Array(Vec::new()));
        assert!(operation["responses"]["403"].is_object(), "{path}");
    }
}

fn find_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(reference) => found.push(reference.to_string()),
                    None => find_references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find_references(item, found)),
        _ => {}
    }
}
