//! The ways to a node: its gRPC port, or its HTTP port where a proxy between
//! passes nothing else. Over HTTP the same calls go as gRPC-Web, and the bytes
//! of an upload as one request; see [`crate::transfer::upload`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::BodyExt;
use reelraft_proto::{
    auth::{SECRET_KEY, Secret},
    dial::{self, Timing},
    problem::to_status,
    v1,
};
use reelraft_trust::{Anchor, Connector, certificate_trouble, is_loopback};
use reqwest::{Url, header::CONTENT_TYPE, redirect};
use serde::Deserialize;
use tonic::{
    Status,
    body::Body,
    codegen::{Service, StdError, http},
    transport::{Channel, Endpoint},
};
use tonic_web::{GrpcWebCall, GrpcWebClientService};

use crate::{
    error::CliError,
    limits::{CONNECT_MS, KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS, PROBLEM_BYTES_MAX},
};

const TIMING: Timing = Timing {
    connect: Duration::from_millis(CONNECT_MS),
    keepalive_every: Duration::from_millis(KEEPALIVE_MS),
    keepalive_timeout: Duration::from_millis(KEEPALIVE_TIMEOUT_MS),
};

/// How endpoints are given.
pub const ENDPOINT_HINT: &str =
    "give host:port, several with commas, such as 127.0.0.1:7401,127.0.0.1:7402";

/// A refusal of the HTTP port (RFC 9457).
const PROBLEM_TYPE: &str = "application/problem+json";

type Sending<T> = Pin<Box<dyn Future<Output = Result<T, StdError>> + Send>>;

/// One node, not connected to yet.
#[derive(Clone)]
pub enum Door {
    /// With what makes its connections, where they are made with TLS.
    Grpc(Box<Endpoint>, Option<Connector>),
    Http(HttpDoor),
}

/// The HTTP port of a node, or of a proxy before some.
#[derive(Clone)]
pub struct HttpDoor {
    client: reqwest::Client,
    base: Arc<Url>,
    secret: Secret,
}

/// An open way to a node. Clones share it.
#[derive(Clone)]
pub enum Wire {
    Grpc(Channel),
    Http(GrpcWebClientService<HttpDoor>, HttpDoor),
}

/// What a client shows the nodes, and what it asks of them before.
#[derive(Clone)]
pub struct Showing {
    /// The cluster's secret or a key, where there is one.
    pub secret: Secret,
    /// What nodes are known by, where they speak by TLS.
    pub anchor: Option<Anchor>,
    /// Whether the secret may be said in clear, whoever can hear it.
    pub plaintext: bool,
}

impl Showing {
    /// Refuses to say the secret where others on the way could hear it: a node that
    /// speaks by TLS refuses what comes in clear, but has been told by then.
    fn check_in_clear(&self, name: &str, host: &str, hint: &str) -> Result<(), CliError> {
        if !self.secret.is_set() || self.plaintext || is_loopback(host) {
            return Ok(());
        }
        let cause = format!("the secret or key would go to '{name}' in clear, for all to read");
        Err(CliError::usage(cause, hint))
    }
}

impl Door {
    /// The gRPC port at `host:port`, with TLS where there is something to know the
    /// node by.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what is no address, or no place for a secret.
    pub fn grpc(address: &str, showing: &Showing) -> Result<Self, CliError> {
        let no_address = |_| {
            let cause = format!("'{address}' is not an endpoint");
            CliError::usage(cause, ENDPOINT_HINT)
        };
        let endpoint = dial::endpoint(address, TIMING).map_err(no_address)?;
        if showing.anchor.is_none() {
            let host = endpoint.uri().host().unwrap_or_default();
            let hint = "give --ca: what `reelraft cluster cert ca` writes on a node's machine, or \
                        sha256: with the hash that nodes log; --plaintext sends it all the same";
            showing.check_in_clear(address, host, hint)?;
        }
        let connector = showing.anchor.as_ref().map(Anchor::connector);
        Ok(Door::Grpc(Box::new(endpoint), connector))
    }

    /// The port of this process's own node, with what makes its connections. `None` if
    /// that is no address.
    pub fn to_node(address: &str, connector: Option<Connector>) -> Option<Self> {
        let endpoint = dial::endpoint(address, TIMING).ok()?;
        Some(Door::Grpc(Box::new(endpoint), connector))
    }

