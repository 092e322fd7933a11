//! Pages of fellow nodes: one that was loaded from a node goes on at another when
//! that fails, so nodes let each other's pages in (CORS), and no other site's.

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};

use reelraft_trust::is_loopback;

use super::{faces::Port, limits::PREFLIGHT_KEPT_S};

/// What a page may send.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str = "Authorization, X-API-Key, Content-Type, Idempotency-Key, Last-Event-ID, \
    Range, If-Range, If-None-Match, Tus-Resumable, Upload-Length, Upload-Offset, \
    Upload-Metadata, Upload-Checksum";

/// What of an answer it may read, besides what any page may.
const EXPOSED: &str = "Location, ETag, Retry-After, Content-Disposition, Content-Range, \
    Accept-Ranges, Reelraft-Job, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, \
    Tus-Checksum-Algorithm, Upload-Length, Upload-Offset";

/// Where a page comes from: scheme, host and port. The names of this machine
/// for itself are one, as a browser takes them for several.
#[derive(PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn parse(text: &str) -> Option<Self> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-._:/[]".contains(&letter);
        let uri: Uri = text.parse().ok().filter(|_| text.bytes().all(is_plain))?;
        let scheme = uri.scheme_str()?.to_string();
        let port = match (uri.port_u16(), scheme.as_str()) {
            (Some(port), _) => port,
            (None, "http") => 80,
            (None, "https") => 443,
            _ => return None,
        };
        let host = uri.host()?;
        let host = match is_loopback(host) {
            true => "localhost".to_string(),
            false => host.to_ascii_lowercase(),
        };
        Some(Origin { scheme, host, port })
    }
}

/// What browsers call the nodes' ports, as far as it is an origin.
pub fn origins(port: &Port) -> Vec<String> {
    let origins = port.access.operator().origins().into_values();
    origins
        .filter(|origin| Origin::parse(origin).is_some())
        .collect()
}

/// Whether a page comes from a node.
pub fn is_fellow(origin: &str, origins: &[String]) -> bool {
    let Some(origin) = Origin::parse(origin) else {
        return false;
    };
    let mut known = origins.iter().filter_map(|known| Origin::parse(known));
    known.any(|known| known == origin)
}

/// Tells a browser what it asks before it lets a fellow node's page in, and what
/// that may read.
pub async fn let_in(State(port): State<Port>, request: Request, next: Next) -> Response {
    let Some(origin) = fellow_origin(&port, request.headers()) else {
        return next.run(request).await;
    };
    let asks_first = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = match asks_first {
        true => preflight(),
        false => next.run(request).await,
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(EXPOSED),
    );
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    response
}

fn fellow_origin(port: &Port, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let is_known = is_fellow(origin.to_str().ok()?, &origins(port));
    is_known.then(|| origin.clone())
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from(PREFLIGHT_KEPT_S),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_nodes_are_told_from_all_others() {
        let origins = ["http://127.0.0.1:8401", "https://media.example"].map(str::to_string);
        for fellow in [
            "http://127.0.0.1:8401",
            "http://localhost:8401",
            "http://[::1]:8401",
            "https://media.example",
            "https://MEDIA.example:443",
        ] {
            assert!(is_fellow(fellow, &origins), "{fellow}");
        }
        for other in [
            "null",
            "",
            "http://localhost:3000",
            "https://localhost:8401",
            "http://media.example",
            "https://media.example.org",
            "https://media.example:8443",
            "https://a;b",
        ] {
            assert!(!is_fellow(other, &origins), "{other}");
        }
        assert!(Origin::parse("http://a; script-src *").is_none());
    }
}
