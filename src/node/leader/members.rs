//! The one task of a leader that changes the members. It does what the model judges,
//! one change after the other, and holds no decision of its own.

use reelraft_consensus::{ConsensusError, MemberChange};
use reelraft_model::plan::{Change, membership, zone_notes};
use tracing::{info, warn};

use super::sight::Sight;
use crate::limits::{MEMBERS_EVERY, MEMBERS_EVERY_IDLE};

/// Keeps the members as they should be, for as long as this node leads.
pub async fn keep(sight: Sight<'_>) {
    loop {
        let state = sight.cluster.local();
        let health = sight.health(&state);
        let mut judged = membership(&state, &health);
        // What is done about a node says more than where its copies are.
        for (node, note) in zone_notes(&state, &health) {
            judged.notes.entry(node).or_insert(note);
        }
        let busy = state.active().next().is_some();
        drop(state);
        sight.sessions.set_notes(judged.notes);
        let mut pause = match busy {
            true => MEMBERS_EVERY,
            false => MEMBERS_EVERY_IDLE,
        };
        if let Some(change) = judged.change {
            match carry_out(sight, &change).await {
                Ok(()) => info!(?change, "the members were changed"),
                Err(error) => {
                    warn!(?change, %error, "the members were not changed yet");
                    pause = MEMBERS_EVERY_IDLE;
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn carry_out(sight: Sight<'_>, change: &Change) -> Result<(), ConsensusError> {
    let change = match change {
        Change::HandOver(node) => {
            return sight.cluster.transfer_leader(Some(*node)).await.map(drop);
        }
        Change::Voters(voters) => MemberChange::Voters(voters.clone()),
        Change::Drop(node) => MemberChange::Drop(*node),
    };
    sight.cluster.change_members(&change).await
}