    /// Connects to it.
    ///
    /// # Errors
    /// A status with a source: that nothing answers there.
    pub async fn connect(&self) -> Result<Wire, Status> {
        match self {
            Door::Grpc(endpoint, connector) => {
                let connected = match connector {
                    Some(connector) => endpoint.connect_with_connector(connector.clone()).await,
                    None => endpoint.connect().await,
                };
                connected.map(Wire::Grpc).map_err(not_connected)
            }
            Door::Http(door) => {
                let asked = door.client.get(door.url("/healthz"));
                asked
                    .timeout(2 * TIMING.connect)
                    .send()
                    .await
                    .and_then(reqwest::Response::error_for_status)
                    .map_err(not_connected)?;
                let calls = GrpcWebClientService::new(door.clone());
                Ok(Wire::Http(calls, door.clone()))
            }
        }
    }
}

/// Why there is no connection. One to a node whose certificate is wrong is not tried
/// again: no node has judged anything, but the client has.
fn not_connected(error: impl std::error::Error + Send + Sync + 'static) -> Status {
    match certificate_trouble(&error) {
        Some(trouble) => to_status(&v1::Problem {
            kind: "wrong-certificate".into(),
            cause: format!("the node can't be trusted: {trouble}"),
            hint: "give the cluster's authority with --ca, as a file from \
                   `reelraft cluster cert ca` or as sha256:HASH"
                .into(),
        }),
        None => Status::from_error(Box::new(error)),
    }
}

impl HttpDoor {
    /// The port at a URL, below whose path the node's own paths lie.
    ///
    /// # Errors
    /// [`CliError::Usage`] for what is no such URL.
    pub fn new(text: &str, showing: &Showing) -> Result<Self, CliError> {
        let hint = "give it as http://HOST:PORT or https://HOST, without a query";
        let usage = |cause: &str| CliError::usage(format!("'{text}' {cause}"), hint);
        let base = Url::parse(text).map_err(|_| usage("is not a URL"))?;
        if !base.username().is_empty() || base.password().is_some() {
            let hint = "give the key in the environment instead";
            return Err(CliError::usage("the URL has a name or password", hint));
        }
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(usage("is not a URL of HTTP"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(usage("has more than a path"));
        }
        let host = base.host_str().unwrap_or_default();
        if base.scheme() == "http" {
            let hint = "give it as https://…, and --ca where a certificate of the cluster's is \
                        shown; --plaintext sends it all the same";
            showing.check_in_clear(text, host, hint)?;
        }
        // Another part of the program may have chosen the same one before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(TIMING.connect)
            .redirect(redirect::Policy::none());
        // Without TLS a machine may do without root certificates.
        let unready = |error: &dyn std::fmt::Display| CliError::Local {
            what: "can't prepare requests".into(),
            cause: error.to_string(),
            hint: "see whether this machine has root certificates (ca-certificates)".into(),
        };
        let client = match (base.scheme(), &showing.anchor) {
            ("https", Some(anchor)) => {
                let config = anchor.http_config().map_err(|error| unready(&error))?;
                client.tls_backend_preconfigured(config)
            }
            ("https", None) => client,
            // A proxy for the outside would be told what is for this machine alone.
            _ if is_loopback(host) => client.tls_certs_only([]).no_proxy(),
            _ => client.tls_certs_only([]),
        };
        let client = client.build().map_err(|error| unready(&error))?;
        Ok(HttpDoor {
            client,
            base: Arc::new(base),
            secret: showing.secret.clone(),
        })
    }

    fn url(&self, path: &str) -> Url {
        let mut url = Url::clone(&self.base);
        let below = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{below}{path}"));
        url
    }

    /// A request for one of the node's paths, with the secret.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, self.url(path));
        match self.secret.text() {
            Some(secret) => request.bearer_auth(secret),
            None => request,
        }
    }

    async fn send(
        self,
        request: http::Request<GrpcWebCall<Body>>,
    ) -> Result<http::Response<Body>, StdError> {
        let (mut head, body) = request.into_parts();
        // It goes as a bearer token here, which proxies know to be secret.
        head.headers.remove(SECRET_KEY);
        // Requests are one small message each; uploads go another way.
        let body = body.collect().await?.to_bytes();
        let sent = self
            .request(head.method, head.uri.path())
            .headers(head.headers)
            .body(body)
            .send()
            .await?;
        match answered(sent).await? {
            Ok(answer) => Ok(http::Response::from(answer).map(Body::new)),
            Err(status) => Ok(status.into_http()),
        }
    }
}

