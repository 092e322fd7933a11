//! Links to outputs, for those that can't send a key: a browser's player, and
//! whoever follows a plain link. A link is a job, a time and a proof that someone
//! who may fetch that output has made it:
//!
//! ```text
//! SIGNER.UNTIL_MS.MAC      MAC: BLAKE3, keyed, over job, signer and time
//! ```
//! A key's links are signed with what the table keeps of that key, which every
//! node has, and of all clients its holder alone could make, who sees no more by
//! it: a link ends with its key, and each node judges it by its own replica. The
//! operator's are signed with the cluster's secret.

use reelraft_model::Problem;

use super::{
    Access, Api,
    caller::{Caller, unauthenticated},
    limits::LINK_MS,
};
use crate::clock::unix_ms;

/// Who signs where no key does.
const OPERATOR: &str = "operator";

/// Keeps a MAC from being of use anywhere else, and what it is made with too.
const LINK_CONTEXT: &str = "reelraft 2026-11 links to outputs";

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLink {
    /// Stands for a credential.
    pub text: String,
    pub until_unix_ms: u64,
}

impl Api {
    /// A link to a finished job's output; none where nobody needs one.
    ///
    /// # Errors
    /// `not-found`, `not-finished`, and what keeps the cluster from reading.
    pub async fn output_link(&self, job: &str) -> Result<Option<OutputLink>, Problem> {
        self.finished(job).await?;
        Ok(self.sign_link(job, unix_ms()))
    }

    fn sign_link(&self, job: &str, now_unix_ms: u64) -> Option<OutputLink> {
        let until = now_unix_ms + LINK_MS;
        let (signer, secret, until) = match self.caller() {
            Caller::Operator => {
                let secret = self.context().config.secret.text()?;
                (OPERATOR, secret.as_bytes(), until)
            }
            Caller::Holder(key) => {
                let until = match key.expires_unix_ms {
                    0 => until,
                    expires => until.min(expires),
                };
                (key.id.as_str(), key.digest.as_slice(), until)
            }
        };
        let mac = mac(secret, job, signer, until).to_hex();
        Some(OutputLink {
            text: format!("{signer}.{until}.{mac}"),
            until_unix_ms: until,
        })
    }
}

impl Access {
    /// What whoever shows a link may ask: it is for the caller of this to keep to
    /// that job's output.
    ///
    /// # Errors
    /// `unauthenticated`, and `too-many-requests` of a tenant.
    pub fn admit_link(&self, job: &str, link: &str) -> Result<Api, Problem> {
        let read = parse(link).filter(|(_, until, _)| *until > unix_ms());
        let (signer, until, given) = read.ok_or_else(no_such_link)?;
        let is_right = |secret: &[u8]| mac(secret, job, signer, until) == given;
        match signer {
            OPERATOR => {
                let operator = self.operator();
                let secret = operator.context().config.secret.text().unwrap_or_default();
                match !secret.is_empty() && is_right(secret.as_bytes()) {
                    true => Ok(operator),
                    false => Err(no_such_link()),
                }
            }
            id => self.holder(id, |key| is_right(&key.digest), no_such_link),
        }
    }
}

fn no_such_link() -> Problem {
    unauthenticated("the link is wrong, or it holds no longer")
}

fn mac(secret: &[u8], job: &str, signer: &str, until: u64) -> blake3::Hash {
    let key = blake3::derive_key(LINK_CONTEXT, secret);
    blake3::keyed_hash(&key, format!("{job}\n{signer}\n{until}").as_bytes())
}

/// Signer, time and MAC; the last is compared in constant time.
fn parse(link: &str) -> Option<(&str, u64, blake3::Hash)> {
    let (signer, rest) = link.split_once('.')?;
    let (until, mac) = rest.split_once('.')?;
    Some((
        signer,
        until.parse().ok()?,
        blake3::Hash::from_hex(mac).ok()?,
    ))
}
