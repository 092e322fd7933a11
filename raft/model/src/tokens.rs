//! The tokens that were made, by what is kept of their secrets.

use std::sync::Arc;

use prost::Message;
use rpds::RedBlackTreeMapSync as Map;

use crate::rows::JoinToken;

/// Tokens by the digests of their secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tokens(Map<String, Arc<JoinToken>>);

impl Tokens {
    pub fn get(&self, digest: &str) -> Option<&Arc<JoinToken>> {
        self.0.get(digest)
    }

    pub fn put(&mut self, token: JoinToken) {
        self.0.insert_mut(token.digest.clone(), Arc::new(token));
    }

    pub fn remove(&mut self, digest: &str) {
        self.0.remove_mut(digest);
    }

    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<JoinToken>> {
        self.0.values()
    }

    /// Their rows, by key.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        let tokens = self.0.values();
        tokens.map(|it| (token_key(&it.digest), it.encode_to_vec()))
    }
}

/// The key of its row.
pub(crate) fn token_key(digest: &str) -> Vec<u8> {
    format!("i/{digest}").into_bytes()
}
