//! Who belongs to the cluster: tokens for newcomers, how many vote, and nodes that go.

use std::{collections::BTreeSet, sync::Arc};

use reelraft_model::{
    Command, CreateToken, DrainNode, JoinToken, Problem, RemoveNode, Reply, Scope, SetVoters,
    State, TokenText, check_address,
    limits::{MEMBERS_LEVEL, TOKENS_MAX},
    plan::drain_refusal,
    token_digest,
};
use reelraft_trust::sha256_hex;

use super::{Api, bad_request, caller::problem, jobs::all_know};
use crate::{
    clock::unix_ms,
    limits::{TOKEN_TTL_S, TOKEN_TTL_S_MAX},
};

/// A token that was made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What the newcomer shows. Nothing else has it.
    pub text: TokenText,
    pub expires_unix_ms: u64,
    /// Where a newcomer may ask.
    pub address: String,
}

impl Api {
    /// Makes a token that lets one machine in, within so many seconds; 0 for an hour.
    ///
    /// # Errors
    /// `forbidden`, `bad-request`, `too-many-tokens`, `mixed-versions`, `too-early`, and
    /// what keeps the cluster from writing.
    pub async fn create_token(&self, ttl_s: u64) -> Result<NewToken, Problem> {
        self.members_state().await?;
        let address = self.context().config.advertise.clone();
        check_address(&address)?;
        let ttl_s = match ttl_s {
            0 => TOKEN_TTL_S,
            asked if asked <= TOKEN_TTL_S_MAX => asked,
            asked => {
                let cause = format!("a token can't be of use for {asked} s");
                return Err(bad_request(cause, "give it a week at most"));
            }
        };
        let text = TokenText::new(rand::random(), self.authority_hash()?);
        let created_unix_ms = unix_ms();
        let token = JoinToken {
            digest: token_digest(&text.secret()),
            created_unix_ms,
            expires_unix_ms: created_unix_ms.saturating_add(ttl_s.saturating_mul(1000)),
            node: 0,
        };
        let expires_unix_ms = token.expires_unix_ms;
        let command = CreateToken {
            token,
            tokens_max: TOKENS_MAX,
        };
        self.change_members(Command::CreateToken(command)).await?;
        Ok(NewToken {
            text,
            expires_unix_ms,
            address,
        })
    }

    /// What a newcomer knows the cluster by; none without TLS.
    fn authority_hash(&self) -> Result<Option<String>, Problem> {
        if !self.table().trust().is_on() {
            return Ok(None);
        }
        let authorities = self.table().local().authorities();
        let current = authorities.current.as_ref();
        let hash = current.map(|authority| sha256_hex(&authority.certificate));
        hash.map(Some).ok_or_else(|| {
            let cause = "the cluster has no authority of its own yet";
            let hint = "wait a moment, until its nodes have certificates";
            Problem::new("too-early", cause, hint)
        })
    }

    /// Says how many voters there are to be. Whether it was so already.
    ///
    /// # Errors
    /// `forbidden`, the table's refusal of another number than 1, 3, 5 or 7,
    /// `mixed-versions`, `too-early`, and what keeps the cluster from writing.
    pub async fn set_voters(&self, voters: u32) -> Result<bool, Problem> {
        let state = self.members_state().await?;
        let same = state.voters_wanted(0) == voters as usize;
        let command = Command::SetVoters(SetVoters { voters });
        self.change_members(command).await?;
        Ok(same)
    }

    /// Has a node hand over what it has, or with `undo` take part again. Whether it was
    /// so already.
    ///
    /// # Errors
    /// `forbidden`, `not-found`, `node-removed`, `too-few-nodes`, `mixed-versions`,
    /// `too-early`, and what keeps the cluster from writing.
    pub async fn drain_node(&self, node: u64, undo: bool) -> Result<bool, Problem> {
        let state = self.members_state().await?;
        let draining = !undo;
        let drains = state.node(node).is_some_and(|node| node.is_draining());
        if draining && !drains && state.node(node).is_some() {
            self.check_left(&state, node)?;
        }
        let command = Command::DrainNode(DrainNode { node, draining });
        Ok(self.change_members(command).await?.existed)
    }

    /// Removes a node for good: one that is drained, or with `dead` one that is lost.
    /// Whether it was so already.
    ///
    /// # Errors
    /// `forbidden`, `not-found`, `not-drained`, `node-alive`, `last-copy`,
    /// `too-few-nodes`, `mixed-versions`, `too-early`, and what keeps the cluster from
    /// writing.
    pub async fn remove_node(&self, node: u64, dead: bool) -> Result<bool, Problem> {
        let state = self.members_state().await?;
        let present = state.node(node).is_some() && !state.is_removed(node);
        if present && dead && self.living()?.contains(&node) {
            return Err(Problem::new(
                "node-alive",
                format!("node {node} lives"),
                "have it hand over what it has with `reelraft cluster drain`, or stop it first",
            ));
        }
        let votes = self.table().membership().voters.contains(&node);
        if present && votes && !dead {
            return Err(Problem::new(
                "not-drained",
                format!("node {node} still has its vote"),
                "see `reelraft cluster drain`, and `cluster nodes` for how far it is",
            ));
        }
        if present && votes {
            self.check_left(&state, node)?;
        }
        let command = Command::RemoveNode(RemoveNode { node, dead });
        Ok(self.change_members(command).await?.existed)
    }

    /// Has another node lead: the one named, or else the voter that is furthest. Who
    /// leads then.
    ///
    /// # Errors
    /// `forbidden`, `no-leader`, `not-leader`, and `members-unchanged` for a node that
    /// can't lead or did not in time.
    pub async fn transfer_leader(&self, node: u64) -> Result<u64, Problem> {
        self.operator_only()?;
        let to = Some(node).filter(|node| *node != 0);
        self.table().transfer_leader(to).await.map_err(problem)
    }

    /// The table as it is now, for who may change the members.
    async fn members_state(&self) -> Result<Arc<State>, Problem> {
        self.operator_only()?;
        let state = self.table().read().await.map_err(problem)?;
        all_know(&state, MEMBERS_LEVEL, "let nodes in and have them go")?;
        Ok(state)
    }

    async fn change_members(&self, command: Command) -> Result<Reply, Problem> {
        let changed = self.apply(Scope::Admin, "", command).await;
        changed.map(|(reply, _)| reply)
    }

    /// Refuses to lose a node without which too few are there to vote.
    fn check_left(&self, state: &State, node: u64) -> Result<(), Problem> {
        let voters = self.table().membership().voters.len();
        let living = self.living()?;
        match drain_refusal(state, node, |id| living.contains(&id), voters) {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// The nodes that the leader has heard of lately. Where it has said nothing
    /// itself, a node that lives must not be taken for one that is lost.
    fn living(&self) -> Result<BTreeSet<u64>, Problem> {
        let reported = self.context().report.nodes(<[_]>::to_vec);
        let reported = reported.ok_or_else(|| {
            let cause =
                "this node has not heard from the leader lately, so it can't tell who lives";
            Problem::new("no-leader", cause, "try again in a moment")
        })?;
        let nodes = self.status_from(reported).nodes.into_iter();
        let living = nodes.filter(|node| node.reachable);
        Ok(living.map(|node| node.id).collect())
    }
}
