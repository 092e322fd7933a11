//! Certificates on the wire.

use reelraft_proto::v1;

use crate::node::messages::Certificate;

/// What is told of a node's certificate, on the wire.
pub fn wire_certificate(certificate: Certificate) -> v1::NodeCertificate {
    let Certificate {
        sha256,
        authority_sha256,
        until_unix_ms,
        renewals,
    } = certificate;
    v1::NodeCertificate {
        sha256,
        authority_sha256,
        until_unix_ms,
        renewals,
    }
}

/// The same from the wire.
pub fn model_certificate(certificate: v1::NodeCertificate) -> Certificate {
    let v1::NodeCertificate {
        sha256,
        authority_sha256,
        until_unix_ms,
        renewals,
    } = certificate;
    Certificate {
        sha256,
        authority_sha256,
        until_unix_ms,
        renewals,
    }
}
