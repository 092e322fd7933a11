//! The documents of the cluster's authorities and of its nodes' certificates.

use serde::Serialize;

use super::field::text;
use crate::v1;

/// Who vouches for the nodes, and which certificate each of them has.
#[derive(Serialize)]
pub struct Certificates<'a> {
    pub authority_sha256: Option<&'a str>,
    pub former_authority_sha256: Option<&'a str>,
    pub certificates: Vec<NodeCertificate<'a>>,
}

/// The certificate of one node.
#[derive(Serialize)]
pub struct NodeCertificate<'a> {
    pub node: u64,
    pub sha256: Option<&'a str>,
    pub authority_sha256: Option<&'a str>,
    pub until_unix_ms: Option<u64>,
    pub renewed: bool,
}

impl<'a> From<&'a v1::CertificatesResponse> for Certificates<'a> {
    fn from(answer: &'a v1::CertificatesResponse) -> Self {
        let authority = |number: usize| {
            let authority = answer.authorities.get(number);
            authority.and_then(|authority| text(&authority.sha256))
        };
        let certificate = |node: &'a v1::NodeStatus| {
            let known = node.certificate.as_ref();
            NodeCertificate {
                node: node.id,
                sha256: known.and_then(|it| text(&it.sha256)),
                authority_sha256: known.and_then(|it| text(&it.authority_sha256)),
                until_unix_ms: known.map(|it| it.until_unix_ms),
                renewed: known.is_some_and(|it| it.renewals >= answer.renewals),
            }
        };
        Certificates {
            authority_sha256: authority(0),
            former_authority_sha256: authority(1),
            certificates: answer.nodes.iter().map(certificate).collect(),
        }
    }
}
