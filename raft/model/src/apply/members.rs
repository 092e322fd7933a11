//! Commands about nodes: who registers, who is let in, and who goes.

use super::writer::{Writer, clip};
use crate::{
    command::{RegisterNode, Reply},
    invitation::Invited,
    limits::{ADDRESS_BYTES_MAX, LEFT_BEHIND_LEVEL, TOKEN_MEMORY_MS, VOTERS_MAX},
    member_commands::{AdmitNode, CreateToken, DrainNode, RemoveNode, SetVoters},
    rows::{JoinToken, Node, NodeStanding, Problem},
    state::State,
    table_rows::{cluster_key, node_key},
    tokens::token_key,
};

impl Writer<'_> {
    pub(super) fn register_node(&mut self, c: &RegisterNode) -> Reply {
        let known = self.state.node(c.node);
        if let Some(known) = known
            && known.incarnation != c.incarnation
        {
            return Reply::refused(
                "",
                Problem::new(
                    "other-incarnation",
                    format!("node {} is known with another disk", c.node),
                    "start it with its own data folder, or let it in anew with --join and --token",
                ),
            );
        }
        if known.is_some_and(Node::is_removed) {
            return Reply::refused("", Problem::node_removed(c.node));
        }
        if let Some(refused) = self.too_old(c) {
            return refused;
        }
        // It may have come back meanwhile.
        if c.left_behind && known.is_none_or(|known| known.feature_level >= c.feature_level) {
            return Reply::stale("");
        }
        let (standing, let_in) = known.map_or_else(Default::default, |it| (it.standing, it.let_in));
        self.put_node(Node {
            id: c.node,
            incarnation: c.incarnation.clone(),
            address: c.address.clone(),
            feature_level: c.feature_level,
            left_behind: c.left_behind,
            standing,
            let_in,
        });
        Reply::default()
    }

    /// The refusal of a program that could not read the log.
    fn too_old(&self, c: &RegisterNode) -> Option<Reply> {
        if c.left_behind {
            return None;
        }
        let whose = format!("node {}", c.node);
        let known = self.state.node(c.node);
        let required = known.filter(|row| row.left_behind && row.feature_level > c.feature_level);
        if let Some(required) = required {
            let what = format!("the cluster has gone on without node {}", c.node);
            let levels = (required.feature_level, c.feature_level);
            return Some(older_program(&whose, levels, &what));
        }
        let level = self.state.feature_level();
        // A founder that has not said its version yet, in a cluster that has only
        // just begun.
        let mute = known.is_none() && c.feature_level == 0 && !self.state.tells_access();
        let lowers = level >= LEFT_BEHIND_LEVEL && c.feature_level < level;
        let levels = (level, c.feature_level);
        (lowers && !mute).then(|| older_program(&whose, levels, ALL_NEWER))
    }

    /// Writes a node's row, and what the cluster can read with it.
    fn put_node(&mut self, node: Node) {
        self.touched.insert(node_key(node.id));
        self.state.nodes.insert(node.id, node);
        let levels = self.state.nodes().map(|node| node.feature_level);
        self.state.cluster.feature_level = levels.min().unwrap_or(0);
        self.touched.insert(cluster_key());
    }

    pub(super) fn create_token(&mut self, c: &CreateToken) -> Reply {
        let token = &c.token;
        if self.state.tokens.get(&token.digest).is_some() {
            return Reply {
                existed: true,
                ..Default::default()
            };
        }
        let now_ms = token.created_unix_ms;
        let over = |it: &JoinToken| it.expires_unix_ms.saturating_add(TOKEN_MEMORY_MS) <= now_ms;
        let old: Vec<String> = self
            .state
            .tokens
            .all()
            .filter(|it| over(it))
            .map(|it| it.digest.clone())
            .collect();
        let left = self.state.tokens.all().len() - old.len();
        if left as u64 >= c.tokens_max {
            let cause = format!("{left} tokens have been made in the last day");
            let hint = "use one that you have; each goes a day after its time is over";
            return Reply::refused("", Problem::new("too-many-tokens", cause, hint));
        }
        for digest in old {
            self.touched.insert(token_key(&digest));
            self.state.tokens.remove(&digest);
        }
        self.put_token(token.clone());
        Reply::default()
    }

    fn put_token(&mut self, token: JoinToken) {
        self.touched.insert(token_key(&token.digest));
        self.state.tokens.put(token);
    }

    pub(super) fn admit_node(&mut self, c: &AdmitNode) -> Reply {
        let address = clip(&c.address, ADDRESS_BYTES_MAX);
        let state = &self.state;
        let invited = state.invitation(&c.digest, &c.incarnation, &address, c.unix_ms);
        match invited {
            Ok(Invited::New) => {}
            Ok(Invited::Again(node)) => {
                return Reply {
                    existed: true,
                    node,
                    ..Default::default()
                };
            }
            Err(problem) => return Reply::refused("", problem),
        }
        let level = self.state.feature_level();
        if c.feature_level < level {
            return older_program("the newcomer", (level, c.feature_level), ALL_NEWER);
        }
        let count = self.state.nodes().count() as u64;
        if count >= c.nodes_max {
            let cause = format!("the cluster has {count} nodes");
            let hint = "remove those that are gone, see `reelraft cluster nodes`";
            return Reply::refused("", Problem::new("too-many-nodes", cause, hint));
        }
        let known = self.state.nodes.keys().next_back().copied().unwrap_or(0);
        let id = known.max(self.state.cluster.last_node).max(c.above) + 1;
        self.state.cluster.last_node = id;
        let token = self.state.tokens.get(&c.digest);
        if let Some(token) = token.map(|it| JoinToken::clone(it)) {
            self.put_token(JoinToken { node: id, ..token });
        }
        self.put_node(Node {
            id,
            incarnation: c.incarnation.clone(),
            address,
            feature_level: c.feature_level,
            let_in: true,
            ..Default::default()
        });
        Reply {
            node: id,
            ..Default::default()
        }
    }

    pub(super) fn set_voters(&mut self, c: &SetVoters) -> Reply {
        if c.voters.is_multiple_of(2) || c.voters > VOTERS_MAX {
            let cause = format!("there can't be {} voters", c.voters);
            let hint = "choose 1, 3, 5 or 7: an even number bears no more failures";
            return Reply::refused("", Problem::new("bad-request", cause, hint));
        }
        self.state.cluster.voters_wanted = c.voters;
        self.touched.insert(cluster_key());
        Reply::default()
    }

    pub(super) fn drain_node(&mut self, c: &DrainNode) -> Reply {
        let mut node = match self.present(c.node) {
            Ok(node) => node,
            Err(problem) => return Reply::refused("", problem),
        };
        if node.is_draining() == c.draining {
            return Reply {
                existed: true,
                ..Default::default()
            };
        }
        let standing = match c.draining {
            true => NodeStanding::Draining,
            false => NodeStanding::Member,
        };
        node.standing = standing.into();
        self.put_node(node);
        Reply::default()
    }

    pub(super) fn remove_node(&mut self, c: &RemoveNode) -> Reply {
        if self.state.is_removed(c.node) {
            return Reply {
                existed: true,
                ..Default::default()
            };
        }
        let mut node = match self.present(c.node) {
            Ok(node) => node,
            Err(problem) => return Reply::refused("", problem),
        };
        if let Some(problem) = self.state.keeps(&node, c.dead) {
            return Reply::refused("", problem);
        }
        node.standing = NodeStanding::Removed.into();
        self.put_node(node);
        Reply::default()
    }

    /// A node that was not removed.
    fn present(&self, id: u64) -> Result<Node, Problem> {
        match self.state.node(id) {
            Some(node) if node.is_removed() => Err(Problem::node_removed(id)),
            Some(node) => Ok(node.clone()),
            None => Err(Problem::no_node(id)),
        }
    }
}

