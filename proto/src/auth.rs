//! The secrets of a cluster, attached to every call and checked before a
//! service sees it: one that clients have, and one of the nodes' own. A node
//! refuses to listen beyond loopback without them.

use std::sync::Arc;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// Metadata key that carries the secret, or a key in its place.
pub const SECRET_KEY: &str = "reelraft-secret";

/// The secret, or a key, as a caller attaches it; none attaches nothing.
#[derive(Clone, Default)]
pub struct Secret(Option<MetadataValue<Ascii>>);

impl Secret {
    /// A secret from its text; empty is none. `None` for characters that no
    /// header can carry.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Secret(None));
        }
        let mut value: MetadataValue<Ascii> = text.parse().ok()?;
        value.set_sensitive(true);
        Some(Secret(Some(value)))
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Its text, where there is one.
    pub fn text(&self) -> Option<&str> {
        self.0.as_ref().and_then(|value| value.to_str().ok())
    }

    /// The check for a server's side.
    pub fn gate(&self) -> Gate {
        Gate(self.0.iter().map(|value| value.as_bytes().into()).collect())
    }

    /// A check that lets in who has either secret. Where this one is not set,
    /// it lets everybody in.
    pub fn gate_or(&self, other: &Secret) -> Gate {
        match &self.0 {
            None => Gate::default(),
            Some(_) => Gate(self.gate().0.into_iter().chain(other.gate().0).collect()),
        }
    }

    /// Whether two secrets are the same, or both are none.
    pub fn same_as(&self, other: &Secret) -> bool {
        self.0 == other.0
    }

    /// How many characters it has.
    pub fn characters(&self) -> usize {
        self.0.as_ref().map_or(0, |value| value.as_bytes().len())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_set() {
            "Secret(set)"
        } else {
            "Secret(none)"
        })
    }
}

impl Interceptor for Secret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert(SECRET_KEY, value.clone());
        }
        Ok(request)
    }
}

/// What a caller has attached to a call: a secret, a key, or nothing.
pub fn credential<T>(request: &Request<T>) -> &[u8] {
    let value = request.metadata().get(SECRET_KEY);
    value.map_or(&b""[..], |value| value.as_bytes())
}

/// Lets only calls with one of its secrets in; one without any is open.
#[derive(Clone, Default)]
pub struct Gate(Vec<Arc<[u8]>>);

/// Compared in full whatever differs, so that timing tells nothing.
fn same(given: &[u8], secret: &[u8]) -> bool {
    given.len() == secret.len()
        && given
            .iter()
            .zip(secret.iter())
            .fold(0, |sum, (a, b)| sum | (a ^ b))
            == 0
}

impl Gate {
    /// Whether it lets everybody in.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it lets in who gives this secret.
    pub fn admits(&self, given: &[u8]) -> bool {
        // All are compared, for the same reason.
        let known = self.0.iter().filter(|secret| same(given, secret)).count();
        self.is_open() || known > 0
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        if self.admits(credential(&request)) {
            Ok(request)
        } else {
            Err(Status::unauthenticated(
                "the cluster's secret is missing or wrong",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn lets_in(gate: &Gate, secret: &str) -> bool {
        let call = Secret::new(secret).unwrap().call(Request::new(()));
        gate.clone().call(call.unwrap()).is_ok()
    }

    #[test]
    fn a_gate_lets_in_its_own_secrets_and_no_other() {
        let [client, peer, none] = ["client", "peer", ""].map(|text| Secret::new(text).unwrap());
        let (peers, clients) = (peer.gate(), client.gate_or(&peer));
        assert!(lets_in(&peers, "peer") && !lets_in(&peers, "client"));
        assert!(lets_in(&clients, "peer") && lets_in(&clients, "client"));
        for other in ["", "clienu", "client2", "clien", "PEER"] {
            assert!(
                !lets_in(&clients, other) && !lets_in(&peers, other),
                "{other}"
            );
        }
        assert!(lets_in(&none.gate(), "") && lets_in(&none.gate_or(&peer), ""));
    }
}
