//! The membership of a node that votes alone.

use std::collections::{BTreeMap, BTreeSet};

use openraft::BasicNode;

use crate::{error::ConsensusError, types::Membership};

/// One voter and nobody else. Its address stands in the table, or does after its first
/// start.
///
/// # Errors
/// [`ConsensusError::BadConfig`] for a membership that Raft refuses.
pub(crate) fn alone(node: u64) -> Result<Membership, ConsensusError> {
    let voters = vec![BTreeSet::from([node])];
    let nodes = BTreeMap::from([(node, BasicNode::default())]);
    Membership::new(voters, nodes).map_err(|error| ConsensusError::BadConfig {
        cause: error.to_string(),
    })
}
