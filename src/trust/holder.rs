//! Whom a certificate speaks for. It stands in the certificate as a URI, so that
//! no name of a host can be taken for it:
//!
//! ```text
//! reelraft://CLUSTER/node/ID/INCARNATION
//! reelraft://CLUSTER/client/NAME
//! ```

use std::fmt;

use rustls::pki_types::CertificateDer;

const SCHEME: &str = "reelraft://";

/// Whom a certificate speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The cluster's id.
    pub cluster: String,
    /// What it is there.
    pub role: Role,
}

/// What a holder is in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A member.
    Node {
        /// Its id.
        node: u64,
        /// Of its disk.
        incarnation: String,
    },
    /// A client, which may not call what nodes ask of each other.
    Client {
        /// What it is called.
        name: String,
    },
}

impl Holder {
    /// A node.
    pub fn node(cluster: &str, node: u64, incarnation: &str) -> Self {
        Holder {
            cluster: cluster.to_string(),
            role: Role::Node {
                node,
                incarnation: incarnation.to_string(),
            },
        }
    }

    /// A node's id and incarnation, if it is one.
    pub fn as_node(&self) -> Option<(u64, &str)> {
        match &self.role {
            Role::Node { node, incarnation } => Some((*node, incarnation)),
            Role::Client { .. } => None,
        }
    }

    /// As it stands in a certificate.
    pub fn uri(&self) -> String {
        let cluster = &self.cluster;
        match &self.role {
            Role::Node { node, incarnation } => {
                format!("{SCHEME}{cluster}/node/{node}/{incarnation}")
            }
            Role::Client { name } => format!("{SCHEME}{cluster}/client/{name}"),
        }
    }

    fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix(SCHEME)?.split('/');
        let cluster = parts.next()?.to_string();
        let role = match (parts.next()?, parts.next()?, parts.next()) {
            ("node", id, Some(incarnation)) => Role::Node {
                node: id.parse().ok()?,
                incarnation: incarnation.to_string(),
            },
            ("client", name, None) => Role::Client {
                name: name.to_string(),
            },
            _ => return None,
        };
        parts.next().is_none().then_some(Holder { cluster, role })
    }

    /// Whom a certificate names, whoever has signed it. `None` for one that is of
    /// no cluster.
    pub fn named_in(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
        parsed.valid_uri_names().find_map(Holder::parse)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Node { node, incarnation } => {
                write!(f, "node {node} (disk {incarnation})")?;
            }
            Role::Client { name } => write!(f, "client '{name}'")?,
        }
        write!(f, " of cluster {}", self.cluster)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_holder_is_read_as_it_was_written_and_nothing_else_is_one() {
        let client = Holder {
            cluster: "c1".into(),
            role: Role::Client { name: "ci".into() },
        };
        for holder in [Holder::node("c1", 3, "ab"), client] {
            assert_eq!(Holder::parse(&holder.uri()).unwrap(), holder);
        }
        for other in [
            "https://c1/node/3/ab",
            "reelraft://c1/node/3",
            "reelraft://c1/node/x/ab",
            "reelraft://c1/node/3/ab/more",
            "reelraft://c1/king/3/ab",
            "reelraft://c1/client/a/b",
        ] {
            assert_eq!(Holder::parse(other), None, "{other}");
        }
    }
}
