//! What a client asks of a node: that its certificate leads to the authority whose
//! certificate the client has in a file, or whose hash it knows; or to one that
//! its machine trusts.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, Error, RootCertStore,
    client::danger::{ServerCertVerified, ServerCertVerifier},
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use crate::{
    authority::sha256_hex,
    dial::{Connector, NODE_NAME, client_config},
    error::TrustError,
    files,
    holder::Holder,
    pem,
    provider::{provider, signatures_by_provider},
    verify::check_server,
};

/// Comes before a hash, in place of a file's name.
const HASH: &str = "sha256:";

/// In place of a file's name, for what this machine trusts.
const SYSTEM: &str = "system";

/// Begins the name of every authority of ours.
const OURS: &[u8] = b"reelraft ";

/// What a client believes.
#[derive(Clone, Debug)]
pub struct Anchor(Arc<Belief>);

#[derive(Debug)]
enum Belief {
    /// These authorities. Where they are a cluster's, its nodes are known by what
    /// they are, whatever their hosts are called.
    Roots { roots: RootCertStore, ours: bool },
    /// The authority with this hash, which nodes show.
    Hash(String),
}

impl Anchor {
    /// From a file's name, `sha256:` with 64 hex digits, or `system`.
    ///
    /// # Errors
    /// [`TrustError::File`] and [`TrustError::Bad`].
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        if let Some(hash) = text.strip_prefix(HASH) {
            return Anchor::of_hash(hash);
        }
        let mut roots = RootCertStore::empty();
        if text == SYSTEM {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(TrustError::bad(
                    "this machine",
                    "trusts no authorities (ca-certificates)",
                ));
            }
            return Ok(Anchor(Arc::new(Belief::Roots { roots, ours: false })));
        }
        let bytes = files::read(Path::new(text))?;
        let bytes = bytes.ok_or_else(|| TrustError::bad(text, "is not there"))?;
        for root in pem::certificates(text, &bytes)? {
            roots.add(root)?;
        }
        let is_ours = |subject: &[u8]| subject.windows(OURS.len()).any(|part| part == OURS);
        let ours = roots
            .roots
            .iter()
            .all(|root| is_ours(root.subject.as_ref()));
        Ok(Anchor(Arc::new(Belief::Roots { roots, ours })))
    }

    /// The authority whose certificate has this SHA-256.
    ///
    /// # Errors
    /// [`TrustError::Bad`] for what is no such hash.
    pub fn of_hash(hash: &str) -> Result<Self, TrustError> {
        let hash = hash.to_ascii_lowercase();
        if hash.len() != 64 || !hash.bytes().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(TrustError::bad(
                format!("'{hash}'"),
                "is no SHA-256 of 64 hex digits",
            ));
        }
        Ok(Anchor(Arc::new(Belief::Hash(hash))))
    }

    fn knows_nodes(&self) -> bool {
        matches!(*self.0, Belief::Hash(_) | Belief::Roots { ours: true, .. })
    }

    /// The way to a node's gRPC port.
    pub fn connector(&self) -> Connector {
        let anchor = self.clone();
        let name = self.knows_nodes().then_some(NODE_NAME);
        let config = move |_: &str| Ok(Arc::new(client_config(Arc::new(anchor.clone()), None)?));
        Connector::new(config, name)
    }

    /// For a library that speaks HTTP.
    ///
    /// # Errors
    /// [`TrustError::Tls`], never in practice.
    pub fn http_config(&self) -> Result<ClientConfig, TrustError> {
        Ok(ClientConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.clone()))
            .with_no_client_auth())
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let stranger = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let node = || Holder::named_in(certificate).is_some_and(|it| it.as_node().is_some());
        match &*self.0 {
            Belief::Hash(hash) => {
                let root = between.iter().find(|shown| sha256_hex(shown) == *hash);
                let mut roots = RootCertStore::empty();
                roots.add(root.ok_or_else(stranger)?.clone().into_owned())?;
                check_server(&roots, certificate, between, now)?;
                node().then_some(()).ok_or_else(stranger)
            }
            Belief::Roots { roots, ours } => {
                check_server(roots, certificate, between, now)?;
                match *ours && node() {
                    true => Ok(()),
                    false => verify_server_name(&ParsedCertificate::try_from(certificate)?, name),
                }
            }
        }
    }
}

impl ServerCertVerifier for Anchor {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(certificate, between, name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_by_provider!();
}
