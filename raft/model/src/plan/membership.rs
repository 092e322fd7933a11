//! Who votes: all of the leader's judgement of that, as a function of the table and
//! of what the nodes report. The loop around it carries out one change after the
//! other, and asks again.
//!
//! The rules:
//! 1. A change of voters that was begun is ended before anything else.
//! 2. Who was let in is a learner, without any judgement; who was removed goes, once it
//!    has no vote.
//! 3. There are as many voters as are wanted, as far as there are nodes for them, and
//!    an odd number: one more would bear no more failures. A vote goes to who lives
//!    and has caught up.
//! 4. Who drains, was removed, or has been silent for too long, gives its vote to
//!    another. Where there is none it keeps it: fewer voters would bear fewer
//!    failures, so that is left to people.
//! 5. Who leads and is to lose its vote hands the leadership on first.

use std::collections::{BTreeMap, BTreeSet};

use super::health::{ClusterHealth, NodeHealth};
use crate::{
    limits::{CAUGHT_UP_ENTRIES, MEMBERS_LEVEL},
    rows::{Node, Problem},
    state::State,
};

/// One change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Have these vote, and no others.
    Voters(BTreeSet<u64>),
    /// Have a node lead that keeps its vote.
    HandOver(u64),
    /// Take a node out that does not vote.
    Drop(u64),
}

/// What is to be done about the membership, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The next change; none where all is as it should be, or has to wait.
    pub change: Option<Change>,
    /// By node, what becomes of it; nothing where there is nothing to say.
    pub notes: BTreeMap<u64, String>,
}

/// Judges the membership.
pub fn membership(state: &State, health: &ClusterHealth) -> Membership {
    let judge = Judge::new(state, health);
    let voters = judge.chosen();
    Membership {
        change: judge.change(&voters),
        notes: judge.notes(&voters),
    }
}

struct Judge<'a> {
    state: &'a State,
    health: &'a ClusterHealth,
    /// Who votes now.
    voters: BTreeSet<u64>,
    wanted: usize,
}

/// The largest odd number up to this one; 0 of 0.
fn odd(count: usize) -> usize {
    count - usize::from(count > 0 && count.is_multiple_of(2))
}

impl<'a> Judge<'a> {
    fn new(state: &'a State, health: &'a ClusterHealth) -> Self {
        let voters = health.nodes.iter().filter(|(_, node)| node.votes);
        let voters: BTreeSet<u64> = voters.map(|(id, _)| *id).collect();
        Judge {
            state,
            health,
            wanted: state.voters_wanted(odd(voters.len())),
            voters,
        }
    }

    fn node(&self, id: u64) -> &NodeHealth {
        &self.health.nodes[&id]
    }

    /// Whether it goes because somebody said so.
    fn goes(&self, id: u64) -> bool {
        self.node(id).draining || self.state.is_removed(id)
    }

    /// Whether it is given up.
    fn is_lost(&self, id: u64) -> bool {
        let node = self.node(id);
        let long = node.silent_ms >= self.health.replace_voter_after_ms;
        node.gone || (!node.alive && long)
    }

    fn stays(&self, id: u64) -> bool {
        !self.goes(id) && !self.is_lost(id)
    }

    /// Whether a learner can be given a vote.
    fn is_ready(&self, id: u64) -> bool {
        let node = self.node(id);
        let current = node
            .behind
            .is_some_and(|behind| behind <= CAUGHT_UP_ENTRIES);
        node.alive && current && self.stays(id)
    }

    /// Whether all nodes know that votes move: former programs take the voters for
    /// those that they were founded with.
    fn may_move(&self) -> bool {
        self.state.feature_level() >= MEMBERS_LEVEL
    }

    /// Who is to vote.
    fn chosen(&self) -> BTreeSet<u64> {
        if !self.may_move() {
            return self.voters.clone();
        }
        let ids = self.health.nodes.keys().copied();
        let able = ids.filter(|&id| match self.node(id).votes {
            true => self.stays(id),
            false => self.is_ready(id),
        });
        let able: Vec<u64> = able.collect();
        let now = odd(self.voters.len());
        let count = match () {
            // Those that are not able keep their votes where too few are.
            () if self.wanted < now => self.wanted,
            () if able.len() >= now => odd(self.wanted.min(able.len())).max(1),
            // Nobody could take the places of those that are missing.
            () => self.voters.len(),
        };
        let removed = |id: &u64| self.state.is_removed(*id);
        let kept = self
            .voters
            .iter()
            .filter(|id| !able.contains(id) && !removed(id));
        let mut ranked: Vec<u64> = able.iter().chain(kept).copied().collect();
        // A voter that is silent for a moment keeps its vote before any learner.
        ranked.sort_by_key(|&id| {
            let node = self.node(id);
            let leads = id == self.health.leader;
            (!able.contains(&id), !leads, !node.votes, !node.alive, id)
        });
        ranked.truncate(count);
        ranked.into_iter().collect()
    }

