//! Who may ask. The secret of the cluster, or a key, is a bearer token here, or
//! a header of its own. Without a secret only loopback is served, and there the browser of
//! whoever sits at the machine is kept from being used by a stranger's page: by
//! its `Origin`, and by `Host`, which a rebound name can't forge. Pages of fellow
//! nodes are let in.

use axum::{
    extract::Request,
    http::{HeaderMap, Method, Uri, header, uri::Authority},
};
use reelraft_model::{Problem, Scope};
use reelraft_trust::is_loopback;

use super::{
    faces::Port,
    fellows::{is_fellow, origins},
};
use crate::api::Api;

const API_KEY: &str = "x-api-key";

/// Lets a request in; what it may ask.
///
/// # Errors
/// `unauthenticated`, `too-many-requests`, and `forbidden` for a page of another
/// site.
pub fn admit(port: &Port, request: &Request) -> Result<Api, Problem> {
    let (uri, headers) = (request.uri(), request.headers());
    if port.access.is_open() {
        check_origin(uri, headers, || origins(port))?;
    }
    let credential = credential(headers);
    match linked(request).filter(|_| credential.is_empty()) {
        Some((job, link)) => port.access.admit_link(job, link),
        None => port.access.admit(credential),
    }
}

/// The job and the text of a link to its output, which stands for a credential
/// there and nowhere else.
fn linked(request: &Request) -> Option<(&str, &str)> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let uri = request.uri();
    let job = uri.path().strip_prefix("/jobs/")?.strip_suffix("/output")?;
    let link = uri.query()?.strip_prefix("link=")?;
    (reads && !job.contains('/')).then_some((job, link))
}

/// Whether one that was let in may use its method. What changes something takes
/// a scope, before anything of the request is read.
///
/// # Errors
/// `forbidden`.
pub fn allow(request: &Request) -> Result<(), Problem> {
    let scope = match request.method().is_safe() {
        true => Scope::Read,
        false => Scope::Submit,
    };
    let api = request.extensions().get::<Api>();
    api.map_or(Ok(()), |api| api.takes(scope))
}

/// What a request shows: a key, a secret or a token.
pub fn credential(headers: &HeaderMap) -> &[u8] {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
    });
    let key = headers.get(API_KEY).map(|value| value.as_bytes());
    bearer.or(key).unwrap_or_default()
}

fn check_origin(
    uri: &Uri,
    headers: &HeaderMap,
    fellows: impl FnOnce() -> Vec<String>,
) -> Result<(), Problem> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| host.parse::<Authority>().ok());
    let host = host.or_else(|| uri.authority().cloned());
    let local = host.as_ref().is_some_and(|host| is_loopback(host.host()));
    if !local {
        return Err(forbidden(
            "the request names another host than this machine",
        ));
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let parsed = origin.parse::<Uri>().ok();
    let same = parsed.is_some_and(|parsed| parsed.authority() == host.as_ref());
    match same || is_fellow(origin, &fellows()) {
        true => Ok(()),
        false => Err(forbidden("a page of another site asks")),
    }
}

fn forbidden(cause: &str) -> Problem {
    Problem::new(
        "forbidden",
        cause,
        "without a secret this port serves programs of this machine alone; start the nodes with one",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(headers: &[(&'static str, &str)]) -> HeaderMap {
        let named = headers.iter().map(|(name, value)| {
            let name = header::HeaderName::from_static(name);
            (name, value.parse().unwrap())
        });
        named.collect()
    }

    #[test]
    fn a_credential_is_a_bearer_token_or_a_header_of_its_own() {
        for (name, value) in [
            ("authorization", "Bearer swordfish"),
            ("authorization", "bearer swordfish"),
            ("x-api-key", "swordfish"),
        ] {
            let headers = map(&[(name, value)]);
            assert_eq!(credential(&headers), b"swordfish", "{name}");
        }
        for other in ["swordfish", "Basic swordfish", "Bearer", ""] {
            let headers = map(&[("authorization", other)]);
            assert_eq!(credential(&headers), b"", "{other}");
        }
    }

    #[test]
    fn without_one_no_page_of_another_site_gets_in() {
        let kind = |headers: &[(&'static str, &str)]| {
            let uri = "/api/v1/jobs".parse().unwrap();
            let fellows = || vec!["http://127.0.0.1:8402".to_string()];
            let refused = check_origin(&uri, &map(headers), fellows).err();
            refused.map(|problem| problem.kind)
        };
        for host in [
            "localhost:8401",
            "127.0.0.1:8401",
            "[::1]:8401",
            "127.0.0.2",
        ] {
            assert_eq!(kind(&[("host", host)]), None, "{host}");
        }
        let refused = Some("forbidden".to_string());
        for host in ["evil.example:8401", "10.0.0.1", "localhost.evil.example"] {
            assert_eq!(kind(&[("host", host)]), refused, "{host}");
        }
        assert_eq!(kind(&[]), refused);
        let own = ("host", "localhost:8401");
        assert_eq!(kind(&[own, ("origin", "http://localhost:8401")]), None);
        for fellow in ["http://127.0.0.1:8402", "http://localhost:8402"] {
            assert_eq!(kind(&[own, ("origin", fellow)]), None, "{fellow}");
        }
        for origin in ["http://evil.example", "null", "http://localhost:3000"] {
            assert_eq!(kind(&[own, ("origin", origin)]), refused, "{origin}");
        }
    }
}
