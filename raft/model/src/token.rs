//! A token as it is pasted: what lets one node in, and what that node knows the
//! cluster by.

use crate::limits::TOKEN_SECRET_BYTES;

/// What the text of every token begins with, so that one that leaked is known for
/// what it is.
pub const TOKEN_PREFIX: &str = "rrj1.";

/// Keeps a digest of a token's secret from being of use anywhere else.
const DIGEST_CONTEXT: &str = "reelraft 2026-11 digest of a joining token's secret";

/// The letters of base64url.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A token as its holder has it: `rrj1.SECRET.CA`, shown once. `CA` is the SHA-256
/// of the certificate of the cluster's authority, or `-` where it has none.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    secret: [u8; TOKEN_SECRET_BYTES],
    authority: Option<String>,
}

impl std::fmt::Debug for TokenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenText")
    }
}

impl TokenText {
    /// A token of random bytes, for a cluster with this authority, in hex.
    pub fn new(secret: [u8; TOKEN_SECRET_BYTES], authority: Option<String>) -> Self {
        TokenText { secret, authority }
    }

    /// Reads a token's text; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (secret, authority) = text.strip_prefix(TOKEN_PREFIX)?.split_once('.')?;
        let is_digit = |letter: u8| matches!(letter, b'0'..=b'9' | b'a'..=b'f');
        let hash = authority.len() == 64 && authority.bytes().all(is_digit);
        let authority = match authority {
            "-" => None,
            authority => Some(hash.then(|| authority.to_string())?),
        };
        let secret = decode(secret)?;
        let token = TokenText { secret, authority };
        // Of one token there is one text.
        (token.reveal() == text).then_some(token)
    }

    /// SHA-256 of the authority's certificate, in hex, if the cluster has one.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// The secret as it is sent.
    pub fn secret(&self) -> [u8; TOKEN_SECRET_BYTES] {
        self.secret
    }

    /// The text, to be shown to its holder and to nobody else.
    pub fn reveal(&self) -> String {
        let authority = self.authority.as_deref().unwrap_or("-");
        format!("{TOKEN_PREFIX}{}.{authority}", encode(&self.secret))
    }
}

/// What the table keeps of a token's secret.
pub fn token_digest(secret: &[u8]) -> String {
    let digest = blake3::derive_key(DIGEST_CONTEXT, secret);
    blake3::Hash::from(digest).to_hex().to_string()
}

fn encode(bytes: &[u8]) -> String {
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits = (0..3).fold(0, |bits: u32, at| {
            bits << 8 | u32::from(group.get(at).copied().unwrap_or(0))
        });
        let letter = move |at: usize| char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]);
        (0..=group.len()).map(letter)
    });
    groups.collect()
}

fn decode(text: &str) -> Option<[u8; TOKEN_SECRET_BYTES]> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for letter in text.bytes() {
        let value = LETTERS.iter().position(|known| *known == letter)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
        bits &= (1 << count) - 1;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_has_one_text_and_keeps_its_secret() {
        let secret: [u8; TOKEN_SECRET_BYTES] =
            std::array::from_fn(|at| (at as u8).wrapping_mul(37));
        for authority in [None, Some("0a".repeat(32))] {
            let token = TokenText::new(secret, authority);
            let shown = token.reveal();
            assert_eq!(TokenText::parse(&shown), Some(token.clone()));
            assert_eq!(format!("{token:?}"), "TokenText");
            for other in [
                &shown[1..],
                &shown[..shown.len() - 1],
                &format!("{shown}0"),
                &shown.replace('.', ":"),
                &shown.replace("rrj1", "rrj2"),
            ] {
                assert_eq!(TokenText::parse(other), None, "{other}");
            }
        }
        let token = TokenText::new([0xff; TOKEN_SECRET_BYTES], None);
        let last = token.reveal().replace("8.-", "9.-");
        assert_eq!(TokenText::parse(&last), None, "another text of one secret");
    }

    #[test]
    fn a_digest_says_nothing_of_another_secret() {
        assert_ne!(token_digest(&[1]), token_digest(&[2]));
        assert_eq!(token_digest(&[1]).len(), 64);
    }
}
