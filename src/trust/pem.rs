//! PEM, written and read.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use crate::error::TrustError;

/// Letters in a line (RFC 7468).
const LINE: usize = 64;

/// Some bytes under a label.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// All certificates in a text, in order.
///
/// # Errors
/// [`TrustError::Bad`] for a text without any, or with a damaged one.
pub fn certificates(what: &str, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(TrustError::bad(what, "has no certificate in it")),
        Err(error) => Err(TrustError::bad(what, format!("is no PEM: {error}"))),
    }
}

/// The first private key in a text.
///
/// # Errors
/// [`TrustError::Bad`].
pub fn private_key(what: &str, text: &[u8]) -> Result<PrivateKeyDer<'static>, TrustError> {
    PrivateKeyDer::from_pem_slice(text)
        .map_err(|error| TrustError::bad(what, format!("has no private key in it: {error}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let bytes: Vec<u8> = (0..=255).collect();
        let text = encode("CERTIFICATE", &bytes) + &encode("CERTIFICATE", &bytes[..96]);
        let read = certificates("it", text.as_bytes()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((&*read[0], &*read[1]), (&bytes[..], &bytes[..96]));
        assert!(text.lines().all(|line| line.len() <= LINE));
        assert!(certificates("it", b"x").is_err());
    }
}
