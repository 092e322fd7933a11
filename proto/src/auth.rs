//! The shared secret of a cluster, attached to every call between nodes and
//! from clients, and checked before a service sees the call. A node refuses
//! to listen beyond loopback without one.

use std::sync::Arc;

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::Interceptor,
};

/// Metadata key that carries the secret.
const KEY: &str = "reelraft-secret";

/// The secret as a caller attaches it; none attaches nothing.
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

    /// The check for a server's side.
    pub fn gate(&self) -> Gate {
        Gate(self.0.as_ref().map(|value| value.as_bytes().into()))
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
            request.metadata_mut().insert(KEY, value.clone());
        }
        Ok(request)
    }
}

/// Lets only calls with the right secret in.
#[derive(Clone)]
pub struct Gate(Option<Arc<[u8]>>);

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(secret) = &self.0 else {
            return Ok(request);
        };
        let given = request
            .metadata()
            .get(KEY)
            .map_or(&b""[..], |value| value.as_bytes());
        // Compared in full whatever differs, so that timing tells nothing.
        let same = given.len() == secret.len()
            && given
                .iter()
                .zip(secret.iter())
                .fold(0, |sum, (a, b)| sum | (a ^ b))
                == 0;
        if same {
            Ok(request)
        } else {
            Err(Status::unauthenticated(
                "the cluster's secret is missing or wrong",
            ))
        }
    }
}
