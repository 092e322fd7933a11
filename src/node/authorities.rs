//! The authorities in the table: what becomes of them, and who has a certificate of
//! which.

use std::{collections::BTreeSet, time::SystemTime};

use reelraft_model::{Authorities, Authority as Row, State};
use reelraft_trust::{Authority, TrustError};

use super::context::NodeContext;

/// An authority as the table has it.
fn kept(authority: &Authority) -> Row {
    Row {
        name: authority.name.clone(),
        certificate: authority.certificate.to_vec(),
        key: authority.reveal_key().to_vec(),
        crossed: authority.crossed.as_deref().unwrap_or_default().to_vec(),
    }
}

/// An authority of the table.
///
/// # Errors
/// [`TrustError::Make`] for a damaged one.
pub fn opened(row: &Row) -> Result<Authority, TrustError> {
    Authority::from_parts(&row.name, &row.certificate, &row.key, &row.crossed)
}

fn after(
    known: &Authorities,
    former: &Authority,
    founding: bool,
) -> Result<Authorities, TrustError> {
    let now = SystemTime::now();
    let mut minted = Authority::mint(now)?;
    minted.cross(former, now)?;
    Ok(Authorities {
        current: Some(kept(&minted)),
        former: former.certificate.to_vec(),
        founding,
        ..known.clone()
    })
}

/// With the cluster's own authority in place of the one that it was founded with.
///
/// # Errors
/// [`TrustError::Make`].
pub fn founded(known: &Authorities, founding: &Authority) -> Result<Authorities, TrustError> {
    after(known, founding, true)
}

/// With another authority, which the current one vouches for.
///
/// # Errors
/// [`TrustError::Make`].
pub fn rotated(known: &Authorities, current: &Row) -> Result<Authorities, TrustError> {
    after(known, &opened(current)?, false)
}

/// With the current authority alone.
pub fn alone(known: &Authorities) -> Authorities {
    Authorities {
        former: Vec::new(),
        founding: false,
        ..known.clone()
    }
}

/// The nodes that do not have a certificate of an authority, as far as this node
/// knows: also those that were named and have not come yet.
pub fn without(state: &State, context: &NodeContext, authority_sha256: &str) -> BTreeSet<u64> {
    let named = context.config.peers.keys().copied();
    let named = named.filter(|id| !state.is_removed(*id));
    let mut nodes: BTreeSet<u64> = state.nodes().map(|node| node.id).chain(named).collect();
    context.report.nodes(|reported| {
        for node in reported {
            let note = node.certificate.as_ref();
            if note.is_some_and(|note| note.authority_sha256 == authority_sha256) {
                nodes.remove(&node.id);
            }
        }
    });
    nodes
}
