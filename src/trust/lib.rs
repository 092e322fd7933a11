//! Who may speak with whom, and how nobody listens: the authority that signs a
//! cluster's certificates, the certificates of its nodes, and TLS with them.
//!
//! ```text
//! trust            what a node holds and believes now; changes without a restart
//!   accept         connections that came in        dial     those that go out
//!   verify         what is asked of a certificate, on both sides
//!   client         what a client asks of a node: its authority's file or its hash
//! authority        mints, signs, and vouches for the one that takes its place
//! own              this node's key and chain, and how they lie on the disk
//! public           the files that clients are shown in place of them
//! holder           whom a certificate speaks for
//! clear            what may be said without TLS
//! ```
//! Nothing here knows of Raft or of the table: the node puts in what it knows, by
//! [`Trust::change`].

mod accept;
mod authority;
mod clear;
mod client;
mod dial;
mod error;
mod files;
mod holder;
pub mod limits;
mod own;
mod pem;
mod provider;
mod public;
mod refusals;
mod trust;
mod verify;

pub use accept::{Acceptor, Port, Stream};
pub use authority::{Authority, sha256_hex};
pub use clear::{SPEAKS_HTTPS, is_loopback};
pub use client::Anchor;
pub use dial::Connector;
pub use error::TrustError;
pub use files::write as write_file;
pub use holder::{Holder, Role};
pub use own::{Own, new_key, public_key};
pub use pem::{certificates as certificates_in, encode as pem};
pub use public::PublicFiles;
pub use trust::{Caller, Note, Trust, View};
pub use verify::{certificate_trouble, was_revoked};
