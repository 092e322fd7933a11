//! This node's own key and certificate, and how they lie on its disk: one file, so
//! that the two always belong together.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    sign::CertifiedKey,
};

use crate::{
    authority::FOUNDING_NAME, error::TrustError, files, holder::Holder, limits::RENEWED_BEFORE_END,
    pem, provider::provider,
};

/// Begins the line before the PEM that says how often all nodes had been told to
/// renew when this was made.
const RENEWALS: &str = "renewals=";

/// A key and the certificates that vouch for it.
pub struct Own {
    /// Whom they speak for.
    pub holder: Holder,
    /// The certificate, then those of who signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// How often all nodes had been told to renew when it was made.
    pub renewals: u64,
    /// When it ends, in seconds since 1970.
    pub until_s: u64,
    key: Vec<u8>,
    pub(crate) certified: Arc<CertifiedKey>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Own({}, until {})", self.holder, self.until_s)
    }
}

/// A new random key (PKCS #8).
///
/// # Errors
/// [`TrustError::Bad`] without randomness.
pub fn new_key() -> Result<Vec<u8>, TrustError> {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let made = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new());
    let made = made.map_err(|_| TrustError::bad("a key", "can't be made"))?;
    Ok(made.as_ref().to_vec())
}

/// The public half of a key, as [`crate::Authority::sign`] takes it.
///
/// # Errors
/// [`TrustError::Bad`] for what is no key.
pub fn public_key(key: &[u8]) -> Result<Vec<u8>, TrustError> {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, key, &SystemRandom::new());
    let pair = pair.map_err(|_| TrustError::bad("a key", "is none of P-256"))?;
    Ok(pair.public_key().as_ref().to_vec())
}

/// When a certificate ends, in seconds since 1970. The library says it of one that
/// is asked for after its end.
pub fn end_of(certificate: &CertificateDer<'_>) -> Option<u64> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let late = UnixTime::since_unix_epoch(Duration::from_secs(u64::from(u32::MAX) * 64));
    let usage = webpki::KeyUsage::client_auth();
    match parsed.verify_for_usage(&[], &[], &[], late, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => Some(not_after.as_secs()),
        _ => None,
    }
}

impl Own {
    /// A key with its chain, as they go together.
    ///
    /// # Errors
    /// [`TrustError::Bad`] and [`TrustError::Tls`] where they don't.
    pub fn new(
        key: Vec<u8>,
        chain: Vec<CertificateDer<'static>>,
        renewals: u64,
    ) -> Result<Self, TrustError> {
        let bad = |cause| TrustError::bad("a node's certificate", cause);
        let first = chain.first().ok_or_else(|| bad("is missing"))?;
        let holder = Holder::named_in(first).ok_or_else(|| bad("names nobody"))?;
        let until_s = end_of(first).ok_or_else(|| bad("has no end"))?;
        let document = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
        let certified = CertifiedKey::from_der(chain.clone(), document, provider())?;
        Ok(Own {
            holder,
            chain,
            renewals,
            until_s,
            key,
            certified: Arc::new(certified),
        })
    }

    /// Reads it from its file; `None` where there is none.
    ///
    /// # Errors
    /// Any [`TrustError`]: a damaged file is as good as none.
    pub fn load(path: &Path) -> Result<Option<Self>, TrustError> {
        let Some(text) = files::read(path)? else {
            return Ok(None);
        };
        let what = path.display().to_string();
        let chain = pem::certificates(&what, &text)?;
        let PrivateKeyDer::Pkcs8(key) = pem::private_key(&what, &text)? else {
            return Err(TrustError::bad(what, "has a key of another form"));
        };
        let lines = String::from_utf8_lossy(&text);
        let said = lines.lines().find_map(|line| line.strip_prefix(RENEWALS));
        let renewals = said.and_then(|number| number.parse().ok()).unwrap_or(0);
        Own::new(key.secret_pkcs8_der().to_vec(), chain, renewals).map(Some)
    }

    /// Writes it to its file, for this user alone.
    ///
    /// # Errors
    /// [`TrustError::File`].
    pub fn store(&self, path: &Path) -> Result<(), TrustError> {
        let mut text = format!("{RENEWALS}{}\n", self.renewals);
        text += &pem::encode("PRIVATE KEY", &self.key);
        for certificate in &self.chain {
            text += &pem::encode("CERTIFICATE", certificate);
        }
        files::write(path, &text)
    }

    /// Whether it is time for another.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        now + RENEWED_BEFORE_END >= Duration::from_secs(self.until_s)
    }

    /// Whether the authority that clusters are founded with signed it: any node that
    /// knows the secret can make it again.
    pub fn founding(&self) -> bool {
        let name = FOUNDING_NAME.as_bytes();
        self.authority()
            .windows(name.len())
            .any(|part| part == name)
    }

    /// The certificate of the authority that signed it.
    pub fn authority(&self) -> &[u8] {
        self.chain.get(1).map_or(&[], |it| it)
    }
}
