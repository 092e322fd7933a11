//! Who may ask, and how much: API keys and the quotas of tenants, with the
//! commands that write them.
//!
//! A key's secret is nowhere in the table. Whether a key has expired is judged
//! where it is shown, by that node's own clock, and never by `apply`.

use crate::limits::{KEY_ID_DIGITS, KEY_SECRET_BYTES};

/// What the text of every key begins with, so that one that leaked is known for
/// what it is.
pub const KEY_PREFIX: &str = "rrk_";

/// Keeps a digest of a key's secret from being of use anywhere else.
const DIGEST_CONTEXT: &str = "reelraft 2026-11 digest of an API key's secret";

/// What a key allows. Each allows what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Scope {
    /// To see its tenant's jobs, and to fetch what they made.
    Read = 0,
    /// To make, upload, cancel and delete jobs of its tenant.
    Submit = 1,
    /// To manage the keys of its tenant.
    Admin = 2,
}

impl Scope {
    /// All of them, the least first.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Submit, Scope::Admin];

    /// The word shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Submit => "submit",
            Scope::Admin => "admin",
        }
    }

    /// The scope that a word names.
    pub fn parse(word: &str) -> Option<Self> {
        Scope::ALL.into_iter().find(|scope| scope.name() == word)
    }
}

/// A key's row.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Key {
    /// Random, and a part of the key's text.
    #[prost(string, tag = "1")]
    pub id: String,
    /// What its owners call it; no two keys of a tenant have one name.
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub tenant: String,
    #[prost(enumeration = "Scope", tag = "4")]
    pub scope: i32,
    /// The creating node's wall clock, for display only.
    #[prost(uint64, tag = "5")]
    pub created_unix_ms: u64,
    /// From when on it is refused, by the wall clock of the node that is asked;
    /// 0: never.
    #[prost(uint64, tag = "6")]
    pub expires_unix_ms: u64,
    /// BLAKE3 of its secret.
    #[prost(bytes = "vec", tag = "7")]
    pub digest: Vec<u8>,
}

impl Key {
    /// Whether its time is over.
    pub fn has_expired(&self, now_unix_ms: u64) -> bool {
        self.expires_unix_ms != 0 && self.expires_unix_ms <= now_unix_ms
    }
}

/// A key as its holder has it: `rrk_ID_SECRET`, shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText {
    pub id: String,
    secret: [u8; KEY_SECRET_BYTES],
}

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyText({})", self.id)
    }
}

impl KeyText {
    /// A key of random numbers.
    pub fn new(id: u64, secret: [u8; KEY_SECRET_BYTES]) -> Self {
        let digits = format!("{id:016x}");
        KeyText {
            id: digits[digits.len() - KEY_ID_DIGITS..].to_string(),
            secret,
        }
    }

    /// Reads a key's text; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(KEY_PREFIX)?.split_once('_')?;
        let is_digit = |letter: u8| matches!(letter, b'0'..=b'9' | b'a'..=b'f');
        let plain = id.len() == KEY_ID_DIGITS && id.bytes().all(is_digit);
        // Of one key there is one text.
        let lower = secret.bytes().all(is_digit);
        Some(KeyText {
            id: plain.then(|| id.to_string())?,
            secret: *blake3::Hash::from_hex(secret)
                .ok()
                .filter(|_| lower)?
                .as_bytes(),
        })
    }

    /// What the table keeps of its secret.
    pub fn digest(&self) -> Vec<u8> {
        blake3::derive_key(DIGEST_CONTEXT, &self.secret).to_vec()
    }

    /// Whether this is the key of a row. Takes the same time whatever differs.
    pub fn opens(&self, key: &Key) -> bool {
        let known = <[u8; blake3::OUT_LEN]>::try_from(key.digest.as_slice());
        let given = blake3::Hash::from(blake3::derive_key(DIGEST_CONTEXT, &self.secret));
        known.is_ok_and(|known| given == blake3::Hash::from(known))
    }

    /// The text, to be shown to its holder and to nobody else.
    pub fn reveal(&self) -> String {
        let secret = blake3::Hash::from(self.secret).to_hex();
        format!("{KEY_PREFIX}{}_{secret}", self.id)
    }
}

/// How much a tenant may have. What is not set is as for every tenant.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Quota {
    #[prost(string, tag = "1")]
    pub tenant: String,
    /// Jobs, those that have ended included, until they are deleted.
    #[prost(uint64, optional, tag = "2")]
    pub jobs: Option<u64>,
    /// Bytes of the sources of unfinished jobs, and of outputs, as their owner
    /// counts them: once, however many nodes keep them.
    #[prost(uint64, optional, tag = "3")]
    pub bytes: Option<u64>,
    /// Unfinished uploads.
    #[prost(uint64, optional, tag = "4")]
    pub uploads: Option<u64>,
    /// Requests a second that each node answers.
    #[prost(uint32, optional, tag = "5")]
    pub requests_per_second: Option<u32>,
}

impl Quota {
    /// One that sets nothing.
    pub fn none(tenant: &str) -> Self {
        Quota {
            tenant: tenant.to_string(),
            ..Default::default()
        }
    }
}

/// Makes a key. One that comes late could bring a revoked key back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CreateKey {
    #[prost(message, required, tag = "1")]
    pub key: Key,
    /// How many its tenant may have.
    #[prost(uint64, tag = "2")]
    pub of_tenant_max: u64,
    /// How many there may be of all tenants.
    #[prost(uint64, tag = "3")]
    pub keys_max: u64,
    /// The table's [`crate::ClusterRow::access_epoch`] that the proposer saw.
    #[prost(uint64, tag = "4")]
    pub epoch: u64,
}

/// Ends a key for good.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RevokeKey {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Sets a tenant's quota.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetQuota {
    #[prost(message, required, tag = "1")]
    pub quota: Quota,
    /// The table's [`crate::ClusterRow::access_epoch`] that the proposer saw.
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// How many tenants may have one.
    #[prost(uint64, tag = "3")]
    pub quotas_max: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_key_has_one_text_and_opens_its_own_row_alone() {
        let text = KeyText::new(0xa1b2, [7; KEY_SECRET_BYTES]);
        let shown = text.reveal();
        assert_eq!(shown, format!("rrk_00000000a1b2_{}", "07".repeat(32)));
        assert_eq!(KeyText::parse(&shown), Some(text.clone()));
        assert!(!format!("{text:?}").contains("07"));
        let row = Key {
            id: text.id.clone(),
            digest: text.digest(),
            ..Default::default()
        };
        assert!(text.opens(&row));
        assert!(!KeyText::new(0xa1b2, [8; KEY_SECRET_BYTES]).opens(&row));
        assert!(!text.opens(&Key::default()));
        let bare = &shown[KEY_PREFIX.len()..];
        for other in [
            "",
            "rrk_",
            "rrk_00000000a1b2_",
            bare,
            &shown[..shown.len() - 1],
            &format!("{shown}0"),
            &shown.to_uppercase(),
            &shown.replace("a1b2", "A1B2"),
            &shown.replace("a1b2", "a1b"),
        ] {
            assert_eq!(KeyText::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_without_an_end_never_expires() {
        let until = |expires_unix_ms| Key {
            expires_unix_ms,
            ..Default::default()
        };
        assert!(!until(0).has_expired(u64::MAX));
        assert!(!until(10).has_expired(9) && until(10).has_expired(10));
    }
}
