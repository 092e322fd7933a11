//! An authority: its key signs the certificates of one cluster.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use ring::{digest, pbkdf2};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::{
    error::TrustError,
    holder::{Holder, Role},
    limits::{AUTHORITY_LIFE, CERTIFICATE_LIFE, CLOCKS_DIFFER_MAX, FOUNDING_ROUNDS},
};

/// Keeps what is made of the nodes' secret here from being of use anywhere else.
const FOUNDING_SALT: &[u8] = b"reelraft 2026-11 the authority that a cluster is founded with";

/// The name of that authority.
pub(crate) const FOUNDING_NAME: &str = "reelraft founding";

/// A PKCS #8 document of an Ed25519 key, up to its 32 bytes.
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// Letters of a host's name that a certificate may carry.
const NAME_LETTERS_MAX: usize = 253;

/// SHA-256 in hex, as people compare certificates by it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, bytes);
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// An authority with its key.
pub struct Authority {
    /// Its common name.
    pub name: String,
    /// Its certificate, signed by itself.
    pub certificate: CertificateDer<'static>,
    /// Its certificate as the one before it signed it.
    pub crossed: Option<CertificateDer<'static>>,
    key: KeyPair,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.name)
    }
}

/// A public key on its way into a certificate: a point of P-256.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn day_of(time: SystemTime) -> Duration {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default()
}

/// The parameters of an authority's certificate.
fn params(name: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Sets from when to when a certificate is good.
fn last(params: &mut CertificateParams, now: SystemTime, life: Duration) {
    let begin = rcgen::date_time_ymd(1970, 1, 1) + day_of(now);
    params.not_before = begin - CLOCKS_DIFFER_MAX;
    params.not_after = begin + life;
}

impl Authority {
    /// A new one, with a random key.
    ///
    /// # Errors
    /// [`TrustError::Make`] without randomness.
    pub fn mint(now: SystemTime) -> Result<Self, TrustError> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let name = format!("reelraft {}", &sha256_hex(key.der_bytes())[..16]);
        let mut params = params(&name, 1);
        last(&mut params, now, AUTHORITY_LIFE);
        Ok(Authority {
            certificate: params.self_signed(&key)?.into(),
            crossed: None,
            name,
            key,
        })
    }

    /// The one that all who know the nodes' secret come to, each by itself. With it
    /// the nodes of a list found a cluster, before there is a table to agree on
    /// another.
    ///
    /// # Errors
    /// [`TrustError::Make`], never in practice.
    pub fn of_secret(secret: &str) -> Result<Self, TrustError> {
        let rounds = std::num::NonZeroU32::new(FOUNDING_ROUNDS).expect("there are some");
        let mut document = ED25519_PKCS8.to_vec();
        document.resize(ED25519_PKCS8.len() + 32, 0);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            FOUNDING_SALT,
            secret.as_bytes(),
            &mut document[ED25519_PKCS8.len()..],
        );
        let document = PrivatePkcs8KeyDer::from(document);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&document, &rcgen::PKCS_ED25519)?;
        // No time of its own: it is the same on all nodes, and goes soon.
        let certificate = params(FOUNDING_NAME, 1).self_signed(&key)?.into();
        Ok(Authority {
            name: FOUNDING_NAME.to_string(),
            certificate,
            crossed: None,
            key,
        })
    }

    /// One that was kept, from its parts.
    ///
    /// # Errors
    /// [`TrustError::Make`] for what is no key.
    pub fn from_parts(
        name: &str,
        certificate: &[u8],
        key: &[u8],
        crossed: &[u8],
    ) -> Result<Self, TrustError> {
        let document = PrivatePkcs8KeyDer::from(key.to_vec());
        let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
        let owned = |der: &[u8]| CertificateDer::from(der.to_vec());
        Ok(Authority {
            name: name.to_string(),
            certificate: owned(certificate),
            crossed: (!crossed.is_empty()).then(|| owned(crossed)),
            key: KeyPair::from_pkcs8_der_and_sign_algo(&document, algorithm)?,
        })
    }

    /// Its key, for where it is kept.
    pub fn reveal_key(&self) -> &[u8] {
        self.key.serialized_der()
    }

    /// Has the one before it vouch for it: who knows only that one then trusts the
    /// certificates of this one too.
    ///
    /// # Errors
    /// [`TrustError::Make`].
    pub fn cross(&mut self, former: &Authority, now: SystemTime) -> Result<(), TrustError> {
        let mut params = params(&self.name, 0);
        last(&mut params, now, AUTHORITY_LIFE);
        let crossed = params.signed_by(&self.key, &former.issuer())?;
        self.crossed = Some(crossed.into());
        Ok(())
    }

    fn issuer(&self) -> Issuer<'static, &KeyPair> {
        Issuer::new(params(&self.name, 1), &self.key)
    }

    /// A certificate for a holder's public key (a point of P-256, uncompressed).
    /// `names` are the hosts and addresses under which others find it.
    ///
    /// # Errors
    /// [`TrustError::Bad`] for what is no such key.
    pub fn sign(
        &self,
        holder: &Holder,
        names: &[String],
        public_key: &[u8],
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, TrustError> {
        if public_key.len() != 65 || public_key[0] != 4 {
            return Err(TrustError::bad("a request", "has no key of P-256 in it"));
        }
        let fits = |name: &&String| name.is_ascii() && name.len() <= NAME_LETTERS_MAX;
        let names: Vec<String> = names.iter().filter(fits).cloned().collect();
        let mut params = CertificateParams::new(names)?;
        params
            .subject_alt_names
            .push(SanType::URI(holder.uri().try_into()?));
        params.distinguished_name = DistinguishedName::new();
        let common = match &holder.role {
            Role::Node { node, .. } => format!("reelraft node {node}"),
            Role::Client { name } => format!("reelraft client {name}"),
        };
        params.distinguished_name.push(DnType::CommonName, common);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if holder.as_node().is_some() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        last(&mut params, now, CERTIFICATE_LIFE);
        Ok(params.signed_by(&Point(public_key), &self.issuer())?.into())
    }

    /// What a holder shows after its own certificate: this authority's, and what
    /// leads to it from the one before.
    pub fn chain(&self, former: Option<&[u8]>) -> Vec<CertificateDer<'static>> {
        let mut chain = vec![self.certificate.clone()];
        if let (Some(crossed), Some(former)) = (&self.crossed, former) {
            chain.extend([crossed.clone(), CertificateDer::from(former.to_vec())]);
        }
        chain
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_secret_leads_all_who_know_it_to_one_authority() {
        let [one, same, other] =
            ["a secret", "a secret", "b secret"].map(|it| Authority::of_secret(it).unwrap());
        assert_eq!(one.certificate, same.certificate);
        assert_ne!(one.certificate, other.certificate);
    }

    #[test]
    fn an_authority_is_kept_in_parts_and_shows_no_key() {
        let minted = Authority::mint(SystemTime::now()).unwrap();
        let (name, key) = (&minted.name, minted.reveal_key());
        let kept = Authority::from_parts(name, &minted.certificate, key, b"").unwrap();
        assert_eq!(kept.reveal_key(), minted.reveal_key());
        assert!(!format!("{kept:?}").contains("KeyPair"));
        let holder = Holder::node("c", 1, "i");
        let refused = kept.sign(&holder, &[], &[0; 65], SystemTime::now());
        assert!(refused.is_err(), "no key");
    }
}
