//! What is asked of a certificate: that a trusted authority signed it, that its
//! time has come and is not over, that it speaks for a node of this cluster, and
//! that this node was not removed. On both sides of a connection.

use rustls::{
    AlertDescription, CertificateError, DistinguishedName, Error,
    client::danger::{ServerCertVerified, ServerCertVerifier},
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::{
    holder::Holder,
    provider::{provider, signatures_by_provider},
    trust::Trust,
};

/// Checks that a node's certificate may be used by a server.
pub fn check_server(
    roots: &rustls::RootCertStore,
    certificate: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, between, now, algorithms)
}

/// What is wrong with a certificate, for people.
pub fn in_words(error: &Error) -> String {
    use CertificateError as Cause;
    match error {
        Error::InvalidCertificate(cause) => match cause {
            Cause::Expired | Cause::ExpiredContext { .. } => "has expired".into(),
            Cause::NotValidYet | Cause::NotValidYetContext { .. } => {
                "is not valid yet: compare the clocks".into()
            }
            Cause::UnknownIssuer => "was signed by an authority that is not trusted here".into(),
            Cause::Revoked => {
                "is that of a node that was removed, or whose disk was replaced".into()
            }
            Cause::InvalidPurpose | Cause::InvalidPurposeContext { .. } => {
                "is for another purpose".into()
            }
            Cause::ApplicationVerificationFailure => "speaks for nobody here".into(),
            other => format!("can't be used: {other}"),
        },
        other => format!("can't be used: {other}"),
    }
}

/// What was wrong with a certificate, or that there was none, where that is why a
/// connection could not be made.
pub fn certificate_trouble(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    causes(error).find_map(|cause| match cause.downcast_ref()? {
        found @ Error::InvalidCertificate(_) => {
            Some(format!("its certificate {}", in_words(found)))
        }
        Error::InvalidMessage(_) => Some("it speaks no TLS".to_string()),
        _ => None,
    })
}

/// Whether a connection ended because the other side says that this node was removed.
pub fn was_revoked(error: &(dyn std::error::Error + 'static)) -> bool {
    let revoked = Error::AlertReceived(AlertDescription::CertificateRevoked);
    // HTTP/2 keeps of what ended a connection the words alone. Those of an answer
    // count for nothing: they are the other side's to choose.
    let words = revoked.to_string();
    let ended = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref() == Some(&revoked) || cause.to_string().contains(&words)
    };
    let mut causes = causes(error);
    causes
        .next()
        .is_some_and(|first| first.downcast_ref() == Some(&revoked))
        || causes.any(ended)
}

/// An error and those behind it, with what is inside those of the system.
fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let system = error.downcast_ref::<std::io::Error>();
        let inside = system.and_then(std::io::Error::get_ref);
        let inside = inside.map(|inside| inside as &(dyn std::error::Error + 'static));
        inside.or_else(|| error.source())
    })
}

fn unknown_holder() -> Error {
    Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
}

/// Asks those who come, if they show a certificate. Clients need none.
#[derive(Debug)]
pub struct Callers(pub Trust);

impl Callers {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let view = self.0.view();
        let roots = view.anchors.clone();
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider().clone());
        let chains = chains
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        let verified = chains.verify_client_cert(certificate, between, now)?;
        let holder = Holder::named_in(certificate).ok_or_else(unknown_holder)?;
        view.check(&holder)?;
        Ok(verified)
    }
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: they would be those of another time.
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(certificate, between, now).inspect_err(|error| {
            let cause = in_words(error);
            self.0.refuse(&format!("{} {cause}", whose(certificate)));
        })
    }

    signatures_by_provider!();
}

/// Whose certificate it is, for people.
pub fn whose(certificate: &CertificateDer<'_>) -> String {
    match Holder::named_in(certificate) {
        Some(holder) => format!("the certificate of {holder}"),
        None => "a certificate of nobody's".to_string(),
    }
}

/// Asks a node that this one has come to.
#[derive(Debug)]
pub struct Called {
    pub trust: Trust,
    /// The node that was meant, where it is known.
    pub expected: Option<u64>,
    pub address: String,
}

impl Called {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let view = self.trust.view();
        check_server(&view.anchors, certificate, between, now)?;
        let holder = Holder::named_in(certificate).ok_or_else(unknown_holder)?;
        view.check(&holder)?;
        let (node, _) = holder.as_node().ok_or_else(unknown_holder)?;
        match self.expected {
            Some(expected) if expected != node => Err(unknown_holder()),
            _ => Ok(()),
        }
    }
}

impl ServerCertVerifier for Called {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(certificate, between, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                let meant = self.expected.map(|node| format!("node {node}"));
                let meant = meant.unwrap_or_else(|| "a node".into());
                let cause = in_words(&error);
                let (whose, address) = (whose(certificate), &self.address);
                self.trust
                    .miss(&format!("{whose}, shown at {address} by {meant}, {cause}"));
                Err(error)
            }
        }
    }

    signatures_by_provider!();
}
