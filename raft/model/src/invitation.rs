//! What a token is worth to the disk that shows it.

use crate::{rows::Problem, state::State};

/// What a disk is that shows a token of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited {
    /// It is to be given an id.
    New,
    /// It was let in as this node, and has not heard of it.
    Again(u64),
}

impl State {
    /// What a token is to the disk that shows it, by a wall clock.
    ///
    /// # Errors
    /// `bad-token`, `token-used`, `token-expired`, and `node-removed`.
    pub fn invitation(
        &self,
        digest: &str,
        incarnation: &str,
        address: &str,
        unix_ms: u64,
    ) -> Result<Invited, Problem> {
        let token = self.tokens.get(digest).ok_or_else(Problem::unknown_token)?;
        let invited = match (token.node, self.node(token.node)) {
            (0, _) => Invited::New,
            (id, Some(node)) if node.is_removed() => return Err(Problem::node_removed(id)),
            // A copy of its disk is at another address: it must not be the same node.
            (id, Some(node)) if node.incarnation == incarnation && node.address == address => {
                Invited::Again(id)
            }
            (id, _) => return Err(Problem::used_token(id)),
        };
        // Also for the disk that it has let in: what a node says of itself is no
        // secret, and with it whoever finds the token could ask in its place.
        match token.expires_unix_ms <= unix_ms {
            true => Err(Problem::expired_token()),
            false => Ok(invited),
        }
    }
}