const ALL_NEWER: &str = "all nodes of the cluster are newer";

fn older_program(whose: &str, (level, own): (u32, u32), what: &str) -> Reply {
    let cause =
        format!("{what}, and its log needs a program of feature level {level}; {whose} has {own}");
    let hint = "start the node with the program of the others";
    Reply::refused("", Problem::new(Problem::OLDER_PROGRAM, cause, hint))
}

impl State {
    /// Why a node can't be removed yet, if it can't.
    pub fn keeps(&self, node: &Node, dead: bool) -> Option<Problem> {
        let id = node.id;
        let such_as = |first: Option<String>| first.unwrap_or_default();
        if dead {
            let only = self.only_at(id);
            return (only.count > 0).then(|| {
                let (count, first) = (only.count, such_as(only.first));
                Problem::new(
                    "last-copy",
                    format!("node {id} has the only full copy of {count} jobs, such as {first}"),
                    "start it again, so that they are copied, or delete these jobs first",
                )
            });
        }
        let held = self.bytes_at(id);
        let cause = match (node.is_draining(), held.count) {
            (true, 0) => return None,
            (false, _) => format!("node {id} still takes part"),
            (true, count) => {
                let first = such_as(held.first);
                format!("node {id} still has bytes of {count} jobs to hand over, such as {first}")
            }
        };
        Some(Problem::new(
            "not-drained",
            cause,
            "see `reelraft cluster drain`, and `cluster nodes` for how far it is; a node that is \
             lost for good goes with --dead",
        ))
    }
}