    fn change(&self, chosen: &BTreeSet<u64>) -> Option<Change> {
        let Judge {
            state,
            health,
            voters,
            ..
        } = self;
        if chosen.is_empty() || voters.is_empty() {
            return None;
        }
        if health.joint {
            return Some(Change::Voters(voters.clone()));
        }
        if chosen != voters && self.can_agree(voters) && self.can_agree(chosen) {
            return Some(self.toward(chosen));
        }
        let mut gone = health.nodes.keys().filter(|id| state.is_removed(**id));
        gone.find(|id| !voters.contains(id))
            .map(|id| Change::Drop(*id))
    }

    /// The next step to these voters.
    fn toward(&self, chosen: &BTreeSet<u64>) -> Change {
        let leader = self.health.leader;
        if chosen.contains(&leader) {
            return Change::Voters(chosen.clone());
        }
        let mut next = chosen.intersection(&self.voters);
        match next.find(|id| self.node(**id).alive) {
            Some(next) => Change::HandOver(*next),
            // The one that will lead has to have a vote first.
            None => Change::Voters(chosen.iter().copied().chain([leader]).collect()),
        }
    }

    /// Whether most of these live.
    fn can_agree(&self, voters: &BTreeSet<u64>) -> bool {
        let alive = voters.iter().filter(|id| self.node(**id).alive);
        2 * alive.count() > voters.len()
    }

    fn notes(&self, chosen: &BTreeSet<u64>) -> BTreeMap<u64, String> {
        let members = self.health.nodes.keys();
        let notes = members.map(|&id| (id, self.note(id, chosen)));
        let joins = self.state.nodes().map(|node| node.id);
        let joins = joins.filter(|id| !self.health.nodes.contains_key(id));
        let joins = joins.map(|id| (id, "is let in, and becomes a learner".to_string()));
        notes
            .chain(joins)
            .filter(|(_, note)| !note.is_empty())
            .collect()
    }

    fn note(&self, id: u64, chosen: &BTreeSet<u64>) -> String {
        let node = self.node(id);
        let (votes, will) = (node.votes, chosen.contains(&id));
        if self.state.is_removed(id) {
            return "was removed, and is taken out".into();
        }
        if node.draining {
            return self.drain_note(id, will);
        }
        if !node.alive && (node.gone || votes) {
            return self.loss_note(id, will);
        }
        match (votes, will) {
            (true, true) => String::new(),
            (true, false) => format!("gives its vote up: {} voters are wanted", self.wanted),
            (false, true) => format!("is given a vote: {} voters are wanted", self.wanted),
            (false, false) => self.learner_note(id, chosen.len()),
        }
    }

    fn drain_note(&self, id: u64, will: bool) -> String {
        let node = self.node(id);
        let held = self.state.bytes_at(id).count;
        match (held, node.votes, will) {
            (0, true, true) => "drains: keeps its vote, as no other node could take it".into(),
            (0, true, false) => "drains: its vote goes to another".into(),
            (0, false, _) => format!("is drained: `reelraft cluster remove {id}` takes it out"),
            (1, ..) => "drains: bytes of 1 job are handed over".into(),
            (held, ..) => format!("drains: bytes of {held} jobs are handed over"),
        }
    }

    fn loss_note(&self, id: u64, will: bool) -> String {
        let node = self.node(id);
        let (silent_s, after_ms) = (node.silent_ms / 1000, self.health.replace_voter_after_ms);
        match (node.gone, node.votes, self.is_lost(id)) {
            (true, false, _) => {
                "another disk has its address: it goes once its bytes are elsewhere".into()
            }
            (_, _, false) => {
                let left_s = after_ms.saturating_sub(node.silent_ms).div_ceil(1000);
                format!("is silent for {silent_s} s: a learner takes its vote in {left_s} s")
            }
            _ if will => {
                "is lost, and keeps its vote: there is no learner that could take it".into()
            }
            _ => "is lost: its vote goes to another".into(),
        }
    }

    fn learner_note(&self, id: u64, voters: usize) -> String {
        let node = self.node(id);
        match node.behind {
            _ if !node.alive => String::new(),
            None => "is a learner, and has said nothing of its log yet".into(),
            Some(behind) if behind > CAUGHT_UP_ENTRIES => {
                format!("catches up: {behind} entries of the log are missing")
            }
            _ if !self.may_move() => {
                "is a learner: votes move once all nodes have this version".into()
            }
            _ if voters >= self.wanted => {
                format!(
                    "is a learner: there are the {} voters that are wanted",
                    self.wanted
                )
            }
            _ => "is a learner: a vote more would make an even number of voters, so it waits for \
                  another node"
                .into(),
        }
    }
}

/// Why a node can't be drained, if that would leave too few that may vote. `alive`
/// says who lives, `voters` how many vote.
pub fn drain_refusal(
    state: &State,
    id: u64,
    alive: impl Fn(u64) -> bool,
    voters: usize,
) -> Option<Problem> {
    let may_vote = |node: &&Node| node.id != id && !node.is_draining() && alive(node.id);
    let left = state.nodes().filter(may_vote).count();
    let wanted = state.voters_wanted(odd(voters)).min(odd(voters)).max(1);
    (left < wanted).then(|| {
        let cause = format!(
            "without node {id}, {left} nodes are there to vote, and {wanted} voters are wanted"
        );
        let hint = "let another node in first, or lower `reelraft cluster set voters`: fewer \
                    voters keep fewer copies, and bear fewer failures";
        Problem::new("too-few-nodes", cause, hint)
    })
}