/// An answer that is no refusal of the HTTP port itself.
///
/// # Errors
/// That the answer breaks off; inside, the refusal.
pub async fn answered(
    mut answer: reqwest::Response,
) -> Result<Result<reqwest::Response, Status>, reqwest::Error> {
    let refused = answer
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(PROBLEM_TYPE.as_bytes()));
    if !refused {
        return Ok(Ok(answer));
    }
    let code = answer.status();
    let mut text = Vec::new();
    while text.len() < PROBLEM_BYTES_MAX
        && let Some(more) = answer.chunk().await?
    {
        text.extend_from_slice(&more);
    }
    let problem: Refusal = serde_json::from_slice(&text).unwrap_or_else(|_| Refusal {
        kind: "nonsense".into(),
        cause: format!("the node answered {code} with a refusal that can't be read"),
        hint: "see whether it runs another version".into(),
    });
    Ok(Err(to_status(&problem.into())))
}

/// A problem as the HTTP port writes it.
#[derive(Deserialize)]
struct Refusal {
    kind: String,
    cause: String,
    hint: String,
}

impl From<Refusal> for v1::Problem {
    fn from(refusal: Refusal) -> Self {
        v1::Problem {
            kind: refusal.kind,
            cause: refusal.cause,
            hint: refusal.hint,
        }
    }
}

impl Service<http::Request<GrpcWebCall<Body>>> for HttpDoor {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = Sending<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<GrpcWebCall<Body>>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = StdError;
    type Future = Sending<Self::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        match self {
            Wire::Grpc(channel) => channel.poll_ready(context).map_err(Into::into),
            Wire::Http(calls, _) => calls.poll_ready(context),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Wire::Grpc(channel) => {
                let answer = channel.call(request);
                Box::pin(async { Ok(answer.await?) })
            }
            Wire::Http(calls, _) => {
                let answer = calls.call(request);
                Box::pin(async { Ok(answer.await?.map(Body::new)) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn showing(secret: &str, ca: Option<&str>, plaintext: bool) -> Showing {
        Showing {
            secret: Secret::new(secret).unwrap(),
            anchor: ca.map(|ca| Anchor::parse(ca).unwrap()),
            plaintext,
        }
    }

    /// Whether a secret may be said there: by gRPC, and by HTTP.
    fn may(address: &str, showing: &Showing) -> (bool, bool) {
        let refused = |result: Result<(), CliError>| {
            let error = result.err()?;
            assert_eq!(error.kind(), "usage", "{error}");
            assert!(error.to_string().contains("in clear"), "{error}");
            assert!(!error.to_string().contains("hush"), "{error}");
            assert!(error.hint().contains("--ca"), "{}", error.hint());
            Some(error)
        };
        let grpc = Door::grpc(address, showing).map(drop);
        let http = HttpDoor::new(&format!("http://{address}"), showing).map(drop);
        (refused(grpc).is_none(), refused(http).is_none())
    }

    #[test]
    fn a_secret_is_not_said_in_clear_to_a_network() {
        let plain = showing("hush", None, false);
        for own in ["127.0.0.1:7401", "localhost:7401", "[::1]:7401"] {
            assert_eq!(may(own, &plain), (true, true), "{own}");
        }
        let hash = format!("sha256:{}", "0".repeat(64));
        let known = showing("hush", Some(&hash), false);
        for other in ["10.0.0.1:7401", "node1:7401", "[fd00::1]:7401"] {
            assert_eq!(may(other, &plain), (false, false), "{other}");
            // By gRPC what nodes are known by means TLS; in a URL the scheme says it.
            assert_eq!(may(other, &known), (true, false), "{other}");
            assert_eq!(may(other, &showing("hush", None, true)), (true, true));
            assert_eq!(may(other, &showing("", None, false)), (true, true));
            let https = format!("https://{other}");
            assert!(HttpDoor::new(&https, &known).is_ok(), "{other}");
        }
    }
}
