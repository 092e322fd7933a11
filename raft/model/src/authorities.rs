//! Who vouches for the nodes: the authority that signs their certificates, kept
//! in the table, so that every node can sign its own and any leader a newcomer's.
//!
//! There are two of them while one takes the other's place. Nothing here reads a
//! certificate or makes one: what is in it is the node's business.

/// The key of the only row.
pub(crate) fn authorities_key() -> Vec<u8> {
    b"a/".to_vec()
}

/// An authority with its key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Authority {
    /// Its common name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its certificate, signed by itself (DER).
    #[prost(bytes = "vec", tag = "2")]
    pub certificate: Vec<u8>,
    /// Its private key (PKCS #8).
    #[prost(bytes = "vec", tag = "3")]
    pub key: Vec<u8>,
    /// Its certificate as the one before it signed it, for those that know only
    /// that one; empty where there was none.
    #[prost(bytes = "vec", tag = "4")]
    pub crossed: Vec<u8>,
}

/// The key opens the cluster to whoever has it, so no log may show it.
impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.name)
    }
}

/// The row.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Authorities {
    /// Raised with each change, so that one that rests on an older view comes too
    /// late.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// It signs.
    #[prost(message, optional, tag = "2")]
    pub current: Option<Authority>,
    /// The certificate (DER) of the one before it, which is trusted still; empty:
    /// there is none.
    #[prost(bytes = "vec", tag = "3")]
    pub former: Vec<u8>,
    /// Whether the one before it came of the nodes' secret, and goes by itself once
    /// all have certificates of this one.
    #[prost(bool, tag = "4")]
    pub founding: bool,
    /// Raised to have all nodes make new keys and certificates.
    #[prost(uint64, tag = "5")]
    pub renewals: u64,
}

impl Authorities {
    /// The certificate of the authority before the current one, if it is trusted.
    pub fn former(&self) -> Option<&[u8]> {
        Some(self.former.as_slice()).filter(|former| !former.is_empty())
    }
}

/// Puts other authorities in place of those that the proposer saw.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetAuthorities {
    /// The new ones; their epoch is the one that the proposer saw.
    #[prost(message, required, tag = "1")]
    pub authorities: Authorities,
}
