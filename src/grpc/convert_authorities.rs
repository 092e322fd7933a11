//! The cluster's authorities on the wire.

use reelraft_proto::v1;

use super::convert::wire_node;
use crate::api::{AuthorityView, CertificatesView, Rotation};

/// Authorities and certificates, on the wire.
pub fn wire_certificates(view: CertificatesView) -> v1::CertificatesResponse {
    let CertificatesView {
        authorities,
        nodes,
        renewals,
    } = view;
    let wire = |AuthorityView { sha256, pem }| v1::CertificateAuthority { sha256, pem };
    v1::CertificatesResponse {
        authorities: authorities.into_iter().map(wire).collect(),
        nodes: nodes.into_iter().map(wire_node).collect(),
        renewals,
    }
}

/// What is to be rotated; `None` for what this version does not know.
pub fn rotation(request: &v1::RotateCertificatesRequest) -> Option<Rotation> {
    use v1::rotate_certificates_request::What;
    match What::try_from(request.what).ok()? {
        What::Certificates => Some(Rotation::Certificates),
        What::Authority => Some(Rotation::Authority),
        What::FormerAuthorityEnds => Some(Rotation::FormerAuthorityEnds),
    }
}
