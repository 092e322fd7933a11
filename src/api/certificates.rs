//! Certificates: who has which, and that they are made anew.

use reelraft_model::{Authorities, Command, Problem, Scope, SetAuthorities};
use reelraft_trust::{pem, sha256_hex};

use super::{Api, Consistency};
use crate::node::{
    authorities::{alone, rotated, without},
    messages::NodeStatus,
};

/// What is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The keys and certificates of all nodes.
    Certificates,
    /// The authority that signs them.
    Authority,
    /// Nothing: the one before is trusted no longer.
    FormerAuthorityEnds,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityView {
    /// SHA-256 of its certificate, in hex.
    pub sha256: String,
    /// Its certificate.
    pub pem: String,
}

/// The authorities that are trusted, the one that signs first, and the nodes with
/// their certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificatesView {
    /// None where nodes speak without TLS.
    pub authorities: Vec<AuthorityView>,
    pub nodes: Vec<NodeStatus>,
    /// How often all nodes have been told to renew.
    pub renewals: u64,
}

fn not_yet(cause: impl Into<String>, hint: &str) -> Problem {
    Problem::new("rotation-refused", cause, hint)
}

impl Api {
    /// The authorities, and who has which certificate.
    pub fn certificates(&self) -> CertificatesView {
        let roots = self.table().trust().view();
        let view = |root: &[u8]| AuthorityView {
            sha256: sha256_hex(root),
            pem: pem("CERTIFICATE", root),
        };
        CertificatesView {
            authorities: roots.roots().iter().map(|root| view(root)).collect(),
            nodes: self.cluster_status(Consistency::Linearizable).nodes,
            renewals: self.table().local().authorities().renewals,
        }
    }

    /// Has certificates made anew, or another authority.
    ///
    /// # Errors
    /// `forbidden` to all but the operator, `rotation-refused` where it would shut
    /// somebody out, and what keeps the cluster from writing.
    pub async fn rotate_certificates(&self, what: Rotation) -> Result<CertificatesView, Problem> {
        self.operator_only()?;
        let authorities = self.rotated(what)?;
        let command = Command::SetAuthorities(SetAuthorities { authorities });
        let (reply, _) = self.apply(Scope::Admin, "", command).await?;
        if reply.stale {
            let hint = "look at `reelraft cluster cert show`, and try again";
            return Err(not_yet("another rotation came between", hint));
        }
        Ok(self.certificates())
    }

    fn rotated(&self, what: Rotation) -> Result<Authorities, Problem> {
        let state = self.table().local();
        let known = state.authorities();
        let current = known.current.as_ref().ok_or_else(|| {
            not_yet(
                "the cluster has no authority",
                "start its nodes with --tls true, and wait a moment",
            )
        })?;
        let waits_for = without(&state, self.context(), &sha256_hex(&current.certificate));
        match what {
            Rotation::Certificates => Ok(Authorities {
                renewals: known.renewals + 1,
                ..Authorities::clone(&known)
            }),
            Rotation::Authority if !known.former.is_empty() => Err(not_yet(
                "the authority before this one is trusted still",
                "end that first: `reelraft cluster cert rotate-ca --finish`",
            )),
            Rotation::Authority => rotated(&known, current)
                .map_err(|error| not_yet(error.to_string(), "try again, on another node")),
            Rotation::FormerAuthorityEnds if !waits_for.is_empty() => {
                let nodes: Vec<String> = waits_for.iter().map(u64::to_string).collect();
                Err(not_yet(
                    format!(
                        "no certificate of the new authority is known of node {}",
                        nodes.join(", ")
                    ),
                    "start these nodes, or remove them, and wait until they have one",
                ))
            }
            Rotation::FormerAuthorityEnds => Ok(alone(&known)),
        }
    }
}
