//! A program that is older than what the cluster writes: it must not take part, as it
//! would stop at the first entry that it can't read, in the midst of its work.

use reelraft_model::{Command, Reply, State, limits::FEATURE_LEVEL};

use crate::{core::Core, error::ConsensusError};

/// Refuses to start on a table whose cluster all nodes have made a newer one.
///
/// # Errors
/// [`ConsensusError::OlderProgram`].
pub fn check_table(state: &State, node: u64) -> Result<(), ConsensusError> {
    let level = state.feature_level();
    if level <= FEATURE_LEVEL {
        return Ok(());
    }
    let cause = format!(
        "the cluster's log needs a program of feature level {level}; that of node {node} has {FEATURE_LEVEL}"
    );
    Err(ConsensusError::OlderProgram { cause })
}

impl Core {
    /// Notices that the table refused what this node said of itself, as one whose table
    /// is behind can't know. Whether it did.
    pub fn is_refused(&self, asked: &[Command], replies: &[Reply]) -> bool {
        let own = |command: &Command| matches!(command, Command::RegisterNode(it) if it.node == self.node());
        if !asked.first().is_some_and(own) {
            return false;
        }
        let Err(ConsensusError::OlderProgram { cause }) = self.registered(replies) else {
            return false;
        };
        self.outdated.send_replace(Some(cause));
        true
    }
}
